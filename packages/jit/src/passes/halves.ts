/** Arithmetic on constants of 64 bits as pairs of int32; those of 32 bits have the sign of their low half as the high one. */
import type { Operation, Type } from "@hyperfile/decoder";

/** The halves of a constant. */
export interface Halves {
  readonly lo: number;
  readonly hi: number;
}

/** The halves of a `const`. */
export function halvesOf(operation: Operation): Halves {
  const constant = operation.constant!;
  return typeof constant === "number" ? { lo: constant, hi: constant >> 31 } : constant;
}

/** Bits of an integer type. */
export const widthOf = (type: Type): 32 | 64 => (type === "i64" ? 64 : 32);

export const isZero = ({ lo, hi }: Halves): boolean => lo === 0 && hi === 0;
export const isOne = ({ lo, hi }: Halves): boolean => lo === 1 && hi === 0;
export const isMinusOne = ({ lo, hi }: Halves): boolean => lo === -1 && hi === -1;

/** The exponent of a constant that is a power of two, taken as unsigned; undefined for other ones. */
export function exponentOf({ lo, hi }: Halves, wide: boolean): number | undefined {
  if (lo !== 0) return (lo & (lo - 1)) === 0 && (hi === 0 || !wide) ? 31 - Math.clz32(lo) : undefined;
  return wide && hi !== 0 && (hi & (hi - 1)) === 0 ? 63 - Math.clz32(hi) : undefined;
}

/** 2^bits - 1. */
export function lowMask(bits: number): Halves {
  if (bits < 32) return { lo: 2 ** bits - 1, hi: 0 };
  return { lo: -1, hi: bits === 64 ? -1 : 2 ** (bits - 32) - 1 };
}

/** How many of the lowest bits of a constant of 64 bits are ones before the first zero. */
export function lowestOnes({ lo, hi }: Halves): number {
  if (lo !== -1) return trailingOnes(lo);
  return hi === -1 ? 64 : 32 + trailingOnes(hi);
}

/** The ones below the lowest zero of a number that has one. */
const trailingOnes = (bits: number): number => 31 - Math.clz32(~bits & (bits + 1));

export function sum(a: Halves, b: Halves, wide: boolean): [lo: number, hi: number] {
  const lo = (a.lo + b.lo) | 0;
  if (!wide) return [lo, lo >> 31];
  const carry = lo >>> 0 < a.lo >>> 0 ? 1 : 0;
  return [lo, (a.hi + b.hi + carry) | 0];
}

export function difference(a: Halves, b: Halves, wide: boolean): [lo: number, hi: number] {
  const lo = (a.lo - b.lo) | 0;
  if (!wide) return [lo, lo >> 31];
  const borrow = a.lo >>> 0 < b.lo >>> 0 ? 1 : 0;
  return [lo, (a.hi - b.hi - borrow) | 0];
}

/** `amount` is below the width. */
export function shifted(op: string, a: Halves, amount: number, wide: boolean): [lo: number, hi: number] {
  if (!wide) {
    const lo = op === "shl" ? a.lo << amount : op === "shru" ? (a.lo >>> amount) | 0 : a.lo >> amount;
    return [lo, lo >> 31];
  }
  const n = amount & 31;
  const rest = 31 - n;
  if (op === "shl") {
    if (amount >= 32) return [0, a.lo << n];
    return [a.lo << n, (a.hi << n) | ((a.lo >>> 1) >>> rest)];
  }
  const fill = op === "shrs" ? a.hi >> 31 : 0;
  const high = op === "shrs" ? a.hi >> n : (a.hi >>> n) | 0;
  if (amount >= 32) return [high, fill];
  return [(a.lo >>> n) | ((a.hi << 1) << rest), high];
}

export function compare(op: string, a: Halves, b: Halves): boolean {
  const equal = a.lo === b.lo && a.hi === b.hi;
  const less = a.hi === b.hi ? a.lo >>> 0 < b.lo >>> 0 : a.hi < b.hi;
  const below = a.hi === b.hi ? a.lo >>> 0 < b.lo >>> 0 : a.hi >>> 0 < b.hi >>> 0;
  switch (op) {
    case "eq":
      return equal;
    case "ne":
      return !equal;
    case "lt":
      return less;
    case "ge":
      return !less;
    case "ltu":
      return below;
    default:
      return !below;
  }
}
