/** The RISC-V instruction table for each register width: which extensions there are, in one place. */
import { InstructionTable } from "../table/instruction-table.js";
import type { Row } from "../table/row.js";
import { privileged } from "./privileged.js";
import { rvA } from "./rv-a.js";
import { zba, zbb, zbs } from "./rv-b.js";
import { rvC } from "./rv-c.js";
import { rvD, rvF } from "./rv-fd.js";
import { rvI } from "./rv-i.js";
import { rvM } from "./rv-m.js";
import type { RiscvSemantics } from "./semantics.js";
import { zicsr, zifencei } from "./zicsr.js";

const extensions: readonly Readonly<Record<string, Row<RiscvSemantics>>>[] = [
  rvI,
  rvM,
  rvA,
  rvF,
  rvD,
  rvC,
  zicsr,
  zifencei,
  zba,
  zbb,
  zbs,
  privileged,
];

const tables = new Map<number, InstructionTable<RiscvSemantics>>();

/** The table of RV32GC or RV64GC with Zicsr, Zifencei, Zba, Zbb, Zbs, Svinval and the privileged instructions. */
export function riscvTable(xlen: 32 | 64): InstructionTable<RiscvSemantics> {
  let table = tables.get(xlen);
  if (table === undefined) {
    const rows = extensions.flatMap((extension) => Object.entries(extension));
    table = new InstructionTable(
      Object.fromEntries(
        rows.filter(([, row]) => row.options.width === undefined || row.options.width === xlen),
      ),
    );
    tables.set(xlen, table);
  }
  return table;
}
