/**
 * Floating point in WebAssembly against software arithmetic: results and accrued flags, every rounding mode.
 * HYPERFILE_FLOAT_CASES sets the number of generated cases altogether, HYPERFILE_FLOAT_SEED their seed.
 */
import { describe, expect, it } from "vitest";
import {
  compareCase,
  compareGenerated,
  DYNAMIC,
  floatOperations,
  hard32,
  hard64,
  INEXACT,
  WasmFloat,
} from "../../../test/wasm-float.js";

const CASES = Number(process.env.HYPERFILE_FLOAT_CASES ?? 50_000);
const SEED = Number(process.env.HYPERFILE_FLOAT_SEED ?? 1);
const machine = new WasmFloat();
const SIGN = 0x80000000;

/** Hard operands of an operation: all pairs of hard values, with both signs of the first. */
function directed(operands: readonly string[]): number[][] {
  if (operands[0]!.startsWith("i")) {
    const words = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 0x1000001, 0x7fffff80, 0x40000001, -0x1000001];
    if (operands[0] === "i32") return words.map((word) => [word]);
    return words.flatMap((low) => words.map((high) => [low, high]));
  }
  const signed: number[][] =
    operands[0] === "f64"
      ? hard64.flatMap(([low, high]) => [
          [low, high],
          [low, high ^ SIGN],
        ])
      : hard32.flatMap((bits) => [[bits], [bits ^ SIGN]]);
  if (operands.length === 1) return signed;
  const second = signed.filter((_, index) => index % 2 === 0 || operands.length === 2);
  const pairs = signed.flatMap((a) => second.map((b) => [...a, ...b]));
  if (operands.length === 2) return pairs;
  return pairs.map((pair, index) => [...pair, ...signed[(index * 7 + 3) % signed.length]!]);
}

describe.each(floatOperations.map(({ name }, number) => [name, number] as const))("%s", (_, number) => {
  const operation = floatOperations[number]!;

  it("gives the exact result and flags on hard operands", () => {
    const differences: string[] = [];
    let at = 0;
    for (const words of directed(operation.operands)) {
      const usual = operation.result.startsWith("i") ? 1 : 0;
      // The mode of the fast path always, another one in turn, known when the code is made or not.
      for (const rm of operation.rounds ? [usual, at % 5] : [0]) {
        const mode = at++ % 3 === 0 ? DYNAMIC : rm;
        for (const flags of [0, INEXACT]) {
          const difference = compareCase(machine, number, words, mode, rm, flags);
          if (difference !== undefined) differences.push(difference);
        }
      }
    }
    expect(differences.slice(0, 5)).toEqual([]);
    expect(at).toBeGreaterThan(8);
  });

  it("gives the exact result and flags on generated operands", { timeout: 3_600_000 }, () => {
    const cases = Math.ceil(CASES / floatOperations.length);
    const result = compareGenerated(machine, number, cases, SEED);
    if (process.env.HYPERFILE_FLOAT_CASES !== undefined) {
      console.log(JSON.stringify({ name: operation.name, seed: SEED, cases, slow: result.slow }));
    }
    expect(result.differences).toEqual([]);
  });
});

/** Operations whose usual cases never leave WebAssembly. */
const fast = floatOperations.filter(({ name }) => !/u\.[sd]$|\.[sd]\.(wu|lu)$|fclass/.test(name));

it.each(fast.map(({ name }) => name))("%s has a fast path for ordinary operands", (name) => {
  const number = floatOperations.findIndex((operation) => operation.name === name);
  const { operands, result } = floatOperations[number]!;
  const ordinary = { f64: [0, 0x3ff80000], f32: [0x3fc00000], i32: [12345], i64: [12345, 0] } as const;
  const words = operands.flatMap((type) => ordinary[type]);
  const before = machine.slow;
  const rm = result.startsWith("i") ? 1 : 0;
  expect(compareCase(machine, number, words, rm, rm, INEXACT)).toBeUndefined();
  expect(machine.slow - before).toBe(0);
});
