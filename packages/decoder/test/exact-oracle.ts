/**
 * Test-only: floating point by definition, as an oracle for `src/ir/float`. A finite number is an exact
 * rational in BigInts, an operation computes the exact rational result, and one function rounds it from the
 * definition in IEEE 754. It shares no code and no representation with what it checks, and is slow.
 *
 * Values are unsigned BigInts of their bits, 32 or 64.
 */

/** A binary interchange format. */
export interface Format {
  readonly width: number;
  readonly precision: number;
  readonly maxExponent: number;
}

/** IEEE 754 binary32. */
export const BINARY32: Format = { width: 32, precision: 24, maxExponent: 127 };
/** IEEE 754 binary64. */
export const BINARY64: Format = { width: 64, precision: 53, maxExponent: 1023 };

/** What an operation gives: bits and the flags that it raises (layout of `fflags`). */
export interface Outcome {
  readonly bits: bigint;
  readonly flags: number;
}

interface Value {
  readonly nan: boolean;
  readonly signaling: boolean;
  readonly infinite: boolean;
  readonly negative: boolean;
  /** Magnitude as numerator / denominator; only of finite values. */
  readonly numerator: bigint;
  readonly denominator: bigint;
}

const INEXACT = 1;
const UNDERFLOW = 2;
const OVERFLOW = 4;
const DIVIDE_BY_ZERO = 8;
const INVALID = 16;

function fractionBits(format: Format): bigint {
  return BigInt(format.precision - 1);
}

function exponentMask(format: Format): bigint {
  return BigInt(2 * format.maxExponent + 1);
}

function decode(format: Format, bits: bigint): Value {
  const f = fractionBits(format);
  const field = (bits >> f) & exponentMask(format);
  const fraction = bits & ((1n << f) - 1n);
  const special = field === exponentMask(format);
  const quantum = (field === 0n ? 1n : field) - BigInt(format.maxExponent) - f;
  const significand = field === 0n ? fraction : fraction | (1n << f);
  return {
    nan: special && fraction !== 0n,
    signaling: special && fraction !== 0n && fraction >> (f - 1n) === 0n,
    infinite: special && fraction === 0n,
    negative: bits >> BigInt(format.width - 1) === 1n,
    numerator: quantum > 0n ? significand << quantum : significand,
    denominator: quantum < 0n ? 1n << -quantum : 1n,
  };
}

function signBit(format: Format, negative: boolean): bigint {
  return negative ? 1n << BigInt(format.width - 1) : 0n;
}

function infinity(format: Format, negative: boolean): bigint {
  return signBit(format, negative) | (exponentMask(format) << fractionBits(format));
}

function defaultNaN(format: Format): bigint {
  return infinity(format, false) | (1n << (fractionBits(format) - 1n));
}

/** Rounds a non-negative rational to an integer. */
function roundRational(
  numerator: bigint,
  denominator: bigint,
  negative: boolean,
  rm: number,
): { whole: bigint; exact: boolean } {
  const floor = numerator / denominator;
  const twice = 2n * (numerator - floor * denominator);
  if (twice === 0n) return { whole: floor, exact: true };
  const up = [
    twice > denominator || (twice === denominator && floor % 2n === 1n),
    false,
    negative,
    !negative,
    twice >= denominator,
  ][rm]!;
  return { whole: up ? floor + 1n : floor, exact: false };
}

/** The exponent of the leading bit of a positive rational. */
function leadingExponent(numerator: bigint, denominator: bigint): number {
  const guess = numerator.toString(2).length - denominator.toString(2).length;
  const below =
    guess >= 0 ? numerator < denominator << BigInt(guess) : numerator << BigInt(-guess) < denominator;
  return below ? guess - 1 : guess;
}

/** Rounds a positive rational to a multiple of 2^quantum; the count of quanta. */
function roundToQuantum(
  numerator: bigint,
  denominator: bigint,
  quantum: number,
  negative: boolean,
  rm: number,
) {
  return quantum >= 0
    ? roundRational(numerator, denominator << BigInt(quantum), negative, rm)
    : roundRational(numerator << BigInt(-quantum), denominator, negative, rm);
}

