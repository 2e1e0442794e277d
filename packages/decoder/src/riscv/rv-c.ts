/**
 * Compressed instructions, "C" (unprivileged manual, chapter 27). Each row names the base instruction that it
 * stands for; hints (a destination of x0, a shift by 0) expand to base instructions without effect, and reserved
 * encodings match no row.
 */
import { compressed, type FieldValues } from "../table/row.js";

const rv32 = { width: 32 } as const;
const rv64 = { width: 64 } as const;
const ZERO = 0;
const RA = 1;
const SP = 2;

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const rvC = {
  // Quadrant 0
  "c.addi4spn": compressed("000 nzuimm[5:4|9:6|2|3] rd' 00", "rd, sp, nzuimm", ({ nzuimm, rd }) => ["addi", { rd, rs1: SP, imm: nzuimm }]),
  "c.fld": compressed("001 uimm[5:3] rs1' uimm[7:6] rd' 00", "f(rd), uimm(rs1)", ({ uimm, rs1, rd }) => ["fld", { rd, rs1, imm: uimm }]),
  "c.lw":  compressed("010 uimm[5:3] rs1' uimm[2|6] rd' 00", "rd, uimm(rs1)", ({ uimm, rs1, rd }) => ["lw", { rd, rs1, imm: uimm }]),
  "c.flw": compressed("011 uimm[5:3] rs1' uimm[2|6] rd' 00", "f(rd), uimm(rs1)", ({ uimm, rs1, rd }) => ["flw", { rd, rs1, imm: uimm }], rv32),
  "c.ld":  compressed("011 uimm[5:3] rs1' uimm[7:6] rd' 00", "rd, uimm(rs1)", ({ uimm, rs1, rd }) => ["ld", { rd, rs1, imm: uimm }], rv64),
  "c.fsd": compressed("101 uimm[5:3] rs1' uimm[7:6] rs2' 00", "f(rs2), uimm(rs1)", ({ uimm, rs1, rs2 }) => ["fsd", { rs1, rs2, imm: uimm }]),
  "c.sw":  compressed("110 uimm[5:3] rs1' uimm[2|6] rs2' 00", "rs2, uimm(rs1)", ({ uimm, rs1, rs2 }) => ["sw", { rs1, rs2, imm: uimm }]),
  "c.fsw": compressed("111 uimm[5:3] rs1' uimm[2|6] rs2' 00", "f(rs2), uimm(rs1)", ({ uimm, rs1, rs2 }) => ["fsw", { rs1, rs2, imm: uimm }], rv32),
  "c.sd":  compressed("111 uimm[5:3] rs1' uimm[7:6] rs2' 00", "rs2, uimm(rs1)", ({ uimm, rs1, rs2 }) => ["sd", { rs1, rs2, imm: uimm }], rv64),

  // Quadrant 1
  "c.nop":   compressed("000 imm[5] 00000 imm[4:0] 01", "zero, imm", ({ imm }) => ["addi", { rd: ZERO, rs1: ZERO, imm }], { as: "c.addi" }),
  "c.addi":  compressed("000 imm[5] rd!=0 imm[4:0] 01", "rd, imm", ({ imm, rd }) => ["addi", { rd, rs1: rd, imm }]),
  "c.jal":   compressed("001 imm[11|4|9:8|10|6|7|3:1|5] 01", "target(imm)", ({ imm }) => ["jal", { rd: RA, imm }], rv32),
  "c.addiw": compressed("001 imm[5] rd!=0 imm[4:0] 01", "rd, imm", ({ imm, rd }) => ["addiw", { rd, rs1: rd, imm }], rv64),
  "c.li":    compressed("010 imm[5] rd imm[4:0] 01", "rd, imm", ({ imm, rd }) => ["addi", { rd, rs1: ZERO, imm }]),
  "c.addi16sp": compressed("011 nzimm[9] 00010 nzimm[4|6|8:7|5] 01", "sp, nzimm", ({ nzimm }) => ["addi", { rd: SP, rs1: SP, imm: nzimm }]),
  "c.lui":   compressed("011 nzimm[17] rd!=2 nzimm[16:12] 01", "rd, hi(nzimm)", ({ nzimm, rd }) => ["lui", { rd, imm: nzimm }]),
  "c.srli":  compressed("100 shamt[5] 00 rd' shamt[4:0] 01", "rd, hex(shamt)", ({ shamt, rd }) => ["srli", { rd, rs1: rd, shamt }], rv64),
  "c.srai":  compressed("100 shamt[5] 01 rd' shamt[4:0] 01", "rd, hex(shamt)", ({ shamt, rd }) => ["srai", { rd, rs1: rd, shamt }], rv64),
  "c.srli32": compressed("100 0 00 rd' shamt[4:0] 01", "rd, hex(shamt)", ({ shamt, rd }) => ["srli32", { rd, rs1: rd, shamt }], { ...rv32, as: "c.srli" }),
  "c.srai32": compressed("100 0 01 rd' shamt[4:0] 01", "rd, hex(shamt)", ({ shamt, rd }) => ["srai32", { rd, rs1: rd, shamt }], { ...rv32, as: "c.srai" }),
  "c.andi":  compressed("100 imm[5] 10 rd' imm[4:0] 01", "rd, imm", ({ imm, rd }) => ["andi", { rd, rs1: rd, imm }]),
  "c.sub":   compressed("100 0 11 rd' 00 rs2' 01", "rd, rs2", ({ rd, rs2 }) => ["sub", { rd, rs1: rd, rs2 }]),
  "c.xor":   compressed("100 0 11 rd' 01 rs2' 01", "rd, rs2", ({ rd, rs2 }) => ["xor", { rd, rs1: rd, rs2 }]),
  "c.or":    compressed("100 0 11 rd' 10 rs2' 01", "rd, rs2", ({ rd, rs2 }) => ["or", { rd, rs1: rd, rs2 }]),
  "c.and":   compressed("100 0 11 rd' 11 rs2' 01", "rd, rs2", ({ rd, rs2 }) => ["and", { rd, rs1: rd, rs2 }]),
  "c.subw":  compressed("100 1 11 rd' 00 rs2' 01", "rd, rs2", ({ rd, rs2 }) => ["subw", { rd, rs1: rd, rs2 }], rv64),
  "c.addw":  compressed("100 1 11 rd' 01 rs2' 01", "rd, rs2", ({ rd, rs2 }) => ["addw", { rd, rs1: rd, rs2 }], rv64),
  "c.j":     compressed("101 imm[11|4|9:8|10|6|7|3:1|5] 01", "target(imm)", ({ imm }) => ["jal", { rd: ZERO, imm }]),
  "c.beqz":  compressed("110 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "rs1, target(imm)", ({ imm, rs1 }) => ["beq", { rs1, rs2: ZERO, imm }]),
  "c.bnez":  compressed("111 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "rs1, target(imm)", ({ imm, rs1 }) => ["bne", { rs1, rs2: ZERO, imm }]),

  // Quadrant 2
  "c.slli":   compressed("000 shamt[5] rd shamt[4:0] 10", "rd, hex(shamt)", ({ shamt, rd }) => ["slli", { rd, rs1: rd, shamt }], rv64),
  "c.slli32": compressed("000 0 rd shamt[4:0] 10", "rd, hex(shamt)", ({ shamt, rd }) => ["slli32", { rd, rs1: rd, shamt }], { ...rv32, as: "c.slli" }),
  "c.fldsp":  compressed("001 uimm[5] rd uimm[4:3|8:6] 10", "f(rd), uimm(sp)", ({ uimm, rd }) => ["fld", { rd, rs1: SP, imm: uimm }]),
  "c.lwsp":   compressed("010 uimm[5] rd!=0 uimm[4:2|7:6] 10", "rd, uimm(sp)", ({ uimm, rd }) => ["lw", { rd, rs1: SP, imm: uimm }]),
  "c.flwsp":  compressed("011 uimm[5] rd uimm[4:2|7:6] 10", "f(rd), uimm(sp)", ({ uimm, rd }) => ["flw", { rd, rs1: SP, imm: uimm }], rv32),
  "c.ldsp":   compressed("011 uimm[5] rd!=0 uimm[4:3|8:6] 10", "rd, uimm(sp)", ({ uimm, rd }) => ["ld", { rd, rs1: SP, imm: uimm }], rv64),
  "c.jr":     compressed("100 0 rs1!=0 00000 10", "rs1", ({ rs1 }) => ["jalr", { rd: ZERO, rs1, imm: 0 }]),
  "c.mv":     compressed("100 0 rd rs2!=0 10", "rd, rs2", ({ rd, rs2 }) => ["add", { rd, rs1: ZERO, rs2 }]),
  "c.ebreak": compressed("100 1 00000 00000 10", "", () => ["ebreak", {}]),
  "c.jalr":   compressed("100 1 rs1!=0 00000 10", "rs1", ({ rs1 }) => ["jalr", { rd: RA, rs1, imm: 0 }]),
  "c.add":    compressed("100 1 rd rs2!=0 10", "rd, rs2", ({ rd, rs2 }) => ["add", { rd, rs1: rd, rs2 }]),
  "c.fsdsp":  compressed("101 uimm[5:3|8:6] rs2 10", "f(rs2), uimm(sp)", ({ uimm, rs2 }) => ["fsd", { rs1: SP, rs2, imm: uimm }]),
  "c.swsp":   compressed("110 uimm[5:2|7:6] rs2 10", "rs2, uimm(sp)", ({ uimm, rs2 }) => ["sw", { rs1: SP, rs2, imm: uimm }]),
  "c.fswsp":  compressed("111 uimm[5:2|7:6] rs2 10", "f(rs2), uimm(sp)", ({ uimm, rs2 }) => ["fsw", { rs1: SP, rs2, imm: uimm }], rv32),
  "c.sdsp":   compressed("111 uimm[5:3|8:6] rs2 10", "rs2, uimm(sp)", ({ uimm, rs2 }) => ["sd", { rs1: SP, rs2, imm: uimm }], rv64),
};

/**
 * Whether the compressed row `name`, which stands for row `base` with these fields, is a hint: a result for x0 (but
 * `nop`), or a shift by 0 (unprivileged manual, 27.8).
 */
export function isHint(name: string, base: string, { rd, imm, shamt }: FieldValues): boolean {
  if (shamt !== undefined) return rd === 0 || shamt === 0;
  if (name === "c.nop") return imm !== 0;
  return rd === 0 && (base === "addi" || base === "lui" || base === "add");
}
