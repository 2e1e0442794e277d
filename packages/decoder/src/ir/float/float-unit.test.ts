import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Kind, OPERATIONS, type Operation } from "../../../test/float-operations.js";
import { FloatUnit } from "./float-unit.js";

const NX = 1;
const UF = 2;
const OF = 4;
const DZ = 8;
const NV = 16;

interface Layout {
  readonly width: number;
  readonly fraction: number;
  readonly bias: number;
}

const LAYOUTS = {
  f32: { width: 32, fraction: 23, bias: 127 },
  f64: { width: 64, fraction: 52, bias: 1023 },
} as const satisfies Record<string, Layout>;

/** Bit patterns that arithmetic cares about: runs, single bits, ends, and what is left of uniform ones. */
function pattern(width: number): fc.Arbitrary<bigint> {
  const all = (1n << BigInt(width)) - 1n;
  const uniform = fc.bigInt({ min: 0n, max: all });
  const position = fc.integer({ min: 0, max: width - 1 }).map(BigInt);
  return fc.oneof(
    fc.constantFrom(0n, 1n, all, all - 1n, 1n << BigInt(width - 1)),
    uniform,
    position.map((p) => 1n << p),
    position.map((p) => all ^ (1n << p)),
    position.map((p) => (all << p) & all),
    fc.tuple(uniform, position).map(([u, p]) => (u >> p) << p),
    fc.tuple(uniform, position).map(([u, p]) => u >> p),
  );
}

function compose(layout: Layout, negative: boolean, field: number, fraction: bigint): bigint {
  const max = 2 * layout.bias + 1;
  const clamped = BigInt(Math.min(max, Math.max(0, field)));
  return ((negative ? 1n : 0n) << BigInt(layout.width - 1)) | (clamped << BigInt(layout.fraction)) | fraction;
}

function exponentField(layout: Layout, bits: bigint): number {
  return Number((bits >> BigInt(layout.fraction)) & BigInt(2 * layout.bias + 1));
}

function withField(layout: Layout, bits: bigint, field: number): bigint {
  const fraction = bits & ((1n << BigInt(layout.fraction)) - 1n);
  return compose(layout, bits >> BigInt(layout.width - 1) === 1n, field, fraction);
}

/** A number of any class, the exponents crowded where formats and integers end. */
function number(layout: Layout): fc.Arbitrary<bigint> {
  const { bias, fraction } = layout;
  const field = fc.oneof(
    fc.constantFrom(0, 0, 1, 2, 2 * bias - 1, 2 * bias, 2 * bias + 1),
    fc.integer({ min: bias - 5, max: bias + 66 }),
    fc.integer({ min: Math.max(0, bias - 152), max: bias - 120 }),
    fc.integer({ min: bias + 124, max: bias + 129 }),
    fc.integer({ min: 0, max: 2 * bias + 1 }),
  );
  return fc
    .tuple(fc.boolean(), field, pattern(fraction))
    .map(([negative, f, bits]) => compose(layout, negative, f, bits));
}

/** Two operands that have to do with each other: neighbours, far ones, and products and quotients near the ends. */
function twoNumbers(layout: Layout): fc.Arbitrary<bigint[]> {
  const { bias, fraction, width } = layout;
  const distance = fc.integer({ min: -4, max: 4 });
  return fc
    .tuple(number(layout), number(layout), fc.integer({ min: 0, max: 5 }), distance)
    .map(([a, b, relation, d]) => {
      const field = exponentField(layout, a);
      switch (relation) {
        case 0:
          return [a, BigInt.asUintN(width, (a + BigInt(d)) ^ (b & (1n << BigInt(width - 1))))];
        case 1:
          return [a, withField(layout, b, field - fraction - 1 + d)];
        case 2:
          return [a, withField(layout, b, bias + 1 - field - (Number(b & 63n) % fraction) + d)];
        case 3:
          return [a, withField(layout, b, field + bias + (Number(b & 63n) % fraction) + d)];
        case 4:
          return [a, withField(layout, b, 3 * bias - field + d)];
        default:
          return [a, b];
      }
    });
}

function toBits(layout: Layout, value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  if (layout.width === 64) {
    view.setFloat64(0, value);
    return view.getBigUint64(0);
  }
  view.setFloat32(0, value);
  return BigInt(view.getUint32(0));
}

function toValue(layout: Layout, bits: bigint): number {
  const view = new DataView(new ArrayBuffer(8));
  if (layout.width === 64) {
    view.setBigUint64(0, bits);
    return view.getFloat64(0);
  }
  view.setUint32(0, Number(bits));
  return view.getFloat32(0);
}

