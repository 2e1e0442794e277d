/**
 * Generates well-formed blocks for property tests: of this package, and of the packages that transform or
 * translate blocks. A block is built from a list of random choices, each taken modulo what is possible at its
 * place, so that fast-check shrinks a failing block by dropping and shrinking choices.
 */
import fc from "fast-check";
import { BlockBuilder } from "../src/ir/builder.js";
import { type StateShape, stateShape } from "../src/ir/state.js";
import type { AmoKind, Block, Helper, Type, Value, Width } from "../src/ir/types.js";

/** Slots for tests: integer registers of the address type, 64-bit ones, floats, and a few scalars. */
export const sampleShape = (addressType: "i32" | "i64"): StateShape =>
  stateShape([
    { name: "x", type: addressType, length: 6 },
    { name: "w", type: "i64", length: 4 },
    { name: "n", type: "i32", length: 4 },
    { name: "d", type: "f64", length: 3 },
    { name: "s", type: "f32", length: 3 },
    { name: "pc", type: addressType, length: 1 },
    { name: "fflags", type: "i32", length: 1 },
  ]);

/** Helpers that generated blocks call, one of each kind of effect. */
export const sampleHelpers: readonly Helper[] = [
  {
    name: "mix",
    parameters: ["i32", "i64"],
    result: "i64",
    effects: { reads: false, writes: false, exits: false },
  },
  { name: "look", parameters: ["i64"], result: "i32", effects: { reads: true, writes: false, exits: false } },
  { name: "touch", parameters: ["i32"], result: null, effects: { reads: true, writes: true, exits: false } },
  { name: "quit", parameters: ["i32"], result: null, effects: { reads: true, writes: true, exits: true } },
];

/** What generated blocks contain besides integer arithmetic and slots. */
export interface BlockOptions {
  readonly addressType: "i32" | "i64";
  /** Loads and stores. */
  readonly memory?: boolean;
  /** `amo`, `lr` and `sc`. */
  readonly atomics?: boolean;
  readonly floats?: boolean;
  /** Calls of {@link sampleHelpers}. */
  readonly calls?: boolean;
  /** `trapif`, and `trap` and `leave` as exits. */
  readonly traps?: boolean;
  /** Fields as values, indices and targets: templates. */
  readonly fields?: boolean;
  /** One instruction as a front end writes it: fields, targets that are fields, and `pc` without a distance. */
  readonly template?: boolean;
  /** Most operations before the exit; 30 if not given. */
  readonly size?: number;
}

const binaries = "add sub mul and or xor mulh mulhu mulhsu div divu rem remu".split(" ");
const shifts = "shl shru shrs rotl rotr".split(" ");
const unaries = "clz ctz popcnt bswap sext8 sext16 zext8 zext16".split(" ");
const compares = "eq ne lt ltu ge geu".split(" ");
const amoKinds = "swap add xor and or min max minu maxu".split(" ") as AmoKind[];
/** What code that widens and narrows numbers shifts by, and masks with. */
const idiomShifts = [32, 32, 48, 56, 16, 24, 33, 31, 63, 1, 0, 8];
const idiomMasks = [0xff, 0xffff, 1, -1, 0x7fff, 0x7fffffff, 0xf0];
const idiomFactors = [0, 1, -1, 2, 8, 0x10000, -0x80000000, 10];
const fieldNames = ["rd", "rs", "imm"];

const interesting = [
  0, 1, -1, 2, 31, 32, 33, 63, 64, 0x7f, 0x80, 0xffff, 0x8000, 0x7fffffff, -0x80000000, -2,
];
const word = fc.oneof(fc.constantFrom(...interesting), fc.integer());
const choice = fc.tuple(fc.nat(999), fc.nat(99), fc.nat(99), fc.nat(99), word, word);
type Choice = [kind: number, a: number, b: number, c: number, k: number, l: number];

/** Blocks that the IR's verifier accepts, over {@link sampleShape}. */
export function blocks(options: BlockOptions): fc.Arbitrary<Block> {
  return fc
    .tuple(fc.array(choice, { maxLength: options.size ?? 30 }), choice)
    .map(([choices, exit]) => new Generator(options).build(choices as Choice[], exit as Choice));
}

