/**
 * The CSRs of a hart: who may access which, what reads give, and what writes do (privileged manual, chapters 2, 3
 * and 12). Values travel in `low` and `high`, so that the CSRs that every system call and trap touches cost no
 * allocation.
 */
import { Csr } from "./csr-numbers.js";
import { type HartState, Wide } from "./hart-state.js";
import { pagingModes } from "./page-walk.js";
import type { Pmp } from "./pmp.js";
import { FS_SHIFT, Interrupt, Mode, MPP_SHIFT, Status, UXL_64, XL_64 } from "./privilege.js";

/** What a CSR instruction leads to. */
export const CsrOutcome = {
  /** The value is in `low` and `high`. */
  done: 0,
  /** No such CSR, or not in this mode. */
  illegal: 1,
  /** Done, and code must be looked up anew. */
  leave: 2,
} as const;
export type CsrOutcome = (typeof CsrOutcome)[keyof typeof CsrOutcome];

/** Fields of `mstatus` that software writes, without `FS`. */
export const STATUS_WRITABLE =
  Status.sie |
  Status.mie |
  Status.spie |
  Status.mpie |
  Status.spp |
  Status.mpp |
  Status.mprv |
  Status.sum |
  Status.mxr |
  Status.tvm |
  Status.tw |
  Status.tsr;
const SSTATUS_WRITABLE = Status.sie | Status.spie | Status.spp | Status.sum | Status.mxr;
/** Interrupts that there are: external, timer and software, of M and of S mode. */
export const MACHINE_INTERRUPTS = 0xaaa;
/** Those of S mode, which may be delegated. */
export const SUPERVISOR_INTERRUPTS = 0x222;
/** Exceptions that may be delegated: all but `ecall` from M mode and the reserved ones. */
export const DELEGABLE = 0xb3ff;
/** `menvcfg`: STCE is bit 63, ADUE bit 61, and the fence and cache-block fields of the low word. */
const STCE_HIGH = -0x80000000;
const ADUE_HIGH = 0x20000000;
/** Writable bits of the high word of `menvcfg`. */
export const MENVCFG_HIGH = STCE_HIGH | ADUE_HIGH;
/** `menvcfg.FIOM` and `senvcfg.FIOM`; the cache-block extensions are not there. */
export const ENVCFG_LOW = 1;
/** Address-space identifiers in the high word of RV64's `satp`, and in RV32's: hardwired to zero. */
const ASID_HIGH = 0x0ffff000;
const ASID_LOW = 0x7fc00000;

/** Whether `satp` may hold a mode, its top bits: off, or a scheme that a hart with `levels` levels has (12.1.11). */
export function isPagingMode(mode: number, xlen: 32 | 64, levels: number): boolean {
  if (mode === 0) return true;
  const scheme = pagingModes.find((candidate) => candidate.satpMode === mode);
  if (scheme === undefined || scheme.satpMode > 1 !== (xlen === 64)) return false;
  return xlen === 32 || scheme.levels <= levels;
}

/** A value of `satp` whose mode is supported as the register holds it. */
export const legalSatp = (lo: number, hi: number, xlen: 32 | 64): [lo: number, hi: number] =>
  xlen === 64 ? [lo, hi & ~ASID_HIGH] : [lo & ~ASID_LOW, 0];
/** Extensions in `misa`: A C D F I M S U. */
const MISA_EXTENSIONS =
  (1 << 0) | (1 << 2) | (1 << 3) | (1 << 5) | (1 << 8) | (1 << 12) | (1 << 18) | (1 << 20);
const SUPERVISOR_TIMER = 1 << Interrupt.supervisorTimer;

/** The hart around a CSR file, as far as CSRs reach into it. */
export interface CsrOwner {
  readonly options: {
    readonly xlen: 32 | 64;
    readonly memory: { readonly i32: Int32Array };
    readonly tlb: { flush(): void };
    readonly clock: { now(): number };
    readonly pagingLevels: number;
  };
  readonly state: HartState;
  readonly pmp: Pmp;
  /** `mip` as software reads it. */
  readonly pending: number;
  retired(): number;
  pollTimer(): void;
  setPending(cause: number, level: boolean): void;
  selectTlbs(): void;
  pagingChanged(): void;
  markFloatDirty(): void;
}

