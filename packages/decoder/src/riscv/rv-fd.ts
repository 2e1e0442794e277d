/**
 * Single- and double-precision floating point, "F" and "D" (unprivileged manual, chapters 21 and 22).
 *
 * Every instruction first requires `mstatus.FS` to be on; those that round then resolve their rounding mode, which
 * may be reserved. Arithmetic is the IR's: exact, with accrued flags and the default NaN.
 */
import type { Field, Type, Value } from "../ir/types.js";
import { insn } from "./insn.js";
import type { RiscvSemantics } from "./semantics.js";

type M = RiscvSemantics;
type Two = { rd: Field; rs1: Field; rs2: Field };
type Rounded = { rd: Field; rs1: Field; rs2: Field; rm: Field };
type Fused = { rd: Field; rs1: Field; rs2: Field; rs3: Field; rm: Field };
type Unary = { rd: Field; rs1: Field; rm: Field };
type Move = { rd: Field; rs1: Field };

/** A format: how its values are read, written, negated and compared. */
interface Format {
  readonly type: "f32" | "f64";
  readonly read: (m: M, field: Field) => Value;
  readonly write: (m: M, field: Field, value: Value) => void;
  /** Bits as an integer of the format's width. */
  readonly bits: (m: M, field: Field) => Value;
  readonly writeBits: (m: M, field: Field, bits: Value) => void;
  /** The sign bit alone. */
  readonly sign: (m: M) => Value;
  /** From bits to a value of the format. */
  readonly fromBits: "float32" | "float64";
}

const S: Format = {
  type: "f32",
  read: (m, field) => m.readS(field),
  write: (m, field, value) => m.writeS(field, value),
  bits: (m, field) => m.readSBits(field),
  writeBits: (m, field, bits) => m.writeSBits(field, bits),
  sign: (m) => m.builder.const32(-0x80000000),
  fromBits: "float32",
};
const D: Format = {
  type: "f64",
  read: (m, field) => m.readD(field),
  write: (m, field, value) => m.writeD(field, value),
  bits: (m, field) => m.readFBits(field),
  writeBits: (m, field, bits) => m.writeFBits(field, bits),
  sign: (m) => m.builder.const64(0, -0x80000000),
  fromBits: "float64",
};

const arithmetic = (format: Format, op: string) => (m: M, f: Rounded) => {
  m.requireFloat();
  const rm = m.rounding(f.rm);
  format.write(m, f.rd, m.float(op, format.type, format.read(m, f.rs1), format.read(m, f.rs2), rm));
};

/** (±rs1) * rs2 + (±rs3), rounded once. Negations flip sign bits, which is exact. */
const fused = (format: Format, negateProduct: boolean, negateAddend: boolean) => (m: M, f: Fused) => {
  m.requireFloat();
  const rm = m.rounding(f.rm);
  const operand = (field: Field, negate: boolean) => {
    const bits = format.bits(m, field);
    return m.float(format.fromBits, format.type, negate ? m.xor(bits, format.sign(m)) : bits);
  };
  const product = operand(f.rs1, negateProduct);
  const value = m.float("fma", format.type, product, format.read(m, f.rs2), operand(f.rs3, negateAddend), rm);
  format.write(m, f.rd, value);
};

const squareRoot = (format: Format) => (m: M, f: Unary) => {
  m.requireFloat();
  const rm = m.rounding(f.rm);
  format.write(m, f.rd, m.float("fsqrt", format.type, format.read(m, f.rs1), rm));
};

const minMax = (format: Format, op: "fmin" | "fmax") => (m: M, f: Two) => {
  m.requireFloat();
  format.write(m, f.rd, m.float(op, format.type, format.read(m, f.rs1), format.read(m, f.rs2)));
};

const compare = (format: Format, op: "feq" | "flt" | "fle") => (m: M, f: Two) => {
  m.requireFloat();
  m.writeX(f.rd, m.zext(m.float(op, "i32", format.read(m, f.rs1), format.read(m, f.rs2))));
  m.markFloatDirty();
};

const classify = (format: Format) => (m: M, f: Move) => {
  m.requireFloat();
  m.writeX(f.rd, m.zext(m.float("fclass", "i32", format.read(m, f.rs1))));
};

