import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blocks, sampleHelpers, sampleShape } from "../../test/block-generator.js";
import { IrSyntaxError, parseBlock } from "./parse.js";
import { printBlock } from "./print.js";

const everything = { memory: true, atomics: true, floats: true, calls: true, traps: true, fields: true };
const shape = sampleShape("i64");

const sample = `insn +0 len 4
%1 = get.i64 x[5]
%2 = const.i64 -7
%3 = add.i64 %1, %2
%4 = load.s32.i64 [%3]
%5 = load.u8.i64 [%3]
set x[1], %4
store.64 [%3], %5
insn +4 len 2
%9 = const.i32 0x12345678
%10 = pc.i64 -4
%11 = amo.add.32.i32 [%3], %9
%12 = lr.64.i64 [%3]
%13 = sc.64.i32 [%3], %12
%14 = call.i64 mix(%9, %1)
call touch(%9)
trapif %13, cause 2, %10
%17 = field.i32 $imm
set x[$rd], %14
%19 = get.i64 pc
%20 = ltu.i32 %1, %19
branch %20, $imm, +6
`;

describe("printBlock and parseBlock", () => {
  it("reads what it prints", () => {
    const block = parseBlock(sample, shape, sampleHelpers);
    expect(printBlock(block, shape)).toBe(sample);
    expect(block.instructions).toBe(2);
    expect(block.bytes).toBe(6);
    expect(block.operations[4]).toEqual({ op: "load", type: "i64", args: [3], width: 32, signed: true });
    expect(block.operations[21]!.targets).toEqual([{ field: "imm" }, 6]);
  });

  it.each(["i32", "i64"] as const)("is the identity on generated blocks of %s", (addressType) => {
    const sampleOf = sampleShape(addressType);
    fc.assert(
      fc.property(blocks({ ...everything, addressType }), (block) => {
        expect(parseBlock(printBlock(block), sampleOf, sampleHelpers)).toEqual(block);
        expect(parseBlock(printBlock(block, sampleOf), sampleOf, sampleHelpers)).toEqual(block);
      }),
      { numRuns: 150 },
    );
  });

  it("takes any names, comments, blank lines and indentation", () => {
    const text =
      "; a block\n  insn +0 len 4 ; first\n\n  %sum = const.i64 0x7fffffffffffffff\n  set x[1], %sum\nleave";
    expect(printBlock(parseBlock(text, shape))).toBe(
      "insn +0 len 4\n%1 = const.i64 0x7fffffffffffffff\nset x[1], %1\nleave\n",
    );
  });

  it("keeps the corners of constants", () => {
    for (const constant of ["-0x8000000000000000", "0x7fffffffffffffff", "-1", "0", "65535", "0x10000"]) {
      const text = `insn +0 len 4\n%1 = const.i64 ${constant}\nleave\n`;
      expect(printBlock(parseBlock(text, shape))).toBe(text);
    }
  });
});

describe("errors of parseBlock", () => {
  const bad: readonly [text: string, place: string, reason: string][] = [
    ["frobnicate", "1:1", "no operation frobnicate"],
    ["insn 0 len 4", "1:6", "expected a distance with its sign"],
    ["insn +0 4", "1:9", "expected len"],
    ["insn +0 len", "1:12", "expected a length in bytes"],
    ["leave\n  %1 = const.i32", "2:17", "expected a constant"],
    ["%1 = const.i32 0x80000000", "1:16", "0x80000000 does not fit a signed 32-bit constant"],
    ["%1 = const.i64 0x8000000000000000", "1:16", "does not fit a signed 64-bit constant"],
    ["%1 = add.i32 %2, %3", "1:14", "%2 is not defined before"],
    ["%1 = const.i32 1\n%1 = const.i32 2", "2:1", "%1 is defined twice"],
    ["%1 = leave", "1:6", "leave has no type, so it makes no value"],
    ["const.i32 1", "1:1", "the value of const has no name"],
    ["%1 = add.32.i32", "1:6", "no operation add.32"],
    ["%1 = const.i64 1\n%2 = load.i64 [%1]", "2:6", "load needs a sign and a width"],
    ["%1 = const.i64 1\n%2 = load.s7.i64 [%1]", "2:6", "load needs a sign and a width"],
    ["%1 = const.i64 1\nstore [%1], %1", "2:1", "store needs a width"],
    ["%1 = const.i64 1\nstore.64 %1, %1", "2:10", "expected ["],
    ["%1 = const.i64 1\n%2 = amo.nand.64.i64 [%1], %1", "2:6", "amo needs a kind and a width"],
    ["%1 = get.i64 y[1]", "1:14", "no slot y"],
    ["%1 = get.i64 x[1", "1:17", "expected ]"],
    ["call nothing()", "1:6", "no helper nothing"],
    ["%1 = const.i32 1\ncall touch(%1", "2:14", "expected ,"],
    ["%1 = const.i64 1\ntrap cause %1", "2:12", "expected an exception number"],
    ["%1 = const.i32 1\nbranch %1, +4", "2:14", "expected ,"],
    ["jump +4, +8", "1:8", "unexpected , +8"],
    ["jump 4", "1:6", "expected a distance with its sign"],
    ["%1 =", "1:5", "expected an operation"],
  ];
  it.each(bad)("%s", (text, place, reason) => {
    let error: unknown;
    try {
      parseBlock(text, shape, sampleHelpers);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(IrSyntaxError);
    expect((error as IrSyntaxError).code).toBe("E_IR_SYNTAX");
    expect((error as Error).message).toContain(`IR text ${place}: `);
    expect((error as Error).message).toContain(reason);
  });
});
