/**
 * Single floating-point operations as the WebAssembly backend prints them, beside the decoder's software arithmetic:
 * each operation becomes regions of one instruction, one for each way in which its rounding mode is known. Operands are
 * generated where arithmetic is hard.
 */
import { BlockBuilder, FloatUnit, type StateShape, stateShape, type Type } from "@hyperfile/decoder";
import {
  softAdd32,
  softDivide32,
  softFused32,
  softMultiply32,
  softSquareRoot32,
} from "../../decoder/src/ir/float/soft32.js";
import {
  softAdd64,
  softDivide64,
  softFused64,
  softMultiply64,
  softSquareRoot64,
} from "../../decoder/src/ir/float/soft64.js";
import { runtimeBindings } from "../src/backend/js/bindings.js";
import { ModuleWriter } from "../src/backend/wasm/encoder.js";
import { emitWasmRegion } from "../src/backend/wasm/region.js";
import { WasmRuntime } from "../src/backend/wasm/runtime.js";
import { HART_STRIDE, header, STATE_OFFSET } from "../src/memory/layout.js";
import { LinearMemory } from "../src/memory/linear-memory.js";
import { structure } from "../src/region/structure.js";
import { generator } from "./lockstep.js";

/** The accrued flag that fast paths ask for. */
export const INEXACT = 1;
const SIGN = 0x80000000;

type Random = (limit: number) => number;
/** Arithmetic on int32 words, low half first; a 64-bit result leaves its high half in the unit. */
type Reference = (unit: FloatUnit, words: readonly number[], rm: number) => number;

/** An operation of the IR with operands and result of known types. */
export interface FloatOperation {
  readonly name: string;
  readonly op: string;
  readonly operands: readonly Type[];
  readonly result: Type;
  /** Whether it takes a rounding mode. */
  readonly rounds: boolean;
  readonly reference: Reference;
}

const operation = (
  name: string,
  op: string,
  operands: readonly Type[],
  result: Type,
  rounds: boolean,
  reference: Reference,
): FloatOperation => ({ name, op, operands, result, rounds, reference });

