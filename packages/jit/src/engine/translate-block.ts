/**
 * From guest instructions to the optimised block that backends print, checked against the IR's invariants where that
 * is asked for: a front end or a pass that breaks them is caught before its block runs.
 */
import { assertBlock, type Block, type FrontEnd, type GuestInsn } from "@hyperfile/decoder";
import { optimise } from "../passes/optimise.js";

/** Who translates, and whether each step's result is checked. */
export interface BlockTranslation {
  readonly frontEnd: FrontEnd;
  readonly verify: boolean;
}

/**
 * The optimised block of consecutive instructions.
 * @param what names the block in messages
 * @throws IrError if `verify` is set and the block is not well formed: a defect of the front end or of a pass
 */
export function translateBlock(
  { frontEnd, verify }: BlockTranslation,
  insns: readonly GuestInsn[],
  what: string,
): Block {
  const block = frontEnd.translate(insns);
  if (!verify) return optimise(block);
  assertBlock(block, frontEnd.shape, `${what}, as ${frontEnd.name} writes it`);
  const optimised = optimise(block);
  assertBlock(optimised, frontEnd.shape, `${what}, as the passes leave it`);
  return optimised;
}
