/**
 * The text that the guest's programs pack and hash: words of a made-up language, frequent ones more often, so that it
 * compresses about as prose does. The same number of bytes is the same text everywhere, without a file to keep.
 */

/** Words of the language. */
const WORDS = 4096;
const letters = "etaoinshrdlucmfwypvbgkjqxz";

/** A generator of 32-bit numbers (Marsaglia's xorshift with the triple 13, 17, 5). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** `length` bytes of text in lines, all ASCII. */
export function sampleText(length: number): Uint8Array {
  const next = numbers(0x2545f491);
  const skewed = (limit: number): number => Math.min(next() % limit, next() % limit, next() % limit);
  const words = Array.from({ length: WORDS }, () =>
    Array.from({ length: 1 + (next() % 9) }, () => letters[skewed(letters.length)]).join(""),
  );
  const lines: string[] = [];
  let size = 0;
  while (size < length) {
    const line = Array.from({ length: 6 + (next() % 9) }, () => words[skewed(WORDS)]).join(" ");
    lines.push(line);
    size += line.length + 1;
  }
  return new TextEncoder().encode(`${lines.join("\n")}\n`).subarray(0, length);
}
