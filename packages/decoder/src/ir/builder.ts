/**
 * Builds blocks: one method an operation, types checked as the operations are added. Front ends write their
 * semantics against this class. Constants are folded nowhere here: that is a pass's work.
 */
import { type Opcode, opcodes } from "./opcodes.js";
import type { StateShape } from "./state.js";
import type {
  AmoKind,
  Block,
  Field,
  Helper,
  InsnMark,
  Operation,
  Target,
  Type,
  Value,
  Wide,
  Width,
} from "./types.js";

type Binary =
  | "add" | "sub" | "mul" | "and" | "or" | "xor"
  | "mulh" | "mulhu" | "mulhsu" | "div" | "divu" | "rem" | "remu"; // biome-ignore format: one family a line
type Shift = "shl" | "shru" | "shrs" | "rotl" | "rotr";
type Unary = "clz" | "ctz" | "popcnt" | "bswap" | "sext8" | "sext16" | "zext8" | "zext16";
type Compare = "eq" | "ne" | "lt" | "ltu" | "ge" | "geu";

/** A builder of one block or template. */
export class BlockBuilder {
  private readonly operations: Operation[] = [];
  private instructions = 0;
  private bytes = 0;
  private cost = 0;
  private extra = 0;
  private hasExit = false;
  /** Values that are made once, by the name of what they are. */
  private readonly constants = new Map<string, Value>();
  private readonly narrow = new Map<number, Value>();
  private readonly extended = new Map<number, Value>();
  private readonly distances = new Map<number, Value>();

  /**
   * @param shape the guest's slots
   * @param addressType type of a guest address: i32 or i64
   */
  constructor(
    readonly shape: StateShape,
    readonly addressType: "i32" | "i64",
  ) {}

  /** True once an exit has been added: nothing may follow. */
  get finished(): boolean {
    return this.hasExit;
  }

  /** Type of `value`; throws if it makes none. */
  typeOf(value: Value): Type {
    const type = this.operations[value]?.type;
    if (type === null || type === undefined) throw new Error(noValue(value));
    return type;
  }

  /** Adds an operation as it stands. Used by the parser and by passes; front ends use the methods below. */
  append(operation: Operation): Value {
    if (this.hasExit) throw new Error(`${operation.op} after the block's exit`);
    if (exits.has(operation.op)) this.hasExit = true;
    return (this.operations.push(operation) - 1) as Value;
  }

  /**
   * Starts the next guest instruction: `offset` bytes from the block's start, `length` bytes long.
   * @param cost budget units that it takes, 1 to 31
   */
  insn(offset: number, length: number, cost = 1): void {
    const plain = cost === 1 && this.cost === this.instructions;
    const at: InsnMark = {
      offset,
      length,
      ordinal: this.instructions,
      ...(plain ? {} : { cost, charged: this.cost }),
    };
    this.append({ op: "insn", type: null, args: [], at });
    this.instructions += 1;
    this.cost += cost;
    this.bytes = Math.max(this.bytes, offset + length);
  }

  /**
   * Takes `units`, an i32 that is not negative and `most` at most, from the budget beside what the instruction costs.
   */
  charge(units: Value, most: number): void {
    this.append({ op: "charge", type: null, args: [units], most });
    this.extra += most;
  }

  /** A 32-bit constant. */
  const32(value: number): Value {
    const constant = value | 0;
    let known = this.narrow.get(constant);
    if (known === undefined) {
      known = this.append({ op: "const", type: "i32", args: [], constant });
      this.narrow.set(constant, known);
    }
    return known;
  }

  /** A 64-bit constant from its halves; from one number, its sign is extended. */
  const64(lo: number, hi: number = lo >> 31): Value {
    const constant: Wide = { lo: lo | 0, hi: hi | 0 };
    const operation: Operation = { op: "const", type: "i64", args: [], constant };
    if (constant.hi !== constant.lo >> 31) return this.unique(`64:${constant.lo}:${constant.hi}`, operation);
    let known = this.extended.get(constant.lo);
    if (known === undefined) {
      known = this.append(operation);
      this.extended.set(constant.lo, known);
    }
    return known;
  }

  /** A constant of `type` (i32 or i64) from a 32-bit number whose sign is extended. */
  constant(type: Type, value: number): Value {
    return type === "i64" ? this.const64(value) : this.const32(value);
  }

