/**
 * A CPU without address translation, ready to run: RAM, bus and a core around a front end, under the few methods that an
 * emulator needs. What is special about the CPU (its exceptions, its interrupts, instructions that
 * do more than the IR can say) are functions of its owner.
 *
 * A guest address leads to RAM or to the bus. Where RAM is only part of the address space, or appears in several
 * places, `map` says where: the engine asks once for a page and then remembers.
 *
 * Budgets make everything exact: `run(n)` ends after `n` units, so a timer is a short run, and `elapsed` is right
 * inside device accesses and helpers too. Nothing depends on the tier.
 */
import { alignmentOf, type FrontEnd, type Helper, helpersOf } from "@hyperfile/decoder";
import type { GuestMemory } from "../memory/guest-memory.js";
import { Exit, header, PAGE_SIZE, SCRATCH_OFFSET, STATE_OFFSET } from "../memory/layout.js";
import { machineMemory } from "../memory/machine-memory.js";
import type { RegionOptions } from "../memory/regions.js";
import type { MemoryAccess } from "../mmu/access.js";
import { type CallSite, CallSites } from "../mmu/call-sites.js";
import { lateName, type MmioBus } from "../mmu/ports.js";
import { Tlb } from "../mmu/tlb.js";
import type { ExplainedCode } from "../trace/explain.js";
import { plainSlotName, type SlotName } from "../trace/state-names.js";
import { Budget, type Clock } from "./budget.js";
import { CodePages } from "./code-pages.js";
import { Core, type CoreGuest } from "./core.js";
import type { CpuModel } from "./cpu-model.js";
import { CpuError, checkOptions, MOST_BUDGET } from "./cpu-options.js";
import type { Engine } from "./engine.js";
import type { EngineOptions } from "./engine-options.js";
import { guardedFrontEnd, helperName } from "./guarded-front-end.js";

/** Why an instruction could not be carried out. The program counter is its address. */
export interface CpuFault {
  /** `trap`: the front end's own, with its exception number as cause; others: an access where nothing answers. */
  readonly kind: "trap" | "read" | "write" | "fetch";
  /** Exception number of a trap; 0 for others. */
  readonly cause: number;
  /** The trap's value, or the address of the access; as an unsigned number, exact below 2^53. */
  readonly value: number;
}

/**
 * What a front end's helper does: `cpu.pc` is the instruction's address, arguments of 64 bits come as two halves, low
 * half first. If it declares so, it may read and write slots, and leave: set `pc`, call `stop` or `interrupt`.
 */
// biome-ignore lint/suspicious/noConfusingVoidType: most helpers have no result
export type CpuHelper = (cpu: FlatCpu, ...args: number[]) => number | void;

/** What a CPU is made from. */
export interface FlatCpuOptions
  extends Partial<
    Pick<
      EngineOptions,
      "tier" | "verify" | "chain" | "hotThreshold" | "background" | "regions" | "trace" | "flagsSlot"
    >
  > {
  readonly frontEnd: FrontEnd;
  /** Bytes of RAM, a multiple of 4096. */
  readonly ramBytes: number;
  /** Guest-physical address of RAM, a multiple of 4096; 0 unless given. */
  readonly ramBase?: number;
  /** Memory at other addresses: ROM, flash, more RAM. A store to ROM goes to the bus. */
  readonly memoryRegions?: readonly RegionOptions[];
  /** Devices at guest-physical addresses outside memory; unless given, every access there is a fault. */
  readonly bus?: MmioBus;
  /**
   * Guest-physical address of an address: the address itself unless given. It must map pages as a whole, and may lead
   * reads, writes and fetches to different places: stores to ROM to a device, for instance.
   */
  readonly map?: (address: number, kind: "read" | "write" | "fetch") => number;
  /** What the front end's helpers do, by name. */
  readonly helpers?: Readonly<Record<string, CpuHelper>>;
  /** What a fault does: usually it saves state and sets `pc`. Unless given, `run` ends. */
  readonly onFault?: (cpu: FlatCpu, fault: CpuFault) => void;
  /** Whether an interrupt would be taken before the next instruction. */
  readonly interruptReady?: (cpu: FlatCpu) => boolean;
  /** Enters the interrupt's handler: saves state and sets `pc`. Called where `interruptReady` says so. */
  readonly takeInterrupt?: (cpu: FlatCpu) => void;
  /** Names slots in explained code. */
  readonly slotName?: SlotName;
  /** Pages of 4 KiB of code that are kept decoded and translated; 256 unless given. */
  readonly codePages?: number;
}

