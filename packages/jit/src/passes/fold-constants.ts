/**
 * Constant folding and identities: each rule stands under the equation that it implements. 64-bit constants are folded
 * as pairs of 32-bit halves; what is rarely seen with nothing but constants is left to the reference evaluator.
 */
import { evaluateInteger, type Operation, type Type, type Value } from "@hyperfile/decoder";
import { compare, difference, type Halves, isMinusOne, isZero, shifted, sum } from "./halves.js";
import type { Rule, Rules, Simplifier } from "./simplify.js";

/** c op x = x op c: constants come last. */
const constantLast =
  (op: string): Rule =>
  (to, type, [x, y]) =>
    to.constantAt(x!) !== undefined && to.constantAt(y!) === undefined
      ? to.make(op, type, [y!, x!])
      : undefined;

const shift =
  (op: "shl" | "shru" | "shrs"): Rule =>
  (to, type, [x, y]) => {
    // x shifted by 0 = x; (zext32(x) | h * 2^32) >>> 32 = h
    const b = to.constantAt(y!);
    if (b === undefined) return undefined;
    const wide = type === "i64";
    const amount = b.lo & (wide ? 63 : 31);
    if (amount === 0) return x;
    if (wide && amount === 32 && op === "shru") {
      const high = boxed(to, x!)?.high;
      if (high !== undefined) return to.constant("i64", high, 0);
    }
    const a = to.constantAt(x!);
    return a === undefined ? undefined : to.constant(type, ...shifted(op, a, amount, wide));
  };

const comparison =
  (op: string): Rule =>
  (to, _, [x, y]) => {
    const b = to.constantAt(y!);
    const a = b === undefined ? undefined : to.constantAt(x!);
    return a === undefined ? undefined : to.constant("i32", compare(op, a, b!) ? 1 : 0);
  };

/** The value of an operation whose operands are all constants. */
const evaluated =
  (op: string): Rule =>
  (to, type, args) => {
    if (type !== "i32" && type !== "i64") return undefined;
    const constants = args.map((arg) => to.constantAt(arg));
    if (constants.includes(undefined)) return undefined;
    const wide = to.definition(args[0]!).type === "i64";
    const bits = constants.map((constant) => bitsOf(constant!, wide));
    const value = evaluateInteger(op, wide ? 64 : 32, bits);
    const high = Number(BigInt.asIntN(32, value >> 32n));
    return to.constant(type, Number(BigInt.asIntN(32, value)), ...(type === "i64" ? [high] : []));
  };

const bitsOf = ({ lo, hi }: Halves, wide: boolean): bigint =>
  BigInt(lo >>> 0) | (wide ? BigInt(hi >>> 0) << 32n : 0n);

const evaluatedOnly = "mulh mulhu mulhsu div divu rem remu clz ctz popcnt bswap sext8 sext16 zext8 zext16";

