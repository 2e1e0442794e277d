/**
 * Finds the compressed form of a base instruction: the rows of `rv-c.ts` read backwards. A row's expansion says which
 * fields it stands for, so a candidate is right if it expands to just the instruction asked for.
 */
import type { InstructionTable, TableEntry } from "../table/instruction-table.js";
import { type FieldValues, fieldHolds } from "../table/row.js";
import { isHint } from "./rv-c.js";
import type { RiscvSemantics } from "./semantics.js";

type Entry = TableEntry<RiscvSemantics>;

/** An instruction: its row and the values of its fields. */
export interface Encoded {
  readonly entry: Entry;
  readonly fields: FieldValues;
}

/** Instructions whose sources may change places. */
const commutative = new Set(["add", "addw", "and", "or", "xor"]);

/** The compressed instructions of one table. */
export class Compressor {
  private readonly rows = new Map<string, Entry[]>();

  constructor(table: InstructionTable<RiscvSemantics>) {
    for (const entry of table.entries) {
      const { expand, encoding } = entry.row;
      if (expand === undefined) continue;
      const [base] = expand(Object.fromEntries(encoding.fields.map(({ name, bias }) => [name, bias])));
      this.rows.set(base, [...(this.rows.get(base) ?? []), entry]);
    }
  }

  /** The compressed instruction that does what row `base` does with these fields (absent ones are 0), if any. */
  find(base: string, fields: FieldValues): Encoded | undefined {
    for (const [name, values] of equivalents(base, fields)) {
      for (const entry of this.rows.get(name) ?? []) {
        const own = inverse(entry, name, values);
        if (own !== undefined && !isHint(entry.name, name, values)) return { entry, fields: own };
      }
    }
    return undefined;
  }
}

/** Instructions that do the same, in the order in which GNU's assembler tries their compressed forms. */
function* equivalents(base: string, fields: FieldValues): Generator<readonly [string, FieldValues]> {
  const { rd = 0, rs1 = 0, rs2 = 0, imm } = fields;
  if (base === "addi" && imm === 0) yield ["add", { rd, rs1: 0, rs2: rs1 }];
  yield [base, fields];
  if (commutative.has(base) && rs2 !== 0) yield [base, { ...fields, rs1: rs2, rs2: rs1 }];
}

/** The fields of a compressed row with which it expands to `base` with `fields`. */
function inverse({ row }: Entry, base: string, fields: FieldValues): FieldValues | undefined {
  const own: Record<string, number> = {};
  for (const field of row.encoding.fields) {
    const value = fields[/imm$/.test(field.name) ? "imm" : field.name] ?? 0;
    if (!fieldHolds(field, value)) return undefined;
    own[field.name] = value;
  }
  const [name, expanded] = row.expand!(own);
  const same = Object.entries(expanded).every(([field, value]) => (fields[field] ?? 0) === value);
  return name === base && same ? own : undefined;
}
