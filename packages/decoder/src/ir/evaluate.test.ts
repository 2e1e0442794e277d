import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blocks, sampleHelpers, sampleShape } from "../../test/block-generator.js";
import { TestEnvironment } from "../../test/test-environment.js";
import { type BlockExit, combine, evaluateBlock } from "./evaluate.js";
import { opcodes } from "./opcodes.js";
import { parseBlock } from "./parse.js";

const shape = sampleShape("i64");

function run(lines: readonly string[], prepare: (environment: TestEnvironment) => void = () => {}) {
  const environment = new TestEnvironment(shape, 1);
  prepare(environment);
  const exit = evaluateBlock(
    parseBlock(["insn +0 len 4", ...lines].join("\n"), shape, sampleHelpers),
    environment,
  );
  return { environment, exit };
}

/** The value of `op` on hexadecimal or decimal operands of one type. */
function value(op: string, type: "i32" | "i64", ...operands: (string | number)[]): bigint {
  const row = opcodes.get(op)!;
  const constants = operands.map((operand, index) => {
    const own = row.args[index] === "T" ? type : row.args[index];
    return `%c${index} = const.${own} ${operand}`;
  });
  const result = row.result === "T" ? type : row.result;
  const names = operands.map((_, index) => `%c${index}`).join(", ");
  const slot = result === "i64" ? "w" : "n";
  const { environment } = run([...constants, `%r = ${op}.${result} ${names}`, `set ${slot}[0], %r`, "leave"]);
  return environment.get(slot, 0);
}

describe("integer operations", () => {
  const rows: readonly [op: string, type: "i32" | "i64", operands: (string | number)[], result: bigint][] = [
    ["add", "i32", ["0x7fffffff", 1], 0x80000000n],
    ["add", "i64", ["0xffffffff", 1], 0x100000000n],
    ["sub", "i64", [0, 1], 0xffffffffffffffffn],
    ["mul", "i32", ["0x10001", "0x10001"], 0x20001n],
    ["mulh", "i64", [-1, 1], 0xffffffffffffffffn],
    ["mulhu", "i64", [-1, -1], 0xfffffffffffffffen],
    ["mulhsu", "i64", [-1, -1], 0xffffffffffffffffn],
    ["mulhu", "i32", [-1, -1], 0xfffffffen],
    ["div", "i32", ["-0x80000000", -1], 0x80000000n],
    ["rem", "i32", ["-0x80000000", -1], 0n],
    ["div", "i64", ["-0x8000000000000000", -1], 0x8000000000000000n],
    ["div", "i32", [-7, 2], 0xfffffffdn],
    ["rem", "i32", [-7, 2], 0xffffffffn],
    ["div", "i64", [5, 0], 0xffffffffffffffffn],
    ["rem", "i64", [5, 0], 5n],
    ["divu", "i32", [-1, 2], 0x7fffffffn],
    ["divu", "i32", [5, 0], 0xffffffffn],
    ["remu", "i32", [-1, 10], 5n],
    ["remu", "i64", [-1, 0], 0xffffffffffffffffn],
    ["shl", "i32", [1, 33], 2n],
    ["shl", "i64", [1, 65], 2n],
    ["shru", "i32", [-1, 31], 1n],
    ["shrs", "i32", ["-0x80000000", 31], 0xffffffffn],
    ["shrs", "i64", ["-0x8000000000000000", 63], 0xffffffffffffffffn],
    ["rotl", "i32", ["-0x80000000", 1], 1n],
    ["rotr", "i64", [1, 1], 0x8000000000000000n],
    ["rotl", "i64", ["0x123456789abcdef0", 0], 0x123456789abcdef0n],
    ["clz", "i32", [0], 32n],
    ["clz", "i64", [1], 63n],
    ["ctz", "i32", [0], 32n],
    ["ctz", "i64", ["0x100000000"], 32n],
    ["popcnt", "i64", [-1], 64n],
    ["bswap", "i32", ["0x12345678"], 0x78563412n],
    ["bswap", "i64", ["0x0123456789abcdef"], 0xefcdab8967452301n],
    ["eq", "i64", [1, 1], 1n],
    ["ne", "i64", [1, 1], 0n],
    ["lt", "i32", [-1, 0], 1n],
    ["ltu", "i32", [-1, 0], 0n],
    ["ge", "i64", [-1, 0], 0n],
    ["geu", "i64", [-1, 0], 1n],
    ["select", "i64", [1, 2, 3], 2n],
    ["select", "i64", [0, 2, 3], 3n],
    ["sext8", "i64", ["0x80"], 0xffffffffffffff80n],
    ["sext16", "i32", ["0x18000"], 0xffff8000n],
    ["zext8", "i64", [-1], 255n],
    ["zext16", "i32", [-1], 65535n],
    ["wrap", "i64", ["0x1ffffffff"], 0xffffffffn],
    ["sext32", "i64", [-1], 0xffffffffffffffffn],
    ["zext32", "i64", [-1], 0xffffffffn],
  ];
  it.each(rows)("%s.%s %j", (op, type, operands, result) => {
    expect(value(op, type, ...operands)).toBe(result);
  });
});