  /** An instruction field as an i32: a constant where it is known. */
  field(field: Field): Value {
    if (field.value !== undefined) return this.const32(field.value);
    return this.unique(`field:${field.name}`, { op: "field", type: "i32", args: [], field: field.name });
  }

  /** The address of the block's first instruction plus `distance` bytes. */
  pc(distance: number): Value {
    let known = this.distances.get(distance);
    if (known === undefined) {
      known = this.append({ op: "pc", type: this.addressType, args: [], constant: distance });
      this.distances.set(distance, known);
    }
    return known;
  }

  /** Reads a slot. `index` is needed for slot arrays. */
  get(slot: string, index: number | Field = 0): Value {
    const place = slotIndex(index);
    return this.append({ op: "get", type: this.slotType(slot), args: [], slot, index: place });
  }

  /** Writes a slot. */
  set(slot: string, index: number | Field, value: Value): void {
    const type = this.slotType(slot);
    if (this.typeOf(value) !== type)
      throw new Error(`set ${slot}: the slot is ${type}, the value ${this.typeOf(value)}`);
    this.append({ op: "set", type: null, args: [value], slot, index: slotIndex(index) });
  }

  /** Integer arithmetic on two values of one type. */
  binary(op: Binary, a: Value, b: Value): Value {
    return this.plain(op, this.typeOf(a), [a, b]);
  }

  /** Shifts and rotates `a` by the i32 `amount`, modulo the width. */
  shift(op: Shift, a: Value, amount: Value): Value {
    return this.plain(op, this.typeOf(a), [a, amount]);
  }

  /** Bit counting, byte swap, and extension of the low 8 or 16 bits. */
  unary(op: Unary, a: Value): Value {
    return this.plain(op, this.typeOf(a), [a]);
  }

  /** Compares two values of one type; gives i32 0 or 1. */
  compare(op: Compare, a: Value, b: Value): Value {
    return this.plain(op, "i32", [a, b]);
  }

  /** `condition` (i32, zero or not) chooses between two values of one type. */
  select(condition: Value, whenTrue: Value, whenFalse: Value): Value {
    return this.plain("select", this.typeOf(whenTrue), [condition, whenTrue, whenFalse]);
  }

  /** The low 32 bits of an i64. */
  wrap(a: Value): Value {
    return this.plain("wrap", "i32", [a]);
  }

  /** An i32 to i64 with its sign. */
  sext32(a: Value): Value {
    return this.plain("sext32", "i64", [a]);
  }

  /** An i32 to i64 with zeros. */
  zext32(a: Value): Value {
    return this.plain("zext32", "i64", [a]);
  }

  /** A floating-point operation of the table, or a move between bit patterns and floats. */
  float(op: string, type: Type, args: readonly Value[]): Value {
    return this.plain(op, type, args);
  }

  /** Reads `width` bits at the guest-virtual `address`; narrow reads extend with `signed` or zeros to `type`. */
  load(type: Type, width: Width, address: Value, signed: boolean): Value {
    return this.append({ op: "load", type, args: [address], width, signed });
  }

  /** Writes the low `width` bits of `value` at the guest-virtual `address`. */
  store(width: Width, address: Value, value: Value): void {
    this.append({ op: "store", type: null, args: [address, value], width });
  }

  /** Read-modify-write of 32 or 64 bits; gives the old value. Sequentially consistent. */
  amo(amo: AmoKind, width: 32 | 64, address: Value, value: Value): Value {
    return this.append({ op: "amo", type: this.typeOf(value), args: [address, value], width, amo });
  }

  /** Load-reserved of 32 or 64 bits. */
  loadReserved(type: Type, width: 32 | 64, address: Value): Value {
    return this.append({ op: "lr", type, args: [address], width });
  }

  /** Store-conditional of 32 or 64 bits; gives i32 0 where it stored, 1 where it did not. */
  storeConditional(width: 32 | 64, address: Value, value: Value): Value {
    return this.append({ op: "sc", type: "i32", args: [address, value], width });
  }

  /** Calls a helper. The result is usable only if the helper has one. */
  call(helper: Helper, args: readonly Value[]): Value {
    args.forEach((arg, position) => {
      if (this.typeOf(arg) !== helper.parameters[position]) {
        throw new Error(`${helper.name}: argument ${position} is ${this.typeOf(arg)}`);
      }
    });
    if (args.length !== helper.parameters.length) throw new Error(`${helper.name}: ${args.length} arguments`);
    return this.append({ op: "call", type: helper.result, args, helper });
  }

