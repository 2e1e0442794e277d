/**
 * Test-only: every operation of {@link FloatUnit} as one row, with its operands, how the unit is called and what
 * the oracle (exact-oracle.ts) says, so that a test is a loop over rows.
 */

import type { FloatUnit } from "../src/ir/float/float-unit.js";
import {
  BINARY32,
  BINARY64,
  classify,
  compare,
  convert,
  difference,
  extreme,
  type Format,
  fromInteger,
  fused,
  type Outcome,
  product,
  quotient,
  root,
  sum,
  toInteger,
} from "./exact-oracle.js";

/** What an operand or a result is. */
export type Kind = "f32" | "f64" | "i32" | "i64";

/** One operation: operands and results are unsigned BigInts of 32 or 64 bits. */
export interface Operation {
  readonly name: string;
  readonly operands: readonly Kind[];
  /** Whether the rounding mode matters; where not, one run is enough. */
  readonly rounds: boolean;
  readonly unit: (unit: FloatUnit, operands: readonly bigint[], rm: number) => bigint;
  readonly oracle: (operands: readonly bigint[], rm: number) => Outcome;
}

const lo = (bits: bigint): number => Number(BigInt.asIntN(32, bits));
const hi = (bits: bigint): number => Number(BigInt.asIntN(32, bits >> 32n));

/** A 32-bit result; it must be a signed int32. */
function word(result: number): bigint {
  if (result !== (result | 0) || Object.is(result, -0)) throw new Error(`${result} is no int32`);
  return BigInt.asUintN(32, BigInt(result));
}

/** A 64-bit result with its high half in the unit. */
function pair(unit: FloatUnit, low: number): bigint {
  return (word(unit.hi) << 32n) | word(low);
}

type Unary64 = "class64" | "f64ToF32" | "f64ToI32" | "f64ToU32";
type Unary64Pair = "sqrt64" | "f64ToI64" | "f64ToU64" | "i64ToF64" | "u64ToF64";
type Binary64Pair = "add64" | "sub64" | "mul64" | "div64" | "min64" | "max64";

function pairToPair(name: Unary64Pair, from: Kind, oracle: Operation["oracle"]): Operation {
  return {
    name,
    operands: [from],
    rounds: true,
    unit: (unit, [a], rm) => pair(unit, unit[name](lo(a!), hi(a!), rm)),
    oracle,
  };
}

function pairToWord(
  name: Unary64 | "i64ToF32" | "u64ToF32",
  from: Kind,
  oracle: Operation["oracle"],
): Operation {
  return {
    name,
    operands: [from],
    rounds: name !== "class64",
    unit: (unit, [a], rm) => word(unit[name](lo(a!), hi(a!), rm)),
    oracle,
  };
}

function twoPairs(name: Binary64Pair, rounds: boolean, oracle: Operation["oracle"]): Operation {
  return {
    name,
    operands: ["f64", "f64"],
    rounds,
    unit: (unit, [a, b], rm) => pair(unit, unit[name](lo(a!), hi(a!), lo(b!), hi(b!), rm)),
    oracle,
  };
}

function twoPairsCompared(name: "eq64" | "lt64" | "le64", relation: "eq" | "lt" | "le"): Operation {
  return {
    name,
    operands: ["f64", "f64"],
    rounds: false,
    unit: (unit, [a, b]) => word(unit[name](lo(a!), hi(a!), lo(b!), hi(b!))),
    oracle: ([a, b]) => compare(BINARY64, relation, a!, b!),
  };
}

type Binary32 = "add32" | "sub32" | "mul32" | "div32" | "min32" | "max32" | "eq32" | "lt32" | "le32";

function twoWords(name: Binary32, rounds: boolean, oracle: Operation["oracle"]): Operation {
  return {
    name,
    operands: ["f32", "f32"],
    rounds,
    unit: (unit, [a, b], rm) => word(unit[name](lo(a!), lo(b!), rm)),
    oracle,
  };
}

type Unary32 = "sqrt32" | "class32" | "f32ToI32" | "f32ToU32" | "i32ToF32" | "u32ToF32";
type Unary32Pair = "f32ToF64" | "f32ToI64" | "f32ToU64" | "i32ToF64" | "u32ToF64";

function wordToWord(name: Unary32, from: Kind, oracle: Operation["oracle"]): Operation {
  return {
    name,
    operands: [from],
    rounds: name !== "class32",
    unit: (unit, [a], rm) => word(unit[name](lo(a!), rm)),
    oracle,
  };
}

function wordToPair(name: Unary32Pair, from: Kind, oracle: Operation["oracle"]): Operation {
  return {
    name,
    operands: [from],
    rounds: name === "f32ToI64" || name === "f32ToU64",
    unit: (unit, [a], rm) => pair(unit, unit[name](lo(a!), rm)),
    oracle,
  };
}

