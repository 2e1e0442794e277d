/**
 * The common ground of the software floating point: accrued exception flags, rounding modes, and a number
 * taken apart into class, sign, exponent and significand, in one shape for binary32 and binary64. Both formats
 * unpack into it, one set of algorithms (soft.ts) works on it, and each format rounds and packs it again.
 */
import { Words128 } from "./words.js";

/** Accrued exception flag "inexact", bit 0 of the flags (RISC-V unprivileged, "F" chapter, status register). */
export const NX = 1;
/** Accrued exception flag "underflow", bit 1 of the flags. */
export const UF = 2;
/** Accrued exception flag "overflow", bit 2 of the flags. */
export const OF = 4;
/** Accrued exception flag "divide by zero", bit 3 of the flags. */
export const DZ = 8;
/** Accrued exception flag "invalid operation", bit 4 of the flags. */
export const NV = 16;

/** Rounding mode 0: to nearest, ties to even (RISC-V unprivileged, "F" chapter, rounding mode encoding). */
export const RNE = 0;
/** Rounding mode 1: towards zero. */
export const RTZ = 1;
/** Rounding mode 2: down, towards minus infinity. */
export const RDN = 2;
/** Rounding mode 3: up, towards plus infinity. */
export const RUP = 3;
/** Rounding mode 4: to nearest, ties away from zero. */
export const RMM = 4;

/** What an operation writes beside its result: the accrued flags, and the high half of a 64-bit result. */
export interface FloatState {
  /** Accrued exception flags, NX to NV; operations only set bits. */
  flags: number;
  /** High 32 bits (int32) of the last 64-bit result. */
  hi: number;
}

/** {@link Unpacked.kind}: zero, with a sign. */
export const ZERO = 0;
/** {@link Unpacked.kind}: finite and not zero; subnormal numbers are normalised. */
export const FINITE = 1;
/** {@link Unpacked.kind}: infinity, with a sign. */
export const INFINITE = 2;
/** {@link Unpacked.kind}: quiet NaN. Every kind from here on is a NaN. */
export const QUIET_NAN = 3;
/** {@link Unpacked.kind}: signaling NaN. */
export const SIGNALING_NAN = 4;

/**
 * A floating-point number taken apart. When `kind` is {@link FINITE} the magnitude is
 * `significand / 2^127 * 2^exponent` with bit 127 of the significand set; the other kinds leave exponent and
 * significand undefined. Bit 0 of the significand of a result may stand for "and some more below" (a jam bit):
 * both formats round far above it.
 */
export class Unpacked {
  /** One of {@link ZERO}, {@link FINITE}, {@link INFINITE}, {@link QUIET_NAN}, {@link SIGNALING_NAN}. */
  kind = ZERO;
  /** 1 when negative, else 0. */
  sign = 0;
  /** Exponent of the significand's top bit, without bias and without limits. */
  exponent = 0;
  /** 128-bit significand, normalised to bit 127. */
  readonly significand = new Words128();

  /** Copies every field of `other`. */
  copy(other: Unpacked): void {
    this.kind = other.kind;
    this.sign = other.sign;
    this.exponent = other.exponent;
    this.significand.copy(other.significand);
  }

  /** Makes this a zero or an infinity of the given sign. */
  setSpecial(kind: number, sign: number): void {
    this.kind = kind;
    this.sign = sign;
  }

  /** Makes this the default NaN. */
  setNaN(): void {
    this.kind = QUIET_NAN;
    this.sign = 0;
  }

  /** Makes this the 64-bit integer (lo, hi), in two's complement when `signed`. */
  setInteger(lo: number, hi: number, signed: boolean): void {
    const negative = signed && hi < 0;
    this.sign = negative ? 1 : 0;
    if ((lo | hi) === 0) {
      this.kind = ZERO;
      return;
    }
    this.kind = FINITE;
    if (negative) this.significand.setUpper(lo === 0 ? -hi | 0 : ~hi, -lo | 0);
    else this.significand.setUpper(hi, lo);
    this.exponent = 63 - this.significand.normalise();
  }
}

/**
 * Whether a magnitude is to be rounded away from zero.
 * @param rm rounding mode, 0 to 4
 * @param sign 1 for a negative number
 * @param odd whether the last kept bit is set
 * @param half whether the first dropped bit is set
 * @param rest whether any dropped bit below that is set
 */
export function roundsAway(rm: number, sign: number, odd: boolean, half: boolean, rest: boolean): boolean {
  switch (rm) {
    case RNE:
      return half && (rest || odd);
    case RTZ:
      return false;
    case RDN:
      return sign === 1 && (half || rest);
    case RUP:
      return sign === 0 && (half || rest);
    default:
      return half;
  }
}

/** Whether an overflow in rounding mode `rm` gives infinity; the other modes give the largest finite number. */
export function overflowsToInfinity(rm: number, sign: number): boolean {
  return rm === RNE || rm === RMM || (rm === RUP && sign === 0) || (rm === RDN && sign === 1);
}
