/**
 * Shares the frames of one thread's pool among its VMs. A VM has frames as it touches pages; when the pool gets short, the broker works
 * out who is to have how many (`allocation.ts`), asks the balloons of those who have more, and swaps out what balloons
 * do not bring. A VM's reservation is never reclaimed.
 *
 * A guest is asked for no more than it says that it can spare, and has some of it back when it runs short itself:
 * what more is too much is swapped out, which costs it less than to kill its programs. A balloon belongs to its guest,
 * who may be stuck or lie: what counts is how many pages it really gave up. One that is asked and brings nothing for five seconds is not asked for help any more until it moves again: its VM's pages are
 * swapped out, in the state in which others are ballooned.
 *
 * All calls are made while no VM of the pool runs, but for `onExhausted` of the pool, which is called inside a guest's
 * access: it swaps out what can go without harm.
 *
 * Where the pools of several threads take from one memory ({@link MemoryBrokerOptions.common}), targets come from the
 * host (`host-memory-broker.ts`), and a guest that finds the memory empty while it has no more than its target waits
 * for the other threads to give up what they have above theirs.
 */
import { allocatePages, IDLE_TAX, type MemoryClaim } from "./allocation.js";
import type { MemoryTarget } from "./division.js";
import { MemoryAdmissionError } from "./errors.js";
import { PageSharing, type SharingGuest } from "./page-sharing.js";
import {
  type BalloonPort,
  type BrokeredFrames,
  type CommonFrames,
  type MemoryUsage,
  PAGE_SIZE,
} from "./ports.js";
import {
  defaultThresholds,
  nextState,
  type ReclamationState,
  type ReclamationThresholds,
} from "./reclamation.js";
import type { SwapStore } from "./swap-store.js";
import { WorkingSet } from "./working-set.js";

/** Milliseconds that a balloon may be asked in vain. */
export const BALLOON_PATIENCE = 5000;
/** Milliseconds for which a balloon that did not follow is asked for no more than it has: its guest has no more to give. */
const BALLOON_REST = 60_000;
/** Part of a guest's RAM that its balloon takes at most: a guest that is left with less would kill its processes. */
const BALLOON_LIMIT = 0.65;
/** Part of a guest's RAM that it keeps available, and the least number of pages. */
const GUEST_MARGIN = 1 / 16;
const LEAST_MARGIN = 1024;
/** Milliseconds between two requests for statistics while memory is plentiful, and after which they tell nothing. */
const CALM_REQUESTS = 1000;
const STALE = 3000;
/** Milliseconds between two samples of working sets. */
const SAMPLE_PERIOD = 30_000;
/** Pages looked at for sharing at each tick, and pages swapped out at most. */
const SCAN_PAGES = 512;
const SWAP_PAGES = 4096;
/** Rounds of the search for equal pages after which those that nobody writes are found: two looks, and a hint. */
const QUIET_ROUNDS = 3;
/** Pages freed at once when a guest finds the pool empty. */
const EMERGENCY_PAGES = 64;
/** Milliseconds of one wait for other threads, of all before a guest gives up pages below its target, and of all. */
const AWAIT = 50;
const PATIENCE = 300;
const LAST_PATIENCE = 10_000;
/** Pages between the hand that watches and the hand that takes: time for a page to be used again. */
const HAND_DISTANCE = 2048;

/** How memory is given to a VM, in bytes. */
export interface MemorySettings {
  /** Proportion of what is left above reservations; the VM's RAM in MiB times ten unless given, as ESX has it. */
  readonly shares?: number;
  /** Never taken away; 0 unless given. */
  readonly reservation?: number;
  /** Never exceeded, whatever is free; the VM's RAM unless given. */
  readonly limit?: number;
}

/** A VM, as the broker is told of it. */
export interface BrokeredVm extends Omit<SharingGuest, "group"> {
  readonly name: string;
  readonly balloon?: BalloonPort;
  readonly settings: MemorySettings;
  /** VMs that may share equal pages; the VM's own name unless given, so that it shares with none. */
  readonly group?: string;
}

/** What the broker is made with. */
export interface MemoryBrokerOptions {
  readonly frames: BrokeredFrames;
  readonly swap?: SwapStore;
  /** Whether equal pages are looked for. */
  readonly sharing?: boolean;
  readonly tax?: number;
  readonly thresholds?: ReclamationThresholds;
  readonly samplePeriod?: number;
  readonly scanPages?: number;
  /** Seed of the choice of sampled pages. */
  readonly seed?: number;
  /** Other threads take frames from the same memory, and the host admits VMs and sets their targets. */
  readonly common?: CommonFrames;
}

