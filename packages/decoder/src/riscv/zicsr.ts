/** CSR instructions, "Zicsr", and instruction-fetch fence, "Zifencei" (unprivileged manual, chapters 6 and 5). */
import type { Field, Helper } from "../ir/types.js";
import type { RiscvHelpers } from "./helpers.js";
import { insn } from "./insn.js";
import type { RiscvSemantics } from "./semantics.js";

type M = RiscvSemantics;
type Register = { csr: Field; rs1: Field; rd: Field };
type Immediate = { csr: Field; uimm: Field; rd: Field };
type Which = (helpers: RiscvHelpers) => Helper;

const swap = (m: M, { csr, rs1, rd }: Register) =>
  m.writeX(rd, m.call(m.helpers.csrrw, m.imm32(csr), m.readX(rs1), m.imm32(rd)));
const swapImmediate = (m: M, { csr, uimm, rd }: Immediate) =>
  m.writeX(rd, m.call(m.helpers.csrrw, m.imm32(csr), m.zext(m.imm32(uimm)), m.imm32(rd)));
/** The register number goes along: x0 means no write at all, unlike a register that holds zero. */
const modify =
  (which: Which) =>
  (m: M, { csr, rs1, rd }: Register) =>
    m.writeX(rd, m.call(which(m.helpers), m.imm32(csr), m.readX(rs1), m.imm32(rd), m.imm32(rs1)));
const modifyImmediate =
  (which: Which) =>
  (m: M, { csr, uimm, rd }: Immediate) =>
    m.writeX(rd, m.call(which(m.helpers), m.imm32(csr), m.zext(m.imm32(uimm)), m.imm32(rd), m.imm32(uimm)));

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const zicsr = {
  csrrw:  insn("csr rs1 001 rd 1110011", "rd, csr, rs1", swap),
  csrrs:  insn("csr rs1 010 rd 1110011", "rd, csr, rs1", modify((helpers) => helpers.csrrs)),
  csrrc:  insn("csr rs1 011 rd 1110011", "rd, csr, rs1", modify((helpers) => helpers.csrrc)),
  csrrwi: insn("csr uimm[4:0] 101 rd 1110011", "rd, csr, uimm", swapImmediate),
  csrrsi: insn("csr uimm[4:0] 110 rd 1110011", "rd, csr, uimm", modifyImmediate((helpers) => helpers.csrrs)),
  csrrci: insn("csr uimm[4:0] 111 rd 1110011", "rd, csr, uimm", modifyImmediate((helpers) => helpers.csrrc)),
};

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const zifencei = {
  "fence.i": insn("imm[11:0] rs1 001 rd 0001111", "", (m) => void m.call(m.helpers.fenceI)),
};
