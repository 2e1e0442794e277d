/**
 * IEEE 754 binary32 and binary64 on int32 words: the arithmetic of the IR, with its rounding modes, accrued flags and
 * one default NaN. It is exact; it uses the host's doubles wherever result *and* flags can be known exactly,
 * and software (soft64.ts, soft32.ts) everywhere else.
 *
 * Why the fast paths are right. They serve rounding mode RNE, which is the host's, and only finite results, so
 * no operand was a NaN or an infinity that matters, and nothing overflowed; what fails a test goes to software.
 * - **binary64 sum**: a sum of doubles that is below the normal range is exact, so UF is impossible. NX is
 *   "TwoSum's error is not zero" (host.ts). When NX is already set it need not be worked out.
 * - **binary64 product**: above the smallest normal number (strictly: a tiny product may round up to it) UF is
 *   impossible. NX is "TwoProduct's error is not zero", which is exact from 2^-960 up.
 * - **binary64 quotient and root**: the result is exact if and only if multiplying back gives the operand:
 *   `q * b = a` is checked as `p = a` with TwoProduct's error zero. `Math.sqrt` is the engines' correctly
 *   rounded square root instruction; the tests hold that against exact arithmetic.
 * - **binary64 fused multiply-add** (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved
 *   algorithms using rounding to odd", 2008): product and error by TwoProduct, two TwoSums, and the small parts
 *   summed to odd; the last addition then rounds once. With the product at least 2^-960 every intermediate is a
 *   multiple of the smallest subnormal, so none underflows. The result is exact when the sum to odd was exact
 *   and the last addition's error is zero.
 * - **binary32**: a product of two is exact in a double. Sum, quotient and root, rounded to 53 bits and then to
 *   24, equal the one rounding because 53 >= 2 * 24 + 2 (Figueroa, "When is double rounding innocuous?", 1995),
 *   for normal results. A sum below the normal range is exact. A fused multiply-add rounds twice only when the
 *   double is inexact and lies half-way between two binary32; that case goes to software. NX is "some step was
 *   inexact": the quotient and root are multiplied back, which is exact in a double.
 *
 * A zero or exact result is tested for before the range is, so that ordinary zeros stay on the fast path.
 * Rounding modes are 0 to 4; whoever decodes instructions has resolved "dynamic" and refused 5 and 6. Results
 * are int32 words, 64-bit ones with the low half returned and the high half in {@link FloatUnit.hi}; nothing is
 * allocated, and one object serves one hart.
 */
import {
  class32,
  class64,
  equal32,
  equal64,
  extreme32,
  extreme64,
  lessOrEqual,
  lessThan,
} from "./compare.js";
import {
  doubleToI32,
  doubleToI64,
  doubleToU32,
  doubleToU64,
  integer64ToF32,
  integer64ToF64,
  MIN_NORMAL_32,
  narrow,
  wholeToF32,
  wholeToF64,
  widen,
} from "./convert.js";
import {
  EXACT_ERROR_MIN,
  fromSingle,
  productError,
  splitHigh,
  splitLow,
  sumError,
  sumToOdd,
  toDouble,
  toSingle,
} from "./host.js";
import { softAdd32, softDivide32, softFused32, softMultiply32, softSquareRoot32 } from "./soft32.js";
import { softAdd64, softDivide64, softFused64, softMultiply64, softSquareRoot64 } from "./soft64.js";
import { type FloatState, NX, RNE } from "./unpacked.js";

const MIN_NORMAL_64 = 2 ** -1022;
const SIGN = 0x80000000;

/** binary32 and binary64 arithmetic with accrued flags; see the module comment. */
export class FloatUnit implements FloatState {
  /** Accrued exception flags: bit 0 NX, 1 UF, 2 OF, 3 DZ, 4 NV. Operations set bits; the caller clears them. */
  flags = 0;
  /** High 32 bits (int32) of the last 64-bit result. */
  hi = 0;

  /** Delivers a double that is no NaN. */
  private deliver(value: number): number {
    const lo = splitLow(value);
    this.hi = splitHigh();
    return lo;
  }