/** What the broker knows of a VM's memory, in bytes. */
export interface VmMemoryReport extends MemoryUsage {
  /** What it may have now. */
  readonly target: number;
  /** What it seems to use. */
  readonly active: number;
  /** Whether its balloon is not to be counted on. */
  readonly balloonStuck: boolean;
}

interface Client {
  readonly vm: BrokeredVm;
  readonly guest: SharingGuest;
  readonly working: WorkingSet;
  shares: number;
  reservation: number;
  limit: number;
  /** Pages that it may have. */
  target: number;
  /** When it began to stand still above its target, or last gave something up since; Infinity if it does not. */
  shrankAt: number;
  /** Whether it has stood still long enough for nothing. */
  isSpent: boolean;
  /** Whether there was no frame for one of its accesses. */
  wasDenied: boolean;
  /** Of the last look. */
  granted: number;
  ballooned: number;
  swapped: number;
  /** Pages that it had after the tick before. */
  lastGranted: number;
  /** Pages that its balloon held at the look before. */
  lastBallooned: number;
  /** When its guest was last asked for statistics, and what its balloon held then. */
  requestedAt: number;
  requestBallooned: number;
  /** What it answered, in available bytes, and what its balloon held when it was asked. */
  answer: number | undefined;
  answerBallooned: number;
  /** Whether its guest says that it can spare no more. */
  isDry: boolean;
  /** When its balloon last moved towards its target, or had reached it. */
  movedAt: number;
  stuck: boolean;
  /** Until when a balloon that is stuck is left alone. */
  restUntil: number;
  /** Places of the two hands. */
  watching: number;
  taking: number;
}

/** The broker. */
export class MemoryBroker {
  readonly counters = { swappedOut: 0, emergencies: 0, stuckBalloons: 0, ticks: 0 };
  readonly sharing: PageSharing;
  /** How hard memory is being reclaimed. */
  state: ReclamationState = "high";
  private readonly clients = new Map<string, Client>();
  private readonly tax: number;
  private readonly thresholds: ReclamationThresholds;
  private sampledAt = -Infinity;
  /** Rounds of the search for equal pages when a VM last ran. */
  private stirredAt = 0;
  /** When a guest began to find the memory empty, and last waited for others. */
  private emptySince = 0;
  private triedAt = -Infinity;
  private seed: number;

  constructor(private readonly options: MemoryBrokerOptions) {
    this.tax = options.tax ?? IDLE_TAX;
    this.thresholds = options.thresholds ?? defaultThresholds;
    this.seed = (options.seed ?? 1) | 0 || 1;
    this.sharing = new PageSharing(options.frames, () => this.random(2 ** 31));
    options.frames.onExhausted = (user) => {
      if (this.relieve()) return true;
      for (const client of this.clients.values()) if (client.vm.memory === user) client.wasDenied = true;
      return false;
    };
  }

  /**
   * Takes a VM under its care.
   * @throws MemoryAdmissionError if its reservation can't be kept along with those of the others
   */
  add(vm: BrokeredVm): void {
    const ram = vm.memory.pages;
    const { shares, reservation, limit } = claimOf(vm.settings, ram);
    if (this.options.common === undefined) this.admit(vm.name, reservation);
    const guest: SharingGuest = {
      memory: vm.memory,
      group: vm.group ?? vm.name,
      ...(vm.reservedFrame === undefined ? {} : { reservedFrame: () => vm.reservedFrame!() }),
    };
    const client: Client = {
      vm,
      guest,
      working: new WorkingSet(vm.memory, (below) => this.random(below)),
      shares,
      reservation,
      limit,
      target: limit,
      shrankAt: Infinity,
      isSpent: false,
      wasDenied: false,
      granted: 0,
      ballooned: 0,
      swapped: 0,
      lastGranted: 0,
      lastBallooned: 0,
      requestedAt: -Infinity,
      requestBallooned: 0,
      answer: undefined,
      answerBallooned: 0,
      isDry: false,
      movedAt: 0,
      stuck: false,
      restUntil: -Infinity,
      watching: 0,
      taking: 0,
    };
    if (this.options.swap !== undefined) vm.memory.usePager(this.options.swap);
    this.clients.set(vm.name, client);
    if (this.options.sharing !== false) this.sharing.add(guest);
  }

