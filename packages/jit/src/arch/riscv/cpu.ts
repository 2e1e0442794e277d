/**
 * A RISC-V CPU ready to run: hart, TLBs, slow paths and engine on one machine memory, under the few methods that a
 * run loop needs.
 */
import { disassemble, type FrontEnd } from "@hyperfile/decoder";
import { CodePages } from "../../engine/code-pages.js";
import { Core, type CoreGuest } from "../../engine/core.js";
import { CpuError } from "../../engine/cpu-options.js";
import type { Engine } from "../../engine/engine.js";
import type { VerifyMode } from "../../engine/engine-options.js";
import type { Tier } from "../../engine/tiers.js";
import { Exit } from "../../memory/layout.js";
import { MemoryError } from "../../memory/linear-memory.js";
import {
  type MachineMemory,
  type MemoryPool,
  machineMemory,
  memoryPool,
} from "../../memory/machine-memory.js";
import type { RegionOptions } from "../../memory/regions.js";
import type { MemoryAccess } from "../../mmu/access.js";
import type { MmioBus } from "../../mmu/ports.js";
import { Tlb } from "../../mmu/tlb.js";
import type { EngineTrace } from "../../trace/engine-trace.js";
import { csrTable, type HartIsa, hartFrontEnd, hartHelpers, standardHartIsa } from "./extensions.js";
import { type HartEntry, RiscvHart, type SupervisorBinary } from "./hart.js";
import { restoreHart, type SavedHart, saveHart } from "./hart-save.js";
import { Wide } from "./hart-state.js";
import { RiscvCause, RiscvMode } from "./privilege.js";
import { exceptionNames } from "./trap-names.js";

/** Code pages that a machine's memory has room for unless told otherwise: enough for a kernel and its programs. */
export const DEFAULT_CODE_PAGES = 2048;
/** Most of them by default, 202 MB of addresses: whole systems have some 6,000 pages of code in use. */
const MOST_DEFAULT_CODE_PAGES = 4 * DEFAULT_CODE_PAGES;
/** Bytes of RAM for each of them above {@link DEFAULT_CODE_PAGES}. */
const RAM_OF_A_CODE_PAGE = 131_072;

/** Code pages for so many bytes of RAM: where there are too few, what was translated goes to make room, and comes back. */
const codePagesFor = (ramBytes: number): number =>
  Math.min(MOST_DEFAULT_CODE_PAGES, Math.max(DEFAULT_CODE_PAGES, Math.floor(ramBytes / RAM_OF_A_CODE_PAGE)));

/** What a CPU is made from. */
export interface RiscvCpuOptions {
  readonly xlen: 32 | 64;
  readonly memory: MachineMemory;
  readonly bus: MmioBus;
  /** Ticks of 100 ns since power-on. */
  readonly clock: { now(): number };
  readonly tier?: Tier;
  readonly verify?: VerifyMode;
  readonly chain?: boolean;
  readonly hotThreshold?: number;
  /** Whether regions are compiled by other threads of the host; see `EngineOptions.background`. */
  readonly background?: boolean;
  /** Most regions that are kept. */
  readonly regions?: number;
  /** Receiver of the engine's events. */
  readonly trace?: EngineTrace;
  /** Deepest paging on RV64: 3 (Sv39), 4 (Sv48) or 5 (Sv57) levels. */
  readonly pagingLevels?: 3 | 4 | 5;
  /** The extensions that it has; {@link standardHartIsa} unless given. */
  readonly isa?: HartIsa;
  /** Built-in SBI; leave it out for firmware in M mode. */
  readonly sbi?: SupervisorBinary;
  /**
   * The core of another CPU whose memory is in the same pool, to take turns on it: nothing has to be built, and
   * translations are shared. Tier and the engine's other options are then the core's; the extensions must be.
   */
  readonly core?: Core;
}

/**
 * Memory for a machine with one RISC-V hart.
 * @throws MemoryError for an impossible size of RAM, or regions that do not go together
 */
