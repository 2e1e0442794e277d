/** RV32I and RV64I (unprivileged manual, chapters 2 and 4). */
import type { Field, Value, Width } from "../ir/types.js";
import { insn } from "./insn.js";
import type { RiscvSemantics } from "./semantics.js";

type M = RiscvSemantics;
type Two = { rd: Field; rs1: Field; rs2: Field };
type Immediate = { rd: Field; rs1: Field; imm: Field };
type Shift = { rd: Field; rs1: Field; shamt: Field };

const compute = (operation: (m: M) => (a: Value, b: Value) => Value) => (m: M, f: Two) =>
  m.writeX(f.rd, operation(m)(m.readX(f.rs1), m.readX(f.rs2)));
const computeImmediate = (operation: (m: M) => (a: Value, b: Value) => Value) => (m: M, f: Immediate) =>
  m.writeX(f.rd, operation(m)(m.readX(f.rs1), m.imm(f.imm)));
const shift = (operation: (m: M) => (a: Value, amount: Value) => Value) => (m: M, f: Two) =>
  m.writeX(f.rd, operation(m)(m.readX(f.rs1), m.low32(m.readX(f.rs2))));
const shiftImmediate = (operation: (m: M) => (a: Value, amount: Value) => Value) => (m: M, f: Shift) =>
  m.writeX(f.rd, operation(m)(m.readX(f.rs1), m.imm32(f.shamt)));
const shiftWord = (operation: (m: M) => (a: Value, amount: Value) => Value) => (m: M, f: Two) =>
  m.writeX(f.rd, m.sext(operation(m)(m.low32(m.readX(f.rs1)), m.low32(m.readX(f.rs2)))));
const shiftWordImmediate = (operation: (m: M) => (a: Value, amount: Value) => Value) => (m: M, f: Shift) =>
  m.writeX(f.rd, m.sext(operation(m)(m.low32(m.readX(f.rs1)), m.imm32(f.shamt))));
const branch =
  (comparison: (m: M) => (a: Value, b: Value) => Value) =>
  (m: M, f: { rs1: Field; rs2: Field; imm: Field }) =>
    m.branch(comparison(m)(m.readX(f.rs1), m.readX(f.rs2)), f.imm);
const load = (width: Width, extension: "s" | "u") => (m: M, f: Immediate) =>
  m.writeX(f.rd, m.load(width, m.add(m.readX(f.rs1), m.imm(f.imm)), extension));
const store = (width: Width) => (m: M, f: { rs1: Field; rs2: Field; imm: Field }) =>
  m.store(width, m.add(m.readX(f.rs1), m.imm(f.imm)), m.readX(f.rs2));
