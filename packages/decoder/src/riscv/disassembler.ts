/**
 * Assembly text of an instruction, in the conventions of GNU objdump. What is printed comes from the row's operand
 * string: comma-separated, each
 * - `rd`, `rs1`, ... an integer register; `f(rd)` a floating-point one; `sp` that register;
 * - `imm`, `uimm`, `nzimm`, ... a decimal number; `hex(shamt)` a hexadecimal one; `hi(imm)` its upper 20 bits;
 * - `imm(rs1)`, `(rs1)`, `uimm(sp)` a memory operand; `target(imm)` an absolute address;
 * - `csr`, `rm`, `pred`, `succ` by name.
 */
import { fieldValues, type InstructionTable } from "../table/instruction-table.js";
import type { FieldValues } from "../table/row.js";
import { csrNames, floatNames, integerNames, roundingNames } from "./registers.js";
import type { RiscvSemantics } from "./semantics.js";

const RM_DYNAMIC = 7;

/** How to print. */
export interface DisassembleOptions {
  /** Print common aliases (`li`, `mv`, `ret`) instead of the instructions that they stand for; true unless given. */
  readonly aliases?: boolean;
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
  if (entry === undefined) return `.${length}byte\t0x${(bits >>> 0).toString(16)}`;
  const own = fieldValues(entry.row.encoding, bits);
  const aliases = options.aliases ?? true;
  // Aliases are told from the base instruction, so that compressed ones share them.
  const expansion = aliases ? entry.row.expand?.(own) : undefined;
  const base = expansion === undefined ? entry : table.entry(expansion[0]);
  const fields = expansion === undefined ? own : expansion[1];
  const alias = aliases ? aliasOf(base.mnemonic, fields) : undefined;
  const xlen = table.entries.some((candidate) => candidate.name === "ld") ? 64 : 32;
  const [mnemonic, operands] = alias ?? [base.mnemonic + ordering(fields), base.row.operands];
  const text = print(operands, fields, pc, xlen);
  return text === "" ? mnemonic : `${mnemonic}\t${text}`;
}

/** `.aq`, `.rl` and `.aqrl` of atomic instructions. */
const ordering = ({ aq, rl }: FieldValues): string => (aq || rl ? `.${aq ? "aq" : ""}${rl ? "rl" : ""}` : "");

function print(operands: string, fields: FieldValues, pc: bigint | undefined, xlen: 32 | 64): string {
  if (operands === "") return "";
  return operands
    .split(", ")
    .map((operand) => printOperand(operand, fields, pc, xlen))
    .filter((text) => text !== undefined)
    .join(",");
}

function printOperand(
  operand: string,
  fields: FieldValues,
  pc: bigint | undefined,
  xlen: 32 | 64,
): string | undefined {
  const parts = /^(\w*)(?:\((\w+)\))?$/.exec(operand)!;
  const [, outer = "", inner] = parts;
  if (inner === undefined) return printPlain(outer, fields);
  switch (outer) {
    case "f":
      return floatNames[fields[inner]!];
    case "hex":
      return `0x${fields[inner]!.toString(16)}`;
    case "hi":
      return `0x${((fields[inner]! >>> 12) & 0xfffff).toString(16)}`;
    case "target": {
      const distance = fields[inner]!;
      if (pc === undefined) return `. ${distance < 0 ? "-" : "+"} ${Math.abs(distance)}`;
      return `0x${BigInt.asUintN(xlen, pc + BigInt(distance)).toString(16)}`;
    }
    default:
      return `${outer === "" ? "" : fields[outer]}(${printPlain(inner, fields)})`;
  }
}

function printPlain(name: string, fields: FieldValues): string | undefined {
  const value = fields[name];
  switch (name) {
    case "rd":
    case "rs1":
    case "rs2":
      return integerNames[value!];
    case "csr":
      return csrNames.get(value!) ?? `0x${value!.toString(16)}`;
    case "rm":
      return value === RM_DYNAMIC ? undefined : roundingNames[value!];
    case "pred":
    case "succ":
      return (
        [..."iorw"].filter((_, position) => ((value! >> (3 - position)) & 1) === 1).join("") || "unknown"
      );
    default:
      return value === undefined ? name : String(value);
  }
}

