/**
 * A RISC-V hart around translated code: registers, traps, interrupts and address translation. CSR reads and writes are in
 * `csrs/`, privileged instructions in `system-instructions.ts`, page tables in `page-walk.ts`.
 *
 * Guest faults are values: `raise` moves the hart to its handler and sets `header.exit`; nothing throws.
 */
import type { StateShape } from "@hyperfile/decoder";
import { Budget } from "../../engine/budget.js";
import type { CpuModel } from "../../engine/cpu-model.js";
import type { GuestMemory } from "../../memory/guest-memory.js";
import { Exit, header, PAGE_SIZE, STATE_OFFSET } from "../../memory/layout.js";
import type { LinearMemory } from "../../memory/linear-memory.js";
import { CallSites } from "../../mmu/call-sites.js";
import { AccessKind } from "../../mmu/ports.js";
import type { Tlb } from "../../mmu/tlb.js";
import { CsrFile } from "./csrs/csr-file.js";
import type { CsrTable } from "./csrs/csr-table.js";
import { freshState, type HartState, Wide } from "./hart-state.js";
import { PageWalker, type PagingMode, pagingModes, WalkResult } from "./page-walk.js";
import { Pmp } from "./pmp.js";
import {
  FS_DIRTY,
  MPP_SHIFT,
  RiscvCause,
  RiscvInterrupt,
  RiscvMode,
  RiscvStatus,
  SPP_SHIFT,
} from "./privilege.js";
import type { Watchpoints } from "./watchpoints.js";

/** Supervisor firmware in the host: called for `ecall` from S mode. */
export interface SupervisorBinary {
  /** Serves the call in a7 and a6 with arguments a0 to a5; sets a0 and a1. */
  call(hart: RiscvHart): void;
}

/** What a hart is made from. */
export interface RiscvHartOptions {
  readonly xlen: 32 | 64;
  readonly hartId: number;
  readonly memory: LinearMemory;
  /** Byte offset of the hart's block in linear memory. */
  readonly hartOffset: number;
  readonly shape: StateShape;
  readonly guest: GuestMemory;
  readonly tlb: Tlb;
  /** The CSRs that it has. */
  readonly csrs: CsrTable;
  /** Names of the extensions that it has. */
  readonly extensions: readonly string[];
  /** Ticks of 100 ns. */
  readonly clock: { now(): number };
  /** Deepest paging scheme on RV64: 3 (Sv39), 4 or 5 levels. */
  readonly pagingLevels: 3 | 4 | 5;
  /** Built-in SBI; without it firmware in M mode has to serve S mode. */
  readonly sbi?: SupervisorBinary;
}

/** Sets of TLBs: one for each translation regime. */
const TlbSet = { user: 0, supervisor: 1, supervisorSum: 2, machine: 3 } as const;

/** Highest guest-physical address plus one: 2^53 keeps addresses exact, and the board has nothing above. */
const PHYSICAL_LIMIT_HIGH = 0x200000;

/** Order in which interrupts are taken (privileged manual, 3.1.9). */
const interruptPriority = [
  RiscvInterrupt.machineExternal,
  RiscvInterrupt.machineSoftware,
  RiscvInterrupt.machineTimer,
  RiscvInterrupt.supervisorExternal,
  RiscvInterrupt.supervisorSoftware,
  RiscvInterrupt.supervisorTimer,
] as const;

/** Exceptions that can be delegated: all but calls from M mode. */
const DELEGATED_TO_SUPERVISOR = 0xb1ff;
const SUPERVISOR_INTERRUPTS = 0x222;

/** Exceptions in a row that cost no budget: more than a fault, the fault of its handler, and that of the next mode's. */
const FRUITLESS_EXCEPTIONS = 4;
/** Budget that each further one costs in the end. */
const MOST_FRUITLESS_CHARGE = 256;

/** Registers at power-on or at the start of a kernel. */
export interface HartEntry {
  readonly pcLo: number;
  readonly pcHi: number;
  readonly mode: RiscvMode;
  /** a0, a1 and a2 as exact integers below 2^53. */
  readonly args: readonly number[];
}