describe("state, memory and exits", () => {
  it("reads and writes slots, by number and by field", () => {
    const { environment } = run(["%1 = field.i32 $rs", "%2 = get.i64 x[$rs]", "set x[$rd], %2", "leave"]);
    expect(environment.get("x", environment.field("rd"))).toBe(environment.get("x", environment.field("rs")));
  });

  it("extends narrow loads, and stores low bits", () => {
    const { environment } = run([
      "%a = const.i64 0x1000",
      "%v = const.i64 0x1234567889abcdef",
      "store.64 [%a], %v",
      "%b = load.u8.i64 [%a]",
      "set x[0], %b",
      "%s = load.s32.i64 [%a]",
      "set x[1], %s",
      "store.8 [%a], %s",
      "leave",
    ]);
    expect(environment.get("x", 0)).toBe(0xefn);
    expect(environment.get("x", 1)).toBe(0xffffffff89abcdefn);
    expect(environment.load(64, 0x1000n)).toBe(0x1234567889abcdefn);
  });

  it("computes pc from the block's address", () => {
    const { environment } = run(["%1 = pc.i64 -4", "set x[0], %1", "leave"]);
    expect(environment.get("x", 0)).toBe(BigInt.asUintN(64, environment.pc - 4n));
  });

  const exits: readonly [lines: string[], exit: BlockExit][] = [
    [["jump +8"], { kind: "jump", distance: 8 }],
    [["%1 = const.i32 2", "branch %1, -4, +4"], { kind: "jump", distance: -4 }],
    [["%1 = const.i32 0", "branch %1, -4, +4"], { kind: "jump", distance: 4 }],
    [["%1 = const.i64 -2", "jumpr %1"], { kind: "indirect", address: 0xfffffffffffffffen }],
    [["leave"], { kind: "leave" }],
    [
      ["insn +4 len 2", "%1 = const.i64 9", "trap cause 2, %1"],
      { kind: "trap", cause: 2, value: 9n, at: { offset: 4, length: 2, ordinal: 1 } },
    ],
    [
      [
        "%1 = const.i64 9",
        "%2 = const.i32 0",
        "%3 = const.i32 4",
        "trapif %2, cause 2, %1",
        "trapif %3, cause 3, %1",
        "leave",
      ],
      { kind: "trap", cause: 3, value: 9n, at: { offset: 0, length: 4, ordinal: 0 } },
    ],
  ];
  it.each(exits)("%j", (lines, exit) => {
    expect(run(lines).exit).toEqual(exit);
  });

  it("leaves at a refused access before anything that follows", () => {
    class Refusing extends TestEnvironment {
      override load(): null {
        return null;
      }
    }
    const environment = new Refusing(shape, 1);
    const text = "insn +0 len 4\n%1 = const.i64 0\ninsn +4 len 4\n%2 = load.s8.i64 [%1]\nset x[0], %1\nleave";
    const before = environment.get("x", 0);
    expect(evaluateBlock(parseBlock(text, shape), environment)).toEqual({
      kind: "fault",
      at: { offset: 4, length: 4, ordinal: 1 },
    });
    expect(environment.get("x", 0)).toBe(before);
  });

  it("accrues the flags of floating-point operations", () => {
    const lines = [
      "%1 = const.i64 0x3ff0000000000000",
      "%2 = float64.f64 %1",
      "%3 = const.i64 0",
      "%4 = float64.f64 %3",
      "%5 = const.i32 0",
      "%6 = fdiv.f64 %2, %4, %5",
      "set d[0], %6",
      "%8 = i64tof.f32 %1, %5",
      "set s[0], %8",
      "%10 = ftoi64.i64 %2, %5",
      "set w[0], %10",
      "leave",
    ];
    const { environment } = run(lines, (e) => e.set("fflags", 0, 0n));
    expect(environment.get("d", 0)).toBe(0x7ff0000000000000n);
    expect(environment.get("s", 0)).toBe(0x5e7fc000n);
    expect(environment.get("w", 0)).toBe(1n);
    expect(environment.get("fflags", 0)).toBe(8n);
  });

  it("combines read-modify-writes by signed and unsigned order", () => {
    expect(combine("min", 32, 0xffffffffn, 1n)).toBe(0xffffffffn);
    expect(combine("minu", 32, 0xffffffffn, 1n)).toBe(1n);
    expect(combine("max", 64, 0xffffffffffffffffn, 1n)).toBe(1n);
    expect(combine("maxu", 64, 0xffffffffffffffffn, 1n)).toBe(0xffffffffffffffffn);
    expect(combine("add", 32, 0xffffffffn, 2n)).toBe(1n);
    expect(combine("swap", 32, 5n, 2n)).toBe(2n);
    expect(combine("xor", 32, 6n, 3n)).toBe(5n);
    expect(combine("and", 32, 6n, 3n)).toBe(2n);
    expect(combine("or", 32, 6n, 3n)).toBe(7n);
  });
});

it("runs every generated block to an exit with values of their width", () => {
  const everything = { memory: true, atomics: true, floats: true, calls: true, traps: true, fields: true };
  for (const addressType of ["i32", "i64"] as const) {
    const ownShape = sampleShape(addressType);
    fc.assert(
      fc.property(blocks({ ...everything, addressType }), fc.nat(), (block, seed) => {
        const environment = new TestEnvironment(ownShape, seed, true);
        evaluateBlock(block, environment);
        for (const slot of ownShape.slots.values()) {
          for (let index = 0; index < slot.length; index++) {
            const held = environment.get(slot.name, index);
            expect(held).toBe(BigInt.asUintN(slot.stride * 8, held));
          }
        }
      }),
      { numRuns: 150 },
    );
  }
});