export function riscvMemory(options: {
  readonly ramBytes: number;
  readonly ramBase?: number;
  /** Regions beside the main one of RAM. */
  readonly regions?: readonly RegionOptions[];
  /** Bytes of frames for what devices lend. */
  readonly lentBytes?: number;
  /** Code pages kept; the bound of the translation cache. By default 2,048, and more for RAM above 256 MiB, up to 8,192. */
  readonly codePages?: number;
}): MachineMemory {
  const { ramBase = 0x80000000, codePages = codePagesFor(options.ramBytes), ...memory } = options;
  return machineMemory({ ...memory, ramBase, harts: 1, arenaBytes: CodePages.bytesFor(codePages, 1) });
}

/** Memory for any number of VMs with one RISC-V hart each; `guestIn` gives a VM its RAM. */
export function riscvPool(options: {
  /** Bytes of frames for all VMs together. */
  readonly frameBytes: number;
  /** Code pages kept; the bound of the translation cache. */
  readonly codePages?: number;
}): MemoryPool {
  const arenaBytes = CodePages.bytesFor(options.codePages ?? DEFAULT_CODE_PAGES, 1);
  return memoryPool({ frameBytes: options.frameBytes, arenaBytes });
}

const hex64 = (lo: number, hi: number): string =>
  `0x${((BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)).toString(16)}`;

const clear = (counters: Record<string, number>): void => {
  for (const name of Object.keys(counters)) counters[name] = 0;
};

/** One hart with its engine. */
export class RiscvCpu {
  readonly frontEnd: FrontEnd;
  readonly hart: RiscvHart;
  readonly engine: Engine;
  readonly tlb: Tlb;
  readonly access: MemoryAccess;
  /** What the VMs of a pool take turns on. */
  readonly core: Core;
  readonly isa: HartIsa;
  private readonly place: CoreGuest;

  constructor(readonly options: RiscvCpuOptions) {
    const { memory, guest, hartOffset } = options.memory;
    const { core } = options;
    if (core !== undefined && core.memory.pool !== options.memory.pool) {
      throw new MemoryError(
        "E_MEMORY_SIZE",
        "a core runs VMs of its own pool only: make the memory in that pool",
      );
    }
    this.isa = options.isa ?? standardHartIsa;
    this.frontEnd = hartFrontEnd(this.isa, options.xlen);
    if (core !== undefined && core.frontEnd !== this.frontEnd)
      throw new CpuError("CPUs of one core have the same xlen and extensions: give them the same isa");
    const { shape } = this.frontEnd;
    this.tlb = core?.tlb ?? new Tlb(memory, hartOffset);
    // A hart resets the hart block when it is made.
    core?.park();
    this.hart = new RiscvHart({
      xlen: options.xlen,
      hartId: 0,
      memory,
      hartOffset,
      shape,
      guest,
      tlb: this.tlb,
      csrs: csrTable(this.isa, options.xlen),
      extensions: this.isa.extensions.map(({ name }) => name),
      clock: options.clock,
      pagingLevels: options.pagingLevels ?? 5,
      ...(options.sbi === undefined ? {} : { sbi: options.sbi }),
    });
    this.place = {
      model: this.hart,
      guest,
      bus: options.bus,
      helpers: hartHelpers(this.hart, this.isa),
      parked: Core.parkingFor(this.frontEnd),
    };
    this.core =
      core ??
      new Core(options.memory, this.frontEnd, this.tlb, this.place, {
        tier: options.tier ?? "auto",
        verify: options.verify ?? "sampled",
        flagsSlot: "fflags",
        isShared: true,
        ...(options.chain === undefined ? {} : { chain: options.chain }),
        ...(options.hotThreshold === undefined ? {} : { hotThreshold: options.hotThreshold }),
        ...(options.background === undefined ? {} : { background: options.background }),
        ...(options.regions === undefined ? {} : { regions: options.regions }),
        ...(options.trace === undefined ? {} : { trace: options.trace }),
      });
    this.access = this.core.access;
    this.engine = this.core.engine;
    this.core.adopt(this.place);
    // A new core has trained its interpreter with traps that are no guest's.
    if (core === undefined) clear(this.hart.counters);
  }

  /** Puts the hart at an entry point and forgets all translations' counters. */
  start(entry: HartEntry): void {
    this.enter();
    this.hart.reset(entry);
  }

