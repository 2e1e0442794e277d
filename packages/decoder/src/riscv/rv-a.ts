/** Atomic instructions, "A" (unprivileged manual, chapter 13). Every access here is sequentially consistent. */
import type { AmoKind, Field } from "../ir/types.js";
import { insn } from "./insn.js";
import type { RiscvSemantics } from "./semantics.js";

type Two = { rd: Field; rs1: Field; rs2: Field };

const amo = (kind: AmoKind, width: 32 | 64) => (m: RiscvSemantics, f: Two) =>
  m.writeX(f.rd, m.amo(kind, width, m.readX(f.rs1), m.readX(f.rs2)));
const loadReserved = (width: 32 | 64) => (m: RiscvSemantics, f: { rd: Field; rs1: Field }) =>
  m.writeX(f.rd, m.loadReserved(width, m.readX(f.rs1)));
const storeConditional = (width: 32 | 64) => (m: RiscvSemantics, f: Two) =>
  m.writeX(f.rd, m.storeConditional(width, m.readX(f.rs1), m.readX(f.rs2)));
const rv64 = { width: 64 } as const;

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const rvA = {
  "lr.w":      insn("00010 aq rl 00000 rs1 010 rd 0101111", "rd, (rs1)", loadReserved(32)),
  "sc.w":      insn("00011 aq rl rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)", storeConditional(32)),
  "amoswap.w": insn("00001 aq rl rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)", amo("swap", 32)),
  "amoadd.w":  insn("00000 aq rl rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)", amo("add", 32)),
  "amoxor.w":  insn("00100 aq rl rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)", amo("xor", 32)),
  "amoand.w":  insn("01100 aq rl rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)", amo("and", 32)),
  "amoor.w":   insn("01000 aq rl rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)", amo("or", 32)),
  "amomin.w":  insn("10000 aq rl rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)", amo("min", 32)),
  "amomax.w":  insn("10100 aq rl rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)", amo("max", 32)),
  "amominu.w": insn("11000 aq rl rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)", amo("minu", 32)),
  "amomaxu.w": insn("11100 aq rl rs2 rs1 010 rd 0101111", "rd, rs2, (rs1)", amo("maxu", 32)),
  "lr.d":      insn("00010 aq rl 00000 rs1 011 rd 0101111", "rd, (rs1)", loadReserved(64), rv64),
  "sc.d":      insn("00011 aq rl rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)", storeConditional(64), rv64),
  "amoswap.d": insn("00001 aq rl rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)", amo("swap", 64), rv64),
  "amoadd.d":  insn("00000 aq rl rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)", amo("add", 64), rv64),
  "amoxor.d":  insn("00100 aq rl rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)", amo("xor", 64), rv64),
  "amoand.d":  insn("01100 aq rl rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)", amo("and", 64), rv64),
  "amoor.d":   insn("01000 aq rl rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)", amo("or", 64), rv64),
  "amomin.d":  insn("10000 aq rl rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)", amo("min", 64), rv64),
  "amomax.d":  insn("10100 aq rl rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)", amo("max", 64), rv64),
  "amominu.d": insn("11000 aq rl rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)", amo("minu", 64), rv64),
  "amomaxu.d": insn("11100 aq rl rs2 rs1 011 rd 0101111", "rd, rs2, (rs1)", amo("maxu", 64), rv64),
};