  /** a + b, binary64. */
  add64(aLo: number, aHi: number, bLo: number, bHi: number, rm: number): number {
    if (rm === RNE) {
      const a = toDouble(aLo, aHi);
      const b = toDouble(bLo, bHi);
      const sum = a + b;
      if (Math.abs(sum) < Infinity) {
        if ((this.flags & NX) !== 0) return this.deliver(sum);
        const error = sumError(a, b, sum);
        if (error === 0) return this.deliver(sum);
        if (Math.abs(error) < Infinity) {
          this.flags |= NX;
          return this.deliver(sum);
        }
      }
    }
    return softAdd64(this, aLo, aHi, bLo, bHi, rm);
  }

  /** a - b, binary64. */
  sub64(aLo: number, aHi: number, bLo: number, bHi: number, rm: number): number {
    return this.add64(aLo, aHi, bLo, bHi ^ SIGN, rm);
  }

  /** a * b, binary64. */
  mul64(aLo: number, aHi: number, bLo: number, bHi: number, rm: number): number {
    if (rm === RNE) {
      const a = toDouble(aLo, aHi);
      const b = toDouble(bLo, bHi);
      const product = a * b;
      const magnitude = Math.abs(product);
      if (magnitude < Infinity) {
        if ((this.flags & NX) !== 0) {
          if (magnitude > MIN_NORMAL_64) return this.deliver(product);
        } else if (magnitude >= EXACT_ERROR_MIN) {
          const error = productError(a, b, product);
          if (error === 0) return this.deliver(product);
          if (Math.abs(error) < Infinity) {
            this.flags |= NX;
            return this.deliver(product);
          }
        }
        if (product === 0 && (a === 0 || b === 0)) return this.deliver(product);
      }
    }
    return softMultiply64(this, aLo, aHi, bLo, bHi, rm);
  }

  /** a / b, binary64. */
  div64(aLo: number, aHi: number, bLo: number, bHi: number, rm: number): number {
    if (rm === RNE) {
      const a = toDouble(aLo, aHi);
      const b = toDouble(bLo, bHi);
      const quotient = a / b;
      const magnitude = Math.abs(quotient);
      if (magnitude < Infinity) {
        if (magnitude > MIN_NORMAL_64) {
          if ((this.flags & NX) !== 0) return this.deliver(quotient);
          if (Math.abs(a) >= EXACT_ERROR_MIN) {
            const product = quotient * b;
            const error = productError(quotient, b, product);
            if (Math.abs(error) < Infinity) {
              if (product !== a || error !== 0) this.flags |= NX;
              return this.deliver(quotient);
            }
          }
        }
        if (a === 0) return this.deliver(quotient);
      }
    }
    return softDivide64(this, aLo, aHi, bLo, bHi, rm);
  }

  /** The square root of a, binary64. */
  sqrt64(aLo: number, aHi: number, rm: number): number {
    if (rm === RNE) {
      const a = toDouble(aLo, aHi);
      const root = Math.sqrt(a);
      if (root < Infinity) {
        if ((this.flags & NX) !== 0 || root === 0) return this.deliver(root);
        if (a >= EXACT_ERROR_MIN) {
          const square = root * root;
          if (square !== a || productError(root, root, square) !== 0) this.flags |= NX;
          return this.deliver(root);
        }
      }
    }
    return softSquareRoot64(this, aLo, aHi, rm);
  }

  /** a * b + c with one rounding, binary64. */
  fma64(aLo: number, aHi: number, bLo: number, bHi: number, cLo: number, cHi: number, rm: number): number {
    if (rm === RNE) {
      const a = toDouble(aLo, aHi);
      const b = toDouble(bLo, bHi);
      const product = a * b;
      if (Math.abs(product) >= EXACT_ERROR_MIN) {
        const c = toDouble(cLo, cHi);
        const error = productError(a, b, product);
        const low = c + error;
        const lowError = sumError(c, error, low);
        const high = product + low;
        const highError = sumError(product, low, high);
        const small = sumToOdd(highError, lowError);
        const sum = high + small;
        const magnitude = Math.abs(sum);
        if (magnitude > MIN_NORMAL_64 && magnitude < Infinity) {
          if (
            (this.flags & NX) === 0 &&
            (sumError(high, small, sum) !== 0 || sumError(highError, lowError, small) !== 0)
          ) {
            this.flags |= NX;
          }
          return this.deliver(sum);
        }
      }
    }
    return softFused64(this, aLo, aHi, bLo, bHi, cLo, cHi, rm);
  }