/** Operands of a fused multiply-add: unrelated, nearly cancelling, and half-way with a little on top. */
function threeNumbers(layout: Layout): fc.Arbitrary<bigint[]> {
  const { fraction, width } = layout;
  const any = fc.tuple(twoNumbers(layout), number(layout)).map(([[a, b], c]) => [a!, b!, c]);
  const cancelling = fc
    .tuple(twoNumbers(layout), fc.integer({ min: -3, max: 3 }), fc.boolean())
    .map(([[a, b], d, flip]) => {
      const near = toBits(layout, -toValue(layout, a!) * toValue(layout, b!)) + BigInt(d);
      return [a!, b!, BigInt.asUintN(width, flip ? near ^ (1n << BigInt(width - 1)) : near)];
    });
  // An odd product of fraction + 2 bits is half-way between two numbers; the addend breaks the tie from afar.
  const half = Math.ceil((fraction + 2) / 2);
  const odd = fc.integer({ min: 2 ** (half - 2), max: 2 ** (half - 1) - 1 }).map((n) => 2 * n + 1);
  const tie = fc
    .tuple(odd, odd, fc.integer({ min: 0, max: 130 }), number(layout), fc.boolean())
    .map(([m, n, below, c, negative]) => {
      const a = toBits(layout, negative ? -m : m);
      return [a, toBits(layout, n), withField(layout, c, layout.bias + 2 * half - 2 - below)];
    });
  return fc.oneof(any, cancelling, tie, tie);
}

function operandsOf(operation: Operation): fc.Arbitrary<bigint[]> {
  const first: Kind = operation.operands[0]!;
  if (first === "i32" || first === "i64") {
    const width = first === "i32" ? 32 : 64;
    return fc
      .tuple(pattern(width), fc.boolean())
      .map(([v, negate]) => [negate ? BigInt.asUintN(width, -v) : v]);
  }
  const layout = LAYOUTS[first];
  if (operation.operands.length === 3) return threeNumbers(layout);
  if (operation.operands.length === 2) return twoNumbers(layout);
  const cut = BigInt(Math.floor(layout.fraction / 2) + 2);
  const squares = number(layout).map((n) => {
    const short = toValue(layout, (n >> cut) << cut);
    return Number.isNaN(short) ? n : toBits(layout, short * short);
  });
  const halves = fc
    .tuple(fc.integer({ min: -9, max: 9 }), fc.constantFrom(0, 2 ** 31, 2 ** 32, 2 ** 52, 2 ** 63, 2 ** 64))
    .map(([d, base]) => toBits(layout, base + d / 4));
  return fc.oneof(number(layout), squares, halves).map((n) => [n]);
}

function show(operands: readonly bigint[]): string {
  return operands.map((bits) => bits.toString(16)).join(", ");
}

describe("FloatUnit against exact arithmetic", () => {
  it.each(OPERATIONS.map((operation) => [operation.name, operation] as const))("%s", (_, operation) => {
    const unit = new FloatUnit();
    const modes = operation.rounds ? [0, 1, 2, 3, 4] : [0];
    fc.assert(
      fc.property(operandsOf(operation), (operands) => {
        for (const rm of modes) {
          const expected = operation.oracle(operands, rm);
          // Fast paths differ with NX already set: the flags accrue, and the result is the same.
          for (const before of [0, NX, OF | NX]) {
            unit.flags = before;
            const bits = operation.unit(unit, operands, rm);
            const text = `${operation.name}(${show(operands)}) rm ${rm} flags ${before}`;
            expect(`${text}: ${bits.toString(16)} ${unit.flags}`).toBe(
              `${text}: ${expected.bits.toString(16)} ${expected.flags | before}`,
            );
          }
        }
      }),
      { numRuns: operation.operands.length === 3 ? 1500 : 400 },
    );
  });
});

/** Runs one operation on its own, and again with NX already set, which must change nothing else. */
function run(name: string, operands: readonly bigint[], rm = 0): [bits: string, flags: number] {
  const unit = new FloatUnit();
  const operation = OPERATIONS.find((each) => each.name === name)!;
  const bits = operation.unit(unit, operands, rm);
  const flags = unit.flags;
  unit.flags = NX;
  expect([operation.unit(unit, operands, rm), unit.flags]).toEqual([bits, flags | NX]);
  return [bits.toString(16), flags];
}

