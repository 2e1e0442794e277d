/**
 * Extensions from 32 bits and fewer. Code for 64-bit registers computes with 32-bit numbers by extending them again and
 * again, as pairs of shifts where the CPU has no instruction for it:
 *
 *   x << 32 >>> 32 = zext32(wrap(x))     x << 48 >> 48 = sext16(x)     x << 32 >>> 32 - n = zext32(wrap(x)) << n
 *
 * Extensions of what is narrow already (`widths.ts`) go, and comparisons of two values that are extended in the same
 * way compare 32 bits. Operations of 32 bits cost a half in JavaScript, and no more in WebAssembly.
 */
import type { Type, Value } from "@hyperfile/decoder";
import { lowestOnes, lowMask, widthOf } from "./halves.js";
import type { Rule, Rules, Simplifier } from "./simplify.js";

const low = (to: Simplifier, x: Value): Value => to.make("wrap", "i32", [x]);

/** The amount of a shift, if it is constant. */
function amountOf(to: Simplifier, type: Type, amount: Value): number | undefined {
  const constant = to.constantAt(amount);
  return constant === undefined ? undefined : constant.lo & (widthOf(type) - 1);
}

/** The i32 that a value extends by zeros or its sign, or the constant of 32 bits. */
function narrowed(to: Simplifier, value: Value): Value | undefined {
  const { op, args } = to.definition(value);
  if (op === "sext32" || op === "zext32") return args[0];
  const constant = to.constantAt(value);
  return constant === undefined ? undefined : to.constant("i32", constant.lo);
}

/** The i32 whose sign a value extends. */
function signExtended(to: Simplifier, value: Value): Value | undefined {
  return to.signedBits(value) <= 32 ? narrowed(to, value) : undefined;
}

/** The i32 that a value extends by zeros. */
function zeroExtended(to: Simplifier, value: Value): Value | undefined {
  return to.unsignedBits(value) <= 32 ? narrowed(to, value) : undefined;
}

/** wrap(x op y) = wrap(x) op wrap(y), where both wraps cost nothing. */
function wrapped(to: Simplifier, x: Value): Value | undefined {
  const { op, args } = to.definition(x);
  switch (op) {
    case "add":
    case "sub":
    case "mul":
    case "and":
    case "or":
    case "xor": {
      const a = narrowed(to, args[0]!);
      const b = a === undefined ? undefined : narrowed(to, args[1]!);
      return b === undefined ? undefined : to.make(op, "i32", [a!, b]);
    }
    case "shl": {
      const a = narrowed(to, args[0]!);
      const amount = a === undefined ? undefined : amountOf(to, "i64", args[1]!);
      if (amount === undefined) return undefined;
      return amount < 32 ? to.make("shl", "i32", [a!, args[1]!]) : to.constant("i32", 0);
    }
    default:
      return undefined;
  }
}

/** x, where all bits that it may have are kept by the zero extension from `bits`; likewise for its sign. */
const zeroExtensionFrom =
  (bits: number): Rule =>
  (to, _, [x]) =>
    to.unsignedBits(x!) <= bits ? x : undefined;
const signExtensionFrom =
  (bits: number): Rule =>
  (to, _, [x]) =>
    to.signedBits(x!) <= bits ? x : undefined;

/** The `bits` lowest bits of x, extended by zeros or the sign. */
function extension(to: Simplifier, sign: boolean, type: Type, x: Value, bits: number): Value | undefined {
  if (bits === 32) return to.make(sign ? "sext32" : "zext32", "i64", [low(to, x)]);
  if (bits === 8 || bits === 16) return to.make(`${sign ? "sext" : "zext"}${bits}`, type, [x]);
  if (sign) return to.signedBits(x) <= bits ? x : undefined;
  const { lo, hi } = lowMask(bits);
  return to.make("and", type, [x, to.constant(type, lo, hi)]);
}

