/**
 * The page's guests: machines in a pool of frames that their clones share, and on one engine, so that what is translated
 * once serves all. Snapshots go to and come from a shelf in memory: whoever asked for one takes it from there.
 */
import type {
  BackupReport,
  Guest,
  GuestEnd,
  GuestMemoryParts,
  GuestMemoryUsage,
  GuestSurroundings,
  InlineCable,
} from "@hyperfile/broker/inline";
import { RAM_BASE } from "@hyperfile/devices";
import type { BlockBackend } from "@hyperfile/devices/disk";
import { type Network, noNetwork } from "@hyperfile/devices/net";
import { guestIn, type MemoryPool } from "@hyperfile/jit/memory";
import { riscvPool } from "@hyperfile/jit/riscv";
import { MachineError, type Nic, type RiscvVirt, riscvVirt, type Xlen } from "@hyperfile/machine";
import { GuestTidings, type IndividualCard } from "@hyperfile/machine/agent";
import {
  drainMachine,
  encodeMachine,
  plainMachineOf,
  restoreWithDisks,
  SnapshotFile,
  settleMachine,
  whileDrained,
  zstdCodec,
} from "@hyperfile/machine/snapshot";
import { openDisk } from "./disks.js";
import type { VmRecipe } from "./protocol.js";

/** Sizes of memory for all VMs that are tried, in MiB: browsers and phones differ in what they give. */
const POOL_SIZES = [2048, 1024, 512, 256, 128];
/** Memory for RV32 machines, which have an engine and a pool of their own. */
const NARROW_SIZES = [256, 64];

const PAGE_BYTES = 4096;
/** RAM of a machine that runs nothing. */
const SMALL_BYTES = 65_536;

/** Machines that share an engine. */
interface Engine {
  readonly pool: MemoryPool;
  first: RiscvVirt | undefined;
}

/** Makes guests, and knows what they have in common. */
export class GuestMaker {
  /** Snapshots on their way, by name. */
  readonly shelf = new Map<string, Uint8Array>();
  /** Guests that have memory, by the addresses of their cards. */
  readonly byCard = new Map<string, PageGuest>();
  private readonly engines = new Map<Xlen, Engine>();

  /** Frames of all machines, and those that are free, in bytes. */
  get memory(): { readonly all: number; readonly free: number } {
    let [all, free] = [0, 0];
    for (const { pool } of this.engines.values()) {
      all += pool.pool.count * PAGE_BYTES;
      free += pool.pool.available * PAGE_BYTES;
    }
    return { all, free };
  }

  /** Has memory ready before the first guest asks. */
  reserve(): void {
    this.engine(64);
  }

  /** Has an engine ready as well: the first machine, which never runs. */
  prepare(): void {
    const engine = this.engine(64);
    const memory = guestIn(engine.pool, { ramBytes: SMALL_BYTES, ramBase: RAM_BASE });
    engine.first ??= riscvVirt({ ramBytes: SMALL_BYTES, memory });
  }

  /** Makes a guest of a recipe. @throws errors of one line for images, disks and memory that can't be had */
  async make(recipe: VmRecipe, name: string, surroundings: GuestSurroundings): Promise<Guest> {
    const disks: BlockBackend[] = [];
    try {
      for (const disk of recipe.disks ?? []) disks.push(await openDisk(disk));
      const machine = this.compose(recipe, name, surroundings, disks);
      return new PageGuest(this, recipe, machine, surroundings, disks);
    } catch (error) {
      await closeAll(disks);
      throw error;
    }
  }

  /** The cable of a card was put in: its guest is told, if it has an agent, and asks for an address. */
  plugged(mac: string): void {
    void this.byCard.get(mac)?.introduce();
  }

