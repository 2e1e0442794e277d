/** The row maker of the RISC-V table. */
import type { Field } from "../ir/types.js";
import { type FieldNames, type Row, type RowOptions, rowMaker } from "../table/row.js";
import type { RiscvSemantics } from "./semantics.js";

/** Makes one row of the table; see `table/row.ts`. */
export const insn: <const S extends string>(
  pattern: S,
  operands: string,
  execute: (machine: RiscvSemantics, fields: Readonly<Record<FieldNames<S>, Field>>) => void,
  options?: RowOptions,
) => Row<RiscvSemantics> = rowMaker<RiscvSemantics>();
