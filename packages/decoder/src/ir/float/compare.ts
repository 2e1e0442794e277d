/**
 * Comparisons, minimum and maximum, and classification, for both formats. None of them rounds. Comparison of
 * values is the host's, which is IEEE 754's; only where a NaN takes part are the bits looked at.
 *
 * Minimum and maximum are IEEE 754-2019 minimumNumber and maximumNumber (RISC-V unprivileged, "F" chapter): -0 is
 * below +0, one NaN gives the other operand, two NaNs give the default NaN, and a signaling NaN sets NV.
 */
import { fromSingle, toDouble } from "./host.js";
import { DEFAULT_NAN_32, isNaN32, isSignaling32 } from "./soft32.js";
import { DEFAULT_NAN_64, isNaN64, isSignaling64 } from "./soft64.js";
import { type FloatState, NV } from "./unpacked.js";

/** Whether the first of two doubles that are no NaNs is the one to take; `aSign` is its sign bit's int32. */
function takesFirst(a: number, b: number, aSign: number, largest: boolean): boolean {
  if (a === b) return aSign < 0 !== largest;
  return a < b !== largest;
}

/** Minimum, or with `largest` maximum, of two binary64; low half returned, high in `state.hi`. */
export function extreme64(
  state: FloatState,
  aLo: number,
  aHi: number,
  bLo: number,
  bHi: number,
  largest: boolean,
): number {
  if (isSignaling64(aLo, aHi) || isSignaling64(bLo, bHi)) state.flags |= NV;
  let first: boolean;
  if (isNaN64(bLo, bHi)) {
    if (isNaN64(aLo, aHi)) {
      state.hi = DEFAULT_NAN_64;
      return 0;
    }
    first = true;
  } else {
    const a = toDouble(aLo, aHi);
    first = !Number.isNaN(a) && takesFirst(a, toDouble(bLo, bHi), aHi, largest);
  }
  state.hi = first ? aHi : bHi;
  return first ? aLo : bLo;
}

/** Minimum, or with `largest` maximum, of two binary32. */
export function extreme32(state: FloatState, aBits: number, bBits: number, largest: boolean): number {
  if (isSignaling32(aBits) || isSignaling32(bBits)) state.flags |= NV;
  if (isNaN32(aBits)) return isNaN32(bBits) ? DEFAULT_NAN_32 : bBits;
  if (isNaN32(bBits)) return aBits;
  return takesFirst(fromSingle(aBits), fromSingle(bBits), aBits, largest) ? aBits : bBits;
}

/** Quiet equality of two binary64, 0 or 1: only a signaling NaN sets NV. */
export function equal64(state: FloatState, aLo: number, aHi: number, bLo: number, bHi: number): number {
  if (toDouble(aLo, aHi) === toDouble(bLo, bHi)) return 1;
  if (isSignaling64(aLo, aHi) || isSignaling64(bLo, bHi)) state.flags |= NV;
  return 0;
}

/** Signaling "less than" of two doubles that hold the operands of either format, 0 or 1: any NaN sets NV. */
export function lessThan(state: FloatState, a: number, b: number): number {
  if (a < b) return 1;
  if (Number.isNaN(a) || Number.isNaN(b)) state.flags |= NV;
  return 0;
}

/** Signaling "less than or equal" of two doubles, 0 or 1: any NaN sets NV. */
export function lessOrEqual(state: FloatState, a: number, b: number): number {
  if (a <= b) return 1;
  if (Number.isNaN(a) || Number.isNaN(b)) state.flags |= NV;
  return 0;
}

/** Quiet equality of two binary32, 0 or 1: only a signaling NaN sets NV. */
export function equal32(state: FloatState, aBits: number, bBits: number): number {
  if (fromSingle(aBits) === fromSingle(bBits)) return 1;
  if (isSignaling32(aBits) || isSignaling32(bBits)) state.flags |= NV;
  return 0;
}

/**
 * The class of a number as a mask of 10 bits (RISC-V unprivileged, "F" chapter, classify instruction). The four finite
 * and infinite classes mirror around zero: bits 0 to 3 from minus infinity to -0, bits 4 to 7 from +0 to infinity.
 */
function classMask(
  negative: boolean,
  field: number,
  fieldMax: number,
  hasFraction: boolean,
  quiet: boolean,
): number {
  if (field === fieldMax && hasFraction) return quiet ? 1 << 9 : 1 << 8;
  const rank = field === fieldMax ? 3 : field !== 0 ? 2 : hasFraction ? 1 : 0;
  return 1 << (negative ? 3 - rank : 4 + rank);
}

/** The class of a binary64: a mask of 10 bits of which one is set. */
export function class64(lo: number, hi: number): number {
  return classMask(hi < 0, (hi >>> 20) & 0x7ff, 0x7ff, ((hi & 0xfffff) | lo) !== 0, (hi & 0x80000) !== 0);
}

/** The class of a binary32: a mask of 10 bits of which one is set. */
export function class32(bits: number): number {
  return classMask(bits < 0, (bits >>> 23) & 0xff, 0xff, (bits & 0x7fffff) !== 0, (bits & 0x400000) !== 0);
}
