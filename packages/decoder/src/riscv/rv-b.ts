/** Bit manipulation: Zba, Zbb and Zbs (unprivileged manual, chapter 30). */
import type { Field, Value } from "../ir/types.js";
import { insn } from "./insn.js";
import type { RiscvSemantics } from "./semantics.js";

type M = RiscvSemantics;
type Two = { rd: Field; rs1: Field; rs2: Field };
type One = { rd: Field; rs1: Field };
type Shift = { rd: Field; rs1: Field; shamt: Field };
type Bit = (m: M, value: Value, amount: Value) => Value;

const two = (operation: (m: M, a: Value, b: Value) => Value) => (m: M, f: Two) =>
  m.writeX(f.rd, operation(m, m.readX(f.rs1), m.readX(f.rs2)));
const one = (operation: (m: M, a: Value) => Value) => (m: M, f: One) =>
  m.writeX(f.rd, operation(m, m.readX(f.rs1)));
const word = (operation: (m: M, a: Value) => Value) => (m: M, f: One) =>
  m.writeX(f.rd, m.zext(operation(m, m.low32(m.readX(f.rs1)))));
const shifted = (amount: number) => two((m, a, b) => m.add(m.shl(a, m.builder.const32(amount)), b));
const shiftedWord = (amount: number) =>
  two((m, a, b) => m.add(m.shl(m.zext(m.low32(a)), m.builder.const32(amount)), b));

const bitOf = (operation: Bit) => (m: M, f: Two) =>
  m.writeX(f.rd, operation(m, m.readX(f.rs1), m.low32(m.readX(f.rs2))));
const bitOfImmediate = (operation: Bit) => (m: M, f: Shift) =>
  m.writeX(f.rd, operation(m, m.readX(f.rs1), m.imm32(f.shamt)));
const mask = (m: M, amount: Value) => m.shl(m.constant(1), amount);
const clear: Bit = (m, value, amount) => m.and(value, m.not(mask(m, amount)));
const extract: Bit = (m, value, amount) => m.and(m.shru(value, amount), m.constant(1));
const invert: Bit = (m, value, amount) => m.xor(value, mask(m, amount));
const set: Bit = (m, value, amount) => m.or(value, mask(m, amount));
const rotate =
  (direction: "rotl" | "rotr"): Bit =>
  (m, value, amount) =>
    m.builder.shift(direction, value, amount);
const rotateWord = (direction: "rotl" | "rotr") => (m: M, f: Two) =>
  m.writeX(f.rd, m.sext(m.builder.shift(direction, m.low32(m.readX(f.rs1)), m.low32(m.readX(f.rs2)))));

/** Every byte becomes 255 where any of its bits is set: the low bit spreads down, then times 255. */
const orCombine = (m: M, a: Value): Value => {
  let any = a;
  for (const amount of [1, 2, 4]) any = m.or(any, m.shru(any, m.builder.const32(amount)));
  const ones = m.x === "i64" ? m.builder.const64(0x01010101, 0x01010101) : m.builder.const32(0x01010101);
  const low = m.and(any, ones);
  return m.sub(m.shl(low, m.builder.const32(8)), low);
};