class Generator {
  private readonly builder: BlockBuilder;
  private readonly pools: Record<Type, Value[]> = { i32: [], i64: [], f32: [], f64: [] };
  private readonly steps: ((choice: Choice) => void)[];
  private readonly fields: boolean;
  private offset = 0;

  constructor(private readonly options: BlockOptions) {
    this.fields = (options.fields ?? false) || (options.template ?? false);
    const { addressType } = options;
    this.builder = new BlockBuilder(sampleShape(addressType), addressType);
    const integer = [
      this.constant,
      this.binary,
      this.binary,
      this.shift,
      this.compare,
      this.misc,
      this.idiom,
      this.get,
      this.set,
    ];
    this.steps = [...integer, ...integer];
    if (!options.template) this.steps.push(this.insn);
    if (options.memory) this.steps.push(this.load, this.store, this.store);
    if (options.atomics) this.steps.push(this.atomic);
    if (options.floats) this.steps.push(this.float, this.float, this.float);
    if (options.calls) this.steps.push(this.call);
    if (options.traps) this.steps.push(this.trapIf);
    if (this.fields) this.steps.push(this.field);
  }

  build(choices: readonly Choice[], exit: Choice): Block {
    this.insn();
    for (const chosen of choices) this.steps[chosen[0] % this.steps.length]!.call(this, chosen);
    this.exit(exit);
    return this.builder.finish();
  }

  private readonly insn = (): void => {
    this.builder.insn(this.offset, 4);
    this.offset += 4;
  };

  private push(value: Value): void {
    this.pools[this.builder.typeOf(value)].push(value);
  }

  /** A value of `type`: one of those there are, counted from the newest, or a new one. */
  private value(type: Type, pick: number): Value {
    const pool = this.pools[type];
    if (pool.length > 0) return pool[pool.length - 1 - (pick % Math.min(pool.length, 12))]!;
    const { builder } = this;
    if (type === "f64") this.push(builder.get("d", pick % 3));
    else if (type === "f32") this.push(builder.get("s", pick % 3));
    else this.push(type === "i64" ? builder.get("w", pick % 4) : builder.get("n", pick % 4));
    return pool[0]!;
  }

  private readonly integerType = (pick: number): "i32" | "i64" =>
    pick % 2 === 0 ? this.options.addressType : "i32";
  private readonly address = (pick: number): Value => this.value(this.options.addressType, pick);
  private readonly floatType = (pick: number): "f32" | "f64" => (pick % 2 === 0 ? "f32" : "f64");

  private readonly constant = ([, a, , , k, l]: Choice): void => {
    const { builder } = this;
    if (a % 4 === 0) this.push(builder.pc(this.options.template ? 0 : (k | 0) >> 8));
    else if (a % 4 === 1) this.push(builder.const32(k));
    else this.push(a % 4 === 2 ? builder.const64(k) : builder.const64(k, l));
  };

  private readonly binary = ([kind, a, b, c]: Choice): void => {
    const type = c % 3 === 0 ? this.integerType(a) : c % 3 === 1 ? "i32" : "i64";
    const op = binaries[(kind >> 3) % binaries.length] as "add";
    this.push(this.builder.binary(op, this.value(type, a), this.value(type, b)));
  };

  private readonly shift = ([kind, a, b, c, k]: Choice): void => {
    const { builder } = this;
    const amount = c % 2 === 0 ? builder.const32(k & 63) : this.value("i32", b);
    const op = shifts[(kind >> 3) % shifts.length] as "shl";
    this.push(builder.shift(op, this.value(c % 4 < 2 ? "i32" : "i64", a), amount));
  };

  private readonly compare = ([kind, a, b, c]: Choice): void => {
    const type = c % 2 === 0 ? "i32" : "i64";
    const op = compares[(kind >> 3) % compares.length] as "eq";
    this.push(this.builder.compare(op, this.value(type, a), this.value(type, b)));
  };

