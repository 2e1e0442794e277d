/** The row maker of the RISC-V table. */
import type { Field } from "../ir/types.js";
import { type FieldNames, type Row, type RowOptions, registerWidths, rowMaker } from "../table/row.js";
import type { RiscvSemantics } from "./semantics.js";

const widths = { ...registerWidths, rm: 3, csr: 12, aq: 1, rl: 1, fm: 4, pred: 4, succ: 4 };

/** Makes one row of the table; see `table/row.ts`. */
export const insn: <const S extends string>(
  pattern: S,
  operands: string,
  execute: (machine: RiscvSemantics, fields: Readonly<Record<FieldNames<S>, Field>>) => void,
  options?: RowOptions,
) => Row<RiscvSemantics> = rowMaker<RiscvSemantics>(widths);