  /** Raises exception `cause` with trap value `value` (address type) where `condition` is not zero. */
  trapIf(condition: Value, cause: number, value: Value): void {
    this.append({ op: "trapif", type: null, args: [condition, value], cause });
  }

  /** Ends the block: raises exception `cause` at the current instruction. */
  trap(cause: number, value: Value): void {
    this.append({ op: "trap", type: null, args: [value], cause });
  }

  /**
   * Ends the block: continues at a fixed distance from the block's first instruction.
   * @param link where what is called returns to, if this is a call: a byte distance from the block's start
   */
  jump(target: Target, link?: number): void {
    const returns = link === undefined ? {} : { link };
    this.append({ op: "jump", type: null, args: [], targets: [target], ...returns });
  }

  /** Ends the block: `condition` chooses between two fixed targets. */
  branch(condition: Value, taken: Target, notTaken: Target): void {
    this.append({ op: "branch", type: null, args: [condition], targets: [taken, notTaken] });
  }

  /** Ends the block: continues at a computed guest-virtual address; `link` as for `jump`. */
  jumpIndirect(address: Value, link?: number): void {
    const returns = link === undefined ? {} : { link };
    this.append({ op: "jumpr", type: null, args: [address], ...returns });
  }

  /** Ends the block: a helper has set the program counter; the dispatcher looks around. */
  leave(): void {
    this.append({ op: "leave", type: null, args: [] });
  }

  /** The finished block; throws if it has no exit. */
  finish(): Block {
    if (!this.finished) throw new Error("block without an exit");
    const { operations, instructions, bytes, cost, extra } = this;
    return {
      operations,
      instructions,
      bytes,
      ...(cost === instructions ? {} : { cost }),
      ...(extra === 0 ? {} : { most: cost + extra }),
    };
  }

  private plain(op: string, type: Type, args: readonly Value[]): Value {
    const { args: rules } = rule(op);
    if (rules.length !== args.length) throw new Error(`${op}: ${args.length} operands`);
    for (let position = 0; position < rules.length; position++) {
      const expected = rules[position]!;
      const actual = this.typeOf(args[position]!);
      if (expected !== actual && !accepts(expected, actual, op, type))
        throw new Error(`${op}.${type}: operand ${position} is ${actual}`);
    }
    return this.append({ op, type, args });
  }

  private slotType(name: string): Type {
    const slot = this.shape.slots.get(name);
    if (slot === undefined)
      throw new Error(`no slot ${name}; there are ${[...this.shape.slots.keys()].join(", ")}`);
    return slot.type;
  }

  private unique(key: string, operation: Operation): Value {
    const known = this.constants.get(key);
    if (known !== undefined) return known;
    const value = this.append(operation);
    this.constants.set(key, value);
    return value;
  }
}

/** What to say of something that stands where a value belongs. */
function noValue(value: unknown): string {
  if (typeof value === "number") return `${value} is no value: numbers are made values by const32`;
  const name = (value as Partial<Field> | undefined)?.name;
  return name === undefined
    ? `${String(value)} is no value`
    : `field ${name} is no value: m.field(f.${name}) makes it one`;
}

const comparisons: ReadonlySet<string> = new Set(["eq", "ne", "lt", "ltu", "ge", "geu"]);
const exits: ReadonlySet<string> = new Set(
  [...opcodes].filter(([, { kind }]) => kind === "exit").map(([name]) => name),
);

/** Whether an operand of type `actual` fits where the opcode table has a class: T, the operation's own type, or F. */
function accepts(expected: string, actual: Type, op: string, type: Type): boolean {
  if (expected === "F") return actual === "f32" || actual === "f64";
  if (expected !== "T" || type === "f32" || type === "f64") return false;
  return actual === type || comparisons.has(op);
}

const slotIndex = (index: number | Field) =>
  typeof index === "number" ? index : index.value === undefined ? { field: index.name } : index.value;

function rule(op: string): Opcode {
  const row = opcodes.get(op);
  if (row === undefined) throw new Error(`no operation ${op}`);
  return row;
}