  private readonly misc = ([kind, a, b, c]: Choice): void => {
    const { builder } = this;
    const type = c % 2 === 0 ? "i32" : "i64";
    const which = (kind >> 3) % (unaries.length + 5);
    if (which < unaries.length) this.push(builder.unary(unaries[which] as "clz", this.value(type, a)));
    else if (which === unaries.length) this.push(builder.wrap(this.value("i64", a)));
    else if (which === unaries.length + 1) this.push(builder.zext32(this.value("i32", a)));
    else if (which === unaries.length + 2) this.push(builder.sext32(this.value("i32", a)));
    else this.push(builder.select(this.value("i32", c), this.value(type, a), this.value(type, b)));
  };

  /** What code does around its arithmetic: extensions as pairs of shifts, masks, conditions as numbers. */
  private readonly idiom = ([kind, a, b, c]: Choice): void => {
    const { builder } = this;
    const type = c % 4 === 0 ? "i32" : "i64";
    const x = this.value(type, a);
    const pick = <T>(list: readonly T[], index: number): T => list[index % list.length]!;
    const amount = (index: number) => builder.const32(pick(idiomShifts, index));
    const zero = builder.constant(type, b % 3 === 0 ? 1 : 0);
    const makers: (() => Value)[] = [
      () => builder.shift(pick(["shru", "shrs"], c), builder.shift("shl", x, amount(a)), amount(a)),
      () => builder.shift(pick(["shru", "shrs"], c), builder.shift("shl", x, amount(a)), amount(b)),
      () =>
        builder.shift(
          pick(shifts, c) as "shl",
          builder.shift(pick(shifts, c) as "shl", x, amount(a)),
          amount(b),
        ),
      () => builder.binary("and", x, builder.constant(type, pick(idiomMasks, b))),
      () => builder.binary("and", this.value("i64", a), builder.const64(-1, pick(idiomMasks, b) & 0xffff)),
      () => builder.sext32(builder.wrap(this.value("i64", a))),
      () => builder.zext32(builder.wrap(this.value("i64", a))),
      () =>
        builder.wrap(
          builder.binary(
            pick(binaries, b) as "add",
            builder.sext32(this.value("i32", a)),
            builder.zext32(this.value("i32", c)),
          ),
        ),
      () => builder.zext32(builder.compare(pick(compares, b) as "eq", x, this.value(type, c))),
      () => builder.compare(pick(compares, b) as "eq", x, zero),
      () => builder.compare(pick(compares, b) as "eq", zero, x),
      () => builder.binary("xor", x, builder.constant(type, 1)),
      () =>
        builder.compare(
          pick(compares, b) as "eq",
          builder.sext32(this.value("i32", a)),
          pick([builder.sext32, builder.zext32], c).call(builder, this.value("i32", b)),
        ),
      () => builder.binary(pick(binaries, c) as "mul", x, builder.constant(type, pick(idiomFactors, b))),
      () => builder.binary(pick(binaries, b) as "sub", x, x),
      () =>
        builder.compare(
          pick(["eq", "ne"], c),
          builder.binary(pick(["xor", "sub"], b), x, this.value(type, b)),
          zero,
        ),
    ];
    this.push(pick(makers, kind >> 4)());
  };

  private slot(pick: number): { name: string; length: number } {
    const integers = [
      { name: "x", length: 6 },
      { name: "w", length: 4 },
      { name: "n", length: 4 },
    ];
    const floats = [
      { name: "d", length: 3 },
      { name: "s", length: 3 },
    ];
    const all = this.options.floats ? [...integers, ...floats] : integers;
    return all[pick % all.length]!;
  }

  private index(length: number, a: number, b: number) {
    if (!this.fields || b % 3 !== 0) return a % length;
    return { name: fieldNames[a % 2]!, value: undefined };
  }

  private readonly get = ([, a, b, c]: Choice): void => {
    const slot = this.slot(a);
    this.push(this.builder.get(slot.name, this.index(slot.length, b, c)));
  };

  private readonly set = ([kind, a, b, c]: Choice): void => {
    const slot = this.slot(a);
    const { type } = this.builder.shape.slots.get(slot.name)!;
    this.builder.set(slot.name, this.index(slot.length, b, kind >> 3), this.value(type, c));
  };