/** A hart. */
export class RiscvHart implements CpuModel {
  state: HartState;
  readonly pmp: Pmp;
  readonly csr: CsrFile;
  readonly counters = {
    exceptions: 0,
    interrupts: 0,
    pageWalks: 0,
    fenceI: 0,
    sfence: 0,
    ecalls: 0,
    waits: 0,
  };
  gpa = 0;
  cacheable = true;
  pageBytes = PAGE_SIZE;
  /** The hart has executed WFI and waits. */
  waiting = false;
  /** The last exception outside a trap handler's first instruction: cause, then pc and trap value in halves. */
  readonly lastTrap = new Int32Array(5);
  /** A debugger's watchpoints; undefined while there are none. */
  watchpoints: Watchpoints | undefined;
  /** What it may run, and the instructions that it has retired. */
  readonly budget: Budget;
  /** Call sites of translated code, for the helpers that it calls. */
  readonly sites: CallSites;
  private readonly words: Int32Array;
  private readonly walker: PageWalker;
  private readonly xWord: number;
  private readonly pcWord: number;
  private readonly fsWord: number;
  private readonly exitWord: number;
  private readonly highWord: number;
  private readonly wide: boolean;
  /** Instructions retired at the last exception, and how many exceptions since then came at the same count. */
  raisedAt = -1;
  fruitless = 0;
  private paging: PagingMode | undefined;

  constructor(readonly options: RiscvHartOptions) {
    const { memory, hartOffset, shape, guest } = options;
    this.words = memory.i32;
    this.wide = options.xlen === 64;
    const slot = (name: string) => (hartOffset + STATE_OFFSET + shape.slots.get(name)!.offset) >> 2;
    this.xWord = slot("x");
    this.pcWord = slot("pc");
    this.fsWord = slot("fs");
    const hart = this;
    this.budget = new Budget(memory, hartOffset, {
      get passed() {
        return hart.state.retiredBefore;
      },
      set passed(instructions) {
        hart.state.retiredBefore = instructions;
      },
    });
    const pcOffset = hartOffset + STATE_OFFSET + shape.slots.get("pc")!.offset;
    this.sites = new CallSites(memory, hartOffset, pcOffset, this.wide ? 8 : 4);
    this.exitWord = (hartOffset + header.exit) >> 2;
    this.highWord = (hartOffset + header.resultHigh) >> 2;
    this.pmp = new Pmp(options.sbi !== undefined);
    this.walker = new PageWalker(memory, guest, this.pmp);
    this.state = freshState(options.csrs.freshWide);
    this.csr = new CsrFile(this, options.csrs, slot);
    this.reset({ pcLo: 0, pcHi: 0, mode: RiscvMode.machine, args: [] });
  }

  /** Puts the hart where firmware or hardware would start it. */
  reset(entry: HartEntry): void {
    const { memory, hartOffset, shape, csrs } = this.options;
    const start = (hartOffset + STATE_OFFSET) >> 2;
    memory.i32.fill(0, start, start + (shape.size >> 2));
    this.state = freshState(csrs.freshWide);
    this.pmp.reset();
    this.waiting = false;
    this.raisedAt = -1;
    this.fruitless = 0;
    this.lastTrap.fill(0);
    this.state.mode = entry.mode;
    if (this.options.sbi !== undefined) {
      // What SBI firmware sets up before it enters S mode.
      this.state.medeleg = DELEGATED_TO_SUPERVISOR & ~(1 << RiscvCause.ecallSupervisor);
      this.state.mideleg = SUPERVISOR_INTERRUPTS;
      this.state.mcounteren = -1;
      // User mode reads cycle, time and instret: Linux's vDSO does, and leaves the register as firmware set it.
      this.state.scounteren = 7;
      this.csr.enableForSupervisor();
    }
    this.setPc(entry.pcLo, entry.pcHi);
    entry.args.forEach((value, position) => {
      this.writeX(10 + position, value | 0, Math.floor(value / 0x100000000) | 0);
    });
    this.words[this.exitWord] = Exit.none;
    this.words[(hartOffset + header.reserved) >> 2] = 0;
    this.options.tlb.flush();
    this.pagingChanged();
  }

