/** Writes look-ups in the software TLBs (`mmu/tlb-layout.ts`). Entries are byte offsets in linear memory. */
import { stepsTo, TlbWord } from "../../mmu/tlb-layout.js";
import { type FunctionWriter, Op } from "./encoder.js";

/**
 * From the low half of an address on the stack to the entry of its page.
 * @param pushStart pushes the byte offset at which the TLB begins
 */
export function writeTlbEntry(writer: FunctionWriter, pageBytes: number, pushStart: () => void): void {
  const { shift, mask } = stepsTo(pageBytes, 1);
  writer.i32(shift);
  writer.op(Op.i32_shr_u);
  writer.i32(mask);
  writer.op(Op.i32_and);
  pushStart();
  writer.op(Op.i32_add);
}

/** From an entry on the stack to its tag: both words of the page's address, or the low one where that is all. */
export const loadTlbTag = (writer: FunctionWriter, wide: boolean): void =>
  writer.memory(wide ? Op.i64_load : Op.i32_load, bytes("page"));

/** From an entry on the stack to one of its words. */
export const loadTlbWord = (writer: FunctionWriter, word: keyof typeof TlbWord): void =>
  writer.memory(Op.i32_load, bytes(word));

/** Where a word is in an entry. */
const bytes = (word: keyof typeof TlbWord): number => 4 * TlbWord[word];
