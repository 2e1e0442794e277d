import { assemble, riscvFrontEnd } from "@hyperfile/decoder";
import { expect, it } from "vitest";
import { BlockCache } from "./block-cache.js";

const frontEnd = riscvFrontEnd(64);
const insnsOf = (source: string) => {
  const { bytes } = assemble(source, { xlen: 64 });
  return [0, 4].map((at) => frontEnd.decode(bytes, at, 4)!);
};
const first = insnsOf("add a0, a1, a2\n xor a0, a0, a3");
const second = insnsOf("add a0, a1, a2\n xor a0, a0, a4");

it("gives the same block for the same instructions, and another for others at the same place", () => {
  const cache = new BlockCache({ frontEnd, verify: true });
  const block = cache.of(0x1000, first);
  expect(cache.of(0x1000, first)).toBe(block);
  expect(cache.of(0x1000, second)).not.toBe(block);
  expect(cache.of(0x1000, first.slice(0, 1)).instructions).toBe(1);
  expect(cache.of(0x1000, first)).toBe(block);
});

it("compares instructions by what they are, not by identity", () => {
  const cache = new BlockCache({ frontEnd, verify: true });
  const copies = first.map((insn) => ({ ...insn, fields: { ...insn.fields } }));
  expect(cache.of(0, copies)).toBe(cache.of(0, first));
});

it("forgets, and goes on, when it is full", () => {
  const cache = new BlockCache({ frontEnd, verify: true });
  const block = cache.of(0, first);
  for (let at = 1; at <= 1024; at++) cache.of(at, first);
  const again = cache.of(0, first);
  expect(again).not.toBe(block);
  expect(again).toEqual(block);
});