  /** A machine of a recipe, with disks that are open. */
  compose(
    recipe: VmRecipe,
    name: string,
    { console, gate, steal, cables }: GuestSurroundings,
    disks: readonly BlockBackend[],
  ): RiscvVirt {
    const xlen = recipe.xlen ?? 64;
    const engine = this.engine(xlen);
    const memory = guestIn(engine.pool, { ramBytes: recipe.ramBytes, ramBase: RAM_BASE });
    try {
      const machine = riscvVirt({
        ...{ name, console, gate, steal, memory, xlen },
        ramBytes: recipe.ramBytes,
        ...(recipe.boot === undefined ? {} : { boot: recipe.boot }),
        drives: disks.map((disk) => ({ disk })),
        nics: nicsOf(cables),
        ...(recipe.hasSockets === true ? { vsock: {} } : {}),
        ...(engine.first === undefined ? {} : { beside: engine.first }),
      });
      engine.first ??= machine;
      return machine;
    } catch (error) {
      memory.guest.free();
      throw error;
    }
  }

  private engine(xlen: Xlen): Engine {
    const known = this.engines.get(xlen);
    if (known !== undefined) return known;
    const sizes = xlen === 64 ? POOL_SIZES : NARROW_SIZES;
    for (const [at, size] of sizes.entries()) {
      try {
        const engine: Engine = { pool: riscvPool({ frameBytes: size * 2 ** 20 }), first: undefined };
        this.engines.set(xlen, engine);
        return engine;
      } catch (error) {
        if (at === sizes.length - 1) throw error;
      }
    }
    throw new MachineError("E_MEMORY", "the browser gives no memory for machines");
  }
}

const cablesOf = (cables: unknown): readonly InlineCable[] => (cables ?? []) as readonly InlineCable[];

/** Cards for cables. What goes on with a card may be a guest that has another's addresses: a snapshot's, or an original's. */
const nicsOf = (cables: unknown): readonly Nic[] =>
  cablesOf(cables).map(({ mac, cable }) => ({
    ...{ mac, isCopy: true },
    network: (cable as unknown as Network | undefined) ?? noNetwork,
  }));

/** A machine as the broker manages it. */
class PageGuest implements Guest {
  readonly memory: GuestMemoryParts;
  private readonly cables: readonly InlineCable[];
  private readonly tidings: GuestTidings;
  /** Tells the guest what has become of it, when it runs. */
  private tell: (tidings: GuestTidings) => Promise<void> = async () => {};

  constructor(
    private readonly maker: GuestMaker,
    private readonly recipe: VmRecipe,
    private readonly machine: RiscvVirt,
    surroundings: GuestSurroundings,
    private readonly disks: readonly BlockBackend[],
  ) {
    this.cables = cablesOf(surroundings.cables);
    for (const { mac } of this.cables) maker.byCard.set(mac, this);
    this.tidings = new GuestTidings(machine, true);
    this.memory = {
      frames: machine.memory.pool,
      memory: machine.memory.guest,
      balloon: machine.balloon!,
      reservedFrame: () => machine.cpu.reservedFrame,
    };
  }

  async run(): Promise<GuestEnd> {
    try {
      const running = this.machine.run();
      void this.tell(this.tidings);
      const end = await running;
      switch (end.kind) {
        case "off":
          return end;
        case "stuck":
          return { kind: "error", status: 1, message: end.message };
        case "stopped":
          return { kind: "stopped", status: 0, ...(end.reason === "stopped" ? {} : { message: end.reason }) };
      }
    } finally {
      // What it has written is durable before its end is told, and its disks are others' to have.
      await closeAll(this.disks);
    }
  }

  receive(bytes: Uint8Array): number {
    return this.machine.receive(bytes);
  }

  resize(columns: number, rows: number): void {
    this.machine.resize(columns, rows);
  }

  standStill(): () => void {
    const since = Date.now();
    const goOn = this.machine.loop.standStill();
    return () => {
      goOn();
      void this.tidings.stoodStill(Date.now() - since);
    };
  }

  drain(): Promise<() => void> {
    return drainMachine(this.machine.state);
  }

  hold(): void {
    this.machine.hold();
  }

  release(): void {
    this.machine.release();
  }

  stop(reason: string): void {
    this.machine.stop(reason);
  }

