/**
 * binary64 in software: every operation in every rounding mode, on int32 halves. It is the path for whatever
 * the host's arithmetic can't tell exactly (float-unit.ts). Underflow is detected after rounding: a result is
 * tiny when, rounded to 53 bits as if the exponent had no lower limit, it would still be below 2^-1022 (RISC-V
 * unprivileged, "F" chapter, "Subnormal Arithmetic"); UF is set when it is tiny and inexact.
 */
import { addUnpacked, divideUnpacked, fusedUnpacked, multiplyUnpacked, squareRootUnpacked } from "./soft.js";
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

/** High half of binary64's default NaN; the low half is 0. */
export const DEFAULT_NAN_64 = 0x7ff80000;

const x = new Unpacked();
const y = new Unpacked();
const z = new Unpacked();
const result = new Unpacked();

/** Whether the binary64 in (lo, hi) is a NaN. */
export function isNaN64(lo: number, hi: number): boolean {
  const magnitude = hi & 0x7fffffff;
  return magnitude > 0x7ff00000 || (magnitude === 0x7ff00000 && lo !== 0);
}

/** Whether the binary64 in (lo, hi) is a signaling NaN: the top bit of the fraction is clear. */
export function isSignaling64(lo: number, hi: number): boolean {
  return (hi & 0x7ff80000) === 0x7ff00000 && ((hi & 0x7ffff) | lo) !== 0;
}

/** Takes the binary64 in (lo, hi) apart. */
export function unpack64(lo: number, hi: number, into: Unpacked): void {
  const field = (hi >>> 20) & 0x7ff;
  const fraction = hi & 0xfffff;
  into.sign = hi >>> 31;
  if (field === 0x7ff) {
    if ((fraction | lo) === 0) into.kind = INFINITE;
    else into.kind = (fraction & 0x80000) !== 0 ? QUIET_NAN : SIGNALING_NAN;
    return;
  }
  if (field === 0 && (fraction | lo) === 0) {
    into.kind = ZERO;
    return;
  }
  into.kind = FINITE;
  const top = field === 0 ? fraction : fraction | 0x100000;
  into.significand.setUpper((top << 11) | (lo >>> 21), lo << 11);
  into.exponent = (field === 0 ? 1 : field) - 1023;
  if (field === 0) into.exponent -= into.significand.normalise();
}

function overflow64(state: FloatState, sign: number, rm: number): number {
  state.flags |= OF | NX;
  const infinite = overflowsToInfinity(rm, sign);
  state.hi = (infinite ? 0x7ff00000 : 0x7fefffff) | (sign << 31);
  return infinite ? 0 : -1;
}

/**
 * Rounds an unpacked number to binary64 and sets the flags; the significand of `value` is used up.
 * @returns the low half; the high half is in `state.hi`
 */
export function pack64(state: FloatState, value: Unpacked, rm: number): number {
  const sign = value.sign;
  if (value.kind !== FINITE) {
    if (value.kind === ZERO) state.hi = sign << 31;
    else if (value.kind === INFINITE) state.hi = (sign << 31) | 0x7ff00000;
    else state.hi = DEFAULT_NAN_64;
    return 0;
  }
  const significand = value.significand;
  let exponent = value.exponent;
  if (exponent > 1023) return overflow64(state, sign, rm);
  let tiny = false;
  if (exponent < -1022) {
    const allOnes = significand.w3 === -1 && significand.w2 >>> 11 === 0x1fffff;
    tiny = !(exponent === -1023 && allOnes && roundsAway64(value, rm));
    significand.shiftRightJam(-1022 - exponent);
    exponent = -1022;
  }
  const inexact = ((significand.w2 & 0x7ff) | significand.w1 | significand.w0) !== 0;
  const up = roundsAway64(value, rm);
  let lo = (significand.w2 >>> 11) | (significand.w3 << 21);
  // The implicit bit, where there is one, adds one to the exponent field; so does a carry out of rounding.
  let hi = ((exponent + 1022) << 20) + (significand.w3 >>> 11);
  if (up) {
    lo = (lo + 1) | 0;
    if (lo === 0) hi++;
  }
  if (hi >= 0x7ff00000) return overflow64(state, sign, rm);
  if (inexact) state.flags |= tiny ? NX | UF : NX;
  state.hi = hi | (sign << 31);
  return lo;
}

/** Whether rounding the significand at its 53rd bit goes away from zero. */
function roundsAway64(value: Unpacked, rm: number): boolean {
  const { w2, w1, w0 } = value.significand;
  return roundsAway(rm, value.sign, (w2 & 0x800) !== 0, (w2 & 0x400) !== 0, ((w2 & 0x3ff) | w1 | w0) !== 0);
}

/** a + b in software; the low half, with the high half in `state.hi`. */
export function softAdd64(
  state: FloatState,
  aLo: number,
  aHi: number,
  bLo: number,
  bHi: number,
  rm: number,
): number {
  unpack64(aLo, aHi, x);
  unpack64(bLo, bHi, y);
  addUnpacked(state, x, y, rm, result);
  return pack64(state, result, rm);
}

/** a * b in software; the low half, with the high half in `state.hi`. */
export function softMultiply64(
  state: FloatState,
  aLo: number,
  aHi: number,
  bLo: number,
  bHi: number,
  rm: number,
): number {
  unpack64(aLo, aHi, x);
  unpack64(bLo, bHi, y);
  multiplyUnpacked(state, x, y, result);
  return pack64(state, result, rm);
}

/** a / b in software; the low half, with the high half in `state.hi`. */
export function softDivide64(
  state: FloatState,
  aLo: number,
  aHi: number,
  bLo: number,
  bHi: number,
  rm: number,
): number {
  unpack64(aLo, aHi, x);
  unpack64(bLo, bHi, y);
  divideUnpacked(state, x, y, result);
  return pack64(state, result, rm);
}

/** The square root in software; the low half, with the high half in `state.hi`. */
export function softSquareRoot64(state: FloatState, aLo: number, aHi: number, rm: number): number {
  unpack64(aLo, aHi, x);
  squareRootUnpacked(state, x, result);
  return pack64(state, result, rm);
}

/** a * b + c in software with one rounding; the low half, with the high half in `state.hi`. */
export function softFused64(
  state: FloatState,
  aLo: number,
  aHi: number,
  bLo: number,
  bHi: number,
  cLo: number,
  cHi: number,
  rm: number,
): number {
  unpack64(aLo, aHi, x);
  unpack64(bLo, bHi, y);
  unpack64(cLo, cHi, z);
  fusedUnpacked(state, x, y, z, rm, result);
  return pack64(state, result, rm);
}

/** The 64-bit integer (lo, hi), two's complement when `signed`, as binary64, low half returned, high in `state.hi`. */
export function softInteger64(
  state: FloatState,
  lo: number,
  hi: number,
  signed: boolean,
  rm: number,
): number {
  result.setInteger(lo, hi, signed);
  return pack64(state, result, rm);
}
