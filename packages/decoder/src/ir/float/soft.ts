/**
 * IEEE 754 arithmetic on unpacked numbers, the same for binary32 and binary64: it yields the exact result, or
 * its first 64 bits or more with everything below jammed into the last bit; rounding is left to the format.
 *
 * Why a jam bit is enough: an operand has at most 53 significant bits at the top of 128. Addition loses bits to
 * the alignment only when the exponents differ by more than the free low bits (22 at least, even for a
 * product); then the difference cancels at most one leading bit, so the jam bit stays more than 70 places below
 * the place where the format rounds, where only its being set counts.
 *
 * NaN rules (RISC-V unprivileged, "F" chapter, "NaN Generation and Propagation"): every NaN result is the
 * default NaN; a signaling operand sets NV; infinity times zero in a fused multiply-add sets NV even when the
 * addend is a quiet NaN.
 */
import {
  DZ,
  FINITE,
  type FloatState,
  INFINITE,
  NV,
  QUIET_NAN,
  RDN,
  SIGNALING_NAN,
  Unpacked,
  ZERO,
} from "./unpacked.js";

const product = new Unpacked();
const aligned = new Unpacked();

function invalid(state: FloatState, result: Unpacked): void {
  state.flags |= NV;
  result.setNaN();
}

/** Gives the result of an operation with a NaN operand; false when neither operand is a NaN. */
function takesNaN(state: FloatState, a: Unpacked, b: Unpacked, result: Unpacked): boolean {
  if (a.kind < QUIET_NAN && b.kind < QUIET_NAN) return false;
  if (a.kind === SIGNALING_NAN || b.kind === SIGNALING_NAN) state.flags |= NV;
  result.setNaN();
  return true;
}

/** Sums two finite numbers that are not zero. `result` may be `a`, not `b`. */
function addFinite(a: Unpacked, b: Unpacked, rm: number, result: Unpacked): void {
  const order = a.exponent !== b.exponent ? a.exponent - b.exponent : a.significand.compare(b.significand);
  const larger = order >= 0 ? a : b;
  const smaller = order >= 0 ? b : a;
  const distance = larger.exponent - smaller.exponent;
  const subtracts = a.sign !== b.sign;
  if (subtracts && order === 0) {
    result.setSpecial(ZERO, rm === RDN ? 1 : 0);
    return;
  }
  aligned.copy(smaller);
  aligned.significand.shiftRightJam(distance);
  result.copy(larger);
  const significand = result.significand;
  if (subtracts) {
    significand.subtract(aligned.significand);
    result.exponent -= significand.normalise();
  } else if (significand.add(aligned.significand) !== 0) {
    significand.shiftRightJam(1);
    significand.w3 |= 0x80000000;
    result.exponent++;
  }
}

/** a + b, rounded later; `rm` decides the sign of an exact zero. `result` may be `a`, not `b`. */
export function addUnpacked(state: FloatState, a: Unpacked, b: Unpacked, rm: number, result: Unpacked): void {
  if (takesNaN(state, a, b, result)) return;
  if (a.kind === INFINITE) {
    if (b.kind === INFINITE && a.sign !== b.sign) invalid(state, result);
    else result.setSpecial(INFINITE, a.sign);
  } else if (b.kind === INFINITE) {
    result.setSpecial(INFINITE, b.sign);
  } else if (a.kind === ZERO && b.kind === ZERO) {
    result.setSpecial(ZERO, a.sign === b.sign ? a.sign : rm === RDN ? 1 : 0);
  } else if (a.kind === ZERO) {
    result.copy(b);
  } else if (b.kind === ZERO) {
    result.copy(a);
  } else {
    addFinite(a, b, rm, result);
  }
}

/** a * b exactly: a product of two 53-bit significands fits 128 bits. `result` is neither operand. */
export function multiplyUnpacked(state: FloatState, a: Unpacked, b: Unpacked, result: Unpacked): void {
  if (takesNaN(state, a, b, result)) return;
  const sign = a.sign ^ b.sign;
  if (a.kind === INFINITE || b.kind === INFINITE) {
    if (a.kind === ZERO || b.kind === ZERO) invalid(state, result);
    else result.setSpecial(INFINITE, sign);
    return;
  }
  if (a.kind === ZERO || b.kind === ZERO) {
    result.setSpecial(ZERO, sign);
    return;
  }
  result.kind = FINITE;
  result.sign = sign;
  result.significand.multiplyUpper(a.significand, b.significand);
  result.exponent = a.exponent + b.exponent + 1 - result.significand.normalise();
}

/** a * b + c with one rounding, which comes later. `result` is none of the operands. */
export function fusedUnpacked(
  state: FloatState,
  a: Unpacked,
  b: Unpacked,
  c: Unpacked,
  rm: number,
  result: Unpacked,
): void {
  multiplyUnpacked(state, a, b, product);
  addUnpacked(state, product, c, rm, result);
}

