import { parseBlock } from "@hyperfile/decoder";
import { expect, it } from "vitest";
import { sampleHelpers, sampleShape } from "../../../../decoder/test/block-generator.js";
import { Widths } from "../../passes/widths.js";
import { highHalvesNeeded } from "./demand.js";

/** Names of the i64 values whose high halves are needed, as the text has them. */
function needed(text: string): string {
  const block = parseBlock(`insn +0 len 4\n${text}\njump +4\n`, sampleShape("i64"), sampleHelpers);
  const highs = highHalvesNeeded(block, new Widths(block.operations));
  return block.operations
    .flatMap(({ type }, value) => (type === "i64" && highs[value] === 1 ? [`%${value}`] : []))
    .join(" ");
}

it("needs both halves of a sum that is kept", () => {
  expect(needed("%1 = get.i64 x[1]\n%2 = get.i64 x[2]\n%3 = add.i64 %1, %2\nset x[3], %3")).toBe("%1 %2 %3");
});

it("needs the low half of a sum of which the low half is kept", () => {
  const text = "%1 = get.i64 x[1]\n%2 = get.i64 x[2]\n%3 = add.i64 %1, %2\n%4 = wrap.i32 %3\nset n[0], %4";
  expect(needed(text)).toBe("");
});

it("needs the low half of what is masked", () => {
  expect(needed("%1 = get.i64 x[1]\n%2 = const.i64 255\n%3 = and.i64 %1, %2\nset x[3], %3")).toBe("%3");
});

it("needs the low half of what is shifted into the high one", () => {
  expect(needed("%1 = get.i64 x[1]\n%2 = const.i32 40\n%3 = shl.i64 %1, %2\nset x[3], %3")).toBe("%3");
});

it("needs no high half to compare bytes", () => {
  const loads = "%1 = get.i64 x[1]\n%2 = load.u8.i64 [%1]\n%3 = load.s8.i64 [%1]";
  expect(needed(`${loads}\n%4 = lt.i32 %2, %3\nset n[0], %4`)).toBe("%1");
});
