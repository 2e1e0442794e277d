/** Integer multiplication and division, "M" (unprivileged manual, chapter 12). */
import type { Field } from "../ir/types.js";
import { insn } from "./insn.js";
import type { RiscvSemantics } from "./semantics.js";

type Two = { rd: Field; rs1: Field; rs2: Field };
type Operation = "mul" | "mulh" | "mulhu" | "mulhsu" | "div" | "divu" | "rem" | "remu";

const full = (op: Operation) => (m: RiscvSemantics, f: Two) =>
  m.writeX(f.rd, m.builder.binary(op, m.readX(f.rs1), m.readX(f.rs2)));
const word = (op: Operation) => (m: RiscvSemantics, f: Two) =>
  m.writeX(f.rd, m.sext(m.builder.binary(op, m.low32(m.readX(f.rs1)), m.low32(m.readX(f.rs2)))));
const rv64 = { width: 64 } as const;

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const rvM = {
  mul:    insn("0000001 rs2 rs1 000 rd 0110011", "rd, rs1, rs2", full("mul")),
  mulh:   insn("0000001 rs2 rs1 001 rd 0110011", "rd, rs1, rs2", full("mulh")),
  mulhsu: insn("0000001 rs2 rs1 010 rd 0110011", "rd, rs1, rs2", full("mulhsu")),
  mulhu:  insn("0000001 rs2 rs1 011 rd 0110011", "rd, rs1, rs2", full("mulhu")),
  div:    insn("0000001 rs2 rs1 100 rd 0110011", "rd, rs1, rs2", full("div")),
  divu:   insn("0000001 rs2 rs1 101 rd 0110011", "rd, rs1, rs2", full("divu")),
  rem:    insn("0000001 rs2 rs1 110 rd 0110011", "rd, rs1, rs2", full("rem")),
  remu:   insn("0000001 rs2 rs1 111 rd 0110011", "rd, rs1, rs2", full("remu")),
  mulw:   insn("0000001 rs2 rs1 000 rd 0111011", "rd, rs1, rs2", word("mul"), rv64),
  divw:   insn("0000001 rs2 rs1 100 rd 0111011", "rd, rs1, rs2", word("div"), rv64),
  divuw:  insn("0000001 rs2 rs1 101 rd 0111011", "rd, rs1, rs2", word("divu"), rv64),
  remw:   insn("0000001 rs2 rs1 110 rd 0111011", "rd, rs1, rs2", word("rem"), rv64),
  remuw:  insn("0000001 rs2 rs1 111 rd 0111011", "rd, rs1, rs2", word("remu"), rv64),
};
