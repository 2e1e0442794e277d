import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blocks, sampleHelpers, sampleShape } from "../../test/block-generator.js";
import { parseBlock } from "./parse.js";
import type { Block, Operation, Value } from "./types.js";
import { assertBlock, IrError, verifyBlock } from "./verify.js";

const shape = sampleShape("i64");
const everything = { memory: true, atomics: true, floats: true, calls: true, traps: true };

/** Parses lines between an `insn` mark and `leave`. */
const lines = (...content: string[]): Block =>
  parseBlock(["insn +0 len 4", ...content, "leave"].join("\n"), shape, sampleHelpers);

/** The same block with one operation changed. */
function change(block: Block, position: number, changes: Readonly<Record<string, unknown>>): Block {
  const operations = block.operations.map((operation, index) =>
    index === position ? ({ ...operation, ...changes } as Operation) : operation,
  );
  return { ...block, operations };
}

const values = (...list: number[]) => list as Value[];
const wide = lines("%1 = const.i64 5", "%2 = const.i32 6", "%3 = add.i64 %1, %1", "set x[1], %3");
const memory = lines(
  "%1 = const.i64 5",
  "%2 = const.i32 6",
  "%3 = load.s32.i64 [%1]",
  "store.32 [%1], %3",
  "%5 = amo.add.64.i64 [%1], %1",
  "%6 = lr.32.i32 [%1]",
  "%7 = sc.32.i32 [%1], %2",
);
const floats = lines(
  "%1 = get.f64 d[0]",
  "%2 = get.f32 s[0]",
  "%3 = const.i32 0",
  "%4 = fadd.f64 %1, %1, %3",
  "%5 = ftoi64.i64 %2, %3",
);
const call = lines("%1 = const.i32 1", "%2 = const.i64 2", "%3 = call.i64 mix(%1, %2)");

