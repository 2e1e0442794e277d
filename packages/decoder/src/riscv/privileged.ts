/** Privileged instructions (privileged manual, chapters 3 and 12), and finer invalidation, "Svinval" (chapter 12.7). */
import type { Field, Helper } from "../ir/types.js";
import type { RiscvHelpers } from "./helpers.js";
import { insn } from "./insn.js";
import type { RiscvSemantics } from "./semantics.js";

type M = RiscvSemantics;
type Which = (helpers: RiscvHelpers) => Helper;

const system = (which: Which) => (m: M) => {
  m.call(which(m.helpers));
  m.leave();
};
/**
 * The register numbers go along: x0 means "all", unlike a register that holds zero. Code goes on behind it unless the
 * helper finds that it may be other code now: kernels drop single pages of data all the time.
 */
const invalidate =
  (which: Which) =>
  (m: M, { rs1, rs2 }: { rs1: Field; rs2: Field }) =>
    void m.call(which(m.helpers), m.readX(rs1), m.readX(rs2), m.imm32(rs1), m.imm32(rs2));
/** What comes before it is done already. */
const order = (m: M) => void m.call(m.helpers.sfenceInval);

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const machineMode = {
  mret: insn("0011000 00010 00000 000 00000 1110011", "", system((helpers) => helpers.mret)),
  wfi:  insn("0001000 00101 00000 000 00000 1110011", "", system((helpers) => helpers.wfi)),
};

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const supervisorMode = {
  sret: insn("0001000 00010 00000 000 00000 1110011", "", system((helpers) => helpers.sret)),
  "sfence.vma": insn("0001001 rs2 rs1 000 00000 1110011", "rs1, rs2", invalidate((helpers) => helpers.sfenceVma)),
};

// biome-ignore format: one row an instruction, aligned to compare with the manual
export const svinval = {
  "sinval.vma":      insn("0001011 rs2 rs1 000 00000 1110011", "rs1, rs2", invalidate((helpers) => helpers.sinvalVma)),
  "sfence.w.inval":  insn("0001100 00000 00000 000 00000 1110011", "", order),
  "sfence.inval.ir": insn("0001100 00001 00000 000 00000 1110011", "", order),
};
