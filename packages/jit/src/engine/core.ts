/**
 * What runs CPUs of any architecture, and what the VMs of one thread take turns on: an engine with its translations, the
 * software TLBs and the slow paths of one hart block. Each VM has a CPU model of its own (`cpu-model.ts`); its registers are in the hart block while it is the current one,
 * and in its `parked` copy else.
 *
 * Translations are keyed by machine frames, so VMs that share frames share them too, and a clone starts with
 * everything that its origin has translated. The TLBs are emptied whenever another VM becomes the current one, and a
 * VM's pages only ever map to frames that are its own or shared, so that nothing of one VM can be reached by another.
 */
import type { FrontEnd } from "@hyperfile/decoder";
import type { GuestMemory } from "../memory/guest-memory.js";
import { Exit, header, PAGE_SIZE, STATE_OFFSET } from "../memory/layout.js";
import type { MemoryPool } from "../memory/machine-memory.js";
import { movesBytes } from "../memory/observers.js";
import { MemoryAccess } from "../mmu/access.js";
import type { MmioBus } from "../mmu/ports.js";
import type { Tlb } from "../mmu/tlb.js";
import { CodePages } from "./code-pages.js";
import type { CpuModel } from "./cpu-model.js";
import { Engine } from "./engine.js";
import type { EngineOptions } from "./engine-options.js";

/** Words of the reservation of load-reserved in the header. */
const RESERVATION_WORDS = 4;

/** One of the VMs on a core, as the core sees it. */
export interface CoreGuest {
  readonly model: CpuModel;
  readonly guest: GuestMemory;
  readonly bus: MmioBus;
  /** The functions that translations call. */
  readonly helpers: Readonly<Record<string, (...args: number[]) => number>>;
  /** Guest state and reservation while another VM is the current one. */
  readonly parked: Int32Array;
}

/** What the engine of a core is made with. */
export interface CoreOptions
  extends Pick<
    EngineOptions,
    "tier" | "verify" | "chain" | "hotThreshold" | "background" | "regions" | "trace" | "flagsSlot"
  > {
  /** Whether other VMs than the first may run on the core: then helpers are called by way of a table. */
  readonly isShared: boolean;
}

type Helper = (...args: number[]) => number;

/** A core. */
export class Core {
  readonly tlb: Tlb;
  readonly access: MemoryAccess;
  readonly engine: Engine;
  private readonly words: Int32Array;
  private readonly stateWord: number;
  private readonly stateWords: number;
  private readonly reservedWord: number;
  private readonly exitWord: number;
  /** What each name that translations call stands for while the current VM runs. */
  private readonly bound = new Map<string, { run: Helper }>();
  private owner: CoreGuest;
  private loaded = true;

  /** @param first the VM that is the current one to begin with; its model was made on `tlb` */
  constructor(
    readonly memory: MemoryPool,
    readonly frontEnd: FrontEnd,
    tlb: Tlb,
    first: CoreGuest,
    options: CoreOptions,
  ) {
    const linear = memory.memory;
    const { shape } = frontEnd;
    const { hartOffset } = memory;
    this.tlb = tlb;
    this.owner = first;
    this.words = linear.i32;
    this.stateWord = (hartOffset + STATE_OFFSET) >> 2;
    this.stateWords = shape.size >> 2;
    this.reservedWord = (hartOffset + header.reserved) >> 2;
    this.exitWord = (hartOffset + header.exit) >> 2;
    const core = this;
    this.access = new MemoryAccess({
      memory: linear,
      hartOffset,
      tlb,
      pcOffset: hartOffset + STATE_OFFSET + shape.slots.get("pc")!.offset,
      pcBytes: frontEnd.addressType === "i64" ? 8 : 4,
      ...(frontEnd.pageBytes === undefined ? {} : { pageBytes: frontEnd.pageBytes }),
      // Frames belong to one thread, whose VMs take turns.
      concurrent: false,
      get guest() {
        return core.owner.guest;
      },
      get translator() {
        return core.owner.model;
      },
      get bus() {
        return core.owner.bus;
      },
    });
    const helpers = Object.entries(first.helpers).map(([name, run]) => {
      if (!options.isShared) return [name, run] as const;
      const slot = { run };
      this.bound.set(name, slot);
      return [name, forwarder(slot, run.length)] as const;
    });
    this.engine = new Engine({
      frontEnd,
      memory: linear,
      hartOffset,
      arenaOffset: memory.arenaOffset,
      codePages: CodePages.capacityOf(memory.arenaBytes, frontEnd.granularity),
      tlb,
      access: this.access,
      helpers: Object.fromEntries(helpers),
      get guest() {
        return core.owner.guest;
      },
      get model() {
        return core.owner.model;
      },
      ...options,
    });
    memory.pool.observe({
      onForget: (frame) => this.engine.forget(frame),
      onCodeWrite: (frame, offset, length) => {
        this.engine.codePages.invalidate(frame, offset, length, false);
      },
    });
    // An engine has trained its interpreter with accesses that are no guest's.
    for (const { counters } of [this.access, tlb] as { readonly counters: Record<string, number> }[])
      for (const name of Object.keys(counters)) counters[name] = 0;
  }