/**
 * a / b to 64 bits and a jam bit, by restoring division, a quotient bit a step. Both significands are halved
 * first (their low bits are free), so that the doubled remainder fits two words.
 */
export function divideUnpacked(state: FloatState, a: Unpacked, b: Unpacked, result: Unpacked): void {
  if (takesNaN(state, a, b, result)) return;
  const sign = a.sign ^ b.sign;
  if (a.kind === INFINITE) {
    if (b.kind === INFINITE) invalid(state, result);
    else result.setSpecial(INFINITE, sign);
    return;
  }
  if (b.kind === ZERO) {
    if (a.kind === ZERO) {
      invalid(state, result);
    } else {
      state.flags |= DZ;
      result.setSpecial(INFINITE, sign);
    }
    return;
  }
  if (a.kind === ZERO || b.kind === INFINITE) {
    result.setSpecial(ZERO, sign);
    return;
  }
  let high = a.significand.w3 >>> 1;
  let low = ((a.significand.w2 >>> 1) | (a.significand.w3 << 31)) >>> 0;
  const divisorHigh = b.significand.w3 >>> 1;
  const divisorLow = ((b.significand.w2 >>> 1) | (b.significand.w3 << 31)) >>> 0;
  let exponent = a.exponent - b.exponent;
  if (high < divisorHigh || (high === divisorHigh && low < divisorLow)) {
    exponent--;
    high = ((high << 1) | (low >>> 31)) >>> 0;
    low = (low << 1) >>> 0;
  }
  let upper = 0;
  let lower = 0;
  for (let step = 0; step < 64; step++) {
    upper = (upper << 1) | (lower >>> 31);
    lower <<= 1;
    if (high > divisorHigh || (high === divisorHigh && low >= divisorLow)) {
      lower |= 1;
      high = high - divisorHigh - (low < divisorLow ? 1 : 0);
      low = (low - divisorLow) >>> 0;
    }
    high = ((high << 1) | (low >>> 31)) >>> 0;
    low = (low << 1) >>> 0;
  }
  result.kind = FINITE;
  result.sign = sign;
  result.exponent = exponent;
  result.significand.setUpper(upper, lower);
  if (high !== 0 || low !== 0) result.significand.w0 = 1;
}

/** Root bits that {@link squareRootUnpacked} works out: 53, a rounding bit and spare ones. */
const ROOT_BITS = 56;

/**
 * The square root to 56 bits and a jam bit, digit by digit: each step brings two bits of the radicand down and
 * tries `4 * root + 1`. The remainder stays below `2 * root + 1`, so two words hold it. The radicand is read
 * with two integer bits, which makes the exponent even.
 */
export function squareRootUnpacked(state: FloatState, a: Unpacked, result: Unpacked): void {
  if (takesNaN(state, a, a, result)) return;
  if (a.kind === ZERO || (a.kind === INFINITE && a.sign === 0)) {
    result.setSpecial(a.kind, a.sign);
    return;
  }
  if (a.sign === 1) {
    invalid(state, result);
    return;
  }
  const odd = (a.exponent & 1) !== 0;
  let radicandHigh = odd ? a.significand.w3 : a.significand.w3 >>> 1;
  let radicandLow = odd ? a.significand.w2 : (a.significand.w2 >>> 1) | (a.significand.w3 << 31);
  let rootHigh = 0;
  let rootLow = 0;
  let high = 0;
  let low = 0;
  for (let step = 0; step < ROOT_BITS; step++) {
    high = ((high << 2) | (low >>> 30)) >>> 0;
    low = ((low << 2) | (radicandHigh >>> 30)) >>> 0;
    radicandHigh = (radicandHigh << 2) | (radicandLow >>> 30);
    radicandLow <<= 2;
    const trialHigh = ((rootHigh << 2) | (rootLow >>> 30)) >>> 0;
    const trialLow = ((rootLow << 2) | 1) >>> 0;
    rootHigh = (rootHigh << 1) | (rootLow >>> 31);
    rootLow <<= 1;
    if (high > trialHigh || (high === trialHigh && low >= trialLow)) {
      rootLow |= 1;
      high = high - trialHigh - (low < trialLow ? 1 : 0);
      low = (low - trialLow) >>> 0;
    }
  }
  result.kind = FINITE;
  result.sign = 0;
  result.exponent = a.exponent >> 1;
  const up = 64 - ROOT_BITS;
  result.significand.setUpper((rootHigh << up) | (rootLow >>> (32 - up)), rootLow << up);
  if (high !== 0 || low !== 0) result.significand.w0 = 1;
}
