/**
 * Constant folding, identities and common subexpressions, in one forward walk: each rule stands under the
 * equation that it implements. 64-bit constants are folded as pairs of 32-bit halves.
 */
import { type Block, type Operation, opcodes, type Type, type Value } from "@hyperfile/decoder";
import { Rewriter } from "./rewriter.js";

/** Folds what is known at translation time. */
export function foldConstants(block: Block): Block {
  const rewriter = new Rewriter(block);
  const available = new Map<number, Value>();
  block.operations.forEach((operation, old) => {
    const { op, args } = operation;
    if (op === "const") {
      const { lo, hi } = halves(operation);
      rewriter.replace(old, rewriter.constant(operation.type!, lo, hi));
      return;
    }
    if (opcodes.get(op)!.kind !== "pure" || args.length === 0) {
      rewriter.keep(old, operation);
      return;
    }
    const folded = fold(rewriter, operation);
    if (folded !== undefined) {
      rewriter.replace(old, folded);
      return;
    }
    const key = keyOf(rewriter, operation);
    const same = key === undefined ? undefined : available.get(key);
    if (same !== undefined) rewriter.replace(old, same);
    else {
      const value = rewriter.keep(old, operation);
      if (key !== undefined) available.set(key, value);
    }
  });
  return rewriter.finish();
}

const opcodeNumbers = new Map([...opcodes.keys()].map((name, index) => [name, index]));
const typeNumbers: Readonly<Record<Type, number>> = { i32: 0, i64: 1, f32: 2, f64: 3 };
/** More than the operations of any block. */
const VALUES = 2 ** 18;

/** A number that equal operations on equal values share; undefined for operations that are not looked up. */
function keyOf(rewriter: Rewriter, { op, type, args }: Operation): number | undefined {
  if (args.length > 2) return undefined;
  const second = args.length === 2 ? rewriter.value(args[1]!) : 0;
  const head = opcodeNumbers.get(op)! * 4 + typeNumbers[type!];
  return (head * VALUES + rewriter.value(args[0]!)) * VALUES + second;
}

interface Halves {
  readonly lo: number;
  readonly hi: number;
}

function halves(operation: Operation): Halves {
  const constant = operation.constant!;
  return typeof constant === "number" ? { lo: constant, hi: constant >> 31 } : constant;
}

/** The constant that a value of the rewritten block is, if it is one. */
function constantAt(rewriter: Rewriter, value: Value | undefined): Halves | undefined {
  if (value === undefined) return undefined;
  const definition = rewriter.definition(value);
  return definition.op === "const" ? halves(definition) : undefined;
}

function fold(rewriter: Rewriter, operation: Operation): Value | undefined {
  const x = rewriter.value(operation.args[0]!);
  const y = operation.args.length > 1 ? rewriter.value(operation.args[1]!) : undefined;
  const definition = rewriter.definition(x);
  const a = constantAt(rewriter, x);
  const b = constantAt(rewriter, y);
  const type = operation.type!;
  const wide = type === "i64";
  switch (operation.op) {
    case "wrap":
      // wrap(c) = low half; wrap(sext32(x)) = wrap(zext32(x)) = x; wrap(zext32(x) | h * 2^32) = x
      if (a !== undefined) return rewriter.constant("i32", a.lo);
      if (definition.op === "sext32" || definition.op === "zext32") return definition.args[0];
      return boxed(rewriter, definition)?.low;
    case "sext32":
      return a === undefined ? undefined : rewriter.constant("i64", a.lo);
    case "zext32":
      return a === undefined ? undefined : rewriter.constant("i64", a.lo, 0);
    case "add":
      // x + 0 = x; c1 + c2; (x + c1) + c2 = x + (c1 + c2); pc(d) + c = pc(d + c) while the distance is an int32
      if (b === undefined) return a !== undefined && isZero(a) ? y : undefined;
      if (isZero(b)) return x;
      if (a !== undefined) return rewriter.constant(type, ...sum(a, b, wide));
      return addToSum(rewriter, definition, b, type);
    case "sub":
      // x - 0 = x
      if (b === undefined) return undefined;
      if (isZero(b)) return x;
      return a === undefined ? undefined : rewriter.constant(type, ...difference(a, b, wide));
    case "and":
      // x & 0 = 0; x & -1 = x
      if (b === undefined) return undefined;
      if (a !== undefined) return rewriter.constant(type, a.lo & b.lo, a.hi & b.hi);
      if (isZero(b)) return y;
      return b.lo === -1 && b.hi === -1 ? x : undefined;
    case "or":
    case "xor":
      // x | 0 = x ^ 0 = x; x ^ x = 0
      if (a !== undefined && isZero(a)) return y;
      if (x === y && operation.op === "xor") return rewriter.constant(type, 0, 0);
      if (b === undefined) return operation.op === "or" ? recombined(rewriter, x, y!, type) : undefined;
      if (isZero(b)) return x;
      if (a === undefined) return undefined;
      return operation.op === "or"
        ? rewriter.constant(type, a.lo | b.lo, a.hi | b.hi)
        : rewriter.constant(type, a.lo ^ b.lo, a.hi ^ b.hi);
    case "shl":
    case "shru":
    case "shrs": {
      // x shifted by 0 = x; (zext32(x) | h * 2^32) >>> 32 = h
      if (b === undefined) return undefined;
      const amount = b.lo & (wide ? 63 : 31);
      if (amount === 0) return x;
      if (wide && amount === 32 && operation.op === "shru") {
        const high = boxed(rewriter, definition)?.high;
        if (high !== undefined) return rewriter.constant("i64", high, 0);
      }
      return a === undefined ? undefined : rewriter.constant(type, ...shifted(operation.op, a, amount, wide));
    }
    case "eq":
    case "ne":
    case "lt":
    case "ltu":
    case "ge":
    case "geu":
      if (a === undefined || b === undefined) return undefined;
      return rewriter.constant("i32", compare(operation.op, a, b) ? 1 : 0);
    case "select":
      if (a !== undefined) return a.lo !== 0 ? y : rewriter.value(operation.args[2]!);
      return y === rewriter.value(operation.args[2]!) ? y : undefined;
    default:
      return undefined;
  }
}