const ONE_64 = 0x3ff0000000000000n;
const MAX_64 = 0x7fefffffffffffffn;
const MIN_NORMAL = 0x0010000000000000n;
const INFINITY_64 = 0x7ff0000000000000n;
const NEGATIVE_64 = 0x8000000000000000n;
const QUIET_64 = 0x7ff8000000000000n;
const SIGNALING_64 = 0x7ff0000000000001n;

describe("FloatUnit, cases that a specification names", () => {
  it("gives the default NaN and never a payload", () => {
    expect(run("add64", [0xfff8000000000123n, ONE_64])).toEqual(["7ff8000000000000", 0]);
    expect(run("add64", [SIGNALING_64, ONE_64])).toEqual(["7ff8000000000000", NV]);
    expect(run("mul32", [0xffc00001n, 0x3f800000n])).toEqual(["7fc00000", 0]);
    expect(run("f32ToF64", [0x7f800001n])).toEqual(["7ff8000000000000", NV]);
    expect(run("f64ToF32", [0xfff8000000000001n])).toEqual(["7fc00000", 0]);
  });

  it("sets NV for infinity times zero plus a quiet NaN", () => {
    expect(run("fma64", [INFINITY_64, 0n, QUIET_64])).toEqual(["7ff8000000000000", NV]);
    expect(run("fma32", [0n, 0xff800000n, 0x7fc00000n])).toEqual(["7fc00000", NV]);
  });

  it("detects underflow after rounding", () => {
    // 2^-1022 * (1 - 2^-53) needs 53 bits: without an exponent limit it is exact and below 2^-1022, hence tiny,
    // although the format's rounding takes it to the smallest normal number.
    const justBelowOne = 0x3fefffffffffffffn;
    expect(run("mul64", [MIN_NORMAL, justBelowOne], 0)).toEqual(["10000000000000", NX | UF]);
    expect(run("fma64", [MIN_NORMAL, justBelowOne, NEGATIVE_64])).toEqual(["10000000000000", NX | UF]);
    expect(run("mul32", [0x00800000n, 0x3f7fffffn])).toEqual(["800000", NX | UF]);
    expect(run("fma32", [0x00800000n, 0x3f7fffffn, 0n])).toEqual(["800000", NX | UF]);
    expect(run("f64ToF32", [0x380fffffffffffffn])).toEqual(["800000", NX]);
    expect(run("fma64", [MIN_NORMAL, ONE_64, 0x8000000000000001n])).toEqual(["fffffffffffff", 0]);
    // 1.5 * 0.66666666666666663 is just under 1 by less than 53 bits can tell: rounded up it is not tiny.
    const almostNormal = [0x0018000000000000n, 0x3fe5555555555555n];
    expect(run("mul64", almostNormal, 3)).toEqual(["10000000000000", NX]);
    expect(run("mul64", almostNormal, 1)).toEqual(["fffffffffffff", NX | UF]);
  });

  it("keeps exact subnormal results free of flags", () => {
    expect(run("mul64", [MIN_NORMAL, 0x3fe0000000000000n])).toEqual(["8000000000000", 0]);
    expect(run("div32", [0x00800000n, 0x40000000n])).toEqual(["400000", 0]);
  });

  it("overflows to infinity or to the largest finite number as the rounding mode says", () => {
    expect([0, 1, 2, 3, 4].map((rm) => run("add64", [MAX_64, MAX_64], rm)[0])).toEqual([
      "7ff0000000000000",
      "7fefffffffffffff",
      "7fefffffffffffff",
      "7ff0000000000000",
      "7ff0000000000000",
    ]);
    expect(run("mul32", [0xff7fffffn, 0x40000000n], 2)).toEqual(["ff800000", OF | NX]);
    expect(run("mul32", [0xff7fffffn, 0x40000000n], 3)).toEqual(["ff7fffff", OF | NX]);
  });

  it("divides by zero with DZ alone, and zero by zero with NV", () => {
    expect(run("div64", [ONE_64, NEGATIVE_64])).toEqual(["fff0000000000000", DZ]);
    expect(run("div64", [0n, 0n])).toEqual(["7ff8000000000000", NV]);
    expect(run("div64", [INFINITY_64, 0n])).toEqual(["7ff0000000000000", 0]);
  });

  it("signs an exact zero sum by the rounding mode", () => {
    expect(run("sub64", [ONE_64, ONE_64], 0)).toEqual(["0", 0]);
    expect(run("sub64", [ONE_64, ONE_64], 2)).toEqual(["8000000000000000", 0]);
    expect(run("add64", [NEGATIVE_64, NEGATIVE_64], 0)).toEqual(["8000000000000000", 0]);
  });

  it("takes the square root of -0, and refuses others below zero", () => {
    expect(run("sqrt64", [NEGATIVE_64])).toEqual(["8000000000000000", 0]);
    expect(run("sqrt64", [0xbff0000000000000n])).toEqual(["7ff8000000000000", NV]);
    expect(run("sqrt64", [0x4000000000000000n])).toEqual(["3ff6a09e667f3bcd", NX]);
    expect(run("sqrt64", [0x4010000000000000n])).toEqual(["4000000000000000", 0]);
  });

  it("rounds a fused multiply-add once", () => {
    // (1 + 2^-52)(1 - 2^-52) - 1 = -2^-104: two roundings would give 0.
    expect(run("fma64", [0x3ff0000000000001n, 0x3feffffffffffffen, 0xbff0000000000000n])).toEqual([
      "b970000000000000",
      0,
    ]);
  });

  it("prefers numbers to NaN, and -0 to +0, in minimum and maximum", () => {
    expect(run("min64", [0n, NEGATIVE_64])).toEqual(["8000000000000000", 0]);
    expect(run("max64", [NEGATIVE_64, 0n])).toEqual(["0", 0]);
    expect(run("min64", [QUIET_64, ONE_64])).toEqual(["3ff0000000000000", 0]);
    expect(run("max64", [ONE_64, SIGNALING_64])).toEqual(["3ff0000000000000", NV]);
    expect(run("min32", [0xffc12345n, 0x7fc00001n])).toEqual(["7fc00000", 0]);
  });

  it("compares quietly for equality and loudly for order", () => {
    expect(run("eq64", [QUIET_64, ONE_64])).toEqual(["0", 0]);
    expect(run("eq64", [SIGNALING_64, ONE_64])).toEqual(["0", NV]);
    expect(run("lt64", [QUIET_64, ONE_64])).toEqual(["0", NV]);
    expect(run("le32", [0x7fc00000n, 0x7fc00000n])).toEqual(["0", NV]);
    expect(run("eq32", [0n, 0x80000000n])).toEqual(["1", 0]);
  });

  it("names each class", () => {
    const classes = [
      0xff800000n,
      0xbf800000n,
      0x80000001n,
      0x80000000n,
      0n,
      1n,
      0x3f800000n,
      0x7f800000n,
      0x7f800001n,
      0x7fc00000n,
    ];
    expect(classes.map((bits) => Number.parseInt(run("class32", [bits])[0], 16))).toEqual([
      1, 2, 4, 8, 16, 32, 64, 128, 256, 512,
    ]);
  });

  it("saturates conversions to integers with NV and without NX", () => {
    expect(run("f64ToI32", [QUIET_64])).toEqual(["7fffffff", NV]);
    expect(run("f64ToI32", [0xfff0000000000000n])).toEqual(["80000000", NV]);
    expect(run("f64ToU32", [0xbff0000000000000n])).toEqual(["0", NV]);
    expect(run("f64ToU32", [0xbfe0000000000000n], 1)).toEqual(["0", NX]);
    expect(run("f64ToU32", [0xbfe0000000000000n], 2)).toEqual(["0", NV]);
    expect(run("f32ToU64", [0x5f800000n])).toEqual(["ffffffffffffffff", NV]);
    expect(run("f32ToI64", [0xdf000000n])).toEqual(["8000000000000000", 0]);
    expect(run("f32ToI64", [0x5f000000n])).toEqual(["7fffffffffffffff", NV]);
  });

  it("rounds half-way conversions in each mode", () => {
    const minusTwoAndHalf = 0xc004000000000000n;
    expect([0, 1, 2, 3, 4].map((rm) => run("f64ToI32", [minusTwoAndHalf], rm)[0])).toEqual([
      "fffffffe",
      "fffffffe",
      "fffffffd",
      "fffffffe",
      "fffffffd",
    ]);
  });

  it("rounds a 64-bit integer to binary32 once", () => {
    // 2^54 + 2^30 + 1: to binary64 first it becomes the tie 2^54 + 2^30, which would go down to even.
    expect(run("i64ToF32", [0x0040000040000001n])).toEqual(["5a800001", NX]);
    expect(run("u64ToF64", [0xffffffffffffffffn])).toEqual(["43f0000000000000", NX]);
  });

  it("accrues flags and clears none", () => {
    const unit = new FloatUnit();
    unit.div32(0x3f800000, 0, 0);
    unit.add32(0x3f800000, 1, 0);
    unit.mul32(0x3f800000, 0x3f800000, 0);
    expect(unit.flags).toBe(DZ | NX);
  });
});
