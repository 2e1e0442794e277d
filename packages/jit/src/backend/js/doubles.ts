/**
 * Doubles in JavaScript regions. Where a region computes with doubles, it keeps them as numbers, which V8 holds in
 * floating-point registers; the passage through memory that turns halves into a number and back costs more than the
 * arithmetic.
 *
 * JavaScript does not promise to keep the bits of a NaN. A value is therefore a number and, beside it, two int32: if
 * the number is a NaN, they are its bits, else they mean nothing. Results of arithmetic are never any other NaN than the
 * canonical one, so for these the halves are constants.
 *
 * The conditions of the fast paths are those of `float-fast.ts`: round to nearest, the inexact flag set already, and a
 * result that shows that no other exception can have happened. Where one fails, the exact function of `float-runtime.ts`
 * computes the bits anew.
 *
 * V8 puts a number that it passes to a function, or gets from one, on the heap, unless it inlines the function. What is
 * too large for that takes its operands from the view `F`, and leaves its result there.
 */
import { productError, sumError, sumToOdd } from "@hyperfile/decoder";

/** Halves of the canonical NaN: RISC-V unprivileged manual, 20.3 NaN Generation and Propagation. */
export const CANONICAL_NAN = ["0", "2146959360"] as const;

/** Number.MAX_VALUE: a sum within has not overflowed, and is no NaN. */
const MOST = "1.7976931348623157e308";
/** 2^-1022. A result above it is normal. */
const LEAST_NORMAL = "2.2250738585072014e-308";
/** Operands of a fused multiply-add between these magnitudes neither overflow nor lose bits on the way. */
const FMA_LEAST = 2 ** -400;
const FMA_MOST = 2 ** 400;

/** What a function takes and gives: `n` is a number, `i` an int32. */
export interface DoubleSignature {
  readonly parameters: readonly ("n" | "i")[];
  readonly result: "n" | "i";
}

const signature = (parameters: string, result: "n" | "i"): DoubleSignature => ({
  parameters: [...parameters] as ("n" | "i")[],
  result,
});

/** The functions of {@link doubleRuntime}, by name. */
export const doubleSignatures: ReadonlyMap<string, DoubleSignature> = new Map([
  ["toDouble", signature("ii", "n")],
  ["lowOf", signature("ni", "i")],
  ["highOf", signature("ni", "i")],
  ["ofSingle", signature("i", "n")],
  ["abs", signature("n", "n")],
  ["sqrt", signature("n", "n")],
  ["least", signature("nn", "n")],
  ["most", signature("nn", "n")],
  ["fused", signature("", "i")],
]);

/** The view `F`, and the functions that regions with doubles call. */
export function doubleRuntime(): Record<string, unknown> {
  const operands = new Float64Array(3);
  const doubles = new Float64Array(1);
  const halves = new Int32Array(doubles.buffer);
  const singles = new Float32Array(1);
  const bits = new Int32Array(singles.buffer);
  const isModerate = (value: number): boolean => {
    const magnitude = Math.abs(value);
    return magnitude > FMA_LEAST && magnitude < FMA_MOST;
  };
  const functions: Record<string, (...args: number[]) => number> = {
    /** The number with these halves; a NaN of some kind if that is one. */
    toDouble: (low, high) => {
      halves[0] = low!;
      halves[1] = high!;
      return doubles[0]!;
    },
    /** The low half of a number, or what stands for it beside a NaN. */
    lowOf: (value, low) => {
      if (Number.isNaN(value!)) return low!;
      doubles[0] = value!;
      return halves[0]!;
    },
    /** The high half of a number, or what stands for it beside a NaN. */
    highOf: (value, high) => {
      if (Number.isNaN(value!)) return high!;
      doubles[0] = value!;
      return halves[1]!;
    },
    /** The number that the bits of a single stand for. */
    ofSingle: (single) => {
      bits[0] = single!;
      return singles[0]!;
    },
    abs: Math.abs,
    sqrt: Math.sqrt,
    least: Math.min,
    most: Math.max,
    /** F[0] becomes F[0] * F[1] + F[2] rounded once, or a NaN if that can't be had by doubles alone. */
    fused: () => {
      const x = operands[0]!;
      const y = operands[1]!;
      const z = operands[2]!;
      if (!(isModerate(x) && isModerate(y) && isModerate(z))) {
        operands[0] = Number.NaN;
        return 0;
      }
      const product = x * y;
      const productLow = productError(x, y, product);
      const low = z + productLow;
      const high = product + low;
      operands[0] = high + sumToOdd(sumError(product, low, high), sumError(z, productLow, low));
      return 0;
    },
  };
  return { F: operands, ...functions };
}

/** How an operation on doubles is done with numbers. */
export interface FastDouble {
  /** Statements before, of the same operands. */
  readonly before?: (...operands: string[]) => string;
  /** The result of operands: names of numbers, or expressions of int32. */
  readonly value: (...operands: string[]) => string;
  /** What is true if the number `result` is the guest's result; undefined if it always is. */
  readonly holds?: (result: string) => string;
  /** Whether it rounds, as its last operand says, and may set the inexact flag. */
  readonly rounds: boolean;
}

const hasNotOverflowed = (result: string): string => `abs(${result}) <= ${MOST}`;
const isNormal = (result: string): string =>
  `abs(${result}) > ${LEAST_NORMAL} && ${hasNotOverflowed(result)}`;
const isNumber = (result: string): string => `${result} === ${result}`;

/** Operations with a double as their result, by the name of their opcode. */
export const fastDoubles: ReadonlyMap<string, FastDouble> = new Map<string, FastDouble>([
  // A sum that is too small to be normal is exact.
  ["fadd", { value: (a, b) => `${a} + ${b}`, holds: hasNotOverflowed, rounds: true }],
  ["fsub", { value: (a, b) => `${a} - ${b}`, holds: hasNotOverflowed, rounds: true }],
  ["fmul", { value: (a, b) => `${a} * ${b}`, holds: isNormal, rounds: true }],
  ["fdiv", { value: (a, b) => `${a} / ${b}`, holds: isNormal, rounds: true }],
  ["fsqrt", { value: (a) => `sqrt(${a})`, holds: isNormal, rounds: true }],
  [
    "fma",
    {
      before: (a, b, c) => `F[0] = ${a}; F[1] = ${b}; F[2] = ${c}; fused();`,
      value: () => "F[0]",
      holds: isNormal,
      rounds: true,
    },
  ],
  ["fmin", { value: (a, b) => `least(${a}, ${b})`, holds: isNumber, rounds: false }],
  ["fmax", { value: (a, b) => `most(${a}, ${b})`, holds: isNumber, rounds: false }],
  ["fpromote", { value: (a) => `ofSingle(${a})`, holds: isNumber, rounds: false }],
  ["i32tof", { value: (a) => a!, rounds: false }],
  ["u32tof", { value: (a) => `(${a} >>> 0)`, rounds: false }],
]);

/** Comparisons of doubles: what makes them true, and what makes them false; neither holds if one is a NaN. */
export const fastComparisons: ReadonlyMap<string, (a: string, b: string) => readonly [string, string]> =
  new Map<string, (a: string, b: string) => readonly [string, string]>([
    ["feq", (a, b) => [`${a} === ${b}`, `${a} < ${b} || ${a} > ${b}`]],
    ["flt", (a, b) => [`${a} < ${b}`, `${a} >= ${b}`]],
    ["fle", (a, b) => [`${a} <= ${b}`, `${a} > ${b}`]],
  ]);