/** The halves of `zext32(x) | h * 2^32`: a single-precision float in a register of 64 bits, as a NaN. */
function boxed(rewriter: Rewriter, { op, type, args }: Operation): { low: Value; high: number } | undefined {
  if (op !== "or" || type !== "i64") return undefined;
  const left = rewriter.definition(args[0]!);
  const right = constantAt(rewriter, args[1]);
  if (left.op !== "zext32" || right === undefined || right.lo !== 0) return undefined;
  return { low: left.args[0]!, high: right.hi };
}

/**
 * The bits of x outside a mask with those of x or of ~x inside it: (x & ~m) | (x & m) = x and
 * (x & ~m) | (~x & m) = x ^ m. Moves and negations of floats are written so, as the injection of a value's own sign.
 */
function recombined(rewriter: Rewriter, left: Value, right: Value, type: Type): Value | undefined {
  const [outside, inside] = [rewriter.definition(left), rewriter.definition(right)];
  if (outside.op !== "and" || inside.op !== "and") return undefined;
  const kept = constantAt(rewriter, outside.args[1]);
  const mask = constantAt(rewriter, inside.args[1]);
  if (kept === undefined || mask === undefined) return undefined;
  if (kept.lo !== ~mask.lo || (type === "i64" && kept.hi !== ~mask.hi)) return undefined;
  const source = outside.args[0]!;
  if (inside.args[0] === source) return source;
  const { op, args } = rewriter.definition(inside.args[0]!);
  const ones = constantAt(rewriter, args[1]);
  const isInverse = op === "xor" && args[0] === source && ones?.lo === -1 && ones.hi === -1;
  return isInverse ? rewriter.emit({ op: "xor", type, args: [source, inside.args[1]!] }) : undefined;
}

const isZero = (c: Halves): boolean => c.lo === 0 && c.hi === 0;

function addToSum(rewriter: Rewriter, left: Operation, b: Halves, type: "i32" | "i64" | "f32" | "f64") {
  if (left.op === "pc") {
    const distance = (left.constant as number) + b.lo;
    if (b.hi !== b.lo >> 31 || distance !== (distance | 0)) return undefined;
    return rewriter.emit({ ...left, constant: distance });
  }
  if (left.op !== "add") return undefined;
  const inner = rewriter.definition(left.args[1]!);
  if (inner.op !== "const") return undefined;
  const total = rewriter.constant(type, ...sum(halves(inner), b, type === "i64"));
  return rewriter.emit({ op: "add", type, args: [left.args[0]!, total] });
}

function sum(a: Halves, b: Halves, wide: boolean): [number, number] {
  const lo = (a.lo + b.lo) | 0;
  if (!wide) return [lo, lo >> 31];
  const carry = lo >>> 0 < a.lo >>> 0 ? 1 : 0;
  return [lo, (a.hi + b.hi + carry) | 0];
}

function difference(a: Halves, b: Halves, wide: boolean): [number, number] {
  const lo = (a.lo - b.lo) | 0;
  if (!wide) return [lo, lo >> 31];
  const borrow = a.lo >>> 0 < b.lo >>> 0 ? 1 : 0;
  return [lo, (a.hi - b.hi - borrow) | 0];
}

function shifted(op: string, a: Halves, amount: number, wide: boolean): [number, number] {
  if (!wide) {
    const lo = op === "shl" ? a.lo << amount : op === "shru" ? (a.lo >>> amount) | 0 : a.lo >> amount;
    return [lo, lo >> 31];
  }
  const n = amount & 31;
  const rest = 31 - n;
  if (op === "shl") {
    if (amount >= 32) return [0, a.lo << n];
    return [a.lo << n, (a.hi << n) | ((a.lo >>> 1) >>> rest)];
  }
  const fill = op === "shrs" ? a.hi >> 31 : 0;
  const high = op === "shrs" ? a.hi >> n : (a.hi >>> n) | 0;
  if (amount >= 32) return [high, fill];
  return [(a.lo >>> n) | ((a.hi << 1) << rest), high];
}

function compare(op: string, a: Halves, b: Halves): boolean {
  const equal = a.lo === b.lo && a.hi === b.hi;
  const less = a.hi === b.hi ? a.lo >>> 0 < b.lo >>> 0 : a.hi < b.hi;
  const below = a.hi === b.hi ? a.lo >>> 0 < b.lo >>> 0 : a.hi >>> 0 < b.hi >>> 0;
  switch (op) {
    case "eq":
      return equal;
    case "ne":
      return !equal;
    case "lt":
      return less;
    case "ge":
      return !less;
    case "ltu":
      return below;
    default:
      return !below;
  }
}