  private readonly load = ([kind, a, b, c]: Choice): void => {
    const type = this.integerType(b);
    const widths: Width[] = type === "i64" ? [8, 16, 32, 64] : [8, 16, 32];
    this.push(this.builder.load(type, widths[(kind >> 3) % widths.length]!, this.address(a), c % 2 === 0));
  };

  private readonly store = ([kind, a, b, c]: Choice): void => {
    const type = this.integerType(c);
    const widths: Width[] = type === "i64" ? [8, 16, 32, 64] : [8, 16, 32];
    this.builder.store(widths[(kind >> 3) % widths.length]!, this.address(a), this.value(type, b));
  };

  private readonly atomic = ([kind, a, b, c]: Choice): void => {
    const { builder } = this;
    const type = this.integerType(b);
    const width = type === "i64" ? 64 : 32;
    const which = c % 3;
    if (which === 0) this.push(builder.loadReserved(type, width, this.address(a)));
    else if (which === 1)
      this.push(builder.storeConditional(width, this.address(a), this.value(type, kind >> 3)));
    else
      this.push(
        builder.amo(amoKinds[(kind >> 3) % amoKinds.length]!, width, this.address(a), this.value(type, c)),
      );
  };

  private readonly float = ([kind, a, b, c]: Choice): void => {
    const { builder } = this;
    const type = this.floatType(c);
    const double = type === "f64";
    const rounding = builder.const32((kind >> 3) % 5);
    const [x, y] = [this.value(type, a), this.value(type, b)];
    const makers: (() => Value)[] = [
      ...["fadd", "fsub", "fmul", "fdiv"].map((op) => () => builder.float(op, type, [x, y, rounding])),
      () => builder.float("fsqrt", type, [x, rounding]),
      () => builder.float("fma", type, [x, y, this.value(type, c), rounding]),
      ...["fmin", "fmax"].map((op) => () => builder.float(op, type, [x, y])),
      ...["feq", "flt", "fle"].map((op) => () => builder.float(op, "i32", [x, y])),
      () => builder.float("fclass", "i32", [x]),
      ...["ftoi32", "ftou32"].map((op) => () => builder.float(op, "i32", [x, rounding])),
      ...["ftoi64", "ftou64"].map((op) => () => builder.float(op, "i64", [x, rounding])),
      ...["i32tof", "u32tof"].map((op) => () => builder.float(op, type, [this.value("i32", a), rounding])),
      ...["i64tof", "u64tof"].map((op) => () => builder.float(op, type, [this.value("i64", a), rounding])),
      () => (double ? builder.float("fdemote", "f32", [x, rounding]) : builder.float("fpromote", "f64", [x])),
      () => (double ? builder.float("bits64", "i64", [x]) : builder.float("bits32", "i32", [x])),
      () =>
        double
          ? builder.float("float64", "f64", [this.value("i64", b)])
          : builder.float("float32", "f32", [this.value("i32", b)]),
    ];
    this.push(makers[(kind >> 2) % makers.length]!());
  };

  private readonly call = ([kind, a, b]: Choice): void => {
    const helper = sampleHelpers[(kind >> 3) % sampleHelpers.length]!;
    const value = this.builder.call(
      helper,
      helper.parameters.map((type, index) => this.value(type, index === 0 ? a : b)),
    );
    if (helper.result !== null) this.push(value);
  };

  private readonly trapIf = ([, a, b, c]: Choice): void => {
    this.builder.trapIf(this.value("i32", a), c % 16, this.address(b));
  };

  private readonly field = ([, a]: Choice): void => {
    this.push(this.builder.field({ name: fieldNames[a % fieldNames.length]!, value: undefined }));
  };

  private exit([, a, b, c, k]: Choice): void {
    const { builder } = this;
    const distance = ((k | 0) >> 20) * 4;
    const { template } = this.options;
    const target = this.fields && (template || c % 2 === 0) ? { field: "imm" } : distance;
    const next = template ? { field: "length" } : this.offset;
    const exits = [
      () => builder.jump(target),
      () => builder.branch(this.value("i32", b), target, next),
      () => builder.jumpIndirect(this.address(b)),
      () => builder.trap(c % 16, this.address(b)),
      () => builder.leave(),
    ];
    exits[a % (this.options.traps ? exits.length : 3)]!();
  }
}