  // -- registers

  /** Low half of an integer register. */
  readXLow(register: number): number {
    return this.words[this.xWord + register * (this.wide ? 2 : 1)]!;
  }

  /** High half of an integer register; 0 on RV32. */
  readXHigh(register: number): number {
    return this.wide ? this.words[this.xWord + register * 2 + 1]! : 0;
  }

  /** Writes an integer register; x0 stays zero. */
  writeX(register: number, lo: number, hi: number): void {
    if (register === 0) return;
    const at = this.xWord + register * (this.wide ? 2 : 1);
    this.words[at] = lo;
    if (this.wide) this.words[at + 1] = hi;
  }

  /** Low half of the program counter. */
  get pcLow(): number {
    return this.words[this.pcWord]!;
  }

  /** High half of the program counter. */
  get pcHigh(): number {
    return this.wide ? this.words[this.pcWord + 1]! : 0;
  }

  /**
   * Sets the program counter: bit 0 is no part of it (IALIGN is 16; unprivileged manual, 1.5). Nothing else outside
   * translated code writes it whole, so no odd address is ever decoded.
   */
  setPc(lo: number, hi: number): void {
    this.words[this.pcWord] = lo & -2;
    if (this.wide) this.words[this.pcWord + 1] = hi;
  }

  /** Sets the high half of the result of a helper. */
  setResultHigh(value: number): void {
    this.words[this.highWord] = value;
  }

  /** Leaves translated code for the dispatcher, or for the machine's owner. */
  requestExit(exit: number): void {
    this.sites.requestExit(exit);
  }

  // -- time and instructions

  /** Instructions retired since power-on. Exact between blocks, and inside CSR and device accesses and exceptions. */
  retired(): number {
    return this.budget.now;
  }

  // -- interrupts

  /** Sets or clears the pending bit of an interrupt; devices call it. */
  setPending(cause: number, level: boolean): void {
    if (level) this.state.lines |= 1 << cause;
    else this.state.lines &= ~(1 << cause);
  }

  /** `mip` as software reads it. */
  get pending(): number {
    return this.state.lines | this.state.software;
  }

  interruptReady(): boolean {
    const { state } = this;
    const pending = (state.lines | state.software) & state.mie;
    return pending !== 0 && this.isTakable(pending);
  }

  mayBeInterrupted(): boolean {
    return this.isTakable(this.state.mie);
  }

  /** Whether one of these interrupts, enabled each, would be taken now (privileged manual, 3.1.6.1 and 3.1.9). */
  private isTakable(causes: number): boolean {
    const { state } = this;
    const toMachine = causes & ~state.mideleg;
    if (toMachine !== 0 && (state.mode < RiscvMode.machine || (state.status & RiscvStatus.mie) !== 0))
      return true;
    const toSupervisor = causes & state.mideleg;
    return (
      toSupervisor !== 0 &&
      (state.mode < RiscvMode.supervisor ||
        (state.mode === RiscvMode.supervisor && (state.status & RiscvStatus.sie) !== 0))
    );
  }

  takeInterrupt(): boolean {
    if (!this.interruptReady()) return false;
    const { state } = this;
    const pending = (state.lines | state.software) & state.mie;
    const machine =
      state.mode < RiscvMode.machine || (state.status & RiscvStatus.mie) !== 0 ? pending & ~state.mideleg : 0;
    const candidates = machine !== 0 ? machine : pending & state.mideleg;
    const cause = interruptPriority.find((bit) => ((candidates >>> bit) & 1) !== 0)!;
    this.counters.interrupts++;
    this.waiting = false;
    if (machine !== 0) this.enterMachine(cause, true, 0, 0);
    else this.enterSupervisor(cause, true, 0, 0);
    return true;
  }

