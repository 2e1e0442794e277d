/**
 * Fast paths of floating point for JavaScript: host arithmetic where it gives the guest's result and flags. The
 * conditions are those of `backend/wasm/float.ts`: round to nearest with the inexact flag set already, and a result
 * that is normal (finite, for sums), so that no other exception can have happened. All else is left to the exact
 * runtime, of the same names.
 *
 * Every operation is a function of its own, without a closure per operation: V8 then compiles each for the one thing
 * that it does, and inlines it into translations. Values pass through two views of the same bytes.
 */
import { productError, sumError, sumToOdd } from "@hyperfile/decoder";

type Operation = (...args: number[]) => number;

const INEXACT = 1;
const NEAREST = 0;
const TOWARD_ZERO = 1;
const LEAST_NORMAL_F64 = 2 ** -1022;
const LEAST_NORMAL_F32 = 2 ** -126;
/** Operands of a fused multiply-add between these magnitudes neither overflow nor lose bits on the way. */
const FMA_LEAST = 2 ** -400;
const FMA_MOST = 2 ** 400;
const TWO_32 = 2 ** 32;
/** High halves of integers that a double holds exactly. */
const EXACT_HIGH = 2 ** 20;

/** Operations whose fast path may not do. */
type ExactName =
  | "fadd_f64"
  | "fsub_f64"
  | "fmul_f64"
  | "fdiv_f64"
  | "fsqrt_f64"
  | "fma_f64"
  | "fmin_f64"
  | "fmax_f64"
  | "feq_f64"
  | "flt_f64"
  | "fle_f64"
  | "fadd_f32"
  | "fsub_f32"
  | "fmul_f32"
  | "fdiv_f32"
  | "fsqrt_f32"
  | "fma_f32"
  | "fmin_f32"
  | "fmax_f32"
  | "feq_f32"
  | "flt_f32"
  | "fle_f32"
  | "fdemote"
  | "fpromote"
  | "ftoi32_f64"
  | "ftoi64_f64"
  | "ftoi32_f32"
  | "ftoi64_f32"
  | "i64tof_f64"
  | "i32tof_f32"
  | "i64tof_f32";

/**
 * Fast paths in front of `exact`, by the same names.
 * @param words linear memory as int32
 * @param resultHigh word index of `header.resultHigh`
 * @param flags word index of the slot with the accrued flags
 */