  /** Puts this VM's registers where the core, and whoever looks at `hart`, finds them. Not while another VM runs. */
  enter(): void {
    this.core.enter(this.place);
  }

  /** The hart's whole state; memory, devices and clock are saved by their owners. */
  save(): SavedHart {
    this.enter();
    return saveHart(this.hart, this.core.readReservation(this.place));
  }

  /**
   * Replaces the hart's state by one that `save` gave; its memory must be restored already.
   * @throws HartStateError if the state is of another shape
   */
  restore(state: Readonly<Record<string, unknown>>): void {
    this.enter();
    this.core.writeReservation(this.place, restoreHart(this.hart, state));
  }

  /** Byte offset of the frame in which the hart holds an LR reservation, which must not be shared; -1 if it holds none. */
  get reservedFrame(): number {
    return this.core.reservedFrame(this.place);
  }

  /**
   * Another VM's memory with the same bytes, by copy-on-write.
   * @throws MemoryError if the pool has not even the one frame that it may need at once
   */
  shareMemory(): MachineMemory {
    const { memory } = this.options;
    const guest = memory.guest.share(this.reservedFrame);
    if (guest === undefined)
      throw new MemoryError("E_MEMORY_UNAVAILABLE", "the frame pool is empty: enlarge it");
    return { ...memory, guest };
  }

  /** Runs at most `budget` guest instructions. */
  run(budget: number): "budget" | "wait" | "stop" {
    const { hart } = this;
    if (hart.waiting) {
      if (!hart.wakeReady()) return "wait";
      hart.waiting = false;
    }
    const exit = this.core.run(this.place, budget);
    return exit === Exit.wait ? "wait" : exit === Exit.stop ? "stop" : "budget";
  }

  /** One line on why the hart can't go on, where `engine.stuck` says so. */
  describeStuck(): string {
    const { hart } = this;
    const [cause = 0, pcLo = 0, pcHi = 0, valueLo = 0, valueHi = 0] = hart.lastTrap;
    const mode = hart.state.mode === RiscvMode.machine ? "M" : "S";
    const handler = hex64(hart.pcLow, hart.pcHigh);
    const name = exceptionNames[cause] ?? `cause ${cause}`;
    const illegal = cause === RiscvCause.illegalInstruction;
    const bits = illegal ? valueLo : this.instructionAt(pcLo, pcHi);
    const length = (bits & 3) === 3 ? 4 : 2;
    const pc = (BigInt(pcHi >>> 0) << 32n) | BigInt(pcLo >>> 0);
    const text =
      bits === 0
        ? ""
        : `: ${disassemble(this.isa.table(this.options.xlen), bits, length, pc, { csrNames: this.isa.csrNames })}`;
    const what = illegal ? "instruction" : "value";
    return `the guest can't go on: ${name} at ${hex64(pcLo, pcHi)} (${what} ${hex64(valueLo, valueHi)}${text.replace(/\s+/g, " ")}), and its ${mode}-mode trap handler at ${handler} can't be fetched`;
  }

  /** The bits of the instruction at an address while paging is off; 0 if they can't be known. */
  private instructionAt(lo: number, hi: number): number {
    const { wide } = this.hart.state;
    if (wide[2 * Wide.satp] !== 0 || wide[2 * Wide.satp + 1] !== 0 || hi !== 0) return 0;
    const bytes = new Uint8Array(4);
    this.options.memory.guest.read(lo >>> 0, bytes);
    const bits = new DataView(bytes.buffer).getInt32(0, true);
    return (bits & 3) === 3 ? bits : bits & 0xffff;
  }

  /** Makes `run` return soon after the current instruction. */
  stop(): void {
    // While another VM is the current one, this one does not run.
    if (this.core.isCurrent(this.place)) this.hart.requestExit(Exit.stop);
  }

  pollTimer(): void {
    this.hart.pollTimer();
  }

  deadline(): number {
    return this.hart.deadline();
  }

  wakeReady(): boolean {
    return this.hart.wakeReady();
  }

  retired(): number {
    return this.hart.retired();
  }
}
