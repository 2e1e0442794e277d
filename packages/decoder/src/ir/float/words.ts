/**
 * Multi-word integer helpers on 32-bit words: what the software floating point needs of 64- and 128-bit
 * integers. A word is an int32; its bits are read as unsigned. Every sum of partial products stays under
 * 2^53, so the host's numbers carry it exactly, and BigInt is not needed.
 */

const TWO_32 = 2 ** 32;

/**
 * The high 32 bits of the unsigned 64-bit product of two words.
 * @returns a non-negative number below 2^32
 */
export function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + (aLow * bHigh + ((aLow * bLow) >>> 16));
  return aHigh * bHigh + Math.floor(middle / 65536);
}

/**
 * A 128-bit unsigned integer in four int32 words, `w3` the most significant. Mutable, so that the arithmetic
 * on it allocates nothing.
 */
export class Words128 {
  w3 = 0;
  w2 = 0;
  w1 = 0;
  w0 = 0;

  /** Sets the upper 64 bits to (high, low) and the lower 64 bits to zero. */
  setUpper(high: number, low: number): void {
    this.w3 = high;
    this.w2 = low;
    this.w1 = 0;
    this.w0 = 0;
  }

  /** Copies the value of `other`. */
  copy(other: Words128): void {
    this.w3 = other.w3;
    this.w2 = other.w2;
    this.w1 = other.w1;
    this.w0 = other.w0;
  }

  /** Whether all 128 bits are zero. */
  isZero(): boolean {
    return (this.w3 | this.w2 | this.w1 | this.w0) === 0;
  }

  /** Unsigned order: negative, zero or positive as this value is below, equal to or above `other`. */
  compare(other: Words128): number {
    if (this.w3 !== other.w3) return (this.w3 >>> 0) - (other.w3 >>> 0);
    if (this.w2 !== other.w2) return (this.w2 >>> 0) - (other.w2 >>> 0);
    if (this.w1 !== other.w1) return (this.w1 >>> 0) - (other.w1 >>> 0);
    return (this.w0 >>> 0) - (other.w0 >>> 0);
  }

  /**
   * Shifts right by `count` (0 or more, any size) and ORs every bit that falls out into bit 0, so that the
   * value still tells "exact" from "a little more" when it is rounded above bit 0.
   */
  shiftRightJam(count: number): void {
    let left = Math.min(count, 128);
    let lost = 0;
    for (; left >= 32; left -= 32) {
      lost |= this.w0;
      this.w0 = this.w1;
      this.w1 = this.w2;
      this.w2 = this.w3;
      this.w3 = 0;
    }
    if (left !== 0) {
      const up = 32 - left;
      lost |= this.w0 << up;
      this.w0 = (this.w0 >>> left) | (this.w1 << up);
      this.w1 = (this.w1 >>> left) | (this.w2 << up);
      this.w2 = (this.w2 >>> left) | (this.w3 << up);
      this.w3 >>>= left;
    }
    if (lost !== 0) this.w0 |= 1;
  }

  /**
   * Shifts left until bit 127 is set. The value must not be zero.
   * @returns the shift count
   */
  normalise(): number {
    let count = 0;
    while (this.w3 === 0) {
      this.w3 = this.w2;
      this.w2 = this.w1;
      this.w1 = this.w0;
      this.w0 = 0;
      count += 32;
    }
    const left = Math.clz32(this.w3);
    if (left !== 0) {
      const down = 32 - left;
      this.w3 = (this.w3 << left) | (this.w2 >>> down);
      this.w2 = (this.w2 << left) | (this.w1 >>> down);
      this.w1 = (this.w1 << left) | (this.w0 >>> down);
      this.w0 <<= left;
    }
    return count + left;
  }

  /**
   * Adds `other`.
   * @returns the carry out of bit 127, 0 or 1
   */
  add(other: Words128): number {
    let sum = (this.w0 >>> 0) + (other.w0 >>> 0);
    this.w0 = sum | 0;
    sum = (this.w1 >>> 0) + (other.w1 >>> 0) + (sum >= TWO_32 ? 1 : 0);
    this.w1 = sum | 0;
    sum = (this.w2 >>> 0) + (other.w2 >>> 0) + (sum >= TWO_32 ? 1 : 0);
    this.w2 = sum | 0;
    sum = (this.w3 >>> 0) + (other.w3 >>> 0) + (sum >= TWO_32 ? 1 : 0);
    this.w3 = sum | 0;
    return sum >= TWO_32 ? 1 : 0;
  }

  /** Subtracts `other`, which must not be above this value. */
  subtract(other: Words128): void {
    let difference = (this.w0 >>> 0) - (other.w0 >>> 0);
    this.w0 = difference | 0;
    difference = (this.w1 >>> 0) - (other.w1 >>> 0) - (difference < 0 ? 1 : 0);
    this.w1 = difference | 0;
    difference = (this.w2 >>> 0) - (other.w2 >>> 0) - (difference < 0 ? 1 : 0);
    this.w2 = difference | 0;
    difference = (this.w3 >>> 0) - (other.w3 >>> 0) - (difference < 0 ? 1 : 0);
    this.w3 = difference | 0;
  }

  /** Sets this value to the 128-bit product of the upper 64 bits of `a` and of `b`. */
  multiplyUpper(a: Words128, b: Words128): void {
    const aHigh = a.w3;
    const aLow = a.w2;
    const bHigh = b.w3;
    const bLow = b.w2;
    const second = multiplyHigh(aLow, bLow) + (Math.imul(aHigh, bLow) >>> 0) + (Math.imul(aLow, bHigh) >>> 0);
    const third =
      multiplyHigh(aHigh, bLow) +
      multiplyHigh(aLow, bHigh) +
      (Math.imul(aHigh, bHigh) >>> 0) +
      Math.floor(second / TWO_32);
    this.w0 = Math.imul(aLow, bLow);
    this.w1 = second | 0;
    this.w2 = third | 0;
    this.w3 = (multiplyHigh(aHigh, bHigh) + Math.floor(third / TWO_32)) | 0;
  }
}
