/**
 * The syntax of operand strings in rows and aliases: how an assembler writes an instruction's operands. An operand
 * string is a list, separated by a comma and a blank, of
 * - `rd`, `rs1`, `rs2`: an integer register;
 * - `f(rd)`: a floating-point register;
 * - `sp`, `zero`: that register, and no field;
 * - `imm`, `uimm`, `nzimm`, ...: a decimal number; `hex(shamt)`: a hexadecimal one;
 * - `hi(imm)`: the upper 20 bits of a 32-bit number whose lower 12 are zero;
 * - `target(imm)`: the absolute address that lies `imm` bytes from the instruction;
 * - `imm(rs1)`, `uimm(sp)`, `(rs1)`: a memory operand with and without distance;
 * - `csr`: a CSR by name or number; `pred`, `succ`: a set of the letters `iorw`;
 * - `rm`: a rounding mode, left out where it is the dynamic one; `exact(rm)`: of a conversion that never rounds,
 *   left out where it is `rne`.
 */

/** What an operand is. */
export type OperandKind =
  | "x"
  | "f"
  | "fixed"
  | "number"
  | "hex"
  | "hi"
  | "target"
  | "memory"
  | "csr"
  | "order"
  | "rounding"
  | "exactRounding";

/** A parsed operand. */
export interface OperandForm {
  readonly kind: OperandKind;
  /** The field that it gives; of `memory` the distance, or empty; of `fixed` the register's name. */
  readonly field: string;
  /** Of `memory`: the field or the name of the base register; otherwise empty. */
  readonly base: string;
}

const kinds: Readonly<Record<string, OperandKind>> = {
  rd: "x",
  rs1: "x",
  rs2: "x",
  sp: "fixed",
  zero: "fixed",
  csr: "csr",
  pred: "order",
  succ: "order",
  rm: "rounding",
};
const wrappers: Readonly<Record<string, OperandKind>> = {
  f: "f",
  hex: "hex",
  hi: "hi",
  target: "target",
  exact: "exactRounding",
};

const forms = new Map<string, OperandForm>();

/** The meaning of one operand of an operand string. */
export function operandForm(operand: string): OperandForm {
  let form = forms.get(operand);
  if (form === undefined) {
    form = parseOperand(operand);
    forms.set(operand, form);
  }
  return form;
}

/** The operands of an operand string. */
export const operandForms = (operands: string): readonly OperandForm[] =>
  operands === "" ? [] : operands.split(", ").map(operandForm);

function parseOperand(operand: string): OperandForm {
  const parts = /^(\w*)(?:\((\w+)\))?$/.exec(operand);
  if (parts === null) throw new Error(`operand "${operand}" is malformed`);
  const [, outer = "", inner] = parts;
  if (inner === undefined) return { kind: kinds[outer] ?? "number", field: outer, base: "" };
  const kind = wrappers[outer];
  return kind === undefined
    ? { kind: "memory", field: outer, base: inner }
    : { kind, field: inner, base: "" };
}
