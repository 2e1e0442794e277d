/**
 * The runtime's floating point, fast paths in front, against software arithmetic: results and accrued flags.
 * HYPERFILE_FLOAT_CASES sets the number of generated cases altogether.
 */
import { FloatUnit } from "@hyperfile/decoder";
import { describe, expect, it } from "vitest";
import { generator } from "../../../test/lockstep.js";
import { floatOperations, hard32, hard64, INEXACT, operandsFor } from "../../../test/wasm-float.js";
import { floatFunction } from "./float-emitter.js";
import { fastFloat } from "./float-fast.js";
import { floatRuntime } from "./float-runtime.js";

const CASES = Number(process.env.HYPERFILE_FLOAT_CASES ?? 60_000);
const RESULT_HIGH = 0;
const FLAGS = 1;
const words = new Int32Array(2);
const runtime = floatRuntime(words, RESULT_HIGH, FLAGS);

const nameOf = ({ op, operands, result }: (typeof floatOperations)[number]): string =>
  floatFunction({ op, type: result, args: [] }, operands[0]!);

/** What differs for these operands; undefined if nothing does. */
function differenceOf(
  operation: (typeof floatOperations)[number],
  operands: readonly number[],
  rm: number,
  flags: number,
): string | undefined {
  const wide = operation.result === "f64" || operation.result === "i64";
  const unit = new FloatUnit();
  unit.flags = flags;
  const expected = [operation.reference(unit, operands, rm), wide ? unit.hi : 0, unit.flags];
  words[FLAGS] = flags;
  const low = runtime[nameOf(operation)]!(...operands, ...(operation.rounds ? [rm] : []));
  const actual = [low, wide ? words[RESULT_HIGH]! : 0, words[FLAGS]!];
  return actual.join() === expected.join()
    ? undefined
    : `${operation.name}(${operands.join()}) rm ${rm}, flags ${flags} before: ${actual}, not ${expected}`;
}

describe.each(floatOperations.map((operation) => [operation.name, operation] as const))(
  "%s",
  (_, operation) => {
    const usual = operation.result.startsWith("i") ? 1 : 0;

    it("gives the exact result and flags on generated operands", { timeout: 600_000 }, () => {
      const random = generator(41);
      const differences = new Set<string>();
      for (let at = 0; at < CASES / floatOperations.length; at++) {
        const rm = operation.rounds ? (random(4) === 0 ? random(5) : usual) : 0;
        const flags = random(4) === 0 ? random(32) : random(32) | INEXACT;
        const difference = differenceOf(operation, operandsFor(operation, random), rm, flags);
        if (difference !== undefined && differences.size < 5) differences.add(difference);
      }
      expect([...differences]).toEqual([]);
    });

    it("gives the exact result and flags on hard operands", () => {
      const values =
        operation.operands[0] === "f64"
          ? hard64.flatMap(([low, high]) => [
              [low, high],
              [low, high ^ 0x80000000],
            ])
          : operation.operands[0] === "f32"
            ? hard32.flatMap((bits) => [[bits], [bits ^ 0x80000000]])
            : [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 0x1000001, 0x40000001].flatMap((low) =>
                operation.operands[0] === "i32"
                  ? [[low]]
                  : [-1, 0, 1, 0xfffff, 0x100000, -0x100001].map((high) => [low, high]),
              );
      const differences: string[] = [];
      let cases = 0;
      for (const [number, a] of values.entries()) {
        for (const b of operation.operands.length > 1 ? values : [[]]) {
          const c = operation.operands.length > 2 ? values[(number * 7 + 3) % values.length]! : [];
          const difference = differenceOf(
            operation,
            [...a, ...b, ...c],
            operation.rounds ? usual : 0,
            INEXACT,
          );
          if (difference !== undefined) differences.push(difference);
          cases++;
        }
      }
      expect(differences.slice(0, 5)).toEqual([]);
      expect(cases).toBeGreaterThanOrEqual(7);
    });
  },
);

it("takes the fast path for ordinary operands", () => {
  const refuse = new Proxy({} as Parameters<typeof fastFloat>[3], {
    get: (_, name) => () => {
      throw new Error(`${String(name)} left its fast path`);
    },
  });
  words[FLAGS] = INEXACT;
  const fast = fastFloat(words, RESULT_HIGH, FLAGS, refuse);
  const ordinary = { f64: [0, 0x3ff80000], f32: [0x3fc00000], i32: [12345], i64: [12345, 0] } as const;
  const named = floatOperations.filter((operation) => nameOf(operation) in fast);
  expect(named.length).toBe(Object.keys(fast).length);
  for (const operation of named) {
    const operands = operation.operands.flatMap((type) => [...ordinary[type]]);
    expect(fast[nameOf(operation)]!(...operands, operation.result.startsWith("i") ? 1 : 0)).toBeTypeOf(
      "number",
    );
  }
});