/** The CSR file of one hart. */
export class CsrFile {
  /** Value of the last access. */
  low = 0;
  high = 0;
  private hartId = 0;
  /** Instructions that retire with a write: the one that writes; none if a debugger does. */
  private retiring = 1;
  private readonly words: Int32Array;
  private readonly fs: number;
  private readonly frm: number;
  private readonly fflags: number;
  private readonly rv64: boolean;

  /** @param slot word index of a slot by name */
  constructor(
    private readonly hart: CsrOwner,
    slot: (name: string) => number,
  ) {
    this.words = hart.options.memory.i32;
    this.fs = slot("fs");
    this.frm = slot("frm");
    this.fflags = slot("fflags");
    this.rv64 = hart.options.xlen === 64;
  }

  /** Power-on values. */
  reset(hartId: number): void {
    this.hartId = hartId;
    this.hart.state.wide[2 * Wide.menvcfg + 1] = ADUE_HIGH;
  }

  /** What SBI firmware enables before it enters S mode: the supervisor timer and all counters. */
  enableForSupervisor(): void {
    this.hart.state.wide[2 * Wide.menvcfg + 1]! |= STCE_HIGH;
  }

  /** Whether `stimecmp` drives the supervisor timer interrupt (`menvcfg.STCE`). */
  get supervisorTimerEnabled(): boolean {
    return this.hart.state.wide[2 * Wide.menvcfg + 1]! < 0;
  }

  /** Whether page walks set A and D (`menvcfg.ADUE`). */
  get updatesAccessedDirty(): boolean {
    return (this.hart.state.wide[2 * Wide.menvcfg + 1]! & ADUE_HIGH) !== 0;
  }

  /**
   * One CSR instruction: 0 swaps, 1 sets bits, 2 clears bits.
   * @param writes whether the instruction writes at all
   */
  access(operation: 0 | 1 | 2, csr: number, lo: number, hi: number, writes: boolean): CsrOutcome {
    const { state } = this.hart;
    if (((csr >>> 8) & 3) > state.mode || (writes && csr >>> 10 === 3)) return CsrOutcome.illegal;
    if (!this.read(csr)) return CsrOutcome.illegal;
    if (!writes) return CsrOutcome.done;
    const oldLow = this.low;
    const oldHigh = this.high;
    // Set and clear of mip.SEIP work on the software bit alone (3.1.9).
    const base = csr === Csr.mip || csr === Csr.sip ? this.hart.state.software : oldLow;
    const newLow = operation === 0 ? lo : operation === 1 ? base | lo : base & ~lo;
    const newHigh = operation === 0 ? hi : operation === 1 ? oldHigh | hi : oldHigh & ~hi;
    const outcome = this.write(csr, newLow, newHigh);
    this.low = oldLow;
    this.high = oldHigh;
    return outcome;
  }

  /** Reads a CSR for a debugger, whatever mode and `FS` allow, into `low` and `high`; false if there is none. */
  peek(csr: number): boolean {
    return this.unhindered(csr, () => this.read(csr));
  }

  /** Writes a CSR for a debugger as software in M mode would; false if there is none or it is read-only. */
  poke(csr: number, lo: number, hi: number): boolean {
    if (csr >>> 10 === 3 || !this.peek(csr)) return false;
    this.retiring = 0;
    this.unhindered(csr, () => this.write(csr, lo, hi));
    this.retiring = 1;
    // Writes choose TLBs for the mode that they find.
    this.hart.selectTlbs();
    return true;
  }

  private unhindered<T>(csr: number, act: () => T): T {
    const { state } = this.hart;
    const { mode } = state;
    const fs = this.words[this.fs]!;
    const isFloat = csr >= Csr.fflags && csr <= Csr.fcsr;
    state.mode = Mode.machine;
    if (isFloat && fs === 0) this.words[this.fs] = 1;
    const result = act();
    state.mode = mode;
    if (isFloat && fs === 0) this.words[this.fs] = 0;
    return result;
  }

  private give(lo: number, hi: number): true {
    this.low = lo;
    this.high = hi;
    return true;
  }

  private giveWide(register: number): true {
    const { wide } = this.hart.state;
    return this.give(wide[2 * register]!, wide[2 * register + 1]!);
  }