/** What is known at translation time. */
export const constantRules: Rules = {
  ...Object.fromEntries(evaluatedOnly.split(" ").map((op) => [op, evaluated(op)])),

  wrap(to, _, [x]) {
    // wrap(c) = low half; wrap(zext32(x) | h * 2^32) = x
    const a = to.constantAt(x!);
    return a === undefined ? boxed(to, x!)?.low : to.constant("i32", a.lo);
  },
  sext32(to, _, [x]) {
    const a = to.constantAt(x!);
    return a === undefined ? undefined : to.constant("i64", a.lo);
  },
  zext32(to, _, [x]) {
    const a = to.constantAt(x!);
    return a === undefined ? undefined : to.constant("i64", a.lo, 0);
  },

  add(to, type, [x, y]) {
    // x + 0 = x; c1 + c2; (x + c1) + c2 = x + (c1 + c2); pc(d) + c = pc(d + c) while the distance is an int32
    const b = to.constantAt(y!);
    if (b === undefined) return constantLast("add")(to, type, [x!, y!]);
    if (isZero(b)) return x;
    const a = to.constantAt(x!);
    if (a !== undefined) return to.constant(type, ...sum(a, b, type === "i64"));
    return addToSum(to, to.definition(x!), b, type);
  },
  sub(to, type, [x, y]) {
    // x - 0 = x; c1 - c2
    const b = to.constantAt(y!);
    if (b === undefined) return undefined;
    if (isZero(b)) return x;
    const a = to.constantAt(x!);
    return a === undefined ? undefined : to.constant(type, ...difference(a, b, type === "i64"));
  },
  and(to, type, [x, y]) {
    // x & 0 = 0; x & -1 = x; c1 & c2
    const b = to.constantAt(y!);
    if (b === undefined) return constantLast("and")(to, type, [x!, y!]);
    if (isZero(b)) return y;
    if (isMinusOne(b)) return x;
    const a = to.constantAt(x!);
    return a === undefined ? undefined : to.constant(type, a.lo & b.lo, a.hi & b.hi);
  },
  or(to, type, [x, y]) {
    // x | 0 = x; c1 | c2
    const b = to.constantAt(y!);
    if (b === undefined) return constantLast("or")(to, type, [x!, y!]) ?? recombined(to, x!, y!, type);
    if (isZero(b)) return x;
    const a = to.constantAt(x!);
    return a === undefined ? undefined : to.constant(type, a.lo | b.lo, a.hi | b.hi);
  },
  xor(to, type, [x, y]) {
    // x ^ 0 = x; c1 ^ c2
    const b = to.constantAt(y!);
    if (b === undefined) return constantLast("xor")(to, type, [x!, y!]);
    if (isZero(b)) return x;
    const a = to.constantAt(x!);
    return a === undefined ? undefined : to.constant(type, a.lo ^ b.lo, a.hi ^ b.hi);
  },

  mul: (...operation) => evaluated("mul")(...operation) ?? constantLast("mul")(...operation),
  shl: shift("shl"),
  shru: shift("shru"),
  shrs: shift("shrs"),

  eq: (...operation) => comparison("eq")(...operation) ?? constantLast("eq")(...operation),
  ne: (...operation) => comparison("ne")(...operation) ?? constantLast("ne")(...operation),
  lt: comparison("lt"),
  ltu: comparison("ltu"),
  ge: comparison("ge"),
  geu: comparison("geu"),

  select(to, _, [condition, x, y]) {
    // a constant chooses; select(b, x, x) = x
    const known = to.constantAt(condition!);
    if (known !== undefined) return known.lo !== 0 ? x : y;
    return x === y ? x : undefined;
  },
};

/** The halves of `zext32(x) | h * 2^32`: a single-precision float in a register of 64 bits, as a NaN. */
function boxed(to: Simplifier, value: Value): { low: Value; high: number } | undefined {
  const { op, type, args } = to.definition(value);
  if (op !== "or" || type !== "i64") return undefined;
  const left = to.definition(args[0]!);
  const right = to.constantAt(args[1]!);
  if (left.op !== "zext32" || right === undefined || right.lo !== 0) return undefined;
  return { low: left.args[0]!, high: right.hi };
}

/**
 * The bits of x outside a mask with those of x or of ~x inside it: (x & ~m) | (x & m) = x and
 * (x & ~m) | (~x & m) = x ^ m. Moves and negations of floats are written so, as the injection of a value's own sign.
 */
function recombined(to: Simplifier, left: Value, right: Value, type: Type): Value | undefined {
  const [outside, inside] = [to.definition(left), to.definition(right)];
  if (outside.op !== "and" || inside.op !== "and") return undefined;
  const kept = to.constantAt(outside.args[1]!);
  const mask = to.constantAt(inside.args[1]!);
  if (kept === undefined || mask === undefined) return undefined;
  if (kept.lo !== ~mask.lo || (type === "i64" && kept.hi !== ~mask.hi)) return undefined;
  const source = outside.args[0]!;
  if (inside.args[0] === source) return source;
  const { op, args } = to.definition(inside.args[0]!);
  const ones = op === "xor" && args[0] === source ? to.constantAt(args[1]!) : undefined;
  if (ones === undefined || !isMinusOne(ones)) return undefined;
  return to.make("xor", type, [source, inside.args[1]!]);
}

function addToSum(to: Simplifier, left: Operation, b: Halves, type: Type): Value | undefined {
  if (left.op === "pc") {
    const distance = (left.constant as number) + b.lo;
    if (b.hi !== b.lo >> 31 || distance !== (distance | 0)) return undefined;
    return to.emit({ ...left, constant: distance });
  }
  if (left.op !== "add") return undefined;
  const inner = to.constantAt(left.args[1]!);
  if (inner === undefined) return undefined;
  return to.make("add", type, [left.args[0]!, to.constant(type, ...sum(inner, b, type === "i64"))]);
}
