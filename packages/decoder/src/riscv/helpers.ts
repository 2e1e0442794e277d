/**
 * The helpers that RISC-V instructions call: whatever reads or changes the privileged state of the hart. The
 * hart model implements them; here stand only their names, types and effects.
 */
import type { Effects, Helper, Type } from "../ir/types.js";

const system: Effects = { reads: true, writes: true, exits: true };

/** Helpers of a hart whose integer registers have `xlen` bits. */
export interface RiscvHelpers {
  /**
   * `csrrw(csr, value, rd)`: swaps. Gives the old value, and writes it to register `rd` itself where execution does not
   * go on in the translation: the access may have changed where instructions are fetched from. In the low five bits of
   * `rd`, 0 means no register.
   */
  readonly csrrw: Helper;
  /** `csrrs(csr, value, rd, source)`: sets bits; `source` 0 (x0 or immediate 0) means no write at all. */
  readonly csrrs: Helper;
  /** `csrrc(csr, value, rd, source)`: clears bits; `source` as for `csrrs`. */
  readonly csrrc: Helper;
  readonly ecall: Helper;
  readonly ebreak: Helper;
  readonly mret: Helper;
  readonly sret: Helper;
  readonly wfi: Helper;
  readonly fenceI: Helper;
  /** `sfence_vma(va, asid, rs1, rs2)`: the register numbers tell x0 (all) from a register that holds 0. */
  readonly sfenceVma: Helper;
  /** `sinval_vma(va, asid, rs1, rs2)`, Svinval; same meaning as `sfence_vma` here. */
  readonly sinvalVma: Helper;
  /** `sfence.w.inval` and `sfence.inval.ir`: only their permission check. */
  readonly sfenceInval: Helper;
}

/** Declares the helpers for `xlen`. */
export function riscvHelpers(xlen: 32 | 64): RiscvHelpers {
  const x: Type = xlen === 64 ? "i64" : "i32";
  const helper = (name: string, parameters: readonly Type[], result: Type | null): Helper => ({
    name,
    parameters,
    result,
    effects: system,
  });
  return {
    csrrw: helper("csrrw", ["i32", x, "i32"], x),
    csrrs: helper("csrrs", ["i32", x, "i32", "i32"], x),
    csrrc: helper("csrrc", ["i32", x, "i32", "i32"], x),
    ecall: helper("ecall", [], null),
    ebreak: helper("ebreak", [], null),
    mret: helper("mret", [], null),
    sret: helper("sret", [], null),
    wfi: helper("wfi", [], null),
    fenceI: helper("fence_i", [], null),
    sfenceVma: helper("sfence_vma", [x, x, "i32", "i32"], null),
    sinvalVma: helper("sinval_vma", [x, x, "i32", "i32"], null),
    sfenceInval: helper("sfence_inval", [], null),
  };
}
