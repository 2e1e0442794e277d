/**
 * The bridge to the host's own doubles: bits to value and back, and the error-free transformations that tell
 * the rounding error of a host operation exactly. A JavaScript number is a binary64 rounded to nearest, ties
 * to even (ECMA-262, "The Number Type"); nothing is contracted or kept wider, so the classic theorems hold.
 *
 * A value made from NaN bits is a NaN, but its payload and quiet bit may be lost in the host: who needs those
 * looks at the bits.
 */

const doubles = new Float64Array(1);
const words = new Int32Array(doubles.buffer);
const singles = new Float32Array(1);
const singleWords = new Int32Array(singles.buffer);

const LO = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 0 : 1;
const HI = 1 - LO;

/** The value of the binary64 in (lo, hi). */
export function toDouble(lo: number, hi: number): number {
  words[LO] = lo;
  words[HI] = hi;
  return doubles[0]!;
}

/** Low int32 half of a binary64 that is no NaN; the high half is then {@link splitHigh}. */
export function splitLow(value: number): number {
  doubles[0] = value;
  return words[LO]!;
}

/** High int32 half of the value last given to {@link splitLow}. */
export function splitHigh(): number {
  return words[HI]!;
}

/** The value of binary32 bits. */
export function fromSingle(bits: number): number {
  singleWords[0] = bits;
  return singles[0]!;
}

/** The binary32 bits of a value that is no NaN, rounded to nearest where it has more precision. */
export function toSingle(value: number): number {
  singles[0] = value;
  return singleWords[0]!;
}

/**
 * The exact error `a + b - sum` of `sum = a + b` (Knuth's TwoSum). A sum of doubles never loses bits to
 * underflow, so the error is right for all finite sums, unless an intermediate overflows: then it is not finite.
 */
export function sumError(a: number, b: number, sum: number): number {
  const bPart = sum - a;
  return a - (sum - bPart) + (b - bPart);
}

/** 2^27 + 1: Veltkamp's constant that cuts a 53-bit significand into halves of 26 bits. */
const SPLITTER = 134217729;

/**
 * A product from here up has an error that doubles can hold: the error is a multiple of 2^-106 times the
 * product, and 2^-968 * 2^-106 is the smallest subnormal; a few powers of two are left in hand.
 */
export const EXACT_ERROR_MIN = 2 ** -960;

/**
 * The exact error `a * b - product` of `product = a * b` (Dekker's TwoProduct), provided that the product's
 * magnitude is at least {@link EXACT_ERROR_MIN}. Where the splitting overflows the error is not finite.
 */
export function productError(a: number, b: number, product: number): number {
  const aScaled = SPLITTER * a;
  const aHigh = aScaled - (aScaled - a);
  const aLow = a - aHigh;
  const bScaled = SPLITTER * b;
  const bHigh = bScaled - (bScaled - b);
  const bLow = b - bHigh;
  return aLow * bLow - (product - aHigh * bHigh - aLow * bHigh - aHigh * bLow);
}

/**
 * `a + b` rounded to odd: the exact sum where a double holds it, else of its two neighbours the one with an odd
 * significand. Rounding such a number again, to nearest, gives what rounding the exact sum would have given.
 */
export function sumToOdd(a: number, b: number): number {
  const sum = a + b;
  const error = sumError(a, b, sum);
  if (error === 0) return sum;
  doubles[0] = sum;
  const low = words[LO]!;
  if ((low & 1) !== 0) return sum;
  // The neighbour towards the exact sum: one unit away from zero when the error has the sign of the sum.
  if (error > 0 === sum > 0) {
    words[LO] = low + 1;
  } else {
    words[LO] = low - 1;
    if (low === 0) words[HI] = words[HI]! - 1;
  }
  return doubles[0]!;
}