  /** Whether a hart that waits must go on: any enabled interrupt is pending, whatever the global enables say. */
  wakeReady(): boolean {
    return ((this.state.lines | this.state.software) & this.state.mie) !== 0;
  }

  /** Compares `stimecmp` with the clock (Sstc). */
  pollTimer(): void {
    if (!this.csr.supervisorTimerEnabled) return;
    this.setPending(RiscvInterrupt.supervisorTimer, this.options.clock.now() >= this.timerAt());
  }

  /** Tick at which the supervisor timer fires; Infinity if it is off. */
  deadline(): number {
    if (!this.csr.supervisorTimerEnabled) return Infinity;
    const at = this.timerAt();
    return at >= 2 ** 63 ? Infinity : at;
  }

  private timerAt(): number {
    const { wide } = this.state;
    return (wide[2 * Wide.stimecmp + 1]! >>> 0) * 0x100000000 + (wide[2 * Wide.stimecmp]! >>> 0);
  }

  // -- traps

  /** Raises an exception at the instruction that the program counter names. */
  raise(cause: number, lo: number, hi: number): void {
    this.counters.exceptions++;
    const { state, lastTrap } = this;
    this.chargeFruitless();
    const { pcLow, pcHigh } = this;
    const handlers = state.wide;
    // A handler that faults at its own first instruction is not what went wrong first.
    if (pcLow !== (handlers[2 * Wide.mtvec]! & -4) && pcLow !== (handlers[2 * Wide.stvec]! & -4)) {
      lastTrap[0] = cause;
      lastTrap[1] = pcLow;
      lastTrap[2] = pcHigh;
      lastTrap[3] = lo;
      lastTrap[4] = hi;
    }
    const delegated = state.mode <= RiscvMode.supervisor && ((state.medeleg >>> cause) & 1) !== 0;
    if (delegated) this.enterSupervisor(cause, false, lo, hi);
    else this.enterMachine(cause, false, lo, hi);
  }

  /**
   * Charges exceptions that follow each other with nothing retired between them, as in a handler that faults at its
   * own first instruction: without it such a guest would never use up its budget, and `run` would never return. An
   * exception takes as long as some hundred instructions, so the charge grows to that.
   */
  private chargeFruitless(): void {
    const retired = this.retired();
    if (retired !== this.raisedAt) {
      this.raisedAt = retired;
      this.fruitless = 0;
    } else if (++this.fruitless > FRUITLESS_EXCEPTIONS) {
      const charge = Math.min(this.fruitless - FRUITLESS_EXCEPTIONS, MOST_FRUITLESS_CHARGE);
      this.budget.forfeit(charge);
    }
  }

  /** Raises illegal instruction with the instruction's bits as trap value. */
  raiseIllegal(): void {
    this.raise(RiscvCause.illegalInstruction, this.instructionBits(), 0);
  }

  private enterSupervisor(cause: number, interrupt: boolean, lo: number, hi: number): void {
    const { state } = this;
    this.setWide(Wide.sepc, this.pcLow, this.pcHigh);
    this.setCause(Wide.scause, cause, interrupt);
    this.setWide(Wide.stval, lo, hi);
    let status = state.status & ~(RiscvStatus.spie | RiscvStatus.sie | RiscvStatus.spp);
    if ((state.status & RiscvStatus.sie) !== 0) status |= RiscvStatus.spie;
    status |= (state.mode & 1) << SPP_SHIFT;
    state.status = status;
    this.enterHandler(RiscvMode.supervisor, Wide.stvec, cause, interrupt);
  }

  private enterMachine(cause: number, interrupt: boolean, lo: number, hi: number): void {
    const { state } = this;
    this.setWide(Wide.mepc, this.pcLow, this.pcHigh);
    this.setCause(Wide.mcause, cause, interrupt);
    this.setWide(Wide.mtval, lo, hi);
    let status = state.status & ~(RiscvStatus.mpie | RiscvStatus.mie | RiscvStatus.mpp);
    if ((state.status & RiscvStatus.mie) !== 0) status |= RiscvStatus.mpie;
    status |= state.mode << MPP_SHIFT;
    state.status = status;
    this.enterHandler(RiscvMode.machine, Wide.mtvec, cause, interrupt);
  }