/** Operations with fast paths, and those that always call the runtime. */
export const floatOperations: readonly FloatOperation[] = [
  operation("fadd.d", "fadd", ["f64", "f64"], "f64", true, (u, [a, b, c, d], rm) =>
    softAdd64(u, a!, b!, c!, d!, rm),
  ),
  operation("fsub.d", "fsub", ["f64", "f64"], "f64", true, (u, [a, b, c, d], rm) =>
    softAdd64(u, a!, b!, c!, d! ^ SIGN, rm),
  ),
  operation("fmul.d", "fmul", ["f64", "f64"], "f64", true, (u, [a, b, c, d], rm) =>
    softMultiply64(u, a!, b!, c!, d!, rm),
  ),
  operation("fdiv.d", "fdiv", ["f64", "f64"], "f64", true, (u, [a, b, c, d], rm) =>
    softDivide64(u, a!, b!, c!, d!, rm),
  ),
  operation("fsqrt.d", "fsqrt", ["f64"], "f64", true, (u, [a, b], rm) => softSquareRoot64(u, a!, b!, rm)),
  operation("fma.d", "fma", ["f64", "f64", "f64"], "f64", true, (u, [a, b, c, d, e, f], rm) =>
    softFused64(u, a!, b!, c!, d!, e!, f!, rm),
  ),
  operation("fadd.s", "fadd", ["f32", "f32"], "f32", true, (u, [a, b], rm) => softAdd32(u, a!, b!, rm)),
  operation("fsub.s", "fsub", ["f32", "f32"], "f32", true, (u, [a, b], rm) =>
    softAdd32(u, a!, b! ^ SIGN, rm),
  ),
  operation("fmul.s", "fmul", ["f32", "f32"], "f32", true, (u, [a, b], rm) => softMultiply32(u, a!, b!, rm)),
  operation("fdiv.s", "fdiv", ["f32", "f32"], "f32", true, (u, [a, b], rm) => softDivide32(u, a!, b!, rm)),
  operation("fsqrt.s", "fsqrt", ["f32"], "f32", true, (u, [a], rm) => softSquareRoot32(u, a!, rm)),
  operation("fma.s", "fma", ["f32", "f32", "f32"], "f32", true, (u, [a, b, c], rm) =>
    softFused32(u, a!, b!, c!, rm),
  ),
  operation("fmin.d", "fmin", ["f64", "f64"], "f64", false, (u, [a, b, c, d]) => u.min64(a!, b!, c!, d!)),
  operation("fmax.d", "fmax", ["f64", "f64"], "f64", false, (u, [a, b, c, d]) => u.max64(a!, b!, c!, d!)),
  operation("fmin.s", "fmin", ["f32", "f32"], "f32", false, (u, [a, b]) => u.min32(a!, b!)),
  operation("fmax.s", "fmax", ["f32", "f32"], "f32", false, (u, [a, b]) => u.max32(a!, b!)),
  operation("feq.d", "feq", ["f64", "f64"], "i32", false, (u, [a, b, c, d]) => u.eq64(a!, b!, c!, d!)),
  operation("flt.d", "flt", ["f64", "f64"], "i32", false, (u, [a, b, c, d]) => u.lt64(a!, b!, c!, d!)),
  operation("fle.d", "fle", ["f64", "f64"], "i32", false, (u, [a, b, c, d]) => u.le64(a!, b!, c!, d!)),
  operation("feq.s", "feq", ["f32", "f32"], "i32", false, (u, [a, b]) => u.eq32(a!, b!)),
  operation("flt.s", "flt", ["f32", "f32"], "i32", false, (u, [a, b]) => u.lt32(a!, b!)),
  operation("fle.s", "fle", ["f32", "f32"], "i32", false, (u, [a, b]) => u.le32(a!, b!)),
  operation("fclass.d", "fclass", ["f64"], "i32", false, (u, [a, b]) => u.class64(a!, b!)),
  operation("fclass.s", "fclass", ["f32"], "i32", false, (u, [a]) => u.class32(a!)),
  operation("fcvt.s.d", "fdemote", ["f64"], "f32", true, (u, [a, b], rm) => u.f64ToF32(a!, b!, rm)),
  operation("fcvt.d.s", "fpromote", ["f32"], "f64", false, (u, [a]) => u.f32ToF64(a!)),
  operation("fcvt.w.d", "ftoi32", ["f64"], "i32", true, (u, [a, b], rm) => u.f64ToI32(a!, b!, rm)),
  operation("fcvt.wu.d", "ftou32", ["f64"], "i32", true, (u, [a, b], rm) => u.f64ToU32(a!, b!, rm)),
  operation("fcvt.l.d", "ftoi64", ["f64"], "i64", true, (u, [a, b], rm) => u.f64ToI64(a!, b!, rm)),
  operation("fcvt.lu.d", "ftou64", ["f64"], "i64", true, (u, [a, b], rm) => u.f64ToU64(a!, b!, rm)),
  operation("fcvt.w.s", "ftoi32", ["f32"], "i32", true, (u, [a], rm) => u.f32ToI32(a!, rm)),
  operation("fcvt.wu.s", "ftou32", ["f32"], "i32", true, (u, [a], rm) => u.f32ToU32(a!, rm)),
  operation("fcvt.l.s", "ftoi64", ["f32"], "i64", true, (u, [a], rm) => u.f32ToI64(a!, rm)),
  operation("fcvt.lu.s", "ftou64", ["f32"], "i64", true, (u, [a], rm) => u.f32ToU64(a!, rm)),
  operation("fcvt.d.w", "i32tof", ["i32"], "f64", true, (u, [a]) => u.i32ToF64(a!)),
  operation("fcvt.d.wu", "u32tof", ["i32"], "f64", true, (u, [a]) => u.u32ToF64(a!)),
  operation("fcvt.d.l", "i64tof", ["i64"], "f64", true, (u, [a, b], rm) => u.i64ToF64(a!, b!, rm)),
  operation("fcvt.d.lu", "u64tof", ["i64"], "f64", true, (u, [a, b], rm) => u.u64ToF64(a!, b!, rm)),
  operation("fcvt.s.w", "i32tof", ["i32"], "f32", true, (u, [a], rm) => u.i32ToF32(a!, rm)),
  operation("fcvt.s.wu", "u32tof", ["i32"], "f32", true, (u, [a], rm) => u.u32ToF32(a!, rm)),
  operation("fcvt.s.l", "i64tof", ["i64"], "f32", true, (u, [a, b], rm) => u.i64ToF32(a!, b!, rm)),
  operation("fcvt.s.lu", "u64tof", ["i64"], "f32", true, (u, [a, b], rm) => u.u64ToF32(a!, b!, rm)),
];

