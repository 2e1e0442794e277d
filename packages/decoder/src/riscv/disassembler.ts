/**
 * Assembly text of an instruction, in the conventions of GNU objdump: ABI register names, decimal immediates,
 * hexadecimal shift amounts and addresses. What is printed comes from the row's operand string (`operands.ts`)
 * and from the table of aliases.
 */
import { fieldValues, type InstructionTable, type TableEntry } from "../table/instruction-table.js";
import type { FieldValues } from "../table/row.js";
import { aliasFor } from "./aliases.js";
import { csrNames } from "./csr-names.js";
import { operandForm } from "./operands.js";
import { floatNames, integerNames, roundingNames } from "./registers.js";
import { isHint } from "./rv-c.js";
import type { RiscvSemantics } from "./semantics.js";

const RM_DYNAMIC = 7;

/** How to print. */
export interface DisassembleOptions {
  /** Print common aliases (`li`, `mv`, `ret`) instead of the instructions that they stand for; true unless given. */
  readonly aliases?: boolean;
  /** Names of CSRs by number; those of the manuals unless given. */
  readonly csrNames?: ReadonlyMap<number, string>;
}

/**
 * The text of the instruction `bits` of `length` bytes; `.2byte` or `.4byte` for an illegal one.
 * @param pc its address, from which branch targets are told; without it they are distances
 */
export function disassemble(
  table: InstructionTable<RiscvSemantics>,
  bits: number,
  length: number,
  pc?: bigint,
  options: DisassembleOptions = {},
): string {
  const entry = table.match(bits, length);
  if (bits === 0 && length === 2) return options.aliases === false ? "c.unimp" : "unimp";
  if (entry === undefined) return `.${length}byte\t0x${(bits >>> 0).toString(16)}`;
  const own = fieldValues(entry.row.encoding, bits);
  const xlen = table.find("ld") === undefined ? 32 : 64;
  const [mnemonic, operands, fields] =
    options.aliases === false ? plain(entry, own) : aliased(table, entry, own);
  const text = print(operands, fields, { pc, xlen, csrNames: options.csrNames ?? csrNames });
  return text === "" ? mnemonic : `${mnemonic}\t${text}`;
}

type Text = readonly [mnemonic: string, operands: string, fields: FieldValues];

const plain = ({ mnemonic, row }: TableEntry<RiscvSemantics>, fields: FieldValues): Text => [
  mnemonic + ordering(fields),
  row.operands,
  fields,
];

/** Compressed instructions take the text of the base instruction, but for hints, which do nothing. */
function aliased(
  table: InstructionTable<RiscvSemantics>,
  entry: TableEntry<RiscvSemantics>,
  own: FieldValues,
): Text {
  const [base, fields] = entry.row.expand?.(own) ?? [entry.name, own];
  const compressed = entry.row.expand !== undefined;
  if (compressed && isHint(entry.name, base, fields)) return fromAlias(entry, own) ?? plain(entry, own);
  if (entry.name === "c.mv") return ["mv", "rd, rs2", fields];
  if (entry.name === "c.addi") return plain(table.entry(base), fields);
  return fromAlias(table.entry(base), fields) ?? plain(table.entry(base), fields);
}

function fromAlias({ name }: TableEntry<RiscvSemantics>, fields: FieldValues): Text | undefined {
  const alias = aliasFor(name, fields);
  return alias && [alias.mnemonic, alias.operands, fields];
}

/** `.aq`, `.rl` and `.aqrl` of atomic instructions. */
const ordering = ({ aq, rl }: FieldValues): string => (aq || rl ? `.${aq ? "aq" : ""}${rl ? "rl" : ""}` : "");

/** What the text of operands depends on beside fields. */
interface Surroundings {
  readonly pc: bigint | undefined;
  readonly xlen: 32 | 64;
  readonly csrNames: ReadonlyMap<number, string>;
}

function print(operands: string, fields: FieldValues, surroundings: Surroundings): string {
  if (operands === "") return "";
  return operands
    .split(", ")
    .map((operand) => printOperand(operand, fields, surroundings))
    .filter((text) => text !== undefined)
    .join(",");
}

function printOperand(
  operand: string,
  fields: FieldValues,
  { pc, xlen, csrNames }: Surroundings,
): string | undefined {
  const { kind, field, base } = operandForm(operand);
  const value = fields[field]!;
  switch (kind) {
    case "x":
      return integerNames[value];
    case "f":
      return floatNames[value];
    case "fixed":
      return field;
    case "number":
      return String(value);
    case "hex":
      return `0x${value.toString(16)}`;
    case "hi":
      return `0x${((value >>> 12) & 0xfffff).toString(16)}`;
    case "target":
      if (pc === undefined) return `. ${value < 0 ? "-" : "+"} ${Math.abs(value)}`;
      return `0x${BigInt.asUintN(xlen, pc + BigInt(value)).toString(16)}`;
    case "memory":
      return `${field === "" ? "" : value}(${integerNames[fields[base]!] ?? base})`;
    case "csr":
      return csrNames.get(value) ?? `0x${value.toString(16)}`;
    case "rounding":
      return value === RM_DYNAMIC ? undefined : roundingNames[value];
    case "exactRounding":
      return value === 0 ? undefined : roundingNames[value];
    case "order":
      return orderNames(value) || "unknown";
  }
}

/** Letters of a fence's access set (unprivileged manual, 2.7). */
const orderNames = (set: number): string =>
  [..."iorw"].filter((_, position) => ((set >> (3 - position)) & 1) === 1).join("");