const HART_OFFSET = 0;
const exitWord = (HART_OFFSET + header.exit) >> 2;
const lateWord = (HART_OFFSET + header.late) >> 2;
const DEFAULT_CODE_PAGES = 256;
/** Bytes that a front end's slots may take. */
const STATE_BYTES = SCRATCH_OFFSET - STATE_OFFSET;
const accessKinds = ["read", "write", "fetch"] as const;
/** More than any CPU takes without an instruction between them. */
const INTERRUPTS_IN_A_ROW = 16;

/** A CPU. */
export class FlatCpu {
  readonly frontEnd: FrontEnd;
  /** What the engine runs in its place. */
  private readonly guarded: FrontEnd;
  readonly guest: GuestMemory;
  readonly engine: Engine;
  readonly access: MemoryAccess;
  /** The fault that ended the last run, if one did. */
  fault: CpuFault | undefined;
  private readonly words: Int32Array;
  private readonly tlb: Tlb;
  private readonly wide: boolean;
  private readonly core: Core;
  private readonly place: CoreGuest;
  private readonly sites: CallSites;
  private readonly clock: Clock = { passed: 0 };
  private readonly budget: Budget;
  /** An interpreter is trained with accesses and helpers that are no guest's: nothing may come of them. */
  private isTraining = true;
  /** Whether the program counter was set since the helper began that runs. */
  private jumped = false;
  /** Name of the helper that runs, if it may not leave. */
  private staying: string | undefined;
  /** A device is being read, and what it asked for: a load goes on to its end. */
  private isReading = false;
  private deferred: number = Exit.none;
  /** Whether an instruction is in the middle: a device or a helper runs. */
  private isInside = false;
  /** Units that devices and helpers have charged: they are taken when the instruction has ended. */
  private owed = 0;
  /** Interrupts in a row without an instruction, and when. */
  private interrupts = 0;
  private interruptsAt = -1;

  /**
   * @throws FrontEndError if the front end can't work
   * @throws CpuError if an option is unknown or impossible, or if a helper is missing or is none of the front end's
   * @throws MemoryError if RAM is not a positive number of pages, or too much, or regions do not go together
   */
  constructor(private readonly options: FlatCpuOptions) {
    checkOptions(options, optionKinds);
    this.guarded = guardedFrontEnd(options.frontEnd);
    const frontEnd = this.guarded;
    const { ramBytes, ramBase = 0, memoryRegions = [], codePages = DEFAULT_CODE_PAGES } = options;
    if (frontEnd.shape.size > STATE_BYTES)
      throw new CpuError(
        `${frontEnd.name}: its slots take ${frontEnd.shape.size} bytes: at most ${STATE_BYTES}`,
      );
    const memory = machineMemory({
      ramBytes,
      ramBase,
      regions: memoryRegions,
      harts: 1,
      arenaBytes: CodePages.bytesFor(codePages, frontEnd.granularity),
    });
    const linear = memory.memory;
    const { guest } = memory;
    this.frontEnd = options.frontEnd;
    this.guest = guest;
    this.words = linear.i32;
    this.wide = frontEnd.addressType === "i64";
    this.tlb = new Tlb(linear, HART_OFFSET, frontEnd.pageBytes);
    const pcOffset = HART_OFFSET + STATE_OFFSET + frontEnd.shape.slots.get("pc")!.offset;
    this.sites = new CallSites(linear, HART_OFFSET, pcOffset, this.wide ? 8 : 4);
    this.budget = new Budget(linear, HART_OFFSET, this.clock);
    this.place = {
      model: this.makeModel(),
      guest,
      bus: {
        read: (gpa, size) => this.readDevice(gpa, size),
        write: (gpa, size, value) => this.writeDevice(gpa, size, value),
        readWide: (gpa, words) => this.readDeviceWide(gpa, words),
        writeWide: (gpa, low, high) => this.writeDeviceWide(gpa, low, high),
      },
      helpers: this.makeHelpers(),
      parked: Core.parkingFor(frontEnd),
    };
    this.core = new Core(memory, frontEnd, this.tlb, this.place, {
      ...engineOptionsOf(options),
      isShared: false,
      tier: options.tier ?? "auto",
      verify: options.verify ?? "sampled",
    });
    this.core.adopt(this.place);
    this.access = this.core.access;
    this.engine = this.core.engine;
    this.isTraining = false;
  }

