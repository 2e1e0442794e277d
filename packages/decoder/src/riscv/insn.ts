/** The row maker of the RISC-V table. */
import { rowMaker } from "../table/row.js";
import type { RiscvSemantics } from "./semantics.js";

/** Makes one row of the table; see `table/row.ts`. */
export const insn = rowMaker<RiscvSemantics>();
