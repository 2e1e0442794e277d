/**
 * The part of a RISC-V hart's state that translated code touches directly, by the extension that brings it. CSRs that only
 * helpers read live in the hart model, except those that floating-point instructions test on their way (`fs`, `frm`,
 * `fflags`).
 */
import { type SlotDeclaration, type StateShape, stateShape } from "../ir/state.js";

/** Element of `x` that takes writes to `x0`, so that an interpreter's handlers need no test for it. */
export const SINK = 32;

/** Slots of the base instruction set, with integer registers of `xlen` bits. */
export function integerSlots(xlen: 32 | 64): readonly SlotDeclaration[] {
  const type = xlen === 64 ? "i64" : "i32";
  return [
    { name: "x", type, length: 33 },
    { name: "pc", type, length: 1 },
  ];
}

/** Slots of floating point. */
export const floatSlots = (): readonly SlotDeclaration[] => [
  { name: "f", type: "i64", length: 32 },
  /** `mstatus.FS`: 0 off, 1 initial, 2 clean, 3 dirty (privileged manual, 3.1.6.6). */
  { name: "fs", type: "i32", length: 1 },
  /** Dynamic rounding mode, `fcsr[7:5]`. */
  { name: "frm", type: "i32", length: 1 },
  /** Accrued exceptions, `fcsr[4:0]`. */
  { name: "fflags", type: "i32", length: 1 },
];

/** Slots whose places are fixed, first in memory: other extensions change no code that is emitted for these. */
const LAYOUT: readonly string[] = ["x", "f", "pc", "fs", "frm", "fflags"];
const place = ({ name }: SlotDeclaration): number =>
  (LAYOUT.indexOf(name) + LAYOUT.length + 1) % (LAYOUT.length + 1);

/** The state that these slots make: those of {@link LAYOUT} in its order, then the others in theirs. */
export const riscvShape = (slots: readonly SlotDeclaration[]): StateShape =>
  stateShape(slots.toSorted((one, other) => place(one) - place(other)));

/** The state of a hart without added extensions. */
export const riscvState = (xlen: 32 | 64): StateShape => riscvShape([...integerSlots(xlen), ...floatSlots()]);