  /** Lets a VM go; its memory is its owner's to free. */
  remove(name: string): void {
    const client = this.clients.get(name);
    if (client === undefined) return;
    client.working.stop();
    this.sharing.remove(client.guest);
    this.clients.delete(name);
  }

  /**
   * Changes what a VM is given; it takes effect at the next tick.
   * @throws MemoryAdmissionError as `add` does, and nothing is changed
   */
  set(name: string, settings: MemorySettings): void {
    const client = this.clients.get(name);
    if (client === undefined) throw new MemoryAdmissionError(`there is no VM ${name}`);
    const claim = claimOf(settings, client.vm.memory.pages);
    if (this.options.common === undefined) this.admit(name, claim.reservation);
    Object.assign(client, claim);
  }

  /** What the host says that a VM may have; it takes effect at the next tick. */
  setTarget(name: string, { target, limit, reservation }: MemoryTarget): void {
    const client = this.clients.get(name);
    if (client !== undefined) Object.assign(client, { target, limit, reservation });
  }

  /**
   * Looks after the pool; to be called a few times a second.
   * @param now milliseconds on any clock that only goes forward
   */
  tick(now: number): void {
    const { frames } = this.options;
    this.counters.ticks++;
    this.sample(now);
    if (this.looksForEqualPages) this.sharing.scan(this.options.scanPages ?? SCAN_PAGES);
    for (const client of this.clients.values()) this.look(client);
    this.options.common?.yield();
    this.state = nextState(this.state, frames.available / frames.limit, this.thresholds);
    if (this.options.common === undefined) this.retarget();
    for (const client of this.clients.values()) this.ask(client, now);
    const swapsAll = this.state === "hard" || this.state === "low";
    for (const client of this.clients.values()) {
      const helpless = client.stuck || client.isDry;
      const swaps = swapsAll || (helpless && this.state === "soft") || client.granted > client.limit;
      if (swaps) this.swapDown(client, SWAP_PAGES);
      this.noteShrinking(client, now);
    }
  }

  /**
   * Whether a VM may run: in the worst state those above their target stand still, unless that has been in vain for
   * {@link BALLOON_PATIENCE}.
   */
  mayRun(name: string): boolean {
    const client = this.clients.get(name);
    if (client === undefined || this.state !== "low" || client.isSpent) return true;
    return client.granted <= client.target || client.granted <= client.reservation;
  }

  /** Whether an access of a VM found no frame, and none could be freed: what its guest made of that is not to be trusted. */
  wasDenied(name: string): boolean {
    return this.clients.get(name)?.wasDenied === true;
  }

  /**
   * Whether the next ticks would find nothing to do if no VM ran: there is enough memory, everybody has what he may
   * have, and no two pages can have become alike.
   */
  get isAtRest(): boolean {
    if (this.state !== "high") return false;
    for (const { vm, granted, target, limit, ballooned } of this.clients.values()) {
      if (granted > Math.min(target, limit)) return false;
      if (vm.balloon?.live === true && vm.balloon.target !== ballooned) return false;
    }
    return !this.looksForEqualPages || this.sharing.counters.rounds - this.stirredAt > QUIET_ROUNDS;
  }

  /** A VM has run, or come or gone, since the last tick. */
  stir(): void {
    this.stirredAt = this.sharing.counters.rounds;
  }

  /** Names of the VMs. */
  names(): string[] {
    return [...this.clients.keys()];
  }

  /** Where a VM's memory is; undefined if there is no such VM. */
  report(name: string): VmMemoryReport | undefined {
    const client = this.clients.get(name);
    if (client === undefined) return undefined;
    const usage = client.vm.memory.usage();
    return {
      ...usage,
      target: client.target * PAGE_SIZE,
      active: Math.round(client.working.active * usage.granted),
      balloonStuck: client.stuck,
    };
  }

  /** A thread's only VM has hardly two pages alike: looking for them would cost an idle one a hundredth of a core. */
  private get looksForEqualPages(): boolean {
    const { sharing, common } = this.options;
    return sharing !== false && (common === undefined || this.clients.size > 1 || this.state !== "high");
  }

