/** Comparisons of integers as JavaScript. */
import type { Value } from "@hyperfile/decoder";
import type { Values } from "./values.js";

/** The boolean expression of a comparison. */
export function comparison(v: Values, op: string, a: Value, b: Value): string {
  if (v.typeOf(a) === "i64") return wideComparison(v, op, a, b);
  const x = v.lo(a);
  const y = v.lo(b);
  switch (op) {
    case "eq":
      return `${x} === ${y}`;
    case "ne":
      return `${x} !== ${y}`;
    case "lt":
      return `${x} < ${y}`;
    case "ge":
      return `${x} >= ${y}`;
    case "ltu":
      return `(${x} >>> 0) < (${y} >>> 0)`;
    default:
      return `(${x} >>> 0) >= (${y} >>> 0)`;
  }
}

function wideComparison(v: Values, op: string, a: Value, b: Value): string {
  // Sign extension keeps both the signed and the unsigned order, so low halves decide; zeros make both unsigned.
  const zeros = v.isZeroExtended(a) && v.isZeroExtended(b);
  if (zeros || (v.isSignExtended(a) && v.isSignExtended(b))) {
    const x = v.lo(a);
    const y = v.lo(b);
    const unsigned = op !== "eq" && op !== "ne" && (zeros || op === "ltu" || op === "geu");
    const sign = { eq: "===", ne: "!==", lt: "<", ltu: "<", ge: ">=", geu: ">=" }[op];
    return unsigned ? `(${x} >>> 0) ${sign} (${y} >>> 0)` : `${x} ${sign} ${y}`;
  }
  const [al, bl] = [v.atom(a), v.atom(b)];
  const [ah, bh] = [v.atomHigh(a), v.atomHigh(b)];
  switch (op) {
    case "eq":
      return bl === "0" && bh === "0" ? `(${al} | ${ah}) === 0` : `(${al} ^ ${bl} | ${ah} ^ ${bh}) === 0`;
    case "ne":
      return bl === "0" && bh === "0" ? `(${al} | ${ah}) !== 0` : `(${al} ^ ${bl} | ${ah} ^ ${bh}) !== 0`;
    case "lt":
      if (bl === "0" && bh === "0") return `${ah} < 0`;
      return `(${ah} === ${bh} ? (${al} >>> 0) < (${bl} >>> 0) : ${ah} < ${bh})`;
    case "ge":
      if (bl === "0" && bh === "0") return `${ah} >= 0`;
      return `(${ah} === ${bh} ? (${al} >>> 0) >= (${bl} >>> 0) : ${ah} > ${bh})`;
    case "ltu":
      return `(${ah} === ${bh} ? (${al} >>> 0) < (${bl} >>> 0) : (${ah} >>> 0) < (${bh} >>> 0))`;
    default:
      return `(${ah} === ${bh} ? (${al} >>> 0) >= (${bl} >>> 0) : (${ah} >>> 0) > (${bh} >>> 0))`;
  }
}
