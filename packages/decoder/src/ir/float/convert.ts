/**
 * Conversions between the formats and to and from integers (RISC-V unprivileged, "F" chapter, "Single-Precision
 * Floating-Point Conversion and Move Instructions", and the same of "D").
 *
 * To an integer: the operand, a binary32 too, is a host double without error; rounding a double to an integral
 * value is exact in the host in every rounding mode ({@link roundToIntegral}); a range check and a comparison
 * with the operand then give NV and NX. Nothing here needs the software path.
 *
 * From an integer: an int32 is a double without error. An int64 is `hi * 2^32 + lo` of two exact doubles, so
 * the one addition rounds correctly to nearest; to binary32 that path serves only when the addition is exact,
 * as it would otherwise round twice. Other rounding modes go to the software path.
 */
import { fromSingle, splitHigh, splitLow, sumError, toDouble, toSingle } from "./host.js";
import { DEFAULT_NAN_32, isSignaling32, softInteger32, softNarrow } from "./soft32.js";
import { DEFAULT_NAN_64, isSignaling64, softInteger64 } from "./soft64.js";
import { type FloatState, NV, NX, RDN, RNE, RTZ, RUP } from "./unpacked.js";

const TWO_32 = 2 ** 32;
const TWO_52 = 2 ** 52;
const TWO_63 = 2 ** 63;
const TWO_64 = 2 ** 64;

/** Smallest normal binary32. */
export const MIN_NORMAL_32 = 2 ** -126;

/**
 * A double rounded to an integral value. From 2^52 up doubles are integral already; below it, adding and
 * taking away 2^52 leaves the host's rounding to nearest even; the fraction that decides a tie in RMM is a
 * difference of neighbours, hence exact.
 */
function roundToIntegral(value: number, rm: number): number {
  switch (rm) {
    case RNE: {
      if (Math.abs(value) >= TWO_52) return value;
      return value < 0 ? value - TWO_52 + TWO_52 : value + TWO_52 - TWO_52;
    }
    case RTZ:
      return Math.trunc(value);
    case RDN:
      return Math.floor(value);
    case RUP:
      return Math.ceil(value);
    default: {
      const whole = Math.trunc(value);
      if (Math.abs(value - whole) < 0.5) return whole;
      return value < 0 ? whole - 1 : whole + 1;
    }
  }
}

/** A double to int32; NaN and too large give 2^31 - 1, too small -2^31, each with NV. */
export function doubleToI32(state: FloatState, value: number, rm: number): number {
  const whole = roundToIntegral(value, rm);
  if (whole >= -2147483648 && whole <= 2147483647) {
    if (whole !== value) state.flags |= NX;
    return whole | 0;
  }
  state.flags |= NV;
  return whole < 0 ? -2147483648 : 2147483647;
}

/** A double to uint32, as int32 bits; NaN and too large give 2^32 - 1, below zero 0, each with NV. */
export function doubleToU32(state: FloatState, value: number, rm: number): number {
  const whole = roundToIntegral(value, rm);
  if (whole >= 0 && whole < TWO_32) {
    if (whole !== value) state.flags |= NX;
    return whole | 0;
  }
  state.flags |= NV;
  return whole < 0 ? 0 : -1;
}

/** A double to int64, low half returned, high in `state.hi`; saturates as {@link doubleToI32}. */
export function doubleToI64(state: FloatState, value: number, rm: number): number {
  const whole = roundToIntegral(value, rm);
  if (whole >= -TWO_63 && whole < TWO_63) {
    if (whole !== value) state.flags |= NX;
    state.hi = Math.floor(whole / TWO_32) | 0;
    return whole | 0;
  }
  state.flags |= NV;
  const negative = whole < 0;
  state.hi = negative ? -2147483648 : 2147483647;
  return negative ? 0 : -1;
}

/** A double to uint64, low half returned, high in `state.hi`; saturates as {@link doubleToU32}. */
export function doubleToU64(state: FloatState, value: number, rm: number): number {
  const whole = roundToIntegral(value, rm);
  if (whole >= 0 && whole < TWO_64) {
    if (whole !== value) state.flags |= NX;
    state.hi = Math.floor(whole / TWO_32) | 0;
    return whole | 0;
  }
  state.flags |= NV;
  const saturated = whole < 0 ? 0 : -1;
  state.hi = saturated;
  return saturated;
}

/** An integral double below 2^53 in magnitude as binary64, without error; the high half in `state.hi`. */
export function wholeToF64(state: FloatState, value: number): number {
  const lo = splitLow(value);
  state.hi = splitHigh();
  return lo;
}

/** The 64-bit integer (lo, hi) as binary64, low half returned, high in `state.hi`. */
export function integer64ToF64(
  state: FloatState,
  lo: number,
  hi: number,
  signed: boolean,
  rm: number,
): number {
  if (rm !== RNE) return softInteger64(state, lo, hi, signed, rm);
  const upper = (signed ? hi : hi >>> 0) * TWO_32;
  const sum = upper + (lo >>> 0);
  if (sumError(upper, lo >>> 0, sum) !== 0) state.flags |= NX;
  const low = splitLow(sum);
  state.hi = splitHigh();
  return low;
}

/** The 64-bit integer (lo, hi) as binary32. */
export function integer64ToF32(
  state: FloatState,
  lo: number,
  hi: number,
  signed: boolean,
  rm: number,
): number {
  const upper = (signed ? hi : hi >>> 0) * TWO_32;
  const sum = upper + (lo >>> 0);
  if (sumError(upper, lo >>> 0, sum) === 0) return wholeToF32(state, sum, rm);
  return softInteger32(state, lo, hi, signed, rm);
}

/** An integral double below 2^64 in magnitude as binary32. */
export function wholeToF32(state: FloatState, value: number, rm: number): number {
  const rounded = Math.fround(value);
  if (rounded !== value) {
    if (rm !== RNE) {
      return softInteger32(state, value | 0, Math.floor(value / TWO_32) | 0, value < 0, rm);
    }
    state.flags |= NX;
  }
  return toSingle(rounded);
}

/**
 * binary64 to binary32. The host's `Math.fround` rounds to nearest even; its result is known to be the exact
 * operand, or inexact and not tiny when it lies above the smallest normal number.
 */
export function narrow(state: FloatState, lo: number, hi: number, rm: number): number {
  const value = toDouble(lo, hi);
  const rounded = Math.fround(value);
  if (rounded === value) return toSingle(rounded);
  if (Number.isNaN(value)) {
    if (isSignaling64(lo, hi)) state.flags |= NV;
    return DEFAULT_NAN_32;
  }
  const magnitude = Math.abs(rounded);
  if (rm === RNE && magnitude > MIN_NORMAL_32 && magnitude < Infinity) {
    state.flags |= NX;
    return toSingle(rounded);
  }
  return softNarrow(state, lo, hi, rm);
}

/** binary32 to binary64, always exact; low half returned, high in `state.hi`. */
export function widen(state: FloatState, bits: number): number {
  const value = fromSingle(bits);
  if (Number.isNaN(value)) {
    if (isSignaling32(bits)) state.flags |= NV;
    state.hi = DEFAULT_NAN_64;
    return 0;
  }
  const lo = splitLow(value);
  state.hi = splitHigh();
  return lo;
}
