/**
 * What the system instructions of the built-in extensions do: traps that rows raise, CSR accesses, returns, waits, fences.
 * Each helper takes the call site last, makes the program counter precise from it, and gives back to the budget what was
 * charged too much when execution leaves the block.
 */
import type { StandardExtension } from "@hyperfile/decoder";
import { Exit } from "../../memory/layout.js";
import type { CallSite, CallSites } from "../../mmu/call-sites.js";
import { type CsrFile, CsrOutcome } from "./csrs/csr-file.js";
import type { RiscvHart } from "./hart.js";
import { Wide } from "./hart-state.js";
import { MPP_SHIFT, RiscvCause, RiscvMode, RiscvStatus, SPP_SHIFT } from "./privilege.js";

/** Functions that translated code calls, by name. */
export type HartHelpers = Readonly<Record<string, (...args: number[]) => number>>;

/** Those of the decoder's extensions. */
export type StandardHelpers = { readonly [Name in StandardExtension]?: HartHelpers };

/** Bits of a register's number: interpreters pass x0 as a destination by a number above them. */
const REGISTER_MASK = 31;

const made = new WeakMap<RiscvHart, StandardHelpers>();

/** The helpers of the built-in extensions, for one hart. */
export function systemHelpers(hart: RiscvHart): StandardHelpers {
  let helpers = made.get(hart);
  if (helpers === undefined) {
    helpers = new SystemInstructions(hart).helpers();
    made.set(hart, helpers);
  }
  return helpers;
}

class SystemInstructions {
  private readonly sites: CallSites;
  private readonly csr: CsrFile;

  constructor(private readonly hart: RiscvHart) {
    this.sites = hart.sites;
    this.csr = hart.csr;
  }

  /** The functions that emitted code calls, by the extension that brings them and their names in the decoder's `helpers.ts`. */
  helpers(): StandardHelpers {
    const system = (run: (site: CallSite) => void) => (site: number) => {
      this.sites.enter(site);
      run(site);
      return 0;
    };
    const wide = this.hart.options.xlen === 64;
    const swap = wide
      ? (number: number, lo: number, hi: number, rd: number, site: number) =>
          this.accessCsr(0, number, lo, hi, rd, true, site)
      : (number: number, lo: number, rd: number, site: number) =>
          this.accessCsr(0, number, lo, 0, rd, true, site);
    const modify = (operation: 1 | 2) =>
      wide
        ? (number: number, lo: number, hi: number, rd: number, source: number, site: number) =>
            this.accessCsr(operation, number, lo, hi, rd, source !== 0, site)
        : (number: number, lo: number, rd: number, source: number, site: number) =>
            this.accessCsr(operation, number, lo, 0, rd, source !== 0, site);
    const fence = wide
      ? (lo: number, hi: number, _asidLo: number, _asidHi: number, rs1: number, _rs2: number, site: number) =>
          this.fenceVma(lo, hi, rs1, site)
      : (lo: number, _asid: number, rs1: number, _rs2: number, site: number) =>
          this.fenceVma(lo, 0, rs1, site);
    return {
      i: {
        raise: wide
          ? (cause: number, lo: number, hi: number, site: number) => this.raiseAt(cause, lo, hi, site)
          : (cause: number, lo: number, site: number) => this.raiseAt(cause, lo, 0, site),
        ecall: system((site) => this.ecall(site)),
        ebreak: system((site) => this.trap(RiscvCause.breakpoint, this.hart.pcLow, this.hart.pcHigh, site)),
      },
      zicsr: { csrrw: swap, csrrs: modify(1), csrrc: modify(2) },
      zifencei: {
        fence_i: system(() => {
          // A store to code is seen by the fetches after it: what it made void was left then.
          this.hart.counters.fenceI++;
        }),
      },
      sm: { mret: system((site) => this.mret(site)), wfi: system((site) => this.wfi(site)) },
      ss: { sret: system((site) => this.sret(site)), sfence_vma: fence },
      svinval: {
        sinval_vma: fence,
        sfence_inval: system((site) => {
          if (this.hart.state.mode === RiscvMode.user) this.illegal(site);
        }),
      },
    };
  }

  /** An exception inside a helper that has entered already. */
  private trap(cause: number, lo: number, hi: number, site: CallSite): void {
    this.sites.suspend(site);
    this.hart.raise(cause, lo, hi);
  }

  private illegal(site: CallSite): void {
    this.sites.suspend(site);
    this.hart.raiseIllegal();
  }