  private enterHandler(mode: RiscvMode, vector: number, cause: number, interrupt: boolean): void {
    const { wide } = this.state;
    const low = wide[2 * vector]!;
    const base = low & -4;
    const target = interrupt && (low & 1) !== 0 ? (base + 4 * cause) | 0 : base;
    const carry = target >>> 0 < base >>> 0 ? 1 : 0;
    this.state.mode = mode;
    this.selectTlbs();
    this.setPc(target, (wide[2 * vector + 1]! + carry) | 0);
    this.requestExit(Exit.redirect);
  }

  private setCause(register: number, cause: number, interrupt: boolean): void {
    const top = interrupt ? -0x80000000 : 0;
    if (this.wide) this.setWide(register, cause, top);
    else this.setWide(register, cause | top, 0);
  }

  private setWide(register: number, lo: number, hi: number): void {
    this.state.wide[2 * register] = lo;
    this.state.wide[2 * register + 1] = hi;
  }

  /**
   * Bits of the instruction at the program counter: those that were fetched, while the fetch TLB knows its page, even if
   * page tables say something else by now.
   */
  private instructionBits(): number {
    const low = this.parcel(this.pcLow, this.pcHigh);
    if ((low & 3) !== 3) return low;
    const next = (this.pcLow + 2) | 0;
    const high = next >>> 0 < this.pcLow >>> 0 ? (this.pcHigh + 1) | 0 : this.pcHigh;
    return low | (this.parcel(next, high) << 16);
  }

  private parcel(lo: number, hi: number): number {
    const { tlb, guest, memory } = this.options;
    const known = tlb.lookup(AccessKind.fetch, lo, hi);
    if (known >= 0) return memory.u16[known >>> 1]!;
    if (this.resolve(AccessKind.fetch, lo, hi) !== WalkResult.ok) return 0;
    const frame = guest.frameOffset(this.gpa);
    return frame < 0 ? 0 : memory.u16[(frame + (lo & (PAGE_SIZE - 1))) >>> 1]!;
  }

  // -- address translation

  translate(kind: AccessKind, lo: number, hi: number, bytes = 1): boolean {
    const result = this.resolve(kind, lo, hi, false, bytes);
    if (result === WalkResult.ok)
      return (
        this.watchpoints === undefined || kind === AccessKind.fetch || this.mayAccess(kind, lo, hi, bytes)
      );
    if (result === WalkResult.accessFault) this.accessFault(kind, lo, hi);
    else this.raise(pageFaults[kind], lo, hi);
    return false;
  }

  /** Whether no watchpoint stops an access before it is done; its page stays out of the TLBs if one touches it. */
  private mayAccess(kind: AccessKind, lo: number, hi: number, bytes: number): boolean {
    const watchpoints = this.watchpoints!;
    const address = (BigInt((this.wide ? hi : 0) >>> 0) << 32n) | BigInt(lo >>> 0);
    if (watchpoints.touchesPage(address)) this.cacheable = false;
    if (watchpoints.isOff) return true;
    const isAtomic = kind === AccessKind.write && readsAndWrites(this.instructionBits());
    const found = watchpoints.find(kind, address, bytes, isAtomic);
    if (found === undefined) return true;
    watchpoints.hit = found;
    watchpoints.hitAt = (BigInt(this.pcHigh >>> 0) << 32n) | BigInt(this.pcLow >>> 0);
    this.requestExit(Exit.stop);
    return false;
  }