/** Rounding modes that are constants of the code, and the one that is a value. */
export const DYNAMIC = 5;
const MODES = [0, 1, 2, 3, 4, DYNAMIC];

const shape: StateShape = stateShape([
  { name: "f64", type: "f64", length: 4 },
  { name: "f32", type: "f32", length: 4 },
  { name: "i32", type: "i32", length: 4 },
  { name: "i64", type: "i64", length: 4 },
  { name: "rm", type: "i32", length: 1 },
  { name: "pc", type: "i64", length: 1 },
  { name: "fflags", type: "i32", length: 1 },
]);
/** Element of a slot that takes the result. */
const RESULT = 3;
const isWide = (type: Type): boolean => type === "f64" || type === "i64";

/** Result and accrued flags of one case; `high` is 0 where the result has 32 bits. */
export interface FloatOutcome {
  readonly low: number;
  readonly high: number;
  readonly flags: number;
}

/** All operations, compiled. */
export class WasmFloat {
  private readonly memory = LinearMemory.create({ bytes: HART_STRIDE });
  private readonly call: (index: number) => void;
  private readonly unit = new FloatUnit();
  /** Calls of the runtime: cases that did not take a fast path. */
  slow = 0;

  constructor() {
    const flags = this.word("fflags", 0);
    const bindings = runtimeBindings(this.memory, header.resultHigh >> 2, flags);
    const counted = Object.entries(bindings).map(([name, value]) => [
      name,
      typeof value !== "function"
        ? value
        : (...args: number[]) => {
            this.slow++;
            return (value as (...list: number[]) => number)(...args);
          },
    ]);
    const runtime = new WasmRuntime(this.memory, Object.fromEntries(counted));
    const module = new ModuleWriter();
    for (const [number, each] of floatOperations.entries()) {
      for (const mode of each.rounds ? MODES : [0]) {
        const index = number * MODES.length + mode;
        const block = this.blockOf(each, mode);
        const node = { place: 0, block, length: 4, context: ROOT, edges: [{ kind: "exit", place: 4 }] };
        const head = structure({ nodes: [node as never], instructions: 1 });
        emitWasmRegion(module, String(index), head, {
          shape,
          hartOffset: 0,
          wideAddresses: true,
          alignment: 2,
          flagsOffset: flags * 4,
          pages: new Map([[0, 1]]),
        });
      }
    }
    const exports = runtime.instantiate(module);
    this.call = (index) => (exports[index] as () => void)();
  }

  /** Runs an operation's region. `words` are its operands, 64-bit ones in two halves; `flags` are set before. */
  run(number: number, words: readonly number[], mode: number, rm: number, flags: number): FloatOutcome {
    const { i32 } = this.memory;
    const each = floatOperations[number]!;
    let at = 0;
    each.operands.forEach((type, index) => {
      const word = this.word(type, index);
      i32[word] = words[at++]!;
      if (isWide(type)) i32[word + 1] = words[at++]!;
    });
    i32[this.word("rm", 0)] = rm;
    i32[this.word("fflags", 0)] = flags;
    i32[header.budget >> 2] = 1;
    this.call(number * MODES.length + (each.rounds ? mode : 0));
    const result = this.word(each.result, RESULT);
    return {
      low: i32[result]!,
      high: isWide(each.result) ? i32[result + 1]! : 0,
      flags: i32[this.word("fflags", 0)]!,
    };
  }

  /** What the software arithmetic gives. */
  expected(number: number, words: readonly number[], rm: number, flags: number): FloatOutcome {
    const { unit } = this;
    const each = floatOperations[number]!;
    unit.flags = 0;
    const low = each.reference(unit, words, rm);
    return { low, high: isWide(each.result) ? unit.hi : 0, flags: unit.flags | flags };
  }

  private word(slot: string, index: number): number {
    const { offset, stride } = shape.slots.get(slot)!;
    return (STATE_OFFSET + offset + index * stride) >> 2;
  }