function integerFrom(format: Format, width: number, isSigned: boolean): Operation["oracle"] {
  return ([a], rm) => toInteger(format, width, isSigned, a!, rm);
}

function floatFrom(format: Format, width: number, isSigned: boolean): Operation["oracle"] {
  return ([a], rm) => fromInteger(format, width, isSigned, a!, rm);
}

/** Every operation. */
export const OPERATIONS: readonly Operation[] = [
  twoPairs("add64", true, ([a, b], rm) => sum(BINARY64, a!, b!, rm)),
  twoPairs("sub64", true, ([a, b], rm) => difference(BINARY64, a!, b!, rm)),
  twoPairs("mul64", true, ([a, b], rm) => product(BINARY64, a!, b!, rm)),
  twoPairs("div64", true, ([a, b], rm) => quotient(BINARY64, a!, b!, rm)),
  pairToPair("sqrt64", "f64", ([a], rm) => root(BINARY64, a!, rm)),
  {
    name: "fma64",
    operands: ["f64", "f64", "f64"],
    rounds: true,
    unit: (unit, [a, b, c], rm) => pair(unit, unit.fma64(lo(a!), hi(a!), lo(b!), hi(b!), lo(c!), hi(c!), rm)),
    oracle: ([a, b, c], rm) => fused(BINARY64, a!, b!, c!, rm),
  },
  twoPairs("min64", false, ([a, b]) => extreme(BINARY64, a!, b!, false)),
  twoPairs("max64", false, ([a, b]) => extreme(BINARY64, a!, b!, true)),
  twoPairsCompared("eq64", "eq"),
  twoPairsCompared("lt64", "lt"),
  twoPairsCompared("le64", "le"),
  pairToWord("class64", "f64", ([a]) => classify(BINARY64, a!)),
  twoWords("add32", true, ([a, b], rm) => sum(BINARY32, a!, b!, rm)),
  twoWords("sub32", true, ([a, b], rm) => difference(BINARY32, a!, b!, rm)),
  twoWords("mul32", true, ([a, b], rm) => product(BINARY32, a!, b!, rm)),
  twoWords("div32", true, ([a, b], rm) => quotient(BINARY32, a!, b!, rm)),
  wordToWord("sqrt32", "f32", ([a], rm) => root(BINARY32, a!, rm)),
  {
    name: "fma32",
    operands: ["f32", "f32", "f32"],
    rounds: true,
    unit: (unit, [a, b, c], rm) => word(unit.fma32(lo(a!), lo(b!), lo(c!), rm)),
    oracle: ([a, b, c], rm) => fused(BINARY32, a!, b!, c!, rm),
  },
  twoWords("min32", false, ([a, b]) => extreme(BINARY32, a!, b!, false)),
  twoWords("max32", false, ([a, b]) => extreme(BINARY32, a!, b!, true)),
  twoWords("eq32", false, ([a, b]) => compare(BINARY32, "eq", a!, b!)),
  twoWords("lt32", false, ([a, b]) => compare(BINARY32, "lt", a!, b!)),
  twoWords("le32", false, ([a, b]) => compare(BINARY32, "le", a!, b!)),
  wordToWord("class32", "f32", ([a]) => classify(BINARY32, a!)),
  pairToWord("f64ToF32", "f64", ([a], rm) => convert(BINARY64, BINARY32, a!, rm)),
  wordToPair("f32ToF64", "f32", ([a], rm) => convert(BINARY32, BINARY64, a!, rm)),
  pairToWord("f64ToI32", "f64", integerFrom(BINARY64, 32, true)),
  pairToWord("f64ToU32", "f64", integerFrom(BINARY64, 32, false)),
  pairToPair("f64ToI64", "f64", integerFrom(BINARY64, 64, true)),
  pairToPair("f64ToU64", "f64", integerFrom(BINARY64, 64, false)),
  wordToWord("f32ToI32", "f32", integerFrom(BINARY32, 32, true)),
  wordToWord("f32ToU32", "f32", integerFrom(BINARY32, 32, false)),
  wordToPair("f32ToI64", "f32", integerFrom(BINARY32, 64, true)),
  wordToPair("f32ToU64", "f32", integerFrom(BINARY32, 64, false)),
  wordToPair("i32ToF64", "i32", floatFrom(BINARY64, 32, true)),
  wordToPair("u32ToF64", "i32", floatFrom(BINARY64, 32, false)),
  pairToPair("i64ToF64", "i64", floatFrom(BINARY64, 64, true)),
  pairToPair("u64ToF64", "i64", floatFrom(BINARY64, 64, false)),
  wordToWord("i32ToF32", "i32", floatFrom(BINARY32, 32, true)),
  wordToWord("u32ToF32", "i32", floatFrom(BINARY32, 32, false)),
  pairToWord("i64ToF32", "i64", floatFrom(BINARY32, 64, true)),
  pairToWord("u64ToF32", "i64", floatFrom(BINARY32, 64, false)),
];
