/**
 * Comparisons, and what tests them. Guest code that has a condition as a number compares it with zero before it
 * branches; so does what a front end makes of flags. A comparison that inverts another one, or only passes it on, goes,
 * and branches, traps and selections test the original.
 */
import type { Value } from "@hyperfile/decoder";
import { isOne, isZero } from "./halves.js";
import type { Rule, Rules, Simplifier } from "./simplify.js";

/** The comparison that holds where another one does not. */
const inverses: Readonly<Record<string, string>> = {
  eq: "ne",
  ne: "eq",
  lt: "ge",
  ge: "lt",
  ltu: "geu",
  geu: "ltu",
};

/** not (x op y) = x inverse-op y, of a value that is such a comparison. */
function inverted(to: Simplifier, value: Value): Value | undefined {
  const { op, args } = to.definition(value);
  const inverse = inverses[op];
  return inverse === undefined ? undefined : to.make(inverse, "i32", args);
}

const isNarrow = (to: Simplifier, value: Value): boolean => to.definition(value).type === "i32";

/** `eq` and `ne`: whether `x` is, or is not, `y`. */
const equality =
  (equal: boolean): Rule =>
  (to, _, [x, y]) => {
    // x == x; (x ^ y) == 0 = (x - y) == 0 = (x == y); for b = 0 or 1: b == 1 = (b != 0) = b, b == 0 = (b != 1) = not b
    if (x === y) return to.constant("i32", equal ? 1 : 0);
    const c = to.constantAt(y!);
    if (c === undefined) return undefined;
    const zero = isZero(c);
    const { op, args } = to.definition(x!);
    if (zero && (op === "xor" || op === "sub")) return to.make(equal ? "eq" : "ne", "i32", args);
    if (!(zero || isOne(c)) || !isNarrow(to, x!) || to.unsignedBits(x!) > 1) return undefined;
    if (zero !== equal) return x;
    return inverted(to, x!) ?? (zero ? undefined : to.make("eq", "i32", [x!, to.constant("i32", 0)]));
  };

/** `ltu` and `geu`: whether `x` is, or is not, below `y`. */
const below =
  (holds: boolean): Rule =>
  (to, _, [x, y]) => {
    // x < x = x < 0 = 0; x < 1 = (x == 0); 0 < x = (x != 0)
    const [yes, no] = holds ? ["eq", "ne"] : ["ne", "eq"];
    if (x === y) return to.constant("i32", holds ? 0 : 1);
    const b = to.constantAt(y!);
    if (b !== undefined) {
      if (isZero(b)) return to.constant("i32", holds ? 0 : 1);
      return isOne(b) ? to.make(yes!, "i32", [x!, to.constant(to.definition(x!).type!, 0)]) : undefined;
    }
    const a = to.constantAt(x!);
    return a !== undefined && isZero(a) ? to.make(no!, "i32", [y!, x!]) : undefined;
  };

/** `lt` and `ge` of a value with itself. */
const withItself =
  (holds: boolean): Rule =>
  (to, _, [x, y]) =>
    x === y ? to.constant("i32", holds ? 1 : 0) : undefined;

/** What an `i32` is compared with zero, if `value` is such a comparison, `eq` or `ne`. */
function comparedWithZero(to: Simplifier, value: Value, how: "eq" | "ne"): Value | undefined {
  const { op, args } = to.definition(value);
  if (op !== how || !isNarrow(to, args[0]!)) return undefined;
  const c = to.constantAt(args[1]!);
  return c !== undefined && isZero(c) ? args[0] : undefined;
}

/** Of an operation that tests its first operand: x != 0 tests as x does. */
const tested: Rule = (to, _, [condition]) => comparedWithZero(to, condition!, "ne");

/** Comparisons and conditions. */
export const conditionRules: Rules = {
  eq: equality(true),
  ne: equality(false),
  lt: withItself(false),
  ge: withItself(true),
  ltu: below(true),
  geu: below(false),

  xor(to, type, [x, y]) {
    // b ^ 1 = not b, of a comparison, or of one that zeros extend
    const c = to.constantAt(y!);
    if (c === undefined || !isOne(c)) return undefined;
    if (type === "i32") return inverted(to, x!);
    const { op, args } = to.definition(x!);
    const inverse = op === "zext32" ? inverted(to, args[0]!) : undefined;
    return inverse === undefined ? undefined : to.make("zext32", "i64", [inverse]);
  },

  select(to, type, [condition, x, y]) {
    // select(b != 0, x, y) = select(b, x, y); select(b == 0, x, y) = select(b, y, x)
    const same = comparedWithZero(to, condition!, "ne");
    if (same !== undefined) return to.make("select", type, [same, x!, y!]);
    const opposite = comparedWithZero(to, condition!, "eq");
    return opposite === undefined ? undefined : to.make("select", type, [opposite, y!, x!]);
  },

  branch: tested,
  trapif: tested,
};