  private blockOf(each: FloatOperation, mode: number) {
    const builder = new BlockBuilder(shape, "i64");
    builder.insn(0, 4);
    const args = each.operands.map((type, index) => builder.get(type, index));
    if (each.rounds) args.push(mode === DYNAMIC ? builder.get("rm", 0) : builder.const32(mode));
    builder.set(each.result, RESULT, builder.float(each.op, each.result, args));
    builder.jump(4);
    return builder.finish();
  }
}

const ROOT = { caller: undefined, returnTo: -1, callee: -1, depth: 0 };

// -- operands

const view = new DataView(new ArrayBuffer(8));
const wordsOf64 = (value: number): [number, number] => {
  view.setFloat64(0, value);
  return [view.getInt32(4), view.getInt32(0)];
};
const toF64 = ([low, high]: readonly number[]): number => {
  view.setInt32(0, high!);
  view.setInt32(4, low!);
  return view.getFloat64(0);
};
const bits32 = (value: number): number => {
  view.setFloat32(0, value);
  return view.getInt32(0);
};
const toF32 = (bits: number): number => {
  view.setInt32(0, bits);
  return view.getFloat32(0);
};

/** Zeros, the ends of every range, thresholds of the fast paths, and NaNs, as binary64. */
export const hard64: readonly (readonly [number, number])[] = [
  ...[0, 1, 1 + 2 ** -52, 1 - 2 ** -53, 1.5, 2, 3, 0.1, 1 / 3].map(wordsOf64),
  ...[2 ** -1074, 2 ** -1022 - 2 ** -1074, 2 ** -1022, 2 ** -1022 + 2 ** -1074].map(wordsOf64),
  ...[Number.MAX_VALUE, Number.MAX_VALUE / 2, 2 ** 1023, Infinity].map(wordsOf64),
  ...[2 ** -400, 2 ** -400 + 2 ** -452, 2 ** 400, 2 ** 400 - 2 ** 347, 2 ** -511, 2 ** 511].map(wordsOf64),
  ...[2 ** 31 - 1, 2 ** 31 - 0.5, 2 ** 31, 2 ** 31 + 0.5, 2 ** 32 - 1, 2 ** 32 - 0.5, 2 ** 32].map(wordsOf64),
  ...[2 ** 52 - 0.5, 2 ** 53 - 1, 2 ** 53, 2 ** 63 - 1024, 2 ** 63, 2 ** 64 - 2048, 2 ** 64].map(wordsOf64),
  ...[0.25, 0.5, 0.75, 2.5, 3.5, 1e10 + 0.5].map(wordsOf64),
  ...[2 ** -126, 2 ** -126 - 2 ** -150, 2 ** -149, 2 ** -150, 2 ** -150 + 2 ** -190].map(wordsOf64),
  ...[2 ** 128, 2 ** 128 - 2 ** 103, 2 ** 128 - 2 ** 103 - 2 ** 75, 2 ** 128 - 2 ** 104].map(wordsOf64),
  [0, 0x7ff80000],
  [1, 0x7ff80000],
  [1, 0x7ff00000],
  [-1, 0x7ff7ffff],
  [-1, 0x7fffffff],
];

/** The same as binary32. */
export const hard32: readonly number[] = [
  ...[0, 1, 1 + 2 ** -23, 1 - 2 ** -24, 1.5, 2, 3, 0.1, 1 / 3, 0.25, 0.5, 0.75, 2.5, 3.5].map(bits32),
  ...[2 ** -149, 2 ** -126 - 2 ** -149, 2 ** -126, 2 ** -126 + 2 ** -149, 2 ** -63, 2 ** 63].map(bits32),
  ...[2 ** 128 - 2 ** 104, 2 ** 127, 2 ** 31 - 128, 2 ** 31, 2 ** 32, 2 ** 32 - 256, 2 ** 24 - 1].map(bits32),
  ...[2 ** 63 - 2 ** 39, 2 ** 64, 2 ** 64 - 2 ** 40, Infinity].map(bits32),
  0x7fc00000,
  0x7fc00001,
  0x7f800001,
  0x7fbfffff,
  0x7fffffff,
];

