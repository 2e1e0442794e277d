/** Prints look-ups in the software TLBs (`mmu/tlb-layout.ts`). `I` indexes words, and so do the names of entries. */
import type { header } from "../../memory/layout.js";
import { stepsTo, TlbWord } from "../../mmu/tlb-layout.js";
import { headerWord } from "./header-word.js";

/** The fields of the header that name the TLBs in use. */
export type TlbField = Extract<keyof typeof header, "tlbRead" | "tlbWrite" | "tlbFetch">;

/** Word index at which a TLB in use starts. */
export const tlbStart = (hartOffset: number, field: TlbField): string =>
  `I[${headerWord(hartOffset, field)}] >> 2`;

/** Word index of the entry of an address in the TLB that begins at `start`. */
export function tlbEntry(low: string, start: string, pageBytes: number): string {
  const { shift, mask } = stepsTo(pageBytes, 4);
  return `(${low} >>> ${shift} & ${mask}) + ${start} | 0`;
}

/** A word of the entry at the index that `entry` names. */
export const tlbWord = (entry: string, word: keyof typeof TlbWord): string =>
  TlbWord[word] === 0 ? `I[${entry}]` : `I[${entry} + ${TlbWord[word]}]`;