  /** minimumNumber(a, b), binary64. */
  min64(aLo: number, aHi: number, bLo: number, bHi: number): number {
    return extreme64(this, aLo, aHi, bLo, bHi, false);
  }

  /** maximumNumber(a, b), binary64. */
  max64(aLo: number, aHi: number, bLo: number, bHi: number): number {
    return extreme64(this, aLo, aHi, bLo, bHi, true);
  }

  /** a = b, binary64, quiet: 0 or 1. */
  eq64(aLo: number, aHi: number, bLo: number, bHi: number): number {
    return equal64(this, aLo, aHi, bLo, bHi);
  }

  /** a < b, binary64, signaling: 0 or 1. */
  lt64(aLo: number, aHi: number, bLo: number, bHi: number): number {
    return lessThan(this, toDouble(aLo, aHi), toDouble(bLo, bHi));
  }

  /** a <= b, binary64, signaling: 0 or 1. */
  le64(aLo: number, aHi: number, bLo: number, bHi: number): number {
    return lessOrEqual(this, toDouble(aLo, aHi), toDouble(bLo, bHi));
  }

  /** The class of a binary64: a mask of 10 bits. */
  class64(lo: number, hi: number): number {
    return class64(lo, hi);
  }

  /** a + b, binary32. */
  add32(aBits: number, bBits: number, rm: number): number {
    if (rm === RNE) {
      const a = fromSingle(aBits);
      const b = fromSingle(bBits);
      const sum = a + b;
      const rounded = Math.fround(sum);
      if (Math.abs(rounded) < Infinity) {
        if (rounded !== sum || sumError(a, b, sum) !== 0) this.flags |= NX;
        return toSingle(rounded);
      }
    }
    return softAdd32(this, aBits, bBits, rm);
  }

  /** a - b, binary32. */
  sub32(aBits: number, bBits: number, rm: number): number {
    return this.add32(aBits, bBits ^ SIGN, rm);
  }

  /** a * b, binary32. */
  mul32(aBits: number, bBits: number, rm: number): number {
    if (rm === RNE) {
      const product = fromSingle(aBits) * fromSingle(bBits);
      const rounded = Math.fround(product);
      const magnitude = Math.abs(rounded);
      if (magnitude < Infinity) {
        if (rounded === product) return toSingle(rounded);
        if (magnitude > MIN_NORMAL_32) {
          this.flags |= NX;
          return toSingle(rounded);
        }
      }
    }
    return softMultiply32(this, aBits, bBits, rm);
  }

  /** a / b, binary32. */
  div32(aBits: number, bBits: number, rm: number): number {
    if (rm === RNE) {
      const a = fromSingle(aBits);
      const b = fromSingle(bBits);
      const rounded = Math.fround(a / b);
      const magnitude = Math.abs(rounded);
      if (magnitude < Infinity) {
        if (magnitude > MIN_NORMAL_32) {
          if (rounded * b !== a) this.flags |= NX;
          return toSingle(rounded);
        }
        if (a === 0) return toSingle(rounded);
      }
    }
    return softDivide32(this, aBits, bBits, rm);
  }

  /** The square root of a, binary32. */
  sqrt32(aBits: number, rm: number): number {
    if (rm === RNE) {
      const a = fromSingle(aBits);
      const rounded = Math.fround(Math.sqrt(a));
      if (rounded < Infinity) {
        if (rounded * rounded !== a) this.flags |= NX;
        return toSingle(rounded);
      }
    }
    return softSquareRoot32(this, aBits, rm);
  }

  /** a * b + c with one rounding, binary32. */
  fma32(aBits: number, bBits: number, cBits: number, rm: number): number {
    if (rm === RNE) {
      const product = fromSingle(aBits) * fromSingle(bBits);
      const c = fromSingle(cBits);
      const sum = product + c;
      const rounded = Math.fround(sum);
      const magnitude = Math.abs(rounded);
      if (magnitude > MIN_NORMAL_32 && magnitude < Infinity) {
        const error = sumError(product, c, sum);
        // The 29 bits that binary32 lacks, with only the first set: the second rounding would meet a tie.
        if (error === 0 || (splitLow(sum) & 0x1fffffff) !== 0x10000000) {
          if (error !== 0 || rounded !== sum) this.flags |= NX;
          return toSingle(rounded);
        }
      }
    }
    return softFused32(this, aBits, bBits, cBits, rm);
  }