  private giveNumber(value: number, upper: boolean): true {
    const high = Math.floor(value / 0x100000000) | 0;
    return upper ? this.give(high, 0) : this.give(value | 0, high);
  }

  // -- reading

  /** Reads a CSR into `low` and `high`; false if it does not exist in this mode. */
  private read(csr: number): boolean {
    const { hart } = this;
    const { state } = hart;
    switch (csr) {
      case Csr.sstatus:
        return this.give(this.statusLow(SSTATUS_WRITABLE), this.statusHigh(UXL_64));
      case Csr.sie:
        return this.give(state.mie & state.mideleg, 0);
      case Csr.sip:
        return this.give(hart.pending & state.mideleg, 0);
      case Csr.stvec:
        return this.giveWide(Wide.stvec);
      case Csr.sscratch:
        return this.giveWide(Wide.sscratch);
      case Csr.sepc:
        return this.giveWide(Wide.sepc);
      case Csr.scause:
        return this.giveWide(Wide.scause);
      case Csr.stval:
        return this.giveWide(Wide.stval);
      case Csr.satp:
        if (state.mode === Mode.supervisor && (state.status & Status.tvm) !== 0) return false;
        return this.giveWide(Wide.satp);
      case Csr.scounteren:
        return this.give(state.scounteren, 0);
      case Csr.senvcfg:
        return this.giveWide(Wide.senvcfg);
      case Csr.stimecmp:
        return this.stimecmpAllowed() && this.giveWide(Wide.stimecmp);
      case Csr.stimecmph:
        if (this.rv64 || !this.stimecmpAllowed()) return false;
        return this.give(state.wide[2 * Wide.stimecmp + 1]!, 0);
      case Csr.fflags:
        return this.floatOn() && this.give(this.words[this.fflags]!, 0);
      case Csr.frm:
        return this.floatOn() && this.give(this.words[this.frm]!, 0);
      case Csr.fcsr:
        return this.floatOn() && this.give((this.words[this.frm]! << 5) | this.words[this.fflags]!, 0);
      case Csr.cycle:
      case Csr.time:
      case Csr.instret:
      case Csr.cycleh:
      case Csr.timeh:
      case Csr.instreth:
        return this.readUserCounter(csr);
      default:
        if (csr >= Csr.hpmcounter3 && csr <= Csr.hpmcounter31) return this.readHpm(csr - Csr.cycle);
        if (csr >= Csr.hpmcounter3h && csr <= Csr.hpmcounter31h)
          return !this.rv64 && this.readHpm(csr - Csr.cycleh);
        return this.readMachine(csr);
    }
  }

  private readHpm(index: number): boolean {
    return this.counterAllowed(index) && this.give(0, 0);
  }

  private readMachine(csr: number): boolean {
    const { hart } = this;
    const { state } = hart;
    switch (csr) {
      case Csr.mstatus:
        return this.give(this.statusLow(STATUS_WRITABLE), this.statusHigh(XL_64));
      case Csr.mstatush:
        return !this.rv64 && this.give(0, 0);
      case Csr.misa:
        return this.rv64
          ? this.give(MISA_EXTENSIONS, -0x80000000)
          : this.give(MISA_EXTENSIONS | 0x40000000, 0);
      case Csr.medeleg:
        return this.give(state.medeleg, 0);
      case Csr.mideleg:
        return this.give(state.mideleg, 0);
      case Csr.mie:
        return this.give(state.mie, 0);
      case Csr.mip:
        return this.give(hart.pending, 0);
      case Csr.mtvec:
        return this.giveWide(Wide.mtvec);
      case Csr.mscratch:
        return this.giveWide(Wide.mscratch);
      case Csr.mepc:
        return this.giveWide(Wide.mepc);
      case Csr.mcause:
        return this.giveWide(Wide.mcause);
      case Csr.mtval:
        return this.giveWide(Wide.mtval);
      case Csr.mcounteren:
        return this.give(state.mcounteren, 0);
      case Csr.mcountinhibit:
        return this.give(state.mcountinhibit, 0);
      case Csr.menvcfg:
        return this.giveWide(Wide.menvcfg);
      case Csr.menvcfgh:
        return !this.rv64 && this.give(state.wide[2 * Wide.menvcfg + 1]!, 0);
      case Csr.mcycle:
        return this.giveCounter(Wide.cycleOffset, false);
      case Csr.minstret:
        return this.giveCounter(Wide.instretOffset, false);
      case Csr.mcycleh:
        return !this.rv64 && this.giveCounter(Wide.cycleOffset, true);
      case Csr.minstreth:
        return !this.rv64 && this.giveCounter(Wide.instretOffset, true);
      case Csr.mhartid:
        return this.give(this.hartId, 0);
      case Csr.mvendorid:
      case Csr.marchid:
      case Csr.mimpid:
      case Csr.mconfigptr:
      case Csr.tselect:
      case Csr.tdata1:
      case Csr.tdata2:
      case Csr.tdata3:
        return this.give(0, 0);
      default:
        return this.readMachineRange(csr);
    }
  }

