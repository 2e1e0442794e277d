/**
 * Other names that assembly text uses for instructions (unprivileged manual, "Assembly Listings of
 * Pseudoinstructions"): one row an alias, read by the disassembler in this order and by the assembler by name. What takes more
 * than one instruction (`li`, `la`, `call`) is the assembler's alone; see `assembler.ts`.
 */
import type { FieldValues } from "../table/row.js";
import { csrNumber } from "./csr-names.js";

/** One way to write an instruction. */
export interface Alias {
  readonly mnemonic: string;
  /** Operands in the syntax of rows; see `operands.ts`. */
  readonly operands: string;
  /** Key of the row that it stands for. */
  readonly base: string;
  /** Fields that the operands don't give: a value, or the name of the field that they equal. */
  readonly fixed: Readonly<Record<string, number | string>>;
  /** Whether the disassembler prefers it to the row's own text; the assembler takes every alias. */
  readonly printed: boolean;
}

const shown = (mnemonic: string, operands: string, base: string, fixed: Alias["fixed"]): Alias => ({
  mnemonic,
  operands,
  base,
  fixed,
  printed: true,
});
const hidden = (mnemonic: string, operands: string, base: string, fixed: Alias["fixed"] = {}): Alias => ({
  ...shown(mnemonic, operands, base, fixed),
  printed: false,
});

/** CSRs with instructions of their own to read them. */
const counters = ["cycle", "time", "instret", "cycleh", "timeh", "instreth"];
const floatRegisters = ["flags", "rm", "csr"];