  // -- state

  /**
   * The program counter, exact below 2^53. Other slots are up to date between runs, in `onFault` and `takeInterrupt`,
   * and in helpers that declare that they read them; while a device is accessed they may be in translated code's locals.
   */
  get pc(): number {
    return this.unsigned(this.get("pc"), this.wide ? this.words[this.wordOf("pc", 0) + 1]! : 0);
  }

  /** Goes on elsewhere: after the current instruction inside a helper, at once between runs. */
  set pc(address: number) {
    if (!Number.isSafeInteger(address)) throw new CpuError(`pc = ${address}: a safe integer`);
    this.words[this.wordOf("pc", 0)] = address | 0;
    if (this.wide) this.words[this.wordOf("pc", 0) + 1] = Math.floor(address / 2 ** 32);
    this.leaveHere();
  }

  /** A slot as a signed 32-bit number; of 64-bit slots the low half. */
  get(slot: string, index = 0): number {
    return this.words[this.wordOf(slot, index)]!;
  }

  /** Writes a slot; a 64-bit one gets `value` with its sign extended. Of `pc`, it is the same as setting `pc`. */
  set(slot: string, value: number, index = 0): void {
    const at = this.wordOf(slot, index);
    if (!Number.isSafeInteger(value)) throw new CpuError(`${slot}[${index}] = ${value}: a safe integer`);
    this.words[at] = value;
    if (this.frontEnd.shape.slots.get(slot)!.stride === 8) this.words[at + 1] = Math.floor(value / 2 ** 32);
    if (slot === "pc") this.leaveHere();
  }

  /** A 64-bit slot as an unsigned number of any size. */
  getWide(slot: string, index = 0): bigint {
    const at = this.wideWordOf(slot, index);
    return (BigInt(this.words[at + 1]! >>> 0) << 32n) | BigInt(this.words[at]! >>> 0);
  }

  /** Writes a 64-bit slot. */
  setWide(slot: string, value: bigint, index = 0): void {
    const at = this.wideWordOf(slot, index);
    this.words[at] = Number(BigInt.asIntN(32, value));
    this.words[at + 1] = Number(BigInt.asIntN(32, value >> 32n));
    if (slot === "pc") this.leaveHere();
  }

  // -- memory, at guest-physical addresses

  /** Copies bytes into RAM; translations made from what was there are dropped. */
  write(address: number, bytes: Uint8Array): void {
    if (!this.guest.write(address, bytes)) throw outside(address, bytes.length);
  }

  /** Bytes of memory. */
  read(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    if (!this.guest.read(address, bytes)) throw outside(address, length);
    return bytes;
  }

  /** Forgets where addresses lead: call it after what `map` answers has changed. */
  remap(): void {
    this.tlb.flush();
    this.requestExit(Exit.redirect);
  }

  // -- running