  private raiseAt(cause: number, lo: number, hi: number, site: CallSite): number {
    this.sites.enter(site);
    if (cause === RiscvCause.illegalInstruction) this.illegal(site);
    else this.trap(cause, lo, hi, site);
    return 0;
  }

  private accessCsr(
    operation: 0 | 1 | 2,
    number: number,
    lo: number,
    hi: number,
    rd: number,
    writes: boolean,
    site: CallSite,
  ): number {
    this.sites.enter(site);
    this.sites.suspend(site);
    const outcome = this.csr.access(operation, number, lo, hi, writes);
    if (outcome === CsrOutcome.illegal) {
      this.hart.raiseIllegal();
      return 0;
    }
    this.sites.resume(site);
    const low = this.csr.low;
    const high = this.csr.high;
    if (outcome === CsrOutcome.leave || this.hart.interruptReady()) {
      // The destination is written by the translation only if it goes on: do it here.
      this.hart.writeX(rd & REGISTER_MASK, low, high);
      this.sites.leaveAfter(site);
    }
    this.hart.setResultHigh(high);
    return low;
  }

  private ecall(site: CallSite): void {
    this.hart.counters.ecalls++;
    const { mode } = this.hart.state;
    if (mode === RiscvMode.supervisor && this.hart.options.sbi !== undefined) {
      this.sites.leaveAfter(site);
      this.hart.options.sbi.call(this.hart);
      return;
    }
    const cause =
      mode === RiscvMode.user
        ? RiscvCause.ecallUser
        : mode === RiscvMode.supervisor
          ? RiscvCause.ecallSupervisor
          : RiscvCause.ecallMachine;
    this.trap(cause, 0, 0, site);
  }

  private mret(site: CallSite): void {
    const { state } = this.hart;
    if (state.mode !== RiscvMode.machine) return this.illegal(site);
    const mode = (state.status & RiscvStatus.mpp) >> MPP_SHIFT;
    let status = state.status & ~(RiscvStatus.mie | RiscvStatus.mpp);
    if ((state.status & RiscvStatus.mpie) !== 0) status |= RiscvStatus.mie;
    status |= RiscvStatus.mpie;
    if (mode !== RiscvMode.machine) status &= ~RiscvStatus.mprv;
    state.status = status;
    this.returnTo(mode as RiscvMode, Wide.mepc, site);
  }

  private sret(site: CallSite): void {
    const { state } = this.hart;
    if (state.mode === RiscvMode.user) return this.illegal(site);
    if (state.mode === RiscvMode.supervisor && (state.status & RiscvStatus.tsr) !== 0)
      return this.illegal(site);
    const mode = (state.status & RiscvStatus.spp) >> SPP_SHIFT;
    let status = state.status & ~(RiscvStatus.sie | RiscvStatus.spp | RiscvStatus.mprv);
    if ((state.status & RiscvStatus.spie) !== 0) status |= RiscvStatus.sie;
    state.status = status | RiscvStatus.spie;
    this.returnTo(mode as RiscvMode, Wide.sepc, site);
  }

  private returnTo(mode: RiscvMode, epc: number, site: CallSite): void {
    this.hart.state.mode = mode;
    this.hart.selectTlbs();
    this.hart.setPc(this.hart.state.wide[2 * epc]!, this.hart.state.wide[2 * epc + 1]!);
    this.sites.leaveElsewhere(site);
  }

  private wfi(site: CallSite): void {
    const { state } = this.hart;
    // U mode must not wait without bound where there is an S mode (3.3.3); TW forbids it to S mode too.
    const forbidden = state.mode === RiscvMode.user || (state.status & RiscvStatus.tw) !== 0;
    if (state.mode !== RiscvMode.machine && forbidden) return this.illegal(site);
    this.hart.counters.waits++;
    this.sites.leaveAfter(site);
    if (this.hart.wakeReady()) return;
    this.hart.waiting = true;
    this.hart.requestExit(Exit.wait);
  }

  private fenceVma(lo: number, hi: number, rs1: number, site: CallSite): number {
    this.sites.enter(site);
    const { state } = this.hart;
    const trapped = state.mode === RiscvMode.supervisor && (state.status & RiscvStatus.tvm) !== 0;
    if (state.mode === RiscvMode.user || trapped) {
      this.illegal(site);
      return 0;
    }
    this.hart.counters.sfence++;
    const { tlb } = this.hart.options;
    if (rs1 === 0) tlb.flush();
    if (rs1 === 0 || tlb.flushPage(lo, hi)) this.sites.leaveAfter(site);
    return 0;
  }
}