/** Rounds a positive rational of the given sign to the format, with the flags. */
function round(
  format: Format,
  numerator: bigint,
  denominator: bigint,
  negative: boolean,
  rm: number,
): Outcome {
  const p = format.precision;
  const minExponent = 1 - format.maxExponent;
  const exponent = leadingExponent(numerator, denominator);
  const quantum = Math.max(exponent, minExponent) - (p - 1);
  const { whole, exact } = roundToQuantum(numerator, denominator, quantum, negative, rm);
  const limit = 1n << BigInt(p);
  if (exponent > format.maxExponent || (whole === limit && exponent === format.maxExponent)) {
    const toInfinity = rm === 0 || rm === 4 || (rm === 2 && negative) || (rm === 3 && !negative);
    const bits = infinity(format, negative) - (toInfinity ? 0n : 1n);
    return { bits, flags: OVERFLOW | INEXACT };
  }
  let tiny = false;
  if (exponent < minExponent) {
    const unlimited = roundToQuantum(numerator, denominator, exponent - (p - 1), negative, rm);
    tiny = exponent + (unlimited.whole === limit ? 1 : 0) < minExponent;
  }
  const implicit = 1n << fractionBits(format);
  const field = BigInt(Math.max(exponent, minExponent) + format.maxExponent);
  // Adding the significand with its implicit bit to the field below carries as the encoding wants it.
  const magnitude = (field - 1n) * implicit + whole;
  return {
    bits: signBit(format, negative) | magnitude,
    flags: exact ? 0 : tiny ? UNDERFLOW | INEXACT : INEXACT,
  };
}

function roundOrZero(
  format: Format,
  numerator: bigint,
  denominator: bigint,
  negative: boolean,
  rm: number,
): Outcome {
  if (numerator === 0n) return { bits: signBit(format, negative), flags: 0 };
  return round(format, numerator, denominator, negative, rm);
}

function nanOutcome(format: Format, invalid: boolean): Outcome {
  return { bits: defaultNaN(format), flags: invalid ? INVALID : 0 };
}

function signed(value: Value): bigint {
  return value.negative ? -value.numerator : value.numerator;
}

/** a * b + c. Addition and multiplication are this with an operand that changes nothing. */
export function fused(format: Format, aBits: bigint, bBits: bigint, cBits: bigint, rm: number): Outcome {
  const [a, b, c] = [aBits, bBits, cBits].map((bits) => decode(format, bits)) as [Value, Value, Value];
  const isZero = (v: Value) => !v.nan && !v.infinite && v.numerator === 0n;
  const impossible = (a.infinite && isZero(b)) || (b.infinite && isZero(a));
  const signaling = a.signaling || b.signaling || c.signaling;
  if (a.nan || b.nan || c.nan || impossible) return nanOutcome(format, signaling || impossible);
  const negative = a.negative !== b.negative;
  if (a.infinite || b.infinite) {
    if (c.infinite && c.negative !== negative) return nanOutcome(format, true);
    return { bits: infinity(format, negative), flags: 0 };
  }
  if (c.infinite) return { bits: cBits, flags: 0 };
  const denominator = a.denominator * b.denominator * c.denominator;
  const sum = signed(a) * signed(b) * c.denominator + signed(c) * a.denominator * b.denominator;
  const zeroSign = negative === c.negative ? negative : rm === 2;
  return roundOrZero(format, sum < 0n ? -sum : sum, denominator, sum === 0n ? zeroSign : sum < 0n, rm);
}

/** a + b. */
export function sum(format: Format, a: bigint, b: bigint, rm: number): Outcome {
  return fused(format, a, BigInt(format.maxExponent) << fractionBits(format), b, rm);
}

/** a - b. */
export function difference(format: Format, a: bigint, b: bigint, rm: number): Outcome {
  return sum(format, a, b ^ signBit(format, true), rm);
}

/** a * b: the addend is a zero of the product's sign, which never shows. */
export function product(format: Format, a: bigint, b: bigint, rm: number): Outcome {
  return fused(format, a, b, (a ^ b) & signBit(format, true), rm);
}

/** a / b. */
export function quotient(format: Format, aBits: bigint, bBits: bigint, rm: number): Outcome {
  const a = decode(format, aBits);
  const b = decode(format, bBits);
  if (a.nan || b.nan) return nanOutcome(format, a.signaling || b.signaling);
  const negative = a.negative !== b.negative;
  if (a.infinite)
    return b.infinite ? nanOutcome(format, true) : { bits: infinity(format, negative), flags: 0 };
  if (b.infinite) return { bits: signBit(format, negative), flags: 0 };
  if (b.numerator === 0n) {
    if (a.numerator === 0n) return nanOutcome(format, true);
    return { bits: infinity(format, negative), flags: DIVIDE_BY_ZERO };
  }
  return roundOrZero(format, a.numerator * b.denominator, a.denominator * b.numerator, negative, rm);
}