  /**
   * Runs a VM for at most `units`, after the interrupt that is ready, if any.
   * @returns why it ended: `Exit.none` where the units are used up
   */
  run(guest: CoreGuest, units: number): number {
    const { words, exitWord, memory } = this;
    const { model } = guest;
    if (memory.pool.mourning) memory.pool.bury();
    this.enter(guest);
    model.budget.begin(units);
    if (units > 0) model.takeInterrupt();
    this.engine.run();
    model.endSlice?.();
    model.budget.end();
    const exit = words[exitWord]!;
    words[exitWord] = Exit.none;
    return exit;
  }

  /** Whether a VM is the current one. */
  isCurrent(guest: CoreGuest): boolean {
    return this.loaded && this.owner === guest;
  }

  /** Makes a VM the current one. Call it between two runs only. */
  enter(next: CoreGuest): void {
    if (this.loaded && this.owner === next) return;
    this.park();
    const { words } = this;
    this.owner = next;
    this.loaded = true;
    words.set(next.parked.subarray(0, this.stateWords), this.stateWord);
    words.set(next.parked.subarray(this.stateWords), this.reservedWord);
    words[this.exitWord] = Exit.none;
    for (const [name, run] of Object.entries(next.helpers)) this.bound.get(name)!.run = run;
    this.tlb.flush();
    next.model.selectTlbs();
  }

  /** Saves the current VM's registers: the hart block is free. */
  park(): void {
    if (!this.loaded) return;
    const { words, owner } = this;
    owner.parked.set(words.subarray(this.stateWord, this.stateWord + this.stateWords));
    owner.parked.set(
      words.subarray(this.reservedWord, this.reservedWord + RESERVATION_WORDS),
      this.stateWords,
    );
    this.loaded = false;
  }

  /** Room for a VM's registers and reservation. */
  static parkingFor(frontEnd: FrontEnd): Int32Array {
    return new Int32Array((frontEnd.shape.size >> 2) + RESERVATION_WORDS);
  }

  /** Byte offset of the frame in which a VM holds a reservation; -1 if it holds none. */
  reservedFrame(guest: CoreGuest): number {
    const [words, at] = this.reservationOf(guest);
    return words[at] === 1 ? (words[at + 1]! & -PAGE_SIZE) >>> 0 : -1;
  }

  /** A VM's reservation: held or not, byte offset in linear memory, low and high half of the value that was loaded. */
  readReservation(guest: CoreGuest): number[] {
    const [words, at] = this.reservationOf(guest);
    return [...words.subarray(at, at + RESERVATION_WORDS)];
  }

  /** Replaces a VM's reservation by one that `readReservation` gave. */
  writeReservation(guest: CoreGuest, reservation: readonly number[]): void {
    const [words, at] = this.reservationOf(guest);
    words.set(reservation, at);
  }

  /** Keeps TLBs, translations and reservation in step with a VM's memory from now on. */
  adopt(guest: CoreGuest): void {
    const memory = guest.guest;
    memory.observe({
      onCodeWrite: (gpa, length, byHart) => this.engine.invalidate(gpa, length, byHart, memory),
      onProtect: () => {
        if (this.isCurrent(guest)) this.tlb.flush();
      },
      onRemap: (frame, _, cause) => {
        if (this.isCurrent(guest)) {
          this.tlb.dropAll(frame);
          if (movesBytes(cause) && memory.pool.holdsCode(frame)) this.access.noteCodeMoved();
        }
        if (this.reservedFrame(guest) === frame) this.writeReservation(guest, [0, 0, 0, 0]);
      },
    });
  }

  private reservationOf(guest: CoreGuest): [words: Int32Array, at: number] {
    return this.isCurrent(guest) ? [this.words, this.reservedWord] : [guest.parked, this.stateWords];
  }
}

/** A function of `length` parameters that calls whatever stands in `slot`: V8 adapts calls of other lengths slowly. */
function forwarder(slot: { readonly run: Helper }, length: number): Helper {
  switch (length) {
    case 1:
      return (a) => slot.run(a!);
    case 2:
      return (a, b) => slot.run(a!, b!);
    case 3:
      return (a, b, c) => slot.run(a!, b!, c!);
    case 4:
      return (a, b, c, d) => slot.run(a!, b!, c!, d!);
    case 5:
      return (a, b, c, d, e) => slot.run(a!, b!, c!, d!, e!);
    case 6:
      return (a, b, c, d, e, f) => slot.run(a!, b!, c!, d!, e!, f!);
    default:
      return (a, b, c, d, e, f, g) => slot.run(a!, b!, c!, d!, e!, f!, g!);
  }
}