  private readMachineRange(csr: number): boolean {
    if (csr >= Csr.pmpcfg0 && csr <= Csr.pmpcfg3) {
      if (this.rv64 && (csr & 1) !== 0) return false;
      const { config } = this.hart.pmp;
      const first = (csr - Csr.pmpcfg0) * 4;
      const word = (at: number) =>
        config[at]! | (config[at + 1]! << 8) | (config[at + 2]! << 16) | (config[at + 3]! << 24);
      return this.give(word(first), this.rv64 ? word(first + 4) : 0);
    }
    if (csr >= Csr.pmpaddr0 && csr <= Csr.pmpaddr15) {
      const entry = csr - Csr.pmpaddr0;
      return this.give(this.hart.pmp.addressLow[entry]!, this.rv64 ? this.hart.pmp.addressHigh[entry]! : 0);
    }
    if (csr >= Csr.mhpmcounter3h && csr <= Csr.mhpmcounter31h) return !this.rv64 && this.give(0, 0);
    const zero =
      (csr >= Csr.mhpmcounter3 && csr <= Csr.mhpmcounter31) ||
      (csr >= Csr.mhpmevent3 && csr <= Csr.mhpmevent31);
    return zero && this.give(0, 0);
  }

  /** Counters that lower modes may read only if `mcounteren` and `scounteren` say so (3.1.11, 12.1.5). */
  private counterAllowed(index: number): boolean {
    const { state } = this.hart;
    if (state.mode < Mode.machine && ((state.mcounteren >>> index) & 1) === 0) return false;
    return state.mode > Mode.user || ((state.scounteren >>> index) & 1) !== 0;
  }

  private readUserCounter(csr: number): boolean {
    const upper = csr >= Csr.cycleh;
    if (upper && this.rv64) return false;
    const index = upper ? csr - Csr.cycleh : csr - Csr.cycle;
    if (!this.counterAllowed(index)) return false;
    if (index === 1) return this.giveNumber(this.hart.options.clock.now(), upper);
    return this.giveCounter(index === 0 ? Wide.cycleOffset : Wide.instretOffset, upper);
  }

  /** A counter: instructions retired plus what software wrote. */
  private giveCounter(offset: number, upper: boolean): true {
    const { lo, hi } = this.currentCounter(offset);
    return upper ? this.give(hi, 0) : this.give(lo, this.rv64 ? hi : 0);
  }

  private stimecmpAllowed(): boolean {
    const { state } = this.hart;
    if (state.mode === Mode.machine) return true;
    return this.supervisorTimerEnabled && ((state.mcounteren >>> 1) & 1) !== 0;
  }

  private floatOn(): boolean {
    return this.words[this.fs] !== 0;
  }

  private statusLow(mask: number): number {
    const fs = this.words[this.fs]!;
    const low = (this.hart.state.status & mask) | (fs << FS_SHIFT);
    return !this.rv64 && fs === 3 ? low | -0x80000000 : low;
  }

  private statusHigh(xl: number): number {
    if (!this.rv64) return 0;
    return this.words[this.fs] === 3 ? xl | -0x80000000 : xl;
  }

  // -- writing