/** Sign injection: the first operand's magnitude under a sign made of both (21.7). */
const signInjection =
  (format: Format, sign: (m: M, first: Value, second: Value) => Value) => (m: M, f: Two) => {
    m.requireFloat();
    const first = format.bits(m, f.rs1);
    const chosen = m.and(sign(m, first, format.bits(m, f.rs2)), format.sign(m));
    format.writeBits(m, f.rd, m.or(m.and(first, m.not(format.sign(m))), chosen));
  };

/** Float to integer; 32-bit results are sign-extended, the unsigned ones too (21.7). */
const toInteger = (format: Format, op: string, type: Type) => (m: M, f: Unary) => {
  m.requireFloat();
  const rm = m.rounding(f.rm);
  const value = m.float(op, type, format.read(m, f.rs1), rm);
  m.writeX(f.rd, type === "i32" ? m.sext(value) : value);
  m.markFloatDirty();
};

const fromInteger = (format: Format, op: string, wide: boolean) => (m: M, f: Unary) => {
  m.requireFloat();
  const rm = m.rounding(f.rm);
  const value = m.readX(f.rs1);
  format.write(m, f.rd, m.float(op, format.type, wide ? value : m.low32(value), rm));
};

const rv64 = { width: 64 } as const;

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const rvF = {
  flw: insn("imm[11:0] rs1 010 rd 0000111", "f(rd), imm(rs1)", (m, { rd, rs1, imm }) => {
    m.requireFloat();
    m.writeSBits(rd, m.builder.load("i32", 32, m.add(m.readX(rs1), m.imm(imm)), true));
  }),
  fsw: insn("imm[11:5] rs2 rs1 010 imm[4:0] 0100111", "f(rs2), imm(rs1)", (m, { rs1, rs2, imm }) => {
    m.requireFloat();
    m.store(32, m.add(m.readX(rs1), m.imm(imm)), m.low32(m.readFBits(rs2)));
  }),

  "fmadd.s":  insn("rs3 00 rs2 rs1 rm rd 1000011", "f(rd), f(rs1), f(rs2), f(rs3), rm", fused(S, false, false)),
  "fmsub.s":  insn("rs3 00 rs2 rs1 rm rd 1000111", "f(rd), f(rs1), f(rs2), f(rs3), rm", fused(S, false, true)),
  "fnmsub.s": insn("rs3 00 rs2 rs1 rm rd 1001011", "f(rd), f(rs1), f(rs2), f(rs3), rm", fused(S, true, false)),
  "fnmadd.s": insn("rs3 00 rs2 rs1 rm rd 1001111", "f(rd), f(rs1), f(rs2), f(rs3), rm", fused(S, true, true)),

  "fadd.s":  insn("0000000 rs2 rs1 rm rd 1010011", "f(rd), f(rs1), f(rs2), rm", arithmetic(S, "fadd")),
  "fsub.s":  insn("0000100 rs2 rs1 rm rd 1010011", "f(rd), f(rs1), f(rs2), rm", arithmetic(S, "fsub")),
  "fmul.s":  insn("0001000 rs2 rs1 rm rd 1010011", "f(rd), f(rs1), f(rs2), rm", arithmetic(S, "fmul")),
  "fdiv.s":  insn("0001100 rs2 rs1 rm rd 1010011", "f(rd), f(rs1), f(rs2), rm", arithmetic(S, "fdiv")),
  "fsqrt.s": insn("0101100 00000 rs1 rm rd 1010011", "f(rd), f(rs1), rm", squareRoot(S)),

  "fsgnj.s":  insn("0010000 rs2 rs1 000 rd 1010011", "f(rd), f(rs1), f(rs2)", signInjection(S, (_, __, b) => b)),
  "fsgnjn.s": insn("0010000 rs2 rs1 001 rd 1010011", "f(rd), f(rs1), f(rs2)", signInjection(S, (m, _, b) => m.not(b))),
  "fsgnjx.s": insn("0010000 rs2 rs1 010 rd 1010011", "f(rd), f(rs1), f(rs2)", signInjection(S, (m, a, b) => m.xor(a, b))),
  "fmin.s":   insn("0010100 rs2 rs1 000 rd 1010011", "f(rd), f(rs1), f(rs2)", minMax(S, "fmin")),
  "fmax.s":   insn("0010100 rs2 rs1 001 rd 1010011", "f(rd), f(rs1), f(rs2)", minMax(S, "fmax")),
  "fle.s":    insn("1010000 rs2 rs1 000 rd 1010011", "rd, f(rs1), f(rs2)", compare(S, "fle")),
  "flt.s":    insn("1010000 rs2 rs1 001 rd 1010011", "rd, f(rs1), f(rs2)", compare(S, "flt")),
  "feq.s":    insn("1010000 rs2 rs1 010 rd 1010011", "rd, f(rs1), f(rs2)", compare(S, "feq")),
  "fclass.s": insn("1110000 00000 rs1 001 rd 1010011", "rd, f(rs1)", classify(S)),

  "fmv.x.w": insn("1110000 00000 rs1 000 rd 1010011", "rd, f(rs1)", (m, { rd, rs1 }) => {
    m.requireFloat();
    m.writeX(rd, m.sext(m.builder.wrap(m.readFBits(rs1))));
  }),
  "fmv.w.x": insn("1111000 00000 rs1 000 rd 1010011", "f(rd), rs1", (m, { rd, rs1 }) => {
    m.requireFloat();
    m.writeSBits(rd, m.low32(m.readX(rs1)));
  }),

  "fcvt.w.s":  insn("1100000 00000 rs1 rm rd 1010011", "rd, f(rs1), rm", toInteger(S, "ftoi32", "i32")),
  "fcvt.wu.s": insn("1100000 00001 rs1 rm rd 1010011", "rd, f(rs1), rm", toInteger(S, "ftou32", "i32")),
  "fcvt.l.s":  insn("1100000 00010 rs1 rm rd 1010011", "rd, f(rs1), rm", toInteger(S, "ftoi64", "i64"), rv64),
  "fcvt.lu.s": insn("1100000 00011 rs1 rm rd 1010011", "rd, f(rs1), rm", toInteger(S, "ftou64", "i64"), rv64),
  "fcvt.s.w":  insn("1101000 00000 rs1 rm rd 1010011", "f(rd), rs1, rm", fromInteger(S, "i32tof", false)),
  "fcvt.s.wu": insn("1101000 00001 rs1 rm rd 1010011", "f(rd), rs1, rm", fromInteger(S, "u32tof", false)),
  "fcvt.s.l":  insn("1101000 00010 rs1 rm rd 1010011", "f(rd), rs1, rm", fromInteger(S, "i64tof", true), rv64),
  "fcvt.s.lu": insn("1101000 00011 rs1 rm rd 1010011", "f(rd), rs1, rm", fromInteger(S, "u64tof", true), rv64),
};

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const rvD = {
  fld: insn("imm[11:0] rs1 011 rd 0000111", "f(rd), imm(rs1)", (m, { rd, rs1, imm }) => {
    m.requireFloat();
    m.writeFBits(rd, m.builder.load("i64", 64, m.add(m.readX(rs1), m.imm(imm)), true));
  }),
  fsd: insn("imm[11:5] rs2 rs1 011 imm[4:0] 0100111", "f(rs2), imm(rs1)", (m, { rs1, rs2, imm }) => {
    m.requireFloat();
    m.store(64, m.add(m.readX(rs1), m.imm(imm)), m.readFBits(rs2));
  }),

  "fmadd.d":  insn("rs3 01 rs2 rs1 rm rd 1000011", "f(rd), f(rs1), f(rs2), f(rs3), rm", fused(D, false, false)),
  "fmsub.d":  insn("rs3 01 rs2 rs1 rm rd 1000111", "f(rd), f(rs1), f(rs2), f(rs3), rm", fused(D, false, true)),
  "fnmsub.d": insn("rs3 01 rs2 rs1 rm rd 1001011", "f(rd), f(rs1), f(rs2), f(rs3), rm", fused(D, true, false)),
  "fnmadd.d": insn("rs3 01 rs2 rs1 rm rd 1001111", "f(rd), f(rs1), f(rs2), f(rs3), rm", fused(D, true, true)),

  "fadd.d":  insn("0000001 rs2 rs1 rm rd 1010011", "f(rd), f(rs1), f(rs2), rm", arithmetic(D, "fadd")),
  "fsub.d":  insn("0000101 rs2 rs1 rm rd 1010011", "f(rd), f(rs1), f(rs2), rm", arithmetic(D, "fsub")),
  "fmul.d":  insn("0001001 rs2 rs1 rm rd 1010011", "f(rd), f(rs1), f(rs2), rm", arithmetic(D, "fmul")),
  "fdiv.d":  insn("0001101 rs2 rs1 rm rd 1010011", "f(rd), f(rs1), f(rs2), rm", arithmetic(D, "fdiv")),
  "fsqrt.d": insn("0101101 00000 rs1 rm rd 1010011", "f(rd), f(rs1), rm", squareRoot(D)),

  "fsgnj.d":  insn("0010001 rs2 rs1 000 rd 1010011", "f(rd), f(rs1), f(rs2)", signInjection(D, (_, __, b) => b)),
  "fsgnjn.d": insn("0010001 rs2 rs1 001 rd 1010011", "f(rd), f(rs1), f(rs2)", signInjection(D, (m, _, b) => m.not(b))),
  "fsgnjx.d": insn("0010001 rs2 rs1 010 rd 1010011", "f(rd), f(rs1), f(rs2)", signInjection(D, (m, a, b) => m.xor(a, b))),
  "fmin.d":   insn("0010101 rs2 rs1 000 rd 1010011", "f(rd), f(rs1), f(rs2)", minMax(D, "fmin")),
  "fmax.d":   insn("0010101 rs2 rs1 001 rd 1010011", "f(rd), f(rs1), f(rs2)", minMax(D, "fmax")),
  "fle.d":    insn("1010001 rs2 rs1 000 rd 1010011", "rd, f(rs1), f(rs2)", compare(D, "fle")),
  "flt.d":    insn("1010001 rs2 rs1 001 rd 1010011", "rd, f(rs1), f(rs2)", compare(D, "flt")),
  "feq.d":    insn("1010001 rs2 rs1 010 rd 1010011", "rd, f(rs1), f(rs2)", compare(D, "feq")),
  "fclass.d": insn("1110001 00000 rs1 001 rd 1010011", "rd, f(rs1)", classify(D)),

  "fcvt.s.d": insn("0100000 00001 rs1 rm rd 1010011", "f(rd), f(rs1), rm", (m, { rd, rs1, rm }) => {
    m.requireFloat();
    const mode = m.rounding(rm);
    m.writeS(rd, m.float("fdemote", "f32", m.readD(rs1), mode));
  }),
  "fcvt.d.s": insn("0100001 00000 rs1 rm rd 1010011", "f(rd), f(rs1), exact(rm)", (m, { rd, rs1, rm }) => {
    m.requireFloat();
    m.rounding(rm);
    m.writeD(rd, m.float("fpromote", "f64", m.readS(rs1)));
  }),
  "fmv.x.d": insn("1110001 00000 rs1 000 rd 1010011", "rd, f(rs1)", (m, { rd, rs1 }) => {
    m.requireFloat();
    m.writeX(rd, m.readFBits(rs1));
  }, rv64),
  "fmv.d.x": insn("1111001 00000 rs1 000 rd 1010011", "f(rd), rs1", (m, { rd, rs1 }) => {
    m.requireFloat();
    m.writeFBits(rd, m.readX(rs1));
  }, rv64),

  "fcvt.w.d":  insn("1100001 00000 rs1 rm rd 1010011", "rd, f(rs1), rm", toInteger(D, "ftoi32", "i32")),
  "fcvt.wu.d": insn("1100001 00001 rs1 rm rd 1010011", "rd, f(rs1), rm", toInteger(D, "ftou32", "i32")),
  "fcvt.l.d":  insn("1100001 00010 rs1 rm rd 1010011", "rd, f(rs1), rm", toInteger(D, "ftoi64", "i64"), rv64),
  "fcvt.lu.d": insn("1100001 00011 rs1 rm rd 1010011", "rd, f(rs1), rm", toInteger(D, "ftou64", "i64"), rv64),
  "fcvt.d.w":  insn("1101001 00000 rs1 rm rd 1010011", "f(rd), rs1, exact(rm)", fromInteger(D, "i32tof", false)),
  "fcvt.d.wu": insn("1101001 00001 rs1 rm rd 1010011", "f(rd), rs1, exact(rm)", fromInteger(D, "u32tof", false)),
  "fcvt.d.l":  insn("1101001 00010 rs1 rm rd 1010011", "f(rd), rs1, rm", fromInteger(D, "i64tof", true), rv64),
  "fcvt.d.lu": insn("1101001 00011 rs1 rm rd 1010011", "f(rd), rs1, rm", fromInteger(D, "u64tof", true), rv64),
};
