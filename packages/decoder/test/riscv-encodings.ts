/**
 * Sample encodings of every row of a RISC-V table: each field takes its extreme values, the small ones that
 * aliases and compressed forms care about, and pseudo-random ones. The same seed gives the same encodings.
 */
import type { InstructionTable, TableEntry } from "../src/table/instruction-table.js";
import { extractField, type FieldSpec, insertField } from "../src/table/row.js";

/** An instruction's bits with the row that they were made from. */
export interface SampleEncoding<M> {
  readonly entry: TableEntry<M>;
  readonly bits: number;
  readonly length: number;
}

/** A small repeatable generator of unsigned 32-bit numbers (xorshift). */
export function randomWords(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** A value that the field can hold: from its pieces filled with `pattern`, which every piece reads alike. */
function valueFrom(field: FieldSpec, pattern: number): number {
  let bits = 0;
  for (const piece of field.pieces) {
    bits |= ((pattern >>> piece.to) & (2 ** piece.width - 1)) << piece.at;
  }
  return extractField(field, bits);
}

const patterns = [
  0, 1, 2, 5, 7, 8, 9, 15, 16, 31, 0xff, 0x800, 0x7fffffff, -1, -0x80000000, 0x0003f000, 0x20,
];

/** `count` encodings of every row; all of them decode to the row that they were made from. */
export function sampleEncodings<M>(table: InstructionTable<M>, count: number, seed = 1): SampleEncoding<M>[] {
  const random = randomWords(seed);
  return table.entries.flatMap((entry) => {
    const { encoding } = entry.row;
    const found = new Map<number, SampleEncoding<M>>();
    for (let attempt = 0; attempt < count; attempt++) {
      let bits = encoding.match;
      for (const field of encoding.fields) {
        const pattern = random() % 3 === 0 ? random() : patterns[random() % patterns.length]!;
        const value = valueFrom(field, pattern);
        bits |= insertField({ ...field, excluded: [] }, value);
      }
      if (table.match(bits, encoding.length) === entry) {
        found.set(bits, { entry, bits, length: encoding.length });
      }
    }
    return [...found.values()];
  });
}