/** 32 bits, of which long runs are likely. */
function word(random: Random): number {
  const uniform = (random(0x10000) << 16) | random(0x10000);
  switch (random(4)) {
    case 0:
      return uniform;
    case 1:
      return -1 << random(32);
    case 2:
      return uniform & (-1 << random(32));
    default:
      return random(2) === 0 ? 0 : 1 << random(32);
  }
}

function number64(random: Random): [number, number] {
  const sign = random(2) << 31;
  const compose = (exponent: number): [number, number] => [
    word(random),
    sign | (Math.max(0, Math.min(2047, exponent)) << 20) | (word(random) & 0xfffff),
  ];
  switch (random(8)) {
    case 0: {
      const [low, high] = hard64[random(hard64.length)]!;
      return [low, high ^ sign];
    }
    case 1:
      return compose(random(3));
    case 2:
      return compose(2044 + random(3));
    case 3:
      return compose(1023 - 152 + random(30));
    case 4:
      return compose(1023 - 5 + random(72));
    case 5:
      return compose(random(2048));
    default:
      return compose(1023 - 30 + random(60));
  }
}

function number32(random: Random): number {
  const sign = random(2) << 31;
  const compose = (exponent: number): number =>
    sign | (Math.max(0, Math.min(255, exponent)) << 23) | (word(random) & 0x7fffff);
  switch (random(8)) {
    case 0:
      return hard32[random(hard32.length)]! ^ sign;
    case 1:
      return compose(random(3));
    case 2:
      return compose(252 + random(3));
    case 3:
      return compose(127 - 5 + random(72));
    case 4:
      return compose(random(256));
    default:
      return compose(127 - 15 + random(30));
  }
}

const exponent64 = ([, high]: readonly [number, number]): number => (high >>> 20) & 2047;
const exponent32 = (bits: number): number => (bits >>> 23) & 255;
const withExponent64 = ([low, high]: readonly [number, number], exponent: number): [number, number] => [
  low,
  (high & 0x800fffff) | (Math.max(0, Math.min(2046, exponent)) << 20),
];
const withExponent32 = (bits: number, exponent: number): number =>
  (bits & 0x807fffff) | (Math.max(0, Math.min(254, exponent)) << 23);

/** A second operand that has to do with the first: a neighbour, one far below, or a product or quotient at an end. */
function partner64(random: Random, a: readonly [number, number]): [number, number] {
  const b = number64(random);
  const near = random(9) - 4;
  switch (random(7)) {
    case 0:
      return [(a[0] + near) | 0, a[1] ^ (random(2) << 31)];
    case 1:
      return withExponent64(b, exponent64(a) - 53 + near);
    case 2:
      return withExponent64(b, 1024 - exponent64(a) - random(53) + near);
    case 3:
      return withExponent64(b, exponent64(a) + 1023 + random(53) + near);
    case 4:
      return withExponent64(b, 3 * 1023 - exponent64(a) + near);
    default:
      return b;
  }
}

function partner32(random: Random, a: number): number {
  const b = number32(random);
  const near = random(9) - 4;
  switch (random(7)) {
    case 0:
      return (a + near) ^ (random(2) << 31);
    case 1:
      return withExponent32(b, exponent32(a) - 24 + near);
    case 2:
      return withExponent32(b, 128 - exponent32(a) - random(24) + near);
    case 3:
      return withExponent32(b, exponent32(a) + 127 + random(24) + near);
    case 4:
      return withExponent32(b, 3 * 127 - exponent32(a) + near);
    default:
      return b;
  }
}

/** An addend that nearly cancels a product, decides a tie from afar, or has nothing to do with it. */
function addend64(random: Random, a: [number, number], b: [number, number]): [number, number] {
  const product = toF64(a) * toF64(b);
  switch (random(4)) {
    case 0: {
      const [low, high] = wordsOf64(-product);
      return [(low + random(7) - 3) | 0, high ^ (random(4) === 0 ? SIGN : 0)];
    }
    case 1:
      return withExponent64(number64(random), exponent64(wordsOf64(product)) - 50 - random(60));
    case 2:
      return withExponent64(number64(random), exponent64(wordsOf64(product)) + 50 + random(8));
    default:
      return number64(random);
  }
}

