/**
 * binary32 in software: every operation in every rounding mode, on int32 bits. As soft64.ts, for the narrower
 * format: 24 bits of precision, underflow below 2^-126 detected after rounding.
 */
import { addUnpacked, divideUnpacked, fusedUnpacked, multiplyUnpacked, squareRootUnpacked } from "./soft.js";
import { unpack64 } from "./soft64.js";
import {
  FINITE,
  type FloatState,
  INFINITE,
  NX,
  OF,
  overflowsToInfinity,
  QUIET_NAN,
  roundsAway,
  SIGNALING_NAN,
  UF,
  Unpacked,
  ZERO,
} from "./unpacked.js";

/** binary32's default NaN. */
export const DEFAULT_NAN_32 = 0x7fc00000;

const x = new Unpacked();
const y = new Unpacked();
const z = new Unpacked();
const result = new Unpacked();

/** Whether the binary32 bits are a NaN. */
export function isNaN32(bits: number): boolean {
  return (bits & 0x7fffffff) > 0x7f800000;
}

/** Whether the binary32 bits are a signaling NaN: the top bit of the fraction is clear. */
export function isSignaling32(bits: number): boolean {
  return (bits & 0x7fc00000) === 0x7f800000 && (bits & 0x3fffff) !== 0;
}

/** Takes the binary32 bits apart. */
export function unpack32(bits: number, into: Unpacked): void {
  const field = (bits >>> 23) & 0xff;
  const fraction = bits & 0x7fffff;
  into.sign = bits >>> 31;
  if (field === 0xff) {
    if (fraction === 0) into.kind = INFINITE;
    else into.kind = (fraction & 0x400000) !== 0 ? QUIET_NAN : SIGNALING_NAN;
    return;
  }
  if (field === 0 && fraction === 0) {
    into.kind = ZERO;
    return;
  }
  into.kind = FINITE;
  into.significand.setUpper((field === 0 ? fraction : fraction | 0x800000) << 8, 0);
  into.exponent = (field === 0 ? 1 : field) - 127;
  if (field === 0) into.exponent -= into.significand.normalise();
}

function overflow32(state: FloatState, sign: number, rm: number): number {
  state.flags |= OF | NX;
  return (overflowsToInfinity(rm, sign) ? 0x7f800000 : 0x7f7fffff) | (sign << 31);
}

/** Rounds an unpacked number to binary32 bits and sets the flags; the significand of `value` is used up. */
export function pack32(state: FloatState, value: Unpacked, rm: number): number {
  const sign = value.sign;
  if (value.kind !== FINITE) {
    if (value.kind === ZERO) return sign << 31;
    return value.kind === INFINITE ? (sign << 31) | 0x7f800000 : DEFAULT_NAN_32;
  }
  const significand = value.significand;
  let exponent = value.exponent;
  if (exponent > 127) return overflow32(state, sign, rm);
  let tiny = false;
  if (exponent < -126) {
    const allOnes = significand.w3 >>> 8 === 0xffffff;
    tiny = !(exponent === -127 && allOnes && roundsAway32(value, rm));
    significand.shiftRightJam(-126 - exponent);
    exponent = -126;
  }
  const inexact = ((significand.w3 & 0xff) | significand.w2 | significand.w1 | significand.w0) !== 0;
  // The implicit bit, where there is one, adds one to the exponent field; so does a carry out of rounding.
  let bits = ((exponent + 126) << 23) + (significand.w3 >>> 8);
  if (roundsAway32(value, rm)) bits++;
  if (bits >= 0x7f800000) return overflow32(state, sign, rm);
  if (inexact) state.flags |= tiny ? NX | UF : NX;
  return bits | (sign << 31);
}

/** Whether rounding the significand at its 24th bit goes away from zero. */
function roundsAway32(value: Unpacked, rm: number): boolean {
  const { w3, w2, w1, w0 } = value.significand;
  const rest = ((w3 & 0x7f) | w2 | w1 | w0) !== 0;
  return roundsAway(rm, value.sign, (w3 & 0x100) !== 0, (w3 & 0x80) !== 0, rest);
}

/** a + b in software. */
export function softAdd32(state: FloatState, a: number, b: number, rm: number): number {
  unpack32(a, x);
  unpack32(b, y);
  addUnpacked(state, x, y, rm, result);
  return pack32(state, result, rm);
}

/** a * b in software. */
export function softMultiply32(state: FloatState, a: number, b: number, rm: number): number {
  unpack32(a, x);
  unpack32(b, y);
  multiplyUnpacked(state, x, y, result);
  return pack32(state, result, rm);
}

/** a / b in software. */
export function softDivide32(state: FloatState, a: number, b: number, rm: number): number {
  unpack32(a, x);
  unpack32(b, y);
  divideUnpacked(state, x, y, result);
  return pack32(state, result, rm);
}

/** The square root in software. */
export function softSquareRoot32(state: FloatState, a: number, rm: number): number {
  unpack32(a, x);
  squareRootUnpacked(state, x, result);
  return pack32(state, result, rm);
}

/** a * b + c in software with one rounding. */
export function softFused32(state: FloatState, a: number, b: number, c: number, rm: number): number {
  unpack32(a, x);
  unpack32(b, y);
  unpack32(c, z);
  fusedUnpacked(state, x, y, z, rm, result);
  return pack32(state, result, rm);
}

/** The 64-bit integer (lo, hi), two's complement when `signed`, as binary32. */
export function softInteger32(
  state: FloatState,
  lo: number,
  hi: number,
  signed: boolean,
  rm: number,
): number {
  result.setInteger(lo, hi, signed);
  return pack32(state, result, rm);
}

/** A binary64 that is no NaN, narrowed to binary32 in software. */
export function softNarrow(state: FloatState, lo: number, hi: number, rm: number): number {
  unpack64(lo, hi, x);
  return pack32(state, x, rm);
}