export function fastFloat(
  words: Int32Array,
  resultHigh: number,
  flags: number,
  exact: Readonly<Record<ExactName, Operation>>,
): Record<string, Operation> {
  const doubles = new Float64Array(3);
  const halves = new Int32Array(doubles.buffer);
  const singles = new Float32Array(3);
  const bits = new Int32Array(singles.buffer);
  const {
    fadd_f64,
    fsub_f64,
    fmul_f64,
    fdiv_f64,
    fsqrt_f64,
    fma_f64,
    fmin_f64,
    fmax_f64,
    feq_f64,
    flt_f64,
    fle_f64,
    fadd_f32,
    fsub_f32,
    fmul_f32,
    fdiv_f32,
    fsqrt_f32,
    fma_f32,
    fmin_f32,
    fmax_f32,
    feq_f32,
    flt_f32,
    fle_f32,
    fdemote,
    fpromote,
    ftoi32_f64,
    ftoi64_f64,
    ftoi32_f32,
    ftoi64_f32,
    i64tof_f64,
    i32tof_f32,
    i64tof_f32,
  } = exact;

  /** Whether rounding is to nearest and sets no flag that isn't set. */
  const quiet = (rm: number): boolean => rm === NEAREST && (words[flags]! & INEXACT) !== 0;
  const deliver = (value: number): number => {
    doubles[0] = value;
    words[resultHigh] = halves[1]!;
    return halves[0]!;
  };
  const deliverSingle = (value: number): number => {
    singles[0] = value;
    return bits[0]!;
  };
  const isNormal = (value: number): boolean => {
    const magnitude = Math.abs(value);
    return magnitude > LEAST_NORMAL_F64 && magnitude < Infinity;
  };
  const isNormalSingle = (value: number): boolean => {
    const magnitude = Math.abs(value);
    return magnitude > LEAST_NORMAL_F32 && magnitude < Infinity;
  };
  const isModerate = (value: number): boolean => {
    const magnitude = Math.abs(value);
    return magnitude > FMA_LEAST && magnitude < FMA_MOST;
  };
  const load = (aLow: number, aHigh: number, bLow: number, bHigh: number): void => {
    halves[0] = aLow;
    halves[1] = aHigh;
    halves[2] = bLow;
    halves[3] = bHigh;
  };
  const loadSingles = (a: number, b: number): void => {
    bits[0] = a;
    bits[1] = b;
  };
  /** An integer of 64 bits as the nearest double. */
  const toNumber = (low: number, high: number): number => high * TWO_32 + (low >>> 0);
  /** A whole number below 2^63 as the halves of an integer. */
  const deliverInteger = (whole: number): number => {
    words[resultHigh] = Math.floor(whole / TWO_32) | 0;
    return whole | 0;
  };

  return {
    fadd_f64: (a, b, c, d, rm) => {
      if (quiet(rm!)) {
        load(a!, b!, c!, d!);
        const sum = doubles[0]! + doubles[1]!;
        if (Math.abs(sum) < Infinity) return deliver(sum);
      }
      return fadd_f64(a!, b!, c!, d!, rm!);
    },
    fsub_f64: (a, b, c, d, rm) => {
      if (quiet(rm!)) {
        load(a!, b!, c!, d!);
        const difference = doubles[0]! - doubles[1]!;
        if (Math.abs(difference) < Infinity) return deliver(difference);
      }
      return fsub_f64(a!, b!, c!, d!, rm!);
    },
    fmul_f64: (a, b, c, d, rm) => {
      if (quiet(rm!)) {
        load(a!, b!, c!, d!);
        const product = doubles[0]! * doubles[1]!;
        if (isNormal(product)) return deliver(product);
      }
      return fmul_f64(a!, b!, c!, d!, rm!);
    },
    fdiv_f64: (a, b, c, d, rm) => {
      if (quiet(rm!)) {
        load(a!, b!, c!, d!);
        const quotient = doubles[0]! / doubles[1]!;
        if (isNormal(quotient)) return deliver(quotient);
      }
      return fdiv_f64(a!, b!, c!, d!, rm!);
    },
    fsqrt_f64: (a, b, rm) => {
      if (quiet(rm!)) {
        load(a!, b!, 0, 0);
        const root = Math.sqrt(doubles[0]!);
        if (isNormal(root)) return deliver(root);
      }
      return fsqrt_f64(a!, b!, rm!);
    },
    fma_f64: (a, b, c, d, e, f, rm) => {
      if (quiet(rm!)) {
        load(a!, b!, c!, d!);
        halves[4] = e!;
        halves[5] = f!;
        const x = doubles[0]!;
        const y = doubles[1]!;
        const z = doubles[2]!;
        if (isModerate(x) && isModerate(y) && isModerate(z)) {
          const product = x * y;
          const productLow = productError(x, y, product);
          const low = z + productLow;
          const high = product + low;
          const sum = high + sumToOdd(sumError(product, low, high), sumError(z, productLow, low));
          if (isNormal(sum)) return deliver(sum);
        }
      }
      return fma_f64(a!, b!, c!, d!, e!, f!, rm!);
    },
    fmin_f64: (a, b, c, d) => {
      load(a!, b!, c!, d!);
      const least = Math.min(doubles[0]!, doubles[1]!);
      return Number.isNaN(least) ? fmin_f64(a!, b!, c!, d!) : deliver(least);
    },
    fmax_f64: (a, b, c, d) => {
      load(a!, b!, c!, d!);
      const most = Math.max(doubles[0]!, doubles[1]!);
      return Number.isNaN(most) ? fmax_f64(a!, b!, c!, d!) : deliver(most);
    },
    feq_f64: (a, b, c, d) => {
      load(a!, b!, c!, d!);
      const x = doubles[0]!;
      const y = doubles[1]!;
      if (x === y) return 1;
      return x < y || x > y ? 0 : feq_f64(a!, b!, c!, d!);
    },
    flt_f64: (a, b, c, d) => {
      load(a!, b!, c!, d!);
      const x = doubles[0]!;
      const y = doubles[1]!;
      if (x < y) return 1;
      return x >= y ? 0 : flt_f64(a!, b!, c!, d!);
    },
    fle_f64: (a, b, c, d) => {
      load(a!, b!, c!, d!);
      const x = doubles[0]!;
      const y = doubles[1]!;
      if (x <= y) return 1;
      return x > y ? 0 : fle_f64(a!, b!, c!, d!);
    },
    fadd_f32: (a, b, rm) => {
      if (quiet(rm!)) {
        loadSingles(a!, b!);
        const sum = Math.fround(singles[0]! + singles[1]!);
        if (Math.abs(sum) < Infinity) return deliverSingle(sum);
      }
      return fadd_f32(a!, b!, rm!);
    },
    fsub_f32: (a, b, rm) => {
      if (quiet(rm!)) {
        loadSingles(a!, b!);
        const difference = Math.fround(singles[0]! - singles[1]!);
        if (Math.abs(difference) < Infinity) return deliverSingle(difference);
      }
      return fsub_f32(a!, b!, rm!);
    },
    fmul_f32: (a, b, rm) => {
      if (quiet(rm!)) {
        loadSingles(a!, b!);
        const product = Math.fround(singles[0]! * singles[1]!);
        if (isNormalSingle(product)) return deliverSingle(product);
      }
      return fmul_f32(a!, b!, rm!);
    },
    fdiv_f32: (a, b, rm) => {
      if (quiet(rm!)) {
        loadSingles(a!, b!);
        const quotient = Math.fround(singles[0]! / singles[1]!);
        if (isNormalSingle(quotient)) return deliverSingle(quotient);
      }
      return fdiv_f32(a!, b!, rm!);
    },
    fsqrt_f32: (a, rm) => {
      if (quiet(rm!)) {
        bits[0] = a!;
        const root = Math.fround(Math.sqrt(singles[0]!));
        if (isNormalSingle(root)) return deliverSingle(root);
      }
      return fsqrt_f32(a!, rm!);
    },
    // The product of two singles is exact in a double, and a double rounded to odd rounds again as if but once.
    fma_f32: (a, b, c, rm) => {
      if (quiet(rm!)) {
        loadSingles(a!, b!);
        bits[2] = c!;
        const sum = Math.fround(sumToOdd(singles[0]! * singles[1]!, singles[2]!));
        if (isNormalSingle(sum)) return deliverSingle(sum);
      }
      return fma_f32(a!, b!, c!, rm!);
    },
    fmin_f32: (a, b) => {
      loadSingles(a!, b!);
      const least = Math.min(singles[0]!, singles[1]!);
      return Number.isNaN(least) ? fmin_f32(a!, b!) : deliverSingle(least);
    },
    fmax_f32: (a, b) => {
      loadSingles(a!, b!);
      const most = Math.max(singles[0]!, singles[1]!);
      return Number.isNaN(most) ? fmax_f32(a!, b!) : deliverSingle(most);
    },
    feq_f32: (a, b) => {
      loadSingles(a!, b!);
      const x = singles[0]!;
      const y = singles[1]!;
      if (x === y) return 1;
      return x < y || x > y ? 0 : feq_f32(a!, b!);
    },
    flt_f32: (a, b) => {
      loadSingles(a!, b!);
      const x = singles[0]!;
      const y = singles[1]!;
      if (x < y) return 1;
      return x >= y ? 0 : flt_f32(a!, b!);
    },
    fle_f32: (a, b) => {
      loadSingles(a!, b!);
      const x = singles[0]!;
      const y = singles[1]!;
      if (x <= y) return 1;
      return x > y ? 0 : fle_f32(a!, b!);
    },
    fdemote: (a, b, rm) => {
      if (quiet(rm!)) {
        load(a!, b!, 0, 0);
        const value = Math.fround(doubles[0]!);
        if (isNormalSingle(value)) return deliverSingle(value);
      }
      return fdemote(a!, b!, rm!);
    },
    fpromote: (a) => {
      bits[0] = a!;
      const value = singles[0]!;
      return Number.isNaN(value) ? fpromote(a!) : deliver(value);
    },
    ftoi32_f64: (a, b, rm) => {
      if (rm === TOWARD_ZERO && (words[flags]! & INEXACT) !== 0) {
        load(a!, b!, 0, 0);
        const value = doubles[0]!;
        if (Math.abs(value) < 2 ** 31) return value | 0;
      }
      return ftoi32_f64(a!, b!, rm!);
    },
    ftoi64_f64: (a, b, rm) => {
      if (rm === TOWARD_ZERO && (words[flags]! & INEXACT) !== 0) {
        load(a!, b!, 0, 0);
        const value = doubles[0]!;
        if (Math.abs(value) < 2 ** 63) return deliverInteger(Math.trunc(value));
      }
      return ftoi64_f64(a!, b!, rm!);
    },
    ftoi32_f32: (a, rm) => {
      if (rm === TOWARD_ZERO && (words[flags]! & INEXACT) !== 0) {
        bits[0] = a!;
        const value = singles[0]!;
        if (Math.abs(value) < 2 ** 31) return value | 0;
      }
      return ftoi32_f32(a!, rm!);
    },
    ftoi64_f32: (a, rm) => {
      if (rm === TOWARD_ZERO && (words[flags]! & INEXACT) !== 0) {
        bits[0] = a!;
        const value = singles[0]!;
        if (Math.abs(value) < 2 ** 63) return deliverInteger(Math.trunc(value));
      }
      return ftoi64_f32(a!, rm!);
    },
    i32tof_f64: (a) => deliver(a!),
    u32tof_f64: (a) => deliver(a! >>> 0),
    i64tof_f64: (a, b, rm) => (quiet(rm!) ? deliver(toNumber(a!, b!)) : i64tof_f64(a!, b!, rm!)),
    i32tof_f32: (a, rm) => (quiet(rm!) ? deliverSingle(a!) : i32tof_f32(a!, rm!)),
    i64tof_f32: (a, b, rm) =>
      quiet(rm!) && b! >= -EXACT_HIGH && b! < EXACT_HIGH
        ? deliverSingle(toNumber(a!, b!))
        : i64tof_f32(a!, b!, rm!),
  };
}