function addend32(random: Random, a: number, b: number): number {
  const product = toF32(a) * toF32(b);
  switch (random(4)) {
    case 0:
      return (bits32(-product) + random(7) - 3) ^ (random(4) === 0 ? SIGN : 0);
    case 1:
      return withExponent32(number32(random), exponent32(bits32(product)) - 22 - random(30));
    case 2:
      return withExponent32(number32(random), exponent32(bits32(product)) + 22 + random(6));
    default:
      return number32(random);
  }
}

/** Digits of the factors whose product, of one bit more than the format has, lies half-way. */
function tieFactors(random: Random, digits: number): [number, number] {
  const half = Math.ceil((digits + 1) / 2);
  const odd = () => 2 * (2 ** (half - 2) + random(2 ** (half - 2))) + 1;
  return [odd(), odd()];
}

/** Operands for an operation, as int32 words. */
export function operandsFor({ operands }: FloatOperation, random: Random): number[] {
  const [first] = operands as readonly [Type];
  if (first === "i32") return [random(2) === 0 ? word(random) : -word(random) | 0];
  if (first === "i64") {
    const [low, high] = [word(random), word(random)];
    return random(3) === 0 ? [low, low >> 31] : [low, high >> random(32)];
  }
  const ties = operands.length > 1 && random(6) === 0;
  if (first === "f64") {
    let a = number64(random);
    if (operands.length === 1) {
      if (random(3) === 0) {
        // A square, or the bits of a binary32 with a little on top.
        const root = toF64([0, a[1]]);
        a = random(2) === 0 ? wordsOf64(root * root) : [(a[0] & 0xe0000000) | random(2), a[1]];
      }
      return a;
    }
    let b = partner64(random, a);
    if (ties) [a, b] = tieFactors(random, 53).map(wordsOf64) as [[number, number], [number, number]];
    return operands.length === 2 ? [...a, ...b] : [...a, ...b, ...addend64(random, a, b)];
  }
  let a = number32(random);
  if (operands.length === 1) {
    const root = toF32(a & -4096);
    return [random(3) === 0 ? bits32(root * root) : a];
  }
  let b = partner32(random, a);
  if (ties) [a, b] = tieFactors(random, 24).map(bits32) as [number, number];
  return operands.length === 2 ? [a, b] : [a, b, addend32(random, a, b)];
}

/** How a comparison went. */
export interface FloatComparison {
  readonly cases: number;
  /** Cases that took no fast path. */
  readonly slow: number;
  /** The first cases that differ, as text. */
  readonly differences: readonly string[];
}

const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
const show = ({ low, high, flags }: FloatOutcome): string => `${hex(high)}:${hex(low)} flags ${flags}`;

/** Runs one case with each mode in which it can be emitted and compares; gives what differs. */
export function compareCase(
  machine: WasmFloat,
  number: number,
  words: readonly number[],
  mode: number,
  rm: number,
  flags: number,
): string | undefined {
  const actual = machine.run(number, words, mode, rm, flags);
  const expected = machine.expected(number, words, rm, flags);
  if (actual.low === expected.low && actual.high === expected.high && actual.flags === expected.flags)
    return undefined;
  const how = mode === DYNAMIC ? "dynamic" : "constant";
  return `${floatOperations[number]!.name}(${words.map(hex).join(" ")}) rm ${rm} ${how}, flags ${flags} before: ${show(actual)}, not ${show(expected)}`;
}

/** Compares `cases` generated cases of an operation. */
export function compareGenerated(
  machine: WasmFloat,
  number: number,
  cases: number,
  seed: number,
): FloatComparison {
  const random = generator(seed * 1000 + number);
  const slowBefore = machine.slow;
  const differences: string[] = [];
  for (let at = 0; at < cases; at++) {
    const words = operandsFor(floatOperations[number]!, random);
    const rm = random(3) === 0 ? random(5) : floatOperations[number]!.result.startsWith("i") ? 1 : 0;
    const mode = random(3) === 0 ? DYNAMIC : rm;
    const flags = random(4) === 0 ? random(32) : random(32) | INEXACT;
    const difference = compareCase(machine, number, words, mode, rm, flags);
    if (difference !== undefined && differences.length < 5) differences.push(difference);
  }
  return { cases, slow: machine.slow - slowBefore, differences };
}