  /**
   * Runs for `budget` units: guest instructions, or what the front end says that they cost.
   * @returns `budget` if they were used up, `stop` if a device or helper called {@link FlatCpu.stop}, `fault` if there
   *   was a fault that `onFault` does not take: `fault` says which, and the program counter where
   * @throws CpuError if the budget is no integer from 0 to 2^31 - 1
   */
  run(budget: number): "budget" | "stop" | "fault" {
    if (!Number.isInteger(budget) || budget < 0 || budget > MOST_BUDGET)
      throw new CpuError(`run(${budget}): an integer from 0 to ${MOST_BUDGET}`);
    const { words } = this;
    this.fault = undefined;
    words[exitWord] = Exit.none;
    words[lateWord] = Exit.none;
    const exit = this.core.run(this.place, budget);
    const stopped = exit === Exit.stop || this.deferred === Exit.stop;
    this.deferred = Exit.none;
    return this.fault !== undefined ? "fault" : stopped ? "stop" : "budget";
  }

  /** Budget units used since the CPU was made. */
  get elapsed(): number {
    return this.budget.now + this.owed;
  }

  /**
   * Takes units from the budget beside those of instructions: what entering an interrupt's handler costs, or what a
   * device or a helper adds to an instruction. A device that is read can't: its instruction goes on.
   * @throws CpuError if they are no count, or a device is being read
   */
  charge(units: number): void {
    if (!Number.isInteger(units) || units < 0 || units > MOST_BUDGET)
      throw new CpuError(`charge(${units}): an integer from 0 to ${MOST_BUDGET}`);
    if (!this.isInside) this.budget.use(units);
    else if (this.isReading) throw new CpuError("charge: not while a device is read");
    else {
      this.owed += units;
      this.requestExit(Exit.redirect);
    }
  }

  /**
   * Ends the run after the current instruction; for devices and helpers. What a device asks for while it is read comes
   * with the next access that writes to one, at the latest at the end of the run.
   */
  stop(): void {
    this.requestExit(Exit.stop);
  }

  /** Has interrupts looked at before the next instruction: call it in a helper that enables them. */
  interrupt(): void {
    if (this.options.interruptReady?.(this)) this.requestExit(Exit.redirect);
  }

  /** Code as `explainBlock` and `explainRegion` take it: what the translator makes of what is in RAM now. */
  get code(): ExplainedCode {
    const { guarded: frontEnd, guest, options } = this;
    const window = 16 * PAGE_SIZE;
    return {
      frontEnd,
      slotName: options.slotName ?? plainSlotName,
      ...(options.flagsSlot === undefined ? {} : { flagsSlot: options.flagsSlot }),
      bytesAt: (address) => {
        const gpa = this.mapped(Number(address), "fetch");
        const region = guest.regionAt(gpa);
        if (region?.base === undefined) return new Uint8Array(0);
        const length = Math.min(region.base + region.bytes - gpa, window);
        return this.read(gpa, length);
      },
    };
  }

  // -- inside

  private makeModel(): CpuModel {
    const { options, budget } = this;
    const model: CpuModel = {
      budget,
      gpa: 0,
      cacheable: true,
      pageBytes: PAGE_SIZE,
      translate: (kind, lo, hi) => {
        model.gpa = this.isTraining ? -1 : this.mapped(this.unsigned(lo, hi), accessKinds[kind]);
        return true;
      },
      accessFault: (kind, lo, hi) =>
        this.raise({ kind: accessKinds[kind], cause: 0, value: this.unsigned(lo, hi) }),
      misaligned: (kind, lo, hi) =>
        this.raise({ kind: accessKinds[kind], cause: 0, value: this.unsigned(lo, hi) }),
      interruptReady: () => !this.isTraining && (options.interruptReady?.(this) ?? false),
      takeInterrupt: () => this.takeInterrupt(),
      // Its owner alone knows what may come.
      mayBeInterrupted: () => true,
      selectTlbs: () => this.tlb.select(0, 0, 0),
      endSlice: () => {
        this.deliverFault();
        this.betweenInstructions();
      },
    };
    return model;
  }

  private readDevice(gpa: number, size: 1 | 2 | 4): number | undefined {
    if (this.isTraining) return 0;
    this.isReading = true;
    this.isInside = true;
    try {
      return this.options.bus?.read(gpa, size);
    } finally {
      this.isReading = false;
      this.isInside = false;
    }
  }

