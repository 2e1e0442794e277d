/**
 * XXH32, the 32-bit hash of the xxHash family (xxHash fast digest algorithm, version 0.1.1): the hashes by which equal
 * pages are found, and the checksums of memory that is written down. It guards against accidents, not against
 * somebody who wants two texts with one hash.
 */

const PRIME_1 = 0x9e3779b1 | 0;
const PRIME_2 = 0x85ebca77 | 0;
const PRIME_3 = 0xc2b2ae3d | 0;
const PRIME_4 = 0x27d4eb2f;
const PRIME_5 = 0x165667b1;
const STRIPE_WORDS = 4;

const rotate = (value: number, by: number): number => (value << by) | (value >>> (32 - by));
const round = (accumulator: number, word: number): number =>
  Math.imul(rotate((accumulator + Math.imul(word, PRIME_2)) | 0, 13), PRIME_1);

/** Hash of `count` 32-bit words from word `start`, as an unsigned integer. */
export function xxh32Words(words: Int32Array, start: number, count: number, seed = 0): number {
  return avalanche(absorb(words, start, count, count * 4, seed));
}

/** Hash of bytes, as an unsigned integer. */
export function xxh32(bytes: Uint8Array): number {
  // The words of an unaligned array are those of a copy.
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const count = aligned.length >>> 2;
  let hash = absorb(new Int32Array(aligned.buffer, aligned.byteOffset, count), 0, count, aligned.length, 0);
  for (let byte = count * 4; byte < aligned.length; byte++) {
    hash = Math.imul(rotate((hash + Math.imul(aligned[byte]!, PRIME_5)) | 0, 11), PRIME_1);
  }
  return avalanche(hash);
}

/** The state after all whole words of a text of `length` bytes. */
function absorb(words: Int32Array, start: number, count: number, length: number, seed: number): number {
  const end = start + count;
  let at = start;
  let hash = (seed + PRIME_5) | 0;
  if (count >= STRIPE_WORDS) {
    let a = (seed + PRIME_1 + PRIME_2) | 0;
    let b = (seed + PRIME_2) | 0;
    let c = seed | 0;
    let d = (seed - PRIME_1) | 0;
    for (; at + STRIPE_WORDS <= end; at += STRIPE_WORDS) {
      a = round(a, words[at]!);
      b = round(b, words[at + 1]!);
      c = round(c, words[at + 2]!);
      d = round(d, words[at + 3]!);
    }
    hash = (rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18)) | 0;
  }
  hash = (hash + length) | 0;
  for (; at < end; at++) hash = Math.imul(rotate((hash + Math.imul(words[at]!, PRIME_3)) | 0, 17), PRIME_4);
  return hash;
}

function avalanche(hash: number): number {
  let value = Math.imul(hash ^ (hash >>> 15), PRIME_2);
  value = Math.imul(value ^ (value >>> 13), PRIME_3);
  return (value ^ (value >>> 16)) >>> 0;
}