function integerSquareRoot(n: bigint): bigint {
  let root = 1n << BigInt((n.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** The square root: its first 150 bits or more, with a last bit for "irrational", round as it does. */
export function root(format: Format, bits: bigint, rm: number): Outcome {
  const a = decode(format, bits);
  if (a.nan) return nanOutcome(format, a.signaling);
  if (!a.infinite && a.numerator === 0n) return { bits, flags: 0 };
  if (a.negative) return nanOutcome(format, true);
  if (a.infinite) return { bits, flags: 0 };
  const radicand = (a.numerator * a.denominator) << 300n;
  const floor = integerSquareRoot(radicand);
  const sticky = floor * floor === radicand ? 0n : 1n;
  return round(format, 2n * floor + sticky, (2n * a.denominator) << 150n, false, rm);
}

/** minimumNumber or maximumNumber. */
export function extreme(format: Format, aBits: bigint, bBits: bigint, largest: boolean): Outcome {
  const a = decode(format, aBits);
  const b = decode(format, bBits);
  const flags = a.signaling || b.signaling ? INVALID : 0;
  if (a.nan) return { bits: b.nan ? defaultNaN(format) : bBits, flags };
  if (b.nan) return { bits: aBits, flags };
  // The order of the bits as sign and magnitude puts -0 below +0.
  const rank = (bits: bigint, negative: boolean) => (negative ? -(bits - signBit(format, true)) - 1n : bits);
  const aLess = rank(aBits, a.negative) < rank(bBits, b.negative);
  return { bits: aLess !== largest ? aBits : bBits, flags };
}

/** Comparison: "eq" is quiet, "lt" and "le" are signaling. */
export function compare(format: Format, relation: "eq" | "lt" | "le", aBits: bigint, bBits: bigint): Outcome {
  const a = decode(format, aBits);
  const b = decode(format, bBits);
  if (a.nan || b.nan) {
    const invalid = relation !== "eq" || a.signaling || b.signaling;
    return { bits: 0n, flags: invalid ? INVALID : 0 };
  }
  const extent = (v: Value) => (v.infinite ? 1n << 5000n : v.numerator << 2500n) * (v.negative ? -1n : 1n);
  const left = extent(a) * b.denominator;
  const right = extent(b) * a.denominator;
  const holds = relation === "eq" ? left === right : relation === "lt" ? left < right : left <= right;
  const bothInfinite = a.infinite && b.infinite;
  const sameInfinity = bothInfinite && a.negative === b.negative;
  if (sameInfinity) return { bits: relation === "lt" ? 0n : 1n, flags: 0 };
  return { bits: holds ? 1n : 0n, flags: 0 };
}

/** FCLASS. */
export function classify(format: Format, bits: bigint): Outcome {
  const v = decode(format, bits);
  const normal = 2n ** fractionBits(format);
  const magnitude = bits & ~signBit(format, true);
  let index: number;
  if (v.nan) index = v.signaling ? 8 : 9;
  else if (v.infinite) index = v.negative ? 0 : 7;
  else if (magnitude === 0n) index = v.negative ? 3 : 4;
  else if (magnitude < normal) index = v.negative ? 2 : 5;
  else index = v.negative ? 1 : 6;
  return { bits: 1n << BigInt(index), flags: 0 };
}

/** From one format to the other. */
export function convert(from: Format, to: Format, bits: bigint, rm: number): Outcome {
  const v = decode(from, bits);
  if (v.nan) return nanOutcome(to, v.signaling);
  if (v.infinite) return { bits: infinity(to, v.negative), flags: 0 };
  return roundOrZero(to, v.numerator, v.denominator, v.negative, rm);
}

/** To an integer of `width` bits, returned modulo 2^width. */
export function toInteger(
  format: Format,
  width: number,
  isSigned: boolean,
  bits: bigint,
  rm: number,
): Outcome {
  const v = decode(format, bits);
  const min = isSigned ? -(1n << BigInt(width - 1)) : 0n;
  const max = (1n << BigInt(isSigned ? width - 1 : width)) - 1n;
  const wrapped = (value: bigint) => BigInt.asUintN(width, value);
  if (v.nan) return { bits: wrapped(max), flags: INVALID };
  if (v.infinite) return { bits: wrapped(v.negative ? min : max), flags: INVALID };
  const { whole, exact } = roundRational(v.numerator, v.denominator, v.negative, rm);
  const value = v.negative ? -whole : whole;
  if (value < min) return { bits: wrapped(min), flags: INVALID };
  if (value > max) return { bits: wrapped(max), flags: INVALID };
  return { bits: wrapped(value), flags: exact ? 0 : INEXACT };
}

/** From an integer of `width` bits. */
export function fromInteger(
  format: Format,
  width: number,
  isSigned: boolean,
  bits: bigint,
  rm: number,
): Outcome {
  const value = isSigned ? BigInt.asIntN(width, bits) : BigInt.asUintN(width, bits);
  return roundOrZero(format, value < 0n ? -value : value, 1n, value < 0n, rm);
}
