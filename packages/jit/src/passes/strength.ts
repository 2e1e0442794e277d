/**
 * Strength reduction: cheaper operations that give the same, where one operand is a constant or both are the same value.
 * The pairs of int32 that JavaScript has for 64 bits gain most: there a multiplication or division is a call.
 */
import type { Type, Value } from "@hyperfile/decoder";
import { exponentOf, type Halves, isMinusOne, isOne, isZero, lowMask, widthOf } from "./halves.js";
import type { Rule, Rules, Simplifier } from "./simplify.js";

const shift = (to: Simplifier, op: "shl" | "shru" | "shrs", type: Type, x: Value, by: number): Value =>
  to.make(op, type, [x, to.constant("i32", by)]);
const negated = (to: Simplifier, type: Type, x: Value): Value =>
  to.make("sub", type, [to.constant(type, 0), x]);

/** A rule for a constant as the second operand. */
const byConstant =
  (rule: (to: Simplifier, type: Type, x: Value, c: Halves) => Value | undefined): Rule =>
  (to, type, [x, y]) => {
    const c = to.constantAt(y!);
    return c === undefined ? undefined : rule(to, type, x!, c);
  };

/** (x shifted by n) shifted by m, the same way = x shifted by n + m, or by all bits. */
const shiftOfShift =
  (op: "shl" | "shru" | "shrs"): Rule =>
  (to, type, [x, y]) => {
    const m = to.constantAt(y!);
    const inner = to.definition(x!);
    if (m === undefined || inner.op !== op) return undefined;
    const n = to.constantAt(inner.args[1]!);
    if (n === undefined) return undefined;
    const width = widthOf(type);
    const amount = (n.lo & (width - 1)) + (m.lo & (width - 1));
    if (amount < width) return shift(to, op, type, inner.args[0]!, amount);
    return op === "shrs" ? shift(to, op, type, inner.args[0]!, width - 1) : to.constant(type, 0);
  };

/** (x op c1) op c2 = x op (c1 op c2), for operations on bits. */
function bitsOfBits(
  to: Simplifier,
  op: "and" | "or" | "xor",
  type: Type,
  x: Value,
  y: Value,
): Value | undefined {
  const inner = to.definition(x);
  if (inner.op !== op || to.constantAt(y) === undefined || to.constantAt(inner.args[1]!) === undefined)
    return undefined;
  return to.make(op, type, [inner.args[0]!, to.make(op, type, [inner.args[1]!, y])]);
}

/** Operations that cheaper ones replace. */
export const strengthRules: Rules = {
  mul: byConstant((to, type, x, c) => {
    // x * 0 = 0; x * -1 = 0 - x; x * 2^n = x << n
    if (isZero(c)) return to.constant(type, 0);
    if (isMinusOne(c)) return negated(to, type, x);
    const exponent = exponentOf(c, type === "i64");
    return exponent === undefined ? undefined : shift(to, "shl", type, x, exponent);
  }),
  div: byConstant((to, type, x, c) => {
    // x / 0 = -1; x / 1 = x; x / -1 = 0 - x, the most negative one included
    if (isZero(c)) return to.constant(type, -1);
    if (isOne(c)) return x;
    return isMinusOne(c) ? negated(to, type, x) : undefined;
  }),
  divu: byConstant((to, type, x, c) => {
    // x / 0 = -1; x / 2^n = x >>> n
    if (isZero(c)) return to.constant(type, -1);
    const exponent = exponentOf(c, type === "i64");
    return exponent === undefined ? undefined : shift(to, "shru", type, x, exponent);
  }),
  rem: byConstant((to, type, x, c) => {
    // x % 0 = x; x % 1 = x % -1 = 0
    if (isZero(c)) return x;
    return isOne(c) || isMinusOne(c) ? to.constant(type, 0) : undefined;
  }),
  remu: byConstant((to, type, x, c) => {
    // x % 0 = x; x % 2^n = x & 2^n - 1
    if (isZero(c)) return x;
    const exponent = exponentOf(c, type === "i64");
    if (exponent === undefined) return undefined;
    const { lo, hi } = lowMask(exponent);
    return to.make("and", type, [x, to.constant(type, lo, hi)]);
  }),

  shl: shiftOfShift("shl"),
  shru: shiftOfShift("shru"),
  shrs: shiftOfShift("shrs"),

  sub: (to, type, [x, y]) =>
    // x - x = 0
    x === y ? to.constant(type, 0) : undefined,
  and: (to, type, [x, y]) =>
    // x & x = x
    x === y ? x : bitsOfBits(to, "and", type, x!, y!),
  or: (to, type, [x, y]) =>
    // x | x = x
    x === y ? x : bitsOfBits(to, "or", type, x!, y!),
  xor: (to, type, [x, y]) =>
    // x ^ x = 0
    x === y ? to.constant(type, 0) : bitsOfBits(to, "xor", type, x!, y!),
};
