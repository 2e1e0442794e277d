import { type Block, evaluateBlock, type Operation, type Value } from "@hyperfile/decoder";
import fc from "fast-check";
import { expect, it } from "vitest";
import { blocks, sampleShape } from "../../../decoder/test/block-generator.js";
import { TestEnvironment } from "../../../decoder/test/test-environment.js";
import { Widths } from "./widths.js";

const shape = sampleShape("i64");

/** The block up to the value, and then only a write of the value to a slot. */
function upTo({ operations, ...block }: Block, value: Value): Block {
  const { type } = operations[value]!;
  const set: Operation = { op: "set", type: null, args: [value], slot: type === "i64" ? "w" : "n", index: 0 };
  const jump: Operation = { op: "jump", type: null, args: [], targets: [0] };
  return { ...block, operations: [...operations.slice(0, value + 1), set, jump] };
}

it("finds no value in fewer bits than it has", () => {
  const options = { addressType: "i64", memory: true, atomics: true, floats: true, calls: true } as const;
  let narrow = 0;
  fc.assert(
    fc.property(blocks({ ...options, size: 40 }), fc.nat(), fc.nat(), (block, pick, seed) => {
      const integers = block.operations.flatMap(({ type }, position) =>
        type === "i32" || type === "i64" ? [position as Value] : [],
      );
      if (integers.length === 0) return;
      const value = integers[pick % integers.length]!;
      const part = upTo(block, value);
      const environment = new TestEnvironment(shape, seed, true);
      if (evaluateBlock(part, environment).kind !== "jump") return;
      const width = block.operations[value]!.type === "i64" ? 64 : 32;
      const bits = environment.get(width === 64 ? "w" : "n", 0);
      const widths = new Widths(block.operations);
      if (widths.signed(value) < width) narrow++;
      expect(BigInt.asUintN(widths.unsigned(value), bits)).toBe(bits);
      expect(BigInt.asUintN(width, BigInt.asIntN(widths.signed(value), bits))).toBe(bits);
    }),
    { numRuns: 3000 },
  );
  expect(narrow).toBeGreaterThan(300);
});