/** Mnemonic and operands of the alias that objdump prefers for an instruction, if it has one. */
function aliasOf(mnemonic: string, f: FieldValues): readonly [string, string] | undefined {
  const { rd, rs1, rs2, imm, csr } = f;
  switch (mnemonic) {
    case "addi":
      if (rd === 0 && rs1 === 0 && imm === 0) return ["nop", ""];
      if (rs1 === 0) return ["li", "rd, imm"];
      return imm === 0 ? ["mv", "rd, rs1"] : undefined;
    case "addiw":
      return imm === 0 ? ["sext.w", "rd, rs1"] : undefined;
    case "add":
      return rs1 === 0 ? ["mv", "rd, rs2"] : undefined;
    case "xori":
      return imm === -1 ? ["not", "rd, rs1"] : undefined;
    case "andi":
      return imm === 255 ? ["zext.b", "rd, rs1"] : undefined;
    case "sub":
    case "subw":
      return rs1 === 0 ? [mnemonic === "sub" ? "neg" : "negw", "rd, rs2"] : undefined;
    case "add.uw":
      return rs2 === 0 ? ["zext.w", "rd, rs1"] : undefined;
    case "sltiu":
      return imm === 1 ? ["seqz", "rd, rs1"] : undefined;
    case "sltu":
      return rs1 === 0 ? ["snez", "rd, rs2"] : undefined;
    case "slt":
      return rs2 === 0 ? ["sltz", "rd, rs1"] : rs1 === 0 ? ["sgtz", "rd, rs2"] : undefined;
    case "jal":
      return rd === 0 ? ["j", "target(imm)"] : rd === 1 ? ["jal", "target(imm)"] : undefined;
    case "jalr":
      if (rd === 0 && rs1 === 1 && imm === 0) return ["ret", ""];
      if (imm !== 0) return rd === 0 ? ["jr", "imm(rs1)"] : rd === 1 ? ["jalr", "imm(rs1)"] : undefined;
      return rd === 0 ? ["jr", "rs1"] : rd === 1 ? ["jalr", "rs1"] : undefined;
    case "beq":
    case "bne":
      return rs2 === 0 ? [`${mnemonic}z`, "rs1, target(imm)"] : undefined;
    case "blt":
      if (rs2 === 0) return ["bltz", "rs1, target(imm)"];
      return rs1 === 0 ? ["bgtz", "rs2, target(imm)"] : undefined;
    case "bge":
      if (rs2 === 0) return ["bgez", "rs1, target(imm)"];
      return rs1 === 0 ? ["blez", "rs2, target(imm)"] : undefined;
    case "fsgnj.s":
    case "fsgnj.d":
    case "fsgnjn.s":
    case "fsgnjn.d":
    case "fsgnjx.s":
    case "fsgnjx.d":
      return rs1 === rs2 ? [signAlias(mnemonic), "f(rd), f(rs1)"] : undefined;
    case "fence":
      return f.pred === 15 && f.succ === 15 && f.fm === 0 ? ["fence", ""] : undefined;
    case "csrrs":
      if (rs1 !== 0) return rd === 0 ? ["csrs", "csr, rs1"] : undefined;
      return counterAliases.has(csr!) ? [`rd${counterAliases.get(csr!)}`, "rd"] : ["csrr", "rd, csr"];
    case "csrrw":
      return rd === 0 ? ["csrw", "csr, rs1"] : undefined;
    case "csrrc":
      return rd === 0 ? ["csrc", "csr, rs1"] : undefined;
    case "csrrwi":
    case "csrrsi":
    case "csrrci":
      return rd === 0 ? [`csr${mnemonic[4]}i`, "csr, uimm"] : undefined;
    case "sfence.vma":
      return rs1 === 0 && rs2 === 0 ? ["sfence.vma", ""] : rs2 === 0 ? ["sfence.vma", "rs1"] : undefined;
    default:
      return undefined;
  }
}

const counterAliases: ReadonlyMap<number, string> = new Map([
  [0xc00, "cycle"],
  [0xc01, "time"],
  [0xc02, "instret"],
  [0xc80, "cycleh"],
  [0xc81, "timeh"],
  [0xc82, "instreth"],
]);

const signAlias = (mnemonic: string): string =>
  (mnemonic.startsWith("fsgnjn") ? "fneg" : mnemonic.startsWith("fsgnjx") ? "fabs" : "fmv") +
  mnemonic.slice(-2);