  private admit(name: string, reservation: number): void {
    const { limit } = this.options.frames;
    let others = 0;
    for (const [other, client] of this.clients) if (other !== name) others += client.reservation;
    // What the pool needs for itself must stay free beside all reservations.
    const room = Math.floor(limit * (1 - this.thresholds.soft)) - others;
    if (reservation <= room) return;
    const mebibytes = (pages: number) => `${Math.floor((Math.max(0, pages) * PAGE_SIZE) / 0x100000)} MiB`;
    throw new MemoryAdmissionError(
      `${name}: memory reservation of ${mebibytes(reservation)} can't be kept: ${mebibytes(room)} of ${mebibytes(limit)} are not reserved; reserve less or enlarge the pool`,
    );
  }

  private sample(now: number): void {
    if (now - this.sampledAt < (this.options.samplePeriod ?? SAMPLE_PERIOD)) return;
    this.sampledAt = now;
    for (const { working } of this.clients.values()) working.next();
  }

  private look(client: Client): void {
    const { granted, ballooned, swapped } = client.vm.memory.usage();
    client.granted = granted / PAGE_SIZE;
    client.ballooned = ballooned / PAGE_SIZE;
    client.swapped = swapped / PAGE_SIZE;
  }

  /** Works out who may have how many pages: as many as they like while there are enough for all. */
  private retarget(): void {
    const { frames } = this.options;
    const total = Math.floor(frames.limit * (1 - this.thresholds.high));
    const claims = [...this.clients.values()].map((client): MemoryClaim => {
      const { vm, shares, reservation, limit, granted, ballooned, swapped, working } = client;
      return {
        name: vm.name,
        shares,
        reservation,
        limit,
        // What was taken from it counts: it would have it if it could.
        demand: Math.min(granted + ballooned + swapped, vm.memory.pages),
        active: working.active * granted,
      };
    });
    const demand = claims.reduce((sum, claim) => sum + Math.min(claim.demand, claim.limit), 0);
    const pages = demand <= total ? undefined : allocatePages(claims, total, this.tax);
    for (const client of this.clients.values()) {
      client.target = pages?.get(client.vm.name) ?? client.limit;
    }
  }

  /** Sets a balloon's target, and notices when the balloon does not follow. */
  private ask(client: Client, now: number): void {
    const { balloon, memory } = client.vm;
    if (balloon === undefined) return;
    const { target: before, live } = balloon;
    const ram = memory.pages;
    const most = Math.floor(ram * BALLOON_LIMIT);
    let wanted = Math.max(0, Math.min(ram - client.target, most));
    // While the pool is well off nobody is asked for more than before; a limit holds all the same.
    if (this.state === "high")
      wanted = Math.min(wanted, Math.max(before, Math.min(ram - client.limit, most)));
    const spare = live && wanted > 0 ? this.spareOf(client, now) : Infinity;
    client.isDry = spare !== undefined && spare < wanted;
    // An answer is there at the next look.
    wanted = Math.min(wanted, spare ?? client.ballooned);
    if (live) balloon.setTarget(now < client.restUntil ? Math.min(wanted, client.ballooned) : wanted);
    const reached = !live || client.ballooned >= wanted;
    const progress = client.ballooned > client.lastBallooned;
    const begins = client.lastBallooned >= before && wanted > before;
    client.lastBallooned = client.ballooned;
    if (reached || progress) client.stuck = false;
    if (reached || progress || begins) client.movedAt = now;
    else if (now - Math.max(client.movedAt, client.restUntil) >= BALLOON_PATIENCE) {
      if (!client.stuck) this.counters.stuckBalloons++;
      client.stuck = true;
      client.restUntil = now + BALLOON_REST;
    }
  }

  /**
   * Pages that a guest says it can have in its balloon; undefined if it has not been asked lately. Its word costs only
   * itself: what it does not give is swapped, and what it has not got does not come.
   */
  private spareOf(client: Client, now: number): number | undefined {
    const { vm, ballooned, requestedAt } = client;
    const age = now - requestedAt;
    if (this.state !== "high" || age >= CALM_REQUESTS) {
      vm.balloon!.requestStatistics();
      // What can be read now was written when the guest was asked before.
      client.answer = age >= STALE ? undefined : (vm.balloon!.statistics.availableMemory ?? Infinity);
      client.answerBallooned = client.requestBallooned;
      client.requestBallooned = ballooned;
      client.requestedAt = now;
    }
    if (client.answer === undefined) return undefined;
    const margin = Math.max(LEAST_MARGIN, Math.floor(vm.memory.pages * GUEST_MARGIN));
    return Math.max(0, client.answerBallooned + Math.floor(client.answer / PAGE_SIZE) - margin);
  }