  private writeDevice(gpa: number, size: 1 | 2 | 4, value: number): boolean {
    if (this.isTraining) return true;
    this.isInside = true;
    let isDone: boolean;
    try {
      isDone = this.options.bus?.write(gpa, size, value) ?? false;
    } finally {
      this.isInside = false;
    }
    if (this.deferred !== Exit.none) this.requestExit(this.deferred);
    return isDone;
  }

  private readDeviceWide(gpa: number, words: Uint32Array): boolean {
    if (this.isTraining) return false;
    this.isReading = true;
    this.isInside = true;
    try {
      return this.options.bus?.readWide?.(gpa, words) ?? false;
    } finally {
      this.isReading = false;
      this.isInside = false;
    }
  }

  private writeDeviceWide(gpa: number, low: number, high: number): boolean {
    if (this.isTraining) return false;
    this.isInside = true;
    let isDone: boolean;
    try {
      isDone = this.options.bus?.writeWide?.(gpa, low, high) ?? false;
    } finally {
      this.isInside = false;
    }
    if (this.deferred !== Exit.none) this.requestExit(this.deferred);
    return isDone;
  }

  private makeHelpers(): EngineOptions["helpers"] {
    const given = this.options.helpers ?? {};
    const raise = this.wide
      ? (cause: number, lo: number, hi: number, site: CallSite) =>
          this.trap(cause, this.unsigned(lo, hi), site)
      : (cause: number, lo: number, site: CallSite) => this.trap(cause, lo >>> 0, site);
    const helpers = helpersOf(this.frontEnd);
    const names = [...helpers.keys()].join(", ") || "none";
    for (const name of Object.keys(given))
      if (!helpers.has(name))
        throw new CpuError(`${this.frontEnd.name} calls no helper ${name}; it calls ${names}`);
    const wrapped = [...helpers.values()].flatMap((helper) => {
      const run = Object.hasOwn(given, helper.name) ? given[helper.name] : undefined;
      if (typeof run !== "function")
        throw new CpuError(`${this.frontEnd.name} calls ${helper.name}: give it in helpers`);
      if (helper.result !== null && helper.effects.exits)
        throw new CpuError(`${helper.name} has a result and may exit: declare one of the two only`);
      return [
        [helperName(helper.name), this.wrap(helper, run, false)],
        [lateName(helperName(helper.name)), this.wrap(helper, run, true)],
      ] as const;
    });
    return { ...Object.fromEntries(wrapped), raise };
  }

  /** @param isLate whether the instruction goes on after the call, unless the helper sets the program counter */
  private wrap({ name, effects }: Helper, run: CpuHelper, isLate: boolean): (...args: number[]) => number {
    const { words, sites } = this;
    return (...args) => {
      if (this.isTraining) return 0;
      const site = args.pop()!;
      sites.enter(site);
      this.jumped = false;
      this.staying = effects.exits ? undefined : name;
      sites.suspend(site);
      this.isInside = true;
      let result: ReturnType<CpuHelper>;
      try {
        result = run(this, ...args);
      } finally {
        this.isInside = false;
        this.staying = undefined;
      }
      sites.resume(site);
      if (words[exitWord] === Exit.none || !effects.exits) return result ?? 0;
      if (this.jumped) sites.leaveElsewhere(site);
      else if (isLate) sites.leaveLate();
      else sites.leaveAfter(site);
      return 0;
    };
  }

  private trap(cause: number, value: number, site: CallSite): number {
    this.sites.enter(site);
    this.sites.suspend(site);
    this.raise({ kind: "trap", cause, value });
    return 0;
  }

  /**
   * Notes a fault: translated code may still have registers in its locals, and writes them back when it leaves. A fault
   * costs one unit, so that a handler that faults itself ends with the budget.
   */
  private raise(fault: CpuFault): void {
    if (this.isTraining) return this.requestExit(Exit.redirect);
    this.fault = fault;
    if (this.options.onFault === undefined) return this.requestExit(Exit.stop);
    this.budget.use(1);
    this.requestExit(Exit.redirect);
  }