/** The aliases; of those that fit an instruction, the first is printed. */
// biome-ignore format: one alias a line
export const aliases: readonly Alias[] = [
  shown("nop", "", "addi", { rd: 0, rs1: 0, imm: 0 }),
  shown("li", "rd, imm", "addi", { rs1: 0 }),
  shown("mv", "rd, rs1", "addi", { imm: 0 }),
  shown("sext.w", "rd, rs1", "addiw", { imm: 0 }),
  shown("not", "rd, rs1", "xori", { imm: -1 }),
  shown("zext.b", "rd, rs1", "andi", { imm: 255 }),
  shown("neg", "rd, rs2", "sub", { rs1: 0 }),
  shown("negw", "rd, rs2", "subw", { rs1: 0 }),
  shown("zext.w", "rd, rs1", "add.uw", { rs2: 0 }),
  shown("seqz", "rd, rs1", "sltiu", { imm: 1 }),
  shown("snez", "rd, rs2", "sltu", { rs1: 0 }),
  shown("sltz", "rd, rs1", "slt", { rs2: 0 }),
  shown("sgtz", "rd, rs2", "slt", { rs1: 0 }),

  hidden("sgt", "rd, rs2, rs1", "slt"),
  hidden("sgtu", "rd, rs2, rs1", "sltu"),

  shown("j", "target(imm)", "jal", { rd: 0 }),
  shown("jal", "target(imm)", "jal", { rd: 1 }),
  shown("ret", "", "jalr", { rd: 0, rs1: 1, imm: 0 }),
  shown("jr", "rs1", "jalr", { rd: 0, imm: 0 }),
  shown("jr", "imm(rs1)", "jalr", { rd: 0 }),
  hidden("jr", "rs1, imm", "jalr", { rd: 0 }),
  shown("jalr", "rs1", "jalr", { rd: 1, imm: 0 }),
  shown("jalr", "imm(rs1)", "jalr", { rd: 1 }),
  shown("jalr", "rd, rs1", "jalr", { imm: 0 }),
  hidden("jalr", "rd, rs1, imm", "jalr"),
  hidden("jalr", "rs1, imm", "jalr", { rd: 1 }),
  shown("beqz", "rs1, target(imm)", "beq", { rs2: 0 }),
  shown("bnez", "rs1, target(imm)", "bne", { rs2: 0 }),
  shown("bltz", "rs1, target(imm)", "blt", { rs2: 0 }),
  shown("bgtz", "rs2, target(imm)", "blt", { rs1: 0 }),
  shown("blez", "rs2, target(imm)", "bge", { rs1: 0 }),
  shown("bgez", "rs1, target(imm)", "bge", { rs2: 0 }),
  hidden("bgt", "rs2, rs1, target(imm)", "blt"),
  hidden("ble", "rs2, rs1, target(imm)", "bge"),
  hidden("bgtu", "rs2, rs1, target(imm)", "bltu"),
  hidden("bleu", "rs2, rs1, target(imm)", "bgeu"),

  // The immediate forms also go by the names of the register forms.
  ...["add", "slt", "xor", "or", "and", "addw"].map((name) => hidden(name, "rd, rs1, imm", immediate(name))),
  hidden("sltu", "rd, rs1, imm", "sltiu"),
  ...["sll", "srl", "sra", "ror", "bclr", "bext", "binv", "bset"].flatMap((name) =>
    [immediate(name), `${immediate(name)}32`].map((base) => hidden(name, "rd, rs1, hex(shamt)", base))),
  ...["sllw", "srlw", "sraw", "rorw"].map((name) => hidden(name, "rd, rs1, hex(shamt)", immediate(name))),

  ...["s", "d"].flatMap((format) => [
    shown(`fmv.${format}`, "f(rd), f(rs1)", `fsgnj.${format}`, { rs2: "rs1" }),
    shown(`fneg.${format}`, "f(rd), f(rs1)", `fsgnjn.${format}`, { rs2: "rs1" }),
    shown(`fabs.${format}`, "f(rd), f(rs1)", `fsgnjx.${format}`, { rs2: "rs1" }),
    hidden(`fgt.${format}`, "rd, f(rs2), f(rs1)", `flt.${format}`),
    hidden(`fge.${format}`, "rd, f(rs2), f(rs1)", `fle.${format}`),
  ]),
  hidden("fmv.x.s", "rd, f(rs1)", "fmv.x.w"),
  hidden("fmv.s.x", "f(rd), rs1", "fmv.w.x"),

  shown("fence", "", "fence", { fm: 0, pred: 15, succ: 15, rd: 0, rs1: 0 }),
  shown("fence.tso", "", "fence", { fm: 8, pred: 3, succ: 3, rd: 0, rs1: 0 }),
  hidden("pause", "", "fence", { fm: 0, pred: 1, succ: 0, rd: 0, rs1: 0 }),
  hidden("scall", "", "ecall"),
  hidden("sbreak", "", "ebreak"),
  shown("unimp", "", "csrrw", { rd: 0, csr: csrNumber("cycle"), rs1: 0 }),
  ...counters.map((name) => shown(`rd${name}`, "rd", "csrrs", { csr: csrNumber(name), rs1: 0 })),
  ...floatRegisters.map((name) => [name, csrNumber(`f${name}`)] as const).flatMap(([name, csr]) => [
    shown(`fr${name}`, "rd", "csrrs", { csr, rs1: 0 }),
    shown(`fs${name}`, "rs1", "csrrw", { csr, rd: 0 }),
    shown(`fs${name}`, "rd, rs1", "csrrw", { csr }),
    ...(name === "csr" ? [] : [
      hidden(`fs${name}i`, "uimm", "csrrwi", { csr, rd: 0 }),
      shown(`fs${name}i`, "rd, uimm", "csrrwi", { csr }),
    ]),
  ]),
  shown("csrr", "rd, csr", "csrrs", { rs1: 0 }),
  ...["w", "s", "c"].flatMap((letter) => [
    shown(`csr${letter}`, "csr, rs1", `csrr${letter}`, { rd: 0 }),
    shown(`csr${letter}i`, "csr, uimm", `csrr${letter}i`, { rd: 0 }),
    hidden(`csr${letter}`, "csr, uimm", `csrr${letter}i`, { rd: 0 }),
    hidden(`csrr${letter}`, "rd, csr, uimm", `csrr${letter}i`),
  ]),
  shown("sfence.vma", "", "sfence.vma", { rs1: 0, rs2: 0 }),
  shown("sfence.vma", "rs1", "sfence.vma", { rs2: 0 }),

  hidden("c.nop", "", "c.nop", { imm: 0 }),
  shown("c.nop", "imm", "c.nop", {}),
];

/** Row key of the immediate form of a register instruction: `addw` gives `addiw`. */
function immediate(name: string): string {
  return name.endsWith("w") ? `${name.slice(0, -1)}iw` : `${name}i`;
}

const printedByBase = new Map<string, Alias[]>();
const byMnemonic = new Map<string, Alias[]>();
for (const alias of aliases) {
  byMnemonic.set(alias.mnemonic, [...(byMnemonic.get(alias.mnemonic) ?? []), alias]);
  if (alias.printed) printedByBase.set(alias.base, [...(printedByBase.get(alias.base) ?? []), alias]);
}

/** The alias under which the instruction of row `base` with these fields is printed, if there is one. */
export function aliasFor(base: string, fields: FieldValues): Alias | undefined {
  return printedByBase.get(base)?.find(({ fixed }) =>
    Object.entries(fixed).every(([name, value]) => {
      const wanted = typeof value === "number" ? value : fields[value];
      return (fields[name] ?? 0) === wanted;
    }),
  );
}

/** All ways to write `mnemonic` that are not a row's own. */
export function aliasesNamed(mnemonic: string): readonly Alias[] {
  return byMnemonic.get(mnemonic) ?? [];
}