  /** Notices a VM whose standing still brings nothing: no room to swap, and a balloon that does not move. */
  private noteShrinking(client: Client, now: number): void {
    const granted = this.state === "low" ? client.vm.memory.usage().granted / PAGE_SIZE : 0;
    const isAbove = granted > client.target;
    if (!isAbove) client.shrankAt = Infinity;
    else if (client.shrankAt === Infinity || granted < client.lastGranted) client.shrankAt = now;
    client.lastGranted = granted;
    client.isSpent = isAbove && now - client.shrankAt >= BALLOON_PATIENCE;
  }

  /** Swaps pages out until a VM has no more than its target, at most `most` pages. */
  private swapDown(client: Client, most: number): number {
    const wanted = Math.min(
      most,
      client.granted - Math.max(client.target, Math.min(client.reservation, client.limit)),
    );
    if (wanted <= 0) return 0;
    const done = this.takePages(client, wanted, () => true);
    client.granted -= done;
    return done;
  }

  /** A guest finds the pool empty in the middle of an access: frees some frames, of whoever has most above what is his. */
  private relieve(): boolean {
    this.counters.emergencies++;
    for (const client of this.clients.values()) this.look(client);
    const { common } = this.options;
    if (common === undefined) return this.takeExcess(({ reservation }) => reservation);
    // Nobody else is asked for what this thread's own VMs have too much of.
    if (this.takeExcess(({ target, reservation }) => Math.max(target, reservation))) return true;
    const now = performance.now();
    if (now - this.triedAt > 2 * AWAIT) this.emptySince = now;
    const waited = now - this.emptySince;
    if (waited > PATIENCE && this.takeExcess(({ reservation }) => reservation)) return true;
    if (waited > LAST_PATIENCE) return false;
    common.awaitRelease(AWAIT);
    this.triedAt = performance.now();
    return true;
  }

  /** Frees some frames of the VM that has most above what it may keep. */
  private takeExcess(keep: (client: Client) => number): boolean {
    const { frames } = this.options;
    const byExcess = [...this.clients.values()]
      .filter((client) => client.granted > keep(client))
      .sort((a, b) => excessOf(b) - excessOf(a));
    for (const client of byExcess) {
      const most = Math.min(EMERGENCY_PAGES, client.granted - keep(client));
      // Code may be what runs just now.
      if (this.takePages(client, most, (frame) => !frames.isPinned(frame) && !frames.holdsCode(frame)) > 0)
        return true;
    }
    return false;
  }

  /**
   * Swaps `wanted` pages out by a clock with two hands: one watches pages, the other, some way behind, takes those that
   * were not used since. If a whole turn brings too few, pages are taken whatever their use.
   */
  private takePages(client: Client, wanted: number, allowed: (frame: number) => boolean): number {
    const { memory } = client.vm;
    const ram = memory.pages;
    const distance = Math.min(HAND_DISTANCE, ram >> 1);
    const reserved = client.guest.reservedFrame?.() ?? -1;
    let done = 0;
    for (let step = 0; step < 2 * ram && done < wanted; step++) {
      memory.watchPage(client.watching);
      client.watching = (client.watching + 1) % ram;
      if ((client.watching - client.taking + ram) % ram < distance && step < ram) continue;
      const page = client.taking;
      client.taking = (client.taking + 1) % ram;
      const frame = memory.peekFrame(page);
      if (frame < 0 || frame === reserved || !allowed(frame)) continue;
      const unused = !memory.unwatchPage(page);
      if ((unused || step >= ram) && memory.swapOut(page)) done++;
    }
    this.counters.swappedOut += done;
    return done;
  }

  /** Xorshift32: samples need not be secret, and tests repeat. */
  private random(below: number): number {
    this.seed ^= this.seed << 13;
    this.seed ^= this.seed >>> 17;
    this.seed ^= this.seed << 5;
    return (this.seed >>> 0) % below;
  }
}

const excessOf = ({ granted, reservation, target }: Client): number =>
  Math.max(granted - target, 0) * 2 ** 20 + (granted - reservation);

function claimOf(
  settings: MemorySettings,
  ram: number,
): { shares: number; reservation: number; limit: number } {
  const pages = (bytes: number) => Math.floor(bytes / PAGE_SIZE);
  return {
    shares: settings.shares ?? Math.max(1, (ram * PAGE_SIZE * 10) / 0x100000),
    reservation: Math.min(ram, pages(settings.reservation ?? 0)),
    limit: Math.min(ram, pages(settings.limit ?? ram * PAGE_SIZE)),
  };
}