  private write(csr: number, lo: number, hi: number): CsrOutcome {
    const { hart } = this;
    const { state } = hart;
    switch (csr) {
      case Csr.sstatus:
        return this.writeStatus(lo, SSTATUS_WRITABLE);
      case Csr.sie:
        state.mie = (state.mie & ~state.mideleg) | (lo & state.mideleg & SUPERVISOR_INTERRUPTS);
        return CsrOutcome.done;
      case Csr.sip:
        return this.writePending(lo, (1 << Interrupt.supervisorSoftware) & state.mideleg);
      case Csr.stvec:
        return this.writeWide(Wide.stvec, lo & ~2, hi);
      case Csr.sscratch:
        return this.writeWide(Wide.sscratch, lo, hi);
      case Csr.sepc:
        return this.writeWide(Wide.sepc, lo & ~1, hi);
      case Csr.scause:
        return this.writeWide(Wide.scause, lo, hi);
      case Csr.stval:
        return this.writeWide(Wide.stval, lo, hi);
      case Csr.satp:
        return this.writeSatp(lo, hi);
      case Csr.scounteren:
        state.scounteren = lo;
        return CsrOutcome.done;
      case Csr.senvcfg:
        return this.writeWide(Wide.senvcfg, lo & ENVCFG_LOW, 0);
      case Csr.stimecmp:
        this.writeWide(Wide.stimecmp, lo, this.rv64 ? hi : state.wide[2 * Wide.stimecmp + 1]!);
        hart.pollTimer();
        return CsrOutcome.done;
      case Csr.stimecmph:
        this.writeWide(Wide.stimecmp, state.wide[2 * Wide.stimecmp]!, lo);
        hart.pollTimer();
        return CsrOutcome.done;
      case Csr.fflags:
        return this.writeFloat(lo & 31, this.words[this.frm]!);
      case Csr.frm:
        return this.writeFloat(this.words[this.fflags]!, lo & 7);
      case Csr.fcsr:
        return this.writeFloat(lo & 31, (lo >>> 5) & 7);
      default:
        return this.writeMachine(csr, lo, hi);
    }
  }

  private writeMachine(csr: number, lo: number, hi: number): CsrOutcome {
    const { state } = this.hart;
    switch (csr) {
      case Csr.mstatus:
        return this.writeStatus(lo, STATUS_WRITABLE);
      case Csr.medeleg:
        state.medeleg = lo & DELEGABLE;
        return CsrOutcome.done;
      case Csr.mideleg:
        state.mideleg = lo & SUPERVISOR_INTERRUPTS;
        return CsrOutcome.done;
      case Csr.mie:
        state.mie = lo & MACHINE_INTERRUPTS;
        return CsrOutcome.done;
      case Csr.mip:
        return this.writePending(
          lo,
          SUPERVISOR_INTERRUPTS & ~(this.supervisorTimerEnabled ? SUPERVISOR_TIMER : 0),
        );
      case Csr.mtvec:
        return this.writeWide(Wide.mtvec, lo & ~2, hi);
      case Csr.mscratch:
        return this.writeWide(Wide.mscratch, lo, hi);
      case Csr.mepc:
        return this.writeWide(Wide.mepc, lo & ~1, hi);
      case Csr.mcause:
        return this.writeWide(Wide.mcause, lo, hi);
      case Csr.mtval:
        return this.writeWide(Wide.mtval, lo, hi);
      case Csr.mcounteren:
        state.mcounteren = lo;
        return CsrOutcome.done;
      case Csr.mcountinhibit:
        state.mcountinhibit = 0;
        return CsrOutcome.done;
      case Csr.menvcfg:
        return this.writeEnvironment(lo, this.rv64 ? hi : state.wide[2 * Wide.menvcfg + 1]!);
      case Csr.menvcfgh:
        return this.writeEnvironment(state.wide[2 * Wide.menvcfg]!, lo);
      case Csr.mcycle:
        return this.writeCounter(Wide.cycleOffset, lo, hi, false);
      case Csr.minstret:
        return this.writeCounter(Wide.instretOffset, lo, hi, false);
      case Csr.mcycleh:
        return this.writeCounter(Wide.cycleOffset, lo, hi, true);
      case Csr.minstreth:
        return this.writeCounter(Wide.instretOffset, lo, hi, true);
      default:
        return this.writePmp(csr, lo, hi);
    }
  }

  private writeWide(register: number, lo: number, hi: number): CsrOutcome {
    const { wide } = this.hart.state;
    wide[2 * register] = lo;
    wide[2 * register + 1] = hi;
    return CsrOutcome.done;
  }