  reset(): void {
    this.machine.reset();
  }

  retired(): number {
    return this.machine.retired();
  }

  memoryFigures(): GuestMemoryUsage {
    return this.machine.memory.guest.usage();
  }

  counters(): Readonly<Record<string, number>> {
    const devices = Object.entries(this.machine.board.counters()).flatMap(([device, values]) =>
      Object.entries(values).map(([name, value]) => [`${device}.${name}`, value] as const),
    );
    return Object.fromEntries(devices);
  }

  async saveTo(path: string): Promise<{ readonly bytes: number }> {
    this.refuseWithDisks();
    const { state } = this.machine;
    this.machine.board.flush();
    const codec = await zstdCodec();
    const { pieces, report } = await whileDrained(state, async () =>
      encodeMachine(state, codec, await settleMachine(state)),
    );
    const bytes = new Uint8Array(report.bytes);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    this.maker.shelf.set(path, bytes);
    return report;
  }

  async restoreFrom(path: string): Promise<void> {
    this.refuseWithDisks();
    const bytes = this.maker.shelf.get(path);
    if (bytes === undefined) throw new MachineError("E_BOOT", `there is no snapshot ${path} on the shelf`);
    const codec = await zstdCodec();
    await restoreWithDisks(bytes, this.machine.state, codec, { lazy: true });
    const saved = plainMachineOf(new SnapshotFile(bytes, codec));
    const cards = this.cardsAfter("nics" in saved ? saved.nics : []);
    this.tell = (tidings) =>
      cards.every(({ from, to }) => from === to)
        ? tidings.restored()
        : tidings.cloned(this.cables[0]!.hostName, cards);
  }

  /** Tells its guest which name and addresses it has. */
  introduce(): Promise<void> {
    return this.tidings.cloned(this.cables[0]!.hostName, this.cardsAfter([]));
  }

  /** What its guest's cards are to become, after it had those addresses. */
  private cardsAfter(before: readonly string[]): IndividualCard[] {
    return this.cables.map(({ mac }, at) => ({ from: before[at] ?? mac, to: mac }));
  }

  async backup(): Promise<BackupReport> {
    throw new MachineError("E_DISK", "disks of a page have no backups: download them");
  }

  clone(name: string, surroundings: GuestSurroundings): Promise<Guest> {
    const { machine } = this;
    return whileDrained(machine.state, async () => {
      const { console, gate, steal } = surroundings;
      const disks = this.disks.map((disk) => disk.fork!());
      try {
        const drives = disks.map((disk) => ({ disk }));
        const nics = nicsOf(surroundings.cables);
        const twin = machine.clone({ name, console, gate, steal, drives, nics });
        const guest = new PageGuest(this.maker, this.recipe, twin, surroundings, disks);
        const cards = guest.cardsAfter(this.cables.map(({ mac }) => mac));
        const hostName = guest.cables[0]?.hostName ?? name;
        guest.tell = (tidings) => tidings.cloned(hostName, cards);
        return guest;
      } catch (error) {
        await closeAll(disks);
        throw error;
      }
    });
  }

  async successor(surroundings: GuestSurroundings): Promise<Guest> {
    this.refuseWithDisks();
    const machine = this.maker.compose(this.recipe, "", surroundings, []);
    return new PageGuest(this.maker, this.recipe, machine, surroundings, []);
  }

  /** What the disk holds would not be of the moment that memory is of. */
  private refuseWithDisks(): void {
    if (this.disks.length > 0)
      throw new MachineError(
        "E_DISK",
        "snapshots of a page hold no disks: shut the VM down, its disks keep what it has written",
      );
  }

  free(): void {
    // A guest that has not run has its disks yet.
    void closeAll(this.disks);
    for (const { mac } of this.cables) if (this.maker.byCard.get(mac) === this) this.maker.byCard.delete(mac);
    this.machine.free();
  }
}

async function closeAll(disks: readonly BlockBackend[]): Promise<void> {
  await Promise.allSettled(disks.map((disk) => disk.close()));
}
