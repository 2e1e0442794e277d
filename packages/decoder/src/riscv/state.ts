/**
 * The part of a RISC-V hart's state that translated code touches directly. CSRs that only helpers read live in
 * the hart model, except those that floating-point instructions test on their way (`fs`, `frm`, `fflags`).
 */
import { type SlotDeclaration, type StateShape, stateShape } from "../ir/state.js";

/** Element of `x` that takes writes to `x0`, so that an interpreter's handlers need no test for it. */
export const SINK = 32;

/** Slots that every hart has whose integer registers have `xlen` bits; extensions add theirs behind them. */
export function baseSlots(xlen: 32 | 64): readonly SlotDeclaration[] {
  const type = xlen === 64 ? "i64" : "i32";
  return [
    { name: "x", type, length: 33 },
    { name: "f", type: "i64", length: 32 },
    { name: "pc", type, length: 1 },
    /** `mstatus.FS`: 0 off, 1 initial, 2 clean, 3 dirty (privileged manual, 3.1.6.6). */
    { name: "fs", type: "i32", length: 1 },
    /** Dynamic rounding mode, `fcsr[7:5]`. */
    { name: "frm", type: "i32", length: 1 },
    /** Accrued exceptions, `fcsr[4:0]`. */
    { name: "fflags", type: "i32", length: 1 },
  ];
}

/** The state of a hart without added extensions. */
export const riscvState = (xlen: 32 | 64): StateShape => stateShape(baseSlots(xlen));