/** A right shift of a left shift, of `x` to the left by `n` and to the right by `m`. */
function shiftPair(
  to: Simplifier,
  sign: boolean,
  type: Type,
  x: Value,
  n: number,
  m: number,
): Value | undefined {
  // x << n >> n = the lowest bits of x, extended
  if (n === m) return extension(to, sign, type, x, widthOf(type) - n);
  if (type !== "i64" || n !== 32) return undefined;
  // x << 32 >> m = ext32(wrap(x)) << 32 - m, or ext32(wrap(x) >> m - 32)
  const name = sign ? "sext32" : "zext32";
  if (m < 32) {
    const extended = to.make(name, "i64", [low(to, x)]);
    return to.make("shl", "i64", [extended, to.constant("i32", 32 - m)]);
  }
  return to.make(name, "i64", [
    to.make(sign ? "shrs" : "shru", "i32", [low(to, x), to.constant("i32", m - 32)]),
  ]);
}

const shiftRight =
  (sign: boolean): Rule =>
  (to, type, [x, y]) => {
    const m = amountOf(to, type, y!);
    if (m === undefined) return undefined;
    const { op, args } = to.definition(x!);
    const n = op === "shl" ? amountOf(to, type, args[1]!) : undefined;
    if (n !== undefined && n > 0) return shiftPair(to, sign, type, args[0]!, n, m);
    const bits = to.unsignedBits(x!);
    // x >>> m = 0 and x >> m = x >>> m, where zeros come down
    if (bits <= m) return to.constant(type, 0);
    return sign && bits < widthOf(type) ? to.make("shru", type, [x!, y!]) : undefined;
  };

/** Unsigned comparisons for signed ones, of values without a sign. */
const unsigned: Readonly<Record<string, string>> = { lt: "ltu", ge: "geu" };

const comparison =
  (op: string): Rule =>
  (to, _, [x, y]) => {
    if (to.definition(x!).type !== "i64") return undefined;
    // ext32(x) op ext32(y) = x op y: an extension keeps the order, and that by zeros makes it unsigned
    const a = signExtended(to, x!);
    const b = a === undefined ? undefined : signExtended(to, y!);
    if (b !== undefined) return to.make(op, "i32", [a!, b]);
    const c = zeroExtended(to, x!);
    const d = c === undefined ? undefined : zeroExtended(to, y!);
    return d === undefined ? undefined : to.make(unsigned[op] ?? op, "i32", [c!, d]);
  };

/** Extensions, what stands for them, and what they need not be made for. */
export const extensionRules: Rules = {
  wrap(to, _, [x]) {
    // wrap(sext32(x)) = wrap(zext32(x)) = x
    const { op, args } = to.definition(x!);
    if (op === "sext32" || op === "zext32") return args[0];
    return wrapped(to, x!);
  },
  sext32(to, _, [x]) {
    // sext32(wrap(x)) = x, if x is an int32; sext32(x) = zext32(x), if x is not negative
    const { op, args } = to.definition(x!);
    if (op === "wrap" && to.signedBits(args[0]!) <= 32) return args[0];
    return to.unsignedBits(x!) < 32 ? to.make("zext32", "i64", [x!]) : undefined;
  },
  zext32(to, _, [x]) {
    // zext32(wrap(x)) = x, if x is below 2^32
    const { op, args } = to.definition(x!);
    return op === "wrap" && to.unsignedBits(args[0]!) <= 32 ? args[0] : undefined;
  },
  sext8: signExtensionFrom(8),
  sext16: signExtensionFrom(16),
  zext8: zeroExtensionFrom(8),
  zext16: zeroExtensionFrom(16),
  and(to, type, [x, y]) {
    // x & m = x, if m has all bits of x; x & 2^32 - 1 = zext32(wrap(x))
    const mask = to.constantAt(y!);
    if (mask === undefined) return undefined;
    const ones = lowestOnes(mask);
    if (ones >= to.unsignedBits(x!)) return x;
    return type === "i64" && ones === 32 && mask.hi === 0
      ? to.make("zext32", "i64", [low(to, x!)])
      : undefined;
  },

  shru: shiftRight(false),
  shrs: shiftRight(true),

  eq: comparison("eq"),
  ne: comparison("ne"),
  lt: comparison("lt"),
  ltu: comparison("ltu"),
  ge: comparison("ge"),
  geu: comparison("geu"),
};