  /** minimumNumber(a, b), binary32. */
  min32(aBits: number, bBits: number): number {
    return extreme32(this, aBits, bBits, false);
  }

  /** maximumNumber(a, b), binary32. */
  max32(aBits: number, bBits: number): number {
    return extreme32(this, aBits, bBits, true);
  }

  /** a = b, binary32, quiet: 0 or 1. */
  eq32(aBits: number, bBits: number): number {
    return equal32(this, aBits, bBits);
  }

  /** a < b, binary32, signaling: 0 or 1. */
  lt32(aBits: number, bBits: number): number {
    return lessThan(this, fromSingle(aBits), fromSingle(bBits));
  }

  /** a <= b, binary32, signaling: 0 or 1. */
  le32(aBits: number, bBits: number): number {
    return lessOrEqual(this, fromSingle(aBits), fromSingle(bBits));
  }

  /** The class of a binary32: a mask of 10 bits. */
  class32(bits: number): number {
    return class32(bits);
  }

  /** binary64 to binary32 bits. */
  f64ToF32(lo: number, hi: number, rm: number): number {
    return narrow(this, lo, hi, rm);
  }

  /** binary32 bits to binary64, exact. */
  f32ToF64(bits: number): number {
    return widen(this, bits);
  }

  /** binary64 to int32; NaN and too large give 2^31 - 1, too small -2^31, with NV. */
  f64ToI32(lo: number, hi: number, rm: number): number {
    return doubleToI32(this, toDouble(lo, hi), rm);
  }

  /** binary64 to uint32 as int32 bits; NaN and too large give 2^32 - 1, below zero 0, with NV. */
  f64ToU32(lo: number, hi: number, rm: number): number {
    return doubleToU32(this, toDouble(lo, hi), rm);
  }

  /** binary64 to int64; saturates as {@link FloatUnit.f64ToI32}. */
  f64ToI64(lo: number, hi: number, rm: number): number {
    return doubleToI64(this, toDouble(lo, hi), rm);
  }

  /** binary64 to uint64; saturates as {@link FloatUnit.f64ToU32}. */
  f64ToU64(lo: number, hi: number, rm: number): number {
    return doubleToU64(this, toDouble(lo, hi), rm);
  }

  /** binary32 to int32; saturates as {@link FloatUnit.f64ToI32}. */
  f32ToI32(bits: number, rm: number): number {
    return doubleToI32(this, fromSingle(bits), rm);
  }

  /** binary32 to uint32 as int32 bits; saturates as {@link FloatUnit.f64ToU32}. */
  f32ToU32(bits: number, rm: number): number {
    return doubleToU32(this, fromSingle(bits), rm);
  }

  /** binary32 to int64; saturates as {@link FloatUnit.f64ToI32}. */
  f32ToI64(bits: number, rm: number): number {
    return doubleToI64(this, fromSingle(bits), rm);
  }

  /** binary32 to uint64; saturates as {@link FloatUnit.f64ToU32}. */
  f32ToU64(bits: number, rm: number): number {
    return doubleToU64(this, fromSingle(bits), rm);
  }

  /** int32 to binary64, exact. */
  i32ToF64(value: number): number {
    return wholeToF64(this, value);
  }

  /** uint32 (int32 bits) to binary64, exact. */
  u32ToF64(value: number): number {
    return wholeToF64(this, value >>> 0);
  }

  /** int64 to binary64. */
  i64ToF64(lo: number, hi: number, rm: number): number {
    return integer64ToF64(this, lo, hi, true, rm);
  }

  /** uint64 to binary64. */
  u64ToF64(lo: number, hi: number, rm: number): number {
    return integer64ToF64(this, lo, hi, false, rm);
  }

  /** int32 to binary32. */
  i32ToF32(value: number, rm: number): number {
    return wholeToF32(this, value, rm);
  }

  /** uint32 (int32 bits) to binary32. */
  u32ToF32(value: number, rm: number): number {
    return wholeToF32(this, value >>> 0, rm);
  }

  /** int64 to binary32. */
  i64ToF32(lo: number, hi: number, rm: number): number {
    return integer64ToF32(this, lo, hi, true, rm);
  }

  /** uint64 to binary32. */
  u64ToF32(lo: number, hi: number, rm: number): number {
    return integer64ToF32(this, lo, hi, false, rm);
  }
}
