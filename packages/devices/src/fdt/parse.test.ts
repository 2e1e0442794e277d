import fc from "fast-check";
import { expect, test } from "vitest";
import { FdtError } from "./errors.js";
import { type FdtNode, flattenTree } from "./fdt.js";
import { parseTree, readCells, readStrings } from "./parse.js";

const HEADER = {
  magic: 0,
  total: 1,
  structure: 2,
  strings: 3,
  reserved: 4,
  version: 5,
  oldest: 6,
  stringsSize: 8,
  structureSize: 9,
};

const good = flattenTree({
  name: "",
  properties: { model: "m" },
  children: [
    { name: "a", properties: { x: 1 } },
    { name: "b", properties: {} },
  ],
});

/** The good tree with words of its header, or of its structure by byte offset, replaced. */
function broken(
  header: Partial<Record<keyof typeof HEADER, number>>,
  structure: Record<number, number> = {},
): Uint8Array {
  const bytes = good.slice();
  const view = new DataView(bytes.buffer);
  const structureAt = view.getUint32(4 * HEADER.structure);
  for (const [field, value] of Object.entries(header)) {
    view.setUint32(4 * HEADER[field as keyof typeof HEADER], value);
  }
  for (const [offset, value] of Object.entries(structure))
    view.setUint32(structureAt + Number(offset), value);
  return bytes;
}

/** A tree of raw structure words and one string block. */
function raw(words: number[], strings = "p\0"): Uint8Array {
  const text = new TextEncoder().encode(strings);
  const bytes = new Uint8Array(56 + 4 * words.length + text.length);
  const view = new DataView(bytes.buffer);
  const stringsAt = 56 + 4 * words.length;
  [
    0xd00dfeed,
    bytes.length,
    56,
    stringsAt,
    40,
    17,
    16,
    0,
    text.length,
    4 * words.length,
    0,
    0,
    0,
    0,
    ...words,
  ].forEach((word, index) => {
    view.setUint32(4 * index, word);
  });
  bytes.set(text, stringsAt);
  return bytes;
}

test.each([
  ["E_FDT_TRUNCATED", "no bytes", new Uint8Array(0)],
  ["E_FDT_TRUNCATED", "half a header", good.subarray(0, 20)],
  ["E_FDT_TRUNCATED", "half a tree", good.subarray(0, good.length - 1)],
  ["E_FDT_TRUNCATED", "a size smaller than the header", broken({ total: 8 })],
  ["E_FDT_MAGIC", "another file", new TextEncoder().encode('/dts-v1/; / { model = "text, not a blob"; };')],
  ["E_FDT_VERSION", "an old version", broken({ version: 3 })],
  ["E_FDT_VERSION", "a version of the future", broken({ version: 40, oldest: 18 })],
  ["E_FDT_MALFORMED", "a structure outside", broken({ structure: 0x7ffffffc })],
  ["E_FDT_MALFORMED", "a misaligned structure", broken({ structure: 57 })],
  ["E_FDT_MALFORMED", "a structure in the header", broken({ structure: 0 })],
  ["E_FDT_MALFORMED", "a structure that is too long", broken({ structureSize: 0xffffffff })],
  ["E_FDT_MALFORMED", "an empty structure", broken({ structureSize: 0 })],
  ["E_FDT_MALFORMED", "strings outside", broken({ stringsSize: 0xffffff })],
  ["E_FDT_MALFORMED", "reservations outside", broken({ reserved: 0xfffffff8 })],
  ["E_FDT_MALFORMED", "reservations without an end", broken({ reserved: (good.length - 8) & ~7 })],
  ["E_FDT_MALFORMED", "an unknown token", broken({}, { 8: 7 })],
  ["E_FDT_MALFORMED", "a property that is too long", broken({}, { 12: 0xffffffff })],
  ["E_FDT_MALFORMED", "a name outside the strings", broken({}, { 16: 0x10000 })],
  ["E_FDT_MALFORMED", "no root", raw([9])],
  ["E_FDT_MALFORMED", "no end of a node", raw([1, 0])],
  ["E_FDT_MALFORMED", "nothing but padding", raw([4, 4, 4])],
  ["E_FDT_MALFORMED", "two roots", raw([1, 0, 2, 1, 0, 2, 9])],
  ["E_FDT_MALFORMED", "a root with a name", raw([1, 0x61000000, 2, 9])],
  ["E_FDT_MALFORMED", "a node name without an end", raw([1, 0x61616161])],
  ["E_FDT_MALFORMED", "a node without a name", raw([1, 0, 1, 0, 2, 2, 9])],
  ["E_FDT_MALFORMED", "a property after a node", raw([1, 0, 1, 0x61000000, 2, 3, 0, 0, 2, 9])],
  ["E_FDT_MALFORMED", "a property twice", raw([1, 0, 3, 0, 0, 3, 0, 0, 2, 9])],
  ["E_FDT_MALFORMED", "a node twice", raw([1, 0, 1, 0x61000000, 2, 1, 0x61000000, 2, 2, 9])],
  ["E_FDT_MALFORMED", "a property without a name", raw([1, 0, 3, 0, 1, 2, 9])],
  ["E_FDT_MALFORMED", "a property name of 1000 bytes", raw([1, 0, 3, 0, 0, 2, 9], `${"x".repeat(1000)}\0`)],
] as const)("%s: %s", (code, _what, bytes) => {
  let error: unknown;
  try {
    parseTree(bytes);
  } catch (caught) {
    error = caught;
  }
  expect(error).toBeInstanceOf(FdtError);
  expect(error).toMatchObject({ code, message: expect.stringMatching(/^[^\n]+$/) });
});

test("padding tokens and bytes after the tree are skipped", () => {
  const bytes = raw([4, 1, 0, 4, 3, 4, 0, 42, 4, 2, 4, 9]);
  const longer = new Uint8Array(bytes.length + 5);
  longer.set(bytes);
  expect(readCells(parseTree(longer).root.properties.p!)).toEqual([42]);
});

test("a tree inside a larger buffer reads the same", () => {
  const buffer = new Uint8Array(good.length + 3);
  buffer.set(good, 3);
  expect(parseTree(buffer.subarray(3))).toEqual(parseTree(good));
});

test("nesting is bounded", () => {
  const nested = (depth: number): FdtNode =>
    Array.from({ length: depth }).reduce<FdtNode>(
      (child, _, level) => ({ name: `n${level}`, properties: {}, children: [child] }),
      {
        name: "leaf",
        properties: {},
      },
    );
  expect(parseTree(flattenTree({ ...nested(60), name: "" })).root.children).toHaveLength(1);
  expect(() => parseTree(flattenTree({ ...nested(70), name: "" }))).toThrow(/nest deeper than 64/);
});

test("cells and texts must be whole", () => {
  expect(() => readCells(new Uint8Array(3))).toThrow(expect.objectContaining({ code: "E_FDT_MALFORMED" }));
  expect(() => readStrings(Uint8Array.of(65))).toThrow(expect.objectContaining({ code: "E_FDT_MALFORMED" }));
  expect(() => readStrings(new Uint8Array(0))).toThrow(expect.objectContaining({ code: "E_FDT_MALFORMED" }));
});

test("any corruption of a tree reads as a tree or fails with an FdtError", () => {
  const change = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
      const bytes = good.slice();
      for (const [at, value] of changes) bytes[at] = value;
      try {
        const { root } = parseTree(bytes);
        expect(parseTree(flattenTree(root)).root).toEqual(root);
      } catch (error) {
        expect(error).toBeInstanceOf(FdtError);
      }
    }),
    { numRuns: 500 },
  );
});