describe("verifyBlock accepts", () => {
  it.each(["i32", "i64"] as const)("generated blocks of %s", (addressType) => {
    fc.assert(
      fc.property(blocks({ ...everything, addressType }), (block) => {
        expect(verifyBlock(block, sampleShape(addressType))).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it("generated templates", () => {
    const templates = blocks({ ...everything, addressType: "i64", fields: true });
    fc.assert(
      fc.property(templates, (block) => {
        expect(verifyBlock(block, shape)).toEqual([]);
      }),
    );
  });

  it("the samples that the rows below break", () => {
    for (const block of [wide, memory, floats, call]) expect(verifyBlock(block, shape)).toEqual([]);
  });
});

describe("verifyBlock refuses", () => {
  const broken: readonly [invariant: string, block: Block, problem: string][] = [
    ["1: nothing at all", { operations: [], instructions: 0, bytes: 0 }, "the block is empty"],
    ["1: no mark first", parseBlock("leave", shape), "%0 leave: the block does not begin with an insn mark"],
    ["1: no exit", parseBlock("insn +0 len 4", shape), "%0 insn: the block ends without an exit"],
    ["1: an exit inside", lines("leave"), "%1 leave: an exit before the end of the block"],
    ["2: an unknown operation", change(wide, 3, { op: "nand" }), "%3 nand: no such operation"],
    ["2: too few operands", change(wide, 3, { args: values(1) }), "%3 add: 1 operands instead of 2"],
    ["2: too many operands", change(wide, 3, { args: values(1, 1, 1) }), "%3 add: 3 operands instead of 2"],
    ["2: a call with too few", change(call, 3, { args: values(1) }), "%3 call: 1 operands instead of 2"],
    [
      "3: an operand of itself",
      change(wide, 3, { args: values(1, 3) }),
      "%3 add: operand %3 is not defined before",
    ],
    [
      "3: a later operand",
      change(wide, 3, { args: values(1, 4) }),
      "%3 add: operand %4 is not defined before",
    ],
    ["3: a negative operand", change(wide, 3, { args: values(1, -1) }), "operand %-1 is not defined before"],
    [
      "3: an operand without value",
      change(wide, 3, { args: values(1, 0) }),
      "%3 add: operand %0 makes no value",
    ],
    ["4: mixed widths", change(wide, 3, { args: values(1, 2) }), "%3 add: operand 1 is i32"],
    ["4: another result", change(wide, 3, { type: "i32" }), "%3 add: operand 0 is i64"],
    ["4: no result", change(wide, 3, { type: null }), "%3 add: it makes a value and has no type"],
    ["4: a float sum of integers", change(wide, 3, { type: "f64" }), "%3 add: the result is f64"],
    ["4: a wide comparison result", change(wide, 3, { op: "eq" }), "%3 eq: the result is i64"],
    [
      "4: a mixed comparison",
      change(wide, 3, { op: "eq", type: "i32", args: values(1, 2) }),
      "operand 1 is i32",
    ],
    ["4: a wide shift amount", change(wide, 3, { op: "shl" }), "%3 shl: operand 1 is i64"],
    ["4: wrap of an i32", change(wide, 3, { op: "wrap", type: "i32", args: values(2) }), "operand 0 is i32"],
    [
      "4: sext32 of an i64",
      change(wide, 3, { op: "sext32", args: values(1) }),
      "%3 sext32: operand 0 is i64",
    ],
    ["4: floats of two types", change(floats, 4, { args: values(1, 2, 3) }), "%4 fadd: operand 1 is f32"],
    ["4: a float of another type", change(floats, 4, { type: "f32" }), "%4 fadd: operand 0 is f64"],
    [
      "4: a float without rounding",
      change(floats, 4, { args: values(1, 1) }),
      "%4 fadd: 2 operands instead of 3",
    ],
    ["4: a conversion's result", change(floats, 5, { type: "i32" }), "%5 ftoi64: the result is i32"],
    ["4: a conversion of integers", change(floats, 5, { args: values(3, 3) }), "%5 ftoi64: operand 0 is i32"],
    ["5: a fraction", change(wide, 2, { constant: 0.5 }), "%2 const: the constant is no i32"],
    ["5: a number too large", change(wide, 2, { constant: 2 ** 31 }), "%2 const: the constant is no i32"],
    ["5: a narrow i64", change(wide, 1, { constant: 5 }), "%1 const: the constant is no i64"],
    ["5: a half too large", change(wide, 1, { constant: { lo: 2 ** 32, hi: 0 } }), "the constant is no i64"],
    ["5: a float constant", change(wide, 2, { type: "f32" }), "%2 const: the result is f32"],
    ["6: a pc of another type", lines("%1 = pc.i32 +0"), "%1 pc: the result is i32, not an address"],
    [
      "6: a pc too far",
      change(lines("%1 = pc.i64 +0"), 1, { constant: 2 ** 40 }),
      "the distance is no int32",
    ],
    [
      "6: a narrow address",
      change(memory, 3, { args: values(2) }),
      "%3 load: the address is i32, not an address",
    ],
    [
      "6: a narrow jump target",
      parseBlock("insn +0 len 4\n%1 = const.i32 0\njumpr %1", shape),
      "%2 jumpr: the target is i32, not an address",
    ],
    [
      "6: a narrow trap value",
      parseBlock("insn +0 len 4\n%1 = const.i32 0\ntrap cause 2, %1", shape),
      "%2 trap: the trap value is i32, not an address",
    ],
    ["7: a wide field", lines("%1 = field.i64 $imm"), "%1 field: the result is i64"],
    ["7: a field without a name", change(lines("%1 = field.i32 $imm"), 1, { field: "" }), "is no field name"],
    ["8: an unknown slot", change(wide, 4, { slot: "y" }), "%4 set: no slot y"],
    ["8: an index outside", change(wide, 4, { index: 6 }), "%4 set: no element 6 in slot x"],
    ["8: a negative index", change(wide, 4, { index: -1 }), "%4 set: no element -1 in slot x"],
    ["8: a value of another type", change(wide, 4, { args: values(2) }), "%4 set: slot x is i64, not i32"],
    ["8: a get of another type", lines("%1 = get.i32 x[1]"), "%1 get: slot x is i64, not i32"],
    [
      "9: a load wider than its type",
      change(memory, 3, { type: "i32", width: 64 }),
      "%3 load: 64 bits of an i32",
    ],
    ["9: a load of odd width", change(memory, 3, { width: 24 }), "%3 load: 24 bits"],
    ["9: a load of a float", change(memory, 3, { type: "f64" }), "%3 load: the value is f64, not an integer"],
    ["9: a load without a sign", change(memory, 3, { signed: undefined }), "%3 load: signed is missing"],
    [
      "9: a store wider than its value",
      change(memory, 4, { width: 64, args: values(1, 2) }),
      "64 bits of an i32",
    ],
    ["9: a narrow amo", change(memory, 5, { width: 32 }), "%5 amo: 32 bits of an i64"],
    ["9: an unknown amo", change(memory, 5, { amo: "nand" }), "%5 amo: no read-modify-write nand"],
    [
      "9: an amo of another type",
      change(memory, 5, { type: "i32" }),
      "%5 amo: the result is i32, the operand i64",
    ],
    ["9: a byte lr", change(memory, 6, { width: 8 }), "%6 lr: 8 bits of an i32"],
    ["9: a wide result of sc", change(memory, 7, { type: "i64" }), "%7 sc: the result is i64"],
    ["10: a wrong argument", change(call, 3, { args: values(2, 2) }), "%3 call: argument 0 of mix is i64"],
    ["10: a wrong result", change(call, 3, { type: "i32" }), "%3 call: mix gives i64, not i32"],
    ["10: no helper", change(call, 3, { helper: undefined }), "%3 call: helper is missing"],
    [
      "11: a negative cause",
      change(parseBlock("insn +0 len 4\n%1 = const.i64 0\ntrap cause 2, %1", shape), 2, { cause: -1 }),
      "%2 trap: -1 is no exception number",
    ],
    [
      "12: a jump with two targets",
      change(parseBlock("insn +0 len 4\njump +4", shape), 1, { targets: [4, 8] }),
      "%1 jump: 2 targets instead of 1",
    ],
    [
      "12: a target too far",
      change(parseBlock("insn +0 len 4\njump +4", shape), 1, { targets: [2 ** 33] }),
      "%1 jump: a target is neither an int32 distance nor a field",
    ],
    [
      "13: ordinals",
      change(lines("insn +4 len 4"), 1, { at: { offset: 4, length: 4, ordinal: 2 } }),
      "ordinal 2",
    ],
    [
      "13: a length",
      change(wide, 0, { at: { offset: 0, length: -4, ordinal: 0 } }),
      "the length is not a count",
    ],
    [
      "13: an offset",
      change(wide, 0, { at: { offset: 0.5, length: 4, ordinal: 0 } }),
      "the offset is no int32",
    ],
    ["13: a count of instructions", { ...wide, instructions: 2 }, "the block counts 2 insns, has 1"],
    ["13: a count of bytes", { ...wide, bytes: 8 }, "the block counts 8 bytes, its insns take 4"],
    ["14: a stray attribute", change(wide, 3, { width: 32 }), "%3 add: it has no width"],
    ["14: a missing attribute", change(wide, 1, { constant: undefined }), "%1 const: constant is missing"],
  ];
  it.each(broken)("%s", (_, block, problem) => {
    expect(verifyBlock(block, shape).join("\n")).toContain(problem);
  });

  it("a type on every operation that makes no value", () => {
    const text = [
      "insn +0 len 4",
      "%1 = const.i64 0",
      "%2 = const.i32 0",
      "set x[0], %1",
      "store.8 [%1], %1",
      "trapif %2, cause 1, %1",
    ];
    const exits = ["jump +4", "branch %2, +4, +8", "jumpr %1", "trap cause 2, %1", "leave"];
    for (const exit of exits) {
      const block = parseBlock([...text, exit].join("\n"), shape);
      expect(verifyBlock(block, shape)).toEqual([]);
      for (const position of [0, 3, 4, 5, 6]) {
        expect(verifyBlock(change(block, position, { type: "i32" }), shape).join()).toContain(
          "it makes no value",
        );
      }
    }
  });

  it("and reports every problem through an error with a stable code", () => {
    const block = change(change(wide, 1, { constant: 0 }), 4, { slot: "y" });
    let error: unknown;
    try {
      assertBlock(block, shape, "the block at 0x80000000");
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(IrError);
    expect(error).toMatchObject({ code: "E_IR" });
    expect((error as IrError).problems).toHaveLength(2);
    expect((error as Error).message).toBe(
      "the block at 0x80000000: %1 const: the constant is no i64 (and 1 more)",
    );
    expect(() => assertBlock(wide, shape, "a block")).not.toThrow();
  });
});