const rv32 = { width: 32 } as const;
const rv64 = { width: 64 } as const;

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const zba = {
  sh1add: insn("0010000 rs2 rs1 010 rd 0110011", "rd, rs1, rs2", shifted(1)),
  sh2add: insn("0010000 rs2 rs1 100 rd 0110011", "rd, rs1, rs2", shifted(2)),
  sh3add: insn("0010000 rs2 rs1 110 rd 0110011", "rd, rs1, rs2", shifted(3)),
  "add.uw":    insn("0000100 rs2 rs1 000 rd 0111011", "rd, rs1, rs2", shiftedWord(0), rv64),
  "sh1add.uw": insn("0010000 rs2 rs1 010 rd 0111011", "rd, rs1, rs2", shiftedWord(1), rv64),
  "sh2add.uw": insn("0010000 rs2 rs1 100 rd 0111011", "rd, rs1, rs2", shiftedWord(2), rv64),
  "sh3add.uw": insn("0010000 rs2 rs1 110 rd 0111011", "rd, rs1, rs2", shiftedWord(3), rv64),
  "slli.uw":   insn("000010 shamt[5:0] rs1 001 rd 0011011", "rd, rs1, hex(shamt)", (m, { rd, rs1, shamt }) =>
    m.writeX(rd, m.shl(m.zext(m.low32(m.readX(rs1))), m.imm32(shamt))), rv64),
};

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const zbb = {
  andn: insn("0100000 rs2 rs1 111 rd 0110011", "rd, rs1, rs2", two((m, a, b) => m.and(a, m.not(b)))),
  orn:  insn("0100000 rs2 rs1 110 rd 0110011", "rd, rs1, rs2", two((m, a, b) => m.or(a, m.not(b)))),
  xnor: insn("0100000 rs2 rs1 100 rd 0110011", "rd, rs1, rs2", two((m, a, b) => m.not(m.xor(a, b)))),
  clz:  insn("0110000 00000 rs1 001 rd 0010011", "rd, rs1", one((m, a) => m.builder.unary("clz", a))),
  ctz:  insn("0110000 00001 rs1 001 rd 0010011", "rd, rs1", one((m, a) => m.builder.unary("ctz", a))),
  cpop: insn("0110000 00010 rs1 001 rd 0010011", "rd, rs1", one((m, a) => m.builder.unary("popcnt", a))),
  clzw:  insn("0110000 00000 rs1 001 rd 0011011", "rd, rs1", word((m, a) => m.builder.unary("clz", a)), rv64),
  ctzw:  insn("0110000 00001 rs1 001 rd 0011011", "rd, rs1", word((m, a) => m.builder.unary("ctz", a)), rv64),
  cpopw: insn("0110000 00010 rs1 001 rd 0011011", "rd, rs1", word((m, a) => m.builder.unary("popcnt", a)), rv64),
  "sext.b": insn("0110000 00100 rs1 001 rd 0010011", "rd, rs1", one((m, a) => m.builder.unary("sext8", a))),
  "sext.h": insn("0110000 00101 rs1 001 rd 0010011", "rd, rs1", one((m, a) => m.builder.unary("sext16", a))),
  "zext.h":   insn("0000100 00000 rs1 100 rd 0111011", "rd, rs1", one((m, a) => m.builder.unary("zext16", a)), rv64),
  "zext.h32": insn("0000100 00000 rs1 100 rd 0110011", "rd, rs1", one((m, a) => m.builder.unary("zext16", a)), { ...rv32, as: "zext.h" }),
  min:  insn("0000101 rs2 rs1 100 rd 0110011", "rd, rs1, rs2", two((m, a, b) => m.select(m.lt(a, b), a, b))),
  minu: insn("0000101 rs2 rs1 101 rd 0110011", "rd, rs1, rs2", two((m, a, b) => m.select(m.ltu(a, b), a, b))),
  max:  insn("0000101 rs2 rs1 110 rd 0110011", "rd, rs1, rs2", two((m, a, b) => m.select(m.lt(a, b), b, a))),
  maxu: insn("0000101 rs2 rs1 111 rd 0110011", "rd, rs1, rs2", two((m, a, b) => m.select(m.ltu(a, b), b, a))),
  rol:  insn("0110000 rs2 rs1 001 rd 0110011", "rd, rs1, rs2", bitOf(rotate("rotl"))),
  ror:  insn("0110000 rs2 rs1 101 rd 0110011", "rd, rs1, rs2", bitOf(rotate("rotr"))),
  rori:   insn("011000 shamt[5:0] rs1 101 rd 0010011", "rd, rs1, hex(shamt)", bitOfImmediate(rotate("rotr")), rv64),
  rori32: insn("0110000 shamt[4:0] rs1 101 rd 0010011", "rd, rs1, hex(shamt)", bitOfImmediate(rotate("rotr")), { ...rv32, as: "rori" }),
  rolw:  insn("0110000 rs2 rs1 001 rd 0111011", "rd, rs1, rs2", rotateWord("rotl"), rv64),
  rorw:  insn("0110000 rs2 rs1 101 rd 0111011", "rd, rs1, rs2", rotateWord("rotr"), rv64),
  roriw: insn("0110000 shamt[4:0] rs1 101 rd 0011011", "rd, rs1, hex(shamt)", (m, { rd, rs1, shamt }) =>
    m.writeX(rd, m.sext(m.builder.shift("rotr", m.low32(m.readX(rs1)), m.imm32(shamt)))), rv64),
  "orc.b": insn("0010100 00111 rs1 101 rd 0010011", "rd, rs1", one(orCombine)),
  rev8:   insn("0110101 11000 rs1 101 rd 0010011", "rd, rs1", one((m, a) => m.builder.unary("bswap", a)), rv64),
  rev832: insn("0110100 11000 rs1 101 rd 0010011", "rd, rs1", one((m, a) => m.builder.unary("bswap", a)), { ...rv32, as: "rev8" }),
};

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const zbs = {
  bclr: insn("0100100 rs2 rs1 001 rd 0110011", "rd, rs1, rs2", bitOf(clear)),
  bext: insn("0100100 rs2 rs1 101 rd 0110011", "rd, rs1, rs2", bitOf(extract)),
  binv: insn("0110100 rs2 rs1 001 rd 0110011", "rd, rs1, rs2", bitOf(invert)),
  bset: insn("0010100 rs2 rs1 001 rd 0110011", "rd, rs1, rs2", bitOf(set)),
  bclri: insn("010010 shamt[5:0] rs1 001 rd 0010011", "rd, rs1, hex(shamt)", bitOfImmediate(clear), rv64),
  bexti: insn("010010 shamt[5:0] rs1 101 rd 0010011", "rd, rs1, hex(shamt)", bitOfImmediate(extract), rv64),
  binvi: insn("011010 shamt[5:0] rs1 001 rd 0010011", "rd, rs1, hex(shamt)", bitOfImmediate(invert), rv64),
  bseti: insn("001010 shamt[5:0] rs1 001 rd 0010011", "rd, rs1, hex(shamt)", bitOfImmediate(set), rv64),
  bclri32: insn("0100100 shamt[4:0] rs1 001 rd 0010011", "rd, rs1, hex(shamt)", bitOfImmediate(clear), { ...rv32, as: "bclri" }),
  bexti32: insn("0100100 shamt[4:0] rs1 101 rd 0010011", "rd, rs1, hex(shamt)", bitOfImmediate(extract), { ...rv32, as: "bexti" }),
  binvi32: insn("0110100 shamt[4:0] rs1 001 rd 0010011", "rd, rs1, hex(shamt)", bitOfImmediate(invert), { ...rv32, as: "binvi" }),
  bseti32: insn("0010100 shamt[4:0] rs1 001 rd 0010011", "rd, rs1, hex(shamt)", bitOfImmediate(set), { ...rv32, as: "bseti" }),
};