const lessThan = (m: M) => (a: Value, b: Value) => m.zext(m.lt(a, b));
const lessThanUnsigned = (m: M) => (a: Value, b: Value) => m.zext(m.ltu(a, b));
const rv32 = { width: 32 } as const;
const rv64 = { width: 64 } as const;

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const rvI = {
  lui:   insn("imm[31:12] rd 0110111", "rd, hi(imm)", (m, { rd, imm }) => m.writeX(rd, m.imm(imm))),
  auipc: insn("imm[31:12] rd 0010111", "rd, hi(imm)", (m, { rd, imm }) => m.writeX(rd, m.pcPlus(imm))),
  jal:   insn("imm[20|10:1|11|19:12] rd 1101111", "rd, target(imm)", (m, { rd, imm }) => {
    m.writeX(rd, m.link());
    m.jump(imm);
  }),
  jalr:  insn("imm[11:0] rs1 000 rd 1100111", "rd, imm(rs1)", (m, { rd, rs1, imm }) => {
    const target = m.and(m.add(m.readX(rs1), m.imm(imm)), m.constant(-2));
    m.writeX(rd, m.link());
    m.jumpIndirect(target);
  }),

  beq:  insn("imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011", "rs1, rs2, target(imm)", branch((m) => m.eq)),
  bne:  insn("imm[12|10:5] rs2 rs1 001 imm[4:1|11] 1100011", "rs1, rs2, target(imm)", branch((m) => m.ne)),
  blt:  insn("imm[12|10:5] rs2 rs1 100 imm[4:1|11] 1100011", "rs1, rs2, target(imm)", branch((m) => m.lt)),
  bge:  insn("imm[12|10:5] rs2 rs1 101 imm[4:1|11] 1100011", "rs1, rs2, target(imm)", branch((m) => m.ge)),
  bltu: insn("imm[12|10:5] rs2 rs1 110 imm[4:1|11] 1100011", "rs1, rs2, target(imm)", branch((m) => m.ltu)),
  bgeu: insn("imm[12|10:5] rs2 rs1 111 imm[4:1|11] 1100011", "rs1, rs2, target(imm)", branch((m) => m.geu)),

  lb:  insn("imm[11:0] rs1 000 rd 0000011", "rd, imm(rs1)", load(8, "s")),
  lh:  insn("imm[11:0] rs1 001 rd 0000011", "rd, imm(rs1)", load(16, "s")),
  lw:  insn("imm[11:0] rs1 010 rd 0000011", "rd, imm(rs1)", load(32, "s")),
  lbu: insn("imm[11:0] rs1 100 rd 0000011", "rd, imm(rs1)", load(8, "u")),
  lhu: insn("imm[11:0] rs1 101 rd 0000011", "rd, imm(rs1)", load(16, "u")),
  lwu: insn("imm[11:0] rs1 110 rd 0000011", "rd, imm(rs1)", load(32, "u"), rv64),
  ld:  insn("imm[11:0] rs1 011 rd 0000011", "rd, imm(rs1)", load(64, "s"), rv64),

  sb: insn("imm[11:5] rs2 rs1 000 imm[4:0] 0100011", "rs2, imm(rs1)", store(8)),
  sh: insn("imm[11:5] rs2 rs1 001 imm[4:0] 0100011", "rs2, imm(rs1)", store(16)),
  sw: insn("imm[11:5] rs2 rs1 010 imm[4:0] 0100011", "rs2, imm(rs1)", store(32)),
  sd: insn("imm[11:5] rs2 rs1 011 imm[4:0] 0100011", "rs2, imm(rs1)", store(64), rv64),

  addi:  insn("imm[11:0] rs1 000 rd 0010011", "rd, rs1, imm", computeImmediate((m) => m.add)),
  slti:  insn("imm[11:0] rs1 010 rd 0010011", "rd, rs1, imm", computeImmediate(lessThan)),
  sltiu: insn("imm[11:0] rs1 011 rd 0010011", "rd, rs1, imm", computeImmediate(lessThanUnsigned)),
  xori:  insn("imm[11:0] rs1 100 rd 0010011", "rd, rs1, imm", computeImmediate((m) => m.xor)),
  ori:   insn("imm[11:0] rs1 110 rd 0010011", "rd, rs1, imm", computeImmediate((m) => m.or)),
  andi:  insn("imm[11:0] rs1 111 rd 0010011", "rd, rs1, imm", computeImmediate((m) => m.and)),
  slli:  insn("000000 shamt[5:0] rs1 001 rd 0010011", "rd, rs1, hex(shamt)", shiftImmediate((m) => m.shl), rv64),
  srli:  insn("000000 shamt[5:0] rs1 101 rd 0010011", "rd, rs1, hex(shamt)", shiftImmediate((m) => m.shru), rv64),
  srai:  insn("010000 shamt[5:0] rs1 101 rd 0010011", "rd, rs1, hex(shamt)", shiftImmediate((m) => m.shrs), rv64),
  slli32: insn("0000000 shamt[4:0] rs1 001 rd 0010011", "rd, rs1, hex(shamt)", shiftImmediate((m) => m.shl), { ...rv32, as: "slli" }),
  srli32: insn("0000000 shamt[4:0] rs1 101 rd 0010011", "rd, rs1, hex(shamt)", shiftImmediate((m) => m.shru), { ...rv32, as: "srli" }),
  srai32: insn("0100000 shamt[4:0] rs1 101 rd 0010011", "rd, rs1, hex(shamt)", shiftImmediate((m) => m.shrs), { ...rv32, as: "srai" }),

  add:  insn("0000000 rs2 rs1 000 rd 0110011", "rd, rs1, rs2", compute((m) => m.add)),
  sub:  insn("0100000 rs2 rs1 000 rd 0110011", "rd, rs1, rs2", compute((m) => m.sub)),
  sll:  insn("0000000 rs2 rs1 001 rd 0110011", "rd, rs1, rs2", shift((m) => m.shl)),
  slt:  insn("0000000 rs2 rs1 010 rd 0110011", "rd, rs1, rs2", compute(lessThan)),
  sltu: insn("0000000 rs2 rs1 011 rd 0110011", "rd, rs1, rs2", compute(lessThanUnsigned)),
  xor:  insn("0000000 rs2 rs1 100 rd 0110011", "rd, rs1, rs2", compute((m) => m.xor)),
  srl:  insn("0000000 rs2 rs1 101 rd 0110011", "rd, rs1, rs2", shift((m) => m.shru)),
  sra:  insn("0100000 rs2 rs1 101 rd 0110011", "rd, rs1, rs2", shift((m) => m.shrs)),
  or:   insn("0000000 rs2 rs1 110 rd 0110011", "rd, rs1, rs2", compute((m) => m.or)),
  and:  insn("0000000 rs2 rs1 111 rd 0110011", "rd, rs1, rs2", compute((m) => m.and)),

  addiw: insn("imm[11:0] rs1 000 rd 0011011", "rd, rs1, imm", (m, { rd, rs1, imm }) =>
    m.writeX(rd, m.sext(m.add(m.low32(m.readX(rs1)), m.imm32(imm)))), rv64),
  slliw: insn("0000000 shamt[4:0] rs1 001 rd 0011011", "rd, rs1, hex(shamt)", shiftWordImmediate((m) => m.shl), rv64),
  srliw: insn("0000000 shamt[4:0] rs1 101 rd 0011011", "rd, rs1, hex(shamt)", shiftWordImmediate((m) => m.shru), rv64),
  sraiw: insn("0100000 shamt[4:0] rs1 101 rd 0011011", "rd, rs1, hex(shamt)", shiftWordImmediate((m) => m.shrs), rv64),
  addw:  insn("0000000 rs2 rs1 000 rd 0111011", "rd, rs1, rs2", (m, { rd, rs1, rs2 }) =>
    m.writeX(rd, m.sext(m.add(m.low32(m.readX(rs1)), m.low32(m.readX(rs2))))), rv64),
  subw:  insn("0100000 rs2 rs1 000 rd 0111011", "rd, rs1, rs2", (m, { rd, rs1, rs2 }) =>
    m.writeX(rd, m.sext(m.sub(m.low32(m.readX(rs1)), m.low32(m.readX(rs2))))), rv64),
  sllw:  insn("0000000 rs2 rs1 001 rd 0111011", "rd, rs1, rs2", shiftWord((m) => m.shl), rv64),
  srlw:  insn("0000000 rs2 rs1 101 rd 0111011", "rd, rs1, rs2", shiftWord((m) => m.shru), rv64),
  sraw:  insn("0100000 rs2 rs1 101 rd 0111011", "rd, rs1, rs2", shiftWord((m) => m.shrs), rv64),

  fence:  insn("fm pred succ rs1 000 rd 0001111", "pred, succ", () => {}),
  ecall:  insn("00000000000000000000000001110011", "", (m) => {
    m.call(m.helpers.ecall);
    m.leave();
  }),
  ebreak: insn("00000000000100000000000001110011", "", (m) => {
    m.call(m.helpers.ebreak);
    m.leave();
  }),
};