  private writeStatus(lo: number, mask: number): CsrOutcome {
    const { hart } = this;
    const { state } = hart;
    let written = (state.status & ~mask) | (lo & mask);
    // MPP is WARL: the encoding 2 names no mode and leaves the field as it was.
    if ((written & Status.mpp) >> MPP_SHIFT === 2)
      written = (written & ~Status.mpp) | (state.status & Status.mpp);
    const changed = written ^ state.status;
    state.status = written;
    this.words[this.fs] = (lo & Status.fs) >>> FS_SHIFT;
    if ((changed & Status.mxr) !== 0) hart.options.tlb.flush();
    if ((changed & (Status.mprv | Status.sum | Status.mpp)) !== 0) hart.selectTlbs();
    return CsrOutcome.done;
  }

  private writePending(lo: number, mask: number): CsrOutcome {
    const { state } = this.hart;
    state.software = (state.software & ~mask) | (lo & mask);
    return CsrOutcome.done;
  }

  private writeSatp(lo: number, hi: number): CsrOutcome {
    const { hart } = this;
    const { xlen, pagingLevels } = hart.options;
    // A write with an unsupported mode has no effect at all (12.1.11).
    if (!isPagingMode(this.rv64 ? hi >>> 28 : lo >>> 31, xlen, pagingLevels)) return CsrOutcome.done;
    this.writeWide(Wide.satp, ...legalSatp(lo, hi, xlen));
    hart.pagingChanged();
    return CsrOutcome.leave;
  }

  private writeEnvironment(lo: number, hi: number): CsrOutcome {
    const { hart } = this;
    this.writeWide(Wide.menvcfg, lo & ENVCFG_LOW, hi & MENVCFG_HIGH);
    if (this.supervisorTimerEnabled) {
      hart.state.software &= ~SUPERVISOR_TIMER;
      hart.pollTimer();
    } else hart.setPending(Interrupt.supervisorTimer, false);
    return CsrOutcome.done;
  }

  /** After the write the counter reads as written by the next instruction (3.1.10). */
  private writeCounter(offset: number, lo: number, hi: number, upper: boolean): CsrOutcome {
    const retired = this.hart.retired() + this.retiring;
    const current = this.currentCounter(offset);
    const wantedLow = upper ? current.lo : lo;
    const wantedHigh = upper ? lo : this.rv64 ? hi : current.hi;
    const retiredLow = retired | 0;
    const low = (wantedLow - retiredLow) | 0;
    const borrow = wantedLow >>> 0 < retiredLow >>> 0 ? 1 : 0;
    return this.writeWide(offset, low, (wantedHigh - Math.floor(retired / 0x100000000) - borrow) | 0);
  }

  private currentCounter(offset: number): { lo: number; hi: number } {
    const { wide } = this.hart.state;
    const retired = this.hart.retired();
    const lo = (retired + wide[2 * offset]!) | 0;
    const carry = lo >>> 0 < (retired | 0) >>> 0 ? 1 : 0;
    return { lo, hi: (Math.floor(retired / 0x100000000) + wide[2 * offset + 1]! + carry) | 0 };
  }

  private writePmp(csr: number, lo: number, hi: number): CsrOutcome {
    const { hart } = this;
    if (csr >= Csr.pmpcfg0 && csr <= Csr.pmpcfg3) {
      const first = (csr - Csr.pmpcfg0) * 4;
      for (let at = 0; at < 4; at++) hart.pmp.writeConfig(first + at, (lo >>> (8 * at)) & 0xff);
      if (this.rv64)
        for (let at = 0; at < 4; at++) hart.pmp.writeConfig(first + 4 + at, (hi >>> (8 * at)) & 0xff);
    } else if (csr >= Csr.pmpaddr0 && csr <= Csr.pmpaddr15) {
      hart.pmp.writeAddress(csr - Csr.pmpaddr0, lo, this.rv64 ? hi : 0);
    } else return CsrOutcome.done;
    hart.options.tlb.flush();
    return CsrOutcome.leave;
  }

  private writeFloat(flags: number, mode: number): CsrOutcome {
    this.words[this.fflags] = flags;
    this.words[this.frm] = mode;
    this.hart.markFloatDirty();
    return CsrOutcome.done;
  }
}