  /** Translates without raising anything; `probe` leaves A and D alone, for debuggers. */
  resolve(kind: AccessKind, lo: number, hi: number, probe = false, bytes = 1): WalkResult {
    const { state } = this;
    this.counters.pageWalks++;
    const mode = kind === AccessKind.fetch ? (state.mode as RiscvMode) : this.dataMode();
    if (mode === RiscvMode.machine || this.paging === undefined) {
      if (this.wide && hi >>> 0 >= PHYSICAL_LIMIT_HIGH) return WalkResult.accessFault;
      this.gpa = (this.wide ? hi * 0x100000000 : 0) + (lo >>> 0);
      this.pageBytes = PAGE_SIZE;
    } else {
      const result = this.walker.walk(
        this.paging,
        lo,
        hi,
        kind,
        mode,
        (state.status & RiscvStatus.sum) !== 0,
        (state.status & RiscvStatus.mxr) !== 0,
        probe ? "ignore" : this.csr.updatesAccessedDirty ? "set" : "fault",
      );
      if (result !== WalkResult.ok) return result;
      this.gpa = this.walker.gpa;
      this.pageBytes = this.walker.pageBytes;
    }
    if (!this.pmp.allows(this.gpa, kind, mode, bytes)) return WalkResult.accessFault;
    this.cacheable = this.pmp.uniform(this.gpa);
    return WalkResult.ok;
  }

  accessFault(kind: AccessKind, lo: number, hi: number): void {
    this.raise(accessFaults[kind], lo, hi);
  }

  misaligned(kind: AccessKind, lo: number, hi: number): void {
    this.raise(kind === AccessKind.read ? RiscvCause.loadMisaligned : RiscvCause.storeMisaligned, lo, hi);
  }

  /** Mode under which loads and stores are translated (`mstatus.MPRV`, privileged manual, 3.1.6.3). */
  private dataMode(): RiscvMode {
    const { state } = this;
    if (state.mode === RiscvMode.machine && (state.status & RiscvStatus.mprv) !== 0) {
      return ((state.status & RiscvStatus.mpp) >> MPP_SHIFT) as RiscvMode;
    }
    return state.mode as RiscvMode;
  }

  /** Chooses the TLBs for the current mode; call after any change of mode, MPRV, MPP or SUM. */
  selectTlbs(): void {
    const data = this.tlbSet(this.dataMode());
    // SUM does not touch fetches, so running code never loses its own page when a kernel sets it.
    const fetch =
      this.state.mode === RiscvMode.supervisor
        ? TlbSet.supervisor
        : this.tlbSet(this.state.mode as RiscvMode);
    this.options.tlb.select(data, data, fetch);
  }

  private tlbSet(mode: RiscvMode): number {
    if (mode === RiscvMode.machine) return TlbSet.machine;
    if (mode === RiscvMode.user) return TlbSet.user;
    return (this.state.status & RiscvStatus.sum) !== 0 ? TlbSet.supervisorSum : TlbSet.supervisor;
  }

  /** Reads `satp` anew and drops all cached translations. */
  pagingChanged(): void {
    const low = this.state.wide[2 * Wide.satp]!;
    const high = this.state.wide[2 * Wide.satp + 1]!;
    const mode = this.wide ? high >>> 28 : low >>> 31;
    this.paging = mode === 0 ? undefined : pagingModes.find((scheme) => scheme.satpMode === mode);
    const ppn = this.wide ? (high & 0xfff) * 0x100000000 + (low >>> 0) : low & 0x3fffff;
    this.walker.root = ppn * PAGE_SIZE;
    this.options.tlb.flush();
    this.selectTlbs();
  }

  /** Marks floating-point state dirty; CSR writes to it call this. */
  markFloatDirty(): void {
    this.words[this.fsWord] = FS_DIRTY;
  }
}

/** Opcode of atomic instructions, and the function of SC, the one of them that only writes. */
const [OPCODE_AMO, FUNCTION_SC] = [0x2f, 3];

/** Whether an instruction that writes is a read-modify-write. */
const readsAndWrites = (bits: number): boolean => (bits & 0x7f) === OPCODE_AMO && bits >>> 27 !== FUNCTION_SC;

const pageFaults = [RiscvCause.loadPage, RiscvCause.storePage, RiscvCause.instructionPage] as const;
const accessFaults = [RiscvCause.loadAccess, RiscvCause.storeAccess, RiscvCause.instructionAccess] as const;
