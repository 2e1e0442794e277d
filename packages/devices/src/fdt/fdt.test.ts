import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cells64, type FdtNode, type FdtValue, flattenTree } from "./fdt.js";
import { findNode, type ParsedNode, parseTree, readCells, readStrings } from "./parse.js";

const sample: FdtNode = {
  name: "",
  properties: { "#address-cells": 2, model: "example", compatible: ["first", "second"] },
  children: [
    { name: "empty", properties: {} },
    {
      name: "bus@10000000",
      properties: {
        reg: [...cells64(0x1_8000_0000), ...cells64(4096)],
        size: 0x1122334455667788n,
        ranges: true,
      },
      children: [{ name: "deep", properties: { key: Uint8Array.of(1, 2, 3), phandle: 0x7fffffff } }],
    },
  ],
};
const reservations = [{ gpa: 0x8000_0000, size: 0x4_0000 }];

describe("flattenTree", () => {
  test("what it writes reads back", () => {
    const {
      root,
      reservations: found,
      bootHart,
    } = parseTree(flattenTree(sample, { reservations, bootHart: 3 }));
    expect(found).toEqual(reservations);
    expect(bootHart).toBe(3);
    expect(root.children.map((child) => child.name)).toEqual(["empty", "bus@10000000"]);
    expect(readStrings(root.properties.compatible!)).toEqual(["first", "second"]);
    const bus = findNode(root, "/bus@10000000")!;
    expect(readCells(bus.properties.reg!)).toEqual([1, 0x80000000, 0, 4096]);
    expect(readCells(bus.properties.size!)).toEqual([0x11223344, 0x55667788]);
    expect(bus.properties.ranges).toEqual(new Uint8Array(0));
    expect(findNode(root, "/bus@10000000/deep")?.properties.key).toEqual(Uint8Array.of(1, 2, 3));
    expect(findNode(root, "/bus/deep")).toBeUndefined();
    expect(findNode(root, "/")).toBe(root);
  });

  test("names and numbers that the format can't hold are refused with their place", () => {
    const property = (name: string, value: FdtValue): FdtNode => ({
      name: "",
      properties: { [name]: value },
    });
    const child = (...names: string[]): FdtNode => ({
      name: "",
      properties: {},
      children: names.map((name) => ({ name, properties: {} })),
    });
    for (const [tree, message] of [
      [property("a", -1), "device tree, /a: -1 does not fit a cell of 32 bits"],
      [property("a", [0, 2 ** 32]), "device tree, /a: 4294967296 does not fit a cell of 32 bits"],
      [property("a", 1n << 64n), "device tree, /a: 18446744073709551616 does not fit two cells"],
      [property("a", "x\0y"), "device tree, /a: text can't hold a zero byte: give bytes"],
      [property("", 1), 'device tree, /: "" is not a property name'],
      [property("a b", 1), 'device tree, /: "a b" is not a property name'],
      [child("a/b"), 'device tree, /: "a/b" is not a node name'],
      [child("a", "a"), "device tree, /: two nodes are named a"],
      [{ name: "x", properties: {} }, "device tree, x: the root's name must be empty"],
    ] as const) {
      expect(() => flattenTree(tree)).toThrow(expect.objectContaining({ code: "E_FDT_VALUE", message }));
    }
    expect(() => flattenTree(sample, { reservations: [{ gpa: -1, size: 0 }] })).toThrow(/not an address/);
  });

  test("parse and flatten are inverse for any tree", () => {
    const name = fc.stringMatching(/^[a-z,#][a-z0-9-]{0,8}$/);
    const properties = fc.dictionary(name, fc.uint8Array({ maxLength: 9 }), { maxKeys: 4 });
    const treeOf = (depth: number): fc.Arbitrary<ParsedNode> =>
      fc.record({
        name,
        properties,
        children:
          depth === 0
            ? fc.constant([])
            : fc.uniqueArray(treeOf(depth - 1), { maxLength: 3, selector: (node) => node.name }),
      });
    fc.assert(
      fc.property(treeOf(3), (any) => {
        const root = { ...any, name: "" };
        const bytes = flattenTree(root);
        expect(plain(parseTree(bytes).root)).toEqual(plain(root));
        expect(flattenTree(parseTree(bytes).root)).toEqual(bytes);
      }),
      { numRuns: 50 },
    );
  });

  test("dtc reads what it writes", (context) => {
    const dts = dtc(["-I", "dtb", "-O", "dts"], flattenTree(sample, { reservations }));
    if (dts === undefined) {
      context.skip("dtc is not installed: apt install device-tree-compiler");
      return;
    }
    const source = dts.toString();
    expect(source).toContain("/memreserve/\t0x0000000080000000 0x0000000000040000;");
    expect(source).toContain("reg = <0x01 0x80000000 0x00 0x1000>;");
    expect(source).toContain("key = [01 02 03];");
    expect(source).toContain("phandle = <0x7fffffff>;");
    expect(source).toMatch(/compatible = "first(\\0|", ")second";/);
    const again = dtc(["-I", "dts", "-O", "dtb"], new TextEncoder().encode(source))!;
    expect(plain(parseTree(again).root)).toEqual(plain(parseTree(flattenTree(sample)).root));
  });
});

/** Runs dtc; undefined where it is not installed. */
function dtc(options: string[], input: Uint8Array): Buffer | undefined {
  const run = spawnSync("dtc", ["-q", ...options], { input });
  if (run.error !== undefined) return undefined;
  expect(run.stderr.toString()).toBe("");
  expect(run.status).toBe(0);
  return run.stdout;
}

/** A node without the null prototypes of what was read. */
function plain(node: ParsedNode): unknown {
  const properties = Object.fromEntries(
    Object.entries(node.properties).map(([name, value]) => [name, [...value]]),
  );
  return { name: node.name, properties, children: node.children.map(plain) };
}