  /** Hands a fault that was noted to its owner. */
  private deliverFault(): boolean {
    const { fault, options } = this;
    if (fault === undefined || options.onFault === undefined) return false;
    this.fault = undefined;
    options.onFault(this, fault);
    return true;
  }

  /** Takes from the budget what was charged in the middle of an instruction. */
  private takeOwed(): void {
    this.budget.use(this.owed);
    this.owed = 0;
  }

  /** An instruction has ended: what others see of it is made right. */
  private betweenInstructions(): void {
    this.takeOwed();
    if (this.guarded.misaligned === "mask") this.words[this.wordOf("pc", 0)]! &= -alignmentOf(this.guarded);
  }

  private takeInterrupt(): boolean {
    this.betweenInstructions();
    const { interruptReady, takeInterrupt } = this.options;
    if (this.deliverFault()) {
      this.requestExit(Exit.redirect);
      return true;
    }
    if (takeInterrupt === undefined || !interruptReady?.(this)) return false;
    this.interrupts = this.interruptsAt === this.elapsed ? this.interrupts + 1 : 0;
    this.interruptsAt = this.elapsed;
    if (this.interrupts > INTERRUPTS_IN_A_ROW)
      throw new CpuError("interruptReady stays true: takeInterrupt must see to it that it does not");
    takeInterrupt(this);
    this.requestExit(Exit.redirect);
    return true;
  }

  private requestExit(exit: number): void {
    if (this.staying !== undefined)
      throw new CpuError(`${this.staying} leaves its instruction: declare effects.exits`);
    if (this.isReading) this.deferred = Math.max(this.deferred, exit);
    else this.sites.requestExit(exit);
  }

  /** The program counter was set. */
  private leaveHere(): void {
    this.jumped = true;
    this.requestExit(Exit.redirect);
  }

  private wordOf(name: string, index: number): number {
    const slot = this.frontEnd.shape.slots.get(name);
    if (slot === undefined || !Number.isInteger(index) || index < 0 || index >= slot.length) {
      const slots = [...this.frontEnd.shape.slots.values()];
      const names = slots.map((each) => (each.length === 1 ? each.name : `${each.name}[${each.length}]`));
      throw new CpuError(
        `${this.frontEnd.name} has no slot ${name}[${index}]; there are ${names.join(", ")}`,
      );
    }
    return (HART_OFFSET + STATE_OFFSET + slot.offset + index * slot.stride) >> 2;
  }

  private wideWordOf(name: string, index: number): number {
    const at = this.wordOf(name, index);
    if (this.frontEnd.shape.slots.get(name)!.stride !== 8)
      throw new CpuError(`slot ${name} has 32 bits: use get and set`);
    return at;
  }

  private unsigned(lo: number, hi: number): number {
    return (this.wide ? (hi >>> 0) * 2 ** 32 : 0) + (lo >>> 0);
  }

  private mapped(address: number, kind: "read" | "write" | "fetch"): number {
    return this.options.map?.(address, kind) ?? address;
  }
}

/** Those options that are the engine's, as far as they are given. */
function engineOptionsOf(options: FlatCpuOptions): Partial<EngineOptions> {
  const names = ["chain", "hotThreshold", "background", "regions", "trace", "flagsSlot"] as const;
  return Object.fromEntries(
    names.filter((name) => options[name] !== undefined).map((name) => [name, options[name]]),
  );
}

/** What each option must be; those of {@link FlatCpuOptions} and no others. */
const optionKinds: Readonly<Record<keyof FlatCpuOptions, string>> = {
  frontEnd: "object",
  ramBytes: "number",
  ramBase: "number",
  memoryRegions: "object",
  bus: "object",
  map: "function",
  helpers: "object",
  onFault: "function",
  interruptReady: "function",
  takeInterrupt: "function",
  slotName: "function",
  codePages: "number",
  tier: "string",
  verify: "string",
  chain: "boolean",
  hotThreshold: "number",
  background: "boolean",
  regions: "number",
  trace: "object",
  flagsSlot: "string",
};

const outside = (address: number, length: number): CpuError =>
  new CpuError(`${length} bytes at 0x${address.toString(16)} are not in RAM`);
