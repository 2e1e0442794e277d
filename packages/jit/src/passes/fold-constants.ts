/**
 * Constant folding, identities and common subexpressions, in one forward walk: each rule stands under the
 * equation that it implements. 64-bit constants are folded as pairs of 32-bit halves.
 */
import { type Block, type Operation, opcodes, type Value } from "@hyperfile/decoder";
import { Rewriter } from "./rewriter.js";

/** Folds what is known at translation time. */
export function foldConstants(block: Block): Block {
  const rewriter = new Rewriter(block);
  const available = new Map<string, Value>();
  block.operations.forEach((operation, old) => {
    if (operation.op === "const") {
      const { lo, hi } = halves(operation);
      rewriter.replace(old, rewriter.constant(operation.type!, lo, hi));
      return;
    }
    if (opcodes.get(operation.op)!.kind !== "pure") {
      rewriter.keep(old, operation);
      return;
    }
    const args = operation.args.map((arg) => rewriter.value(arg));
    const folded = fold(rewriter, operation, args);
    if (folded !== undefined) {
      rewriter.replace(old, folded);
      return;
    }
    const key = `${operation.op}:${operation.type}:${args.join()}:${operation.field ?? ""}:${operation.constant ?? ""}`;
    const same = available.get(key);
    if (same !== undefined) rewriter.replace(old, same);
    else available.set(key, rewriter.keep(old, operation));
  });
  return rewriter.finish();
}

interface Halves {
  readonly lo: number;
  readonly hi: number;
}

function halves(operation: Operation): Halves {
  const constant = operation.constant!;
  return typeof constant === "number" ? { lo: constant, hi: constant >> 31 } : constant;
}

function fold(rewriter: Rewriter, operation: Operation, args: readonly Value[]): Value | undefined {
  const definitions = args.map((arg) => rewriter.definition(arg));
  const constants = definitions.map((definition) =>
    definition.op === "const" ? halves(definition) : undefined,
  );
  const [a, b] = constants;
  const type = operation.type!;
  const wide = type === "i64";
  switch (operation.op) {
    case "wrap":
      // wrap(c) = low half; wrap(sext32(x)) = wrap(zext32(x)) = x
      if (a !== undefined) return rewriter.constant("i32", a.lo);
      if (definitions[0]!.op === "sext32" || definitions[0]!.op === "zext32") return definitions[0]!.args[0];
      return undefined;
    case "sext32":
      return a === undefined ? undefined : rewriter.constant("i64", a.lo);
    case "zext32":
      return a === undefined ? undefined : rewriter.constant("i64", a.lo, 0);
    case "add":
      // x + 0 = x; c1 + c2; (x + c1) + c2 = x + (c1 + c2); pc(d) + c = pc(d + c) while the distance is an int32
      if (b === undefined) return a !== undefined && isZero(a) ? args[1] : undefined;
      if (isZero(b)) return args[0];
      if (a !== undefined) return rewriter.constant(type, ...sum(a, b, wide));
      return addToSum(rewriter, definitions[0]!, b, type);
    case "sub":
      // x - 0 = x
      if (b === undefined) return undefined;
      if (isZero(b)) return args[0];
      return a === undefined ? undefined : rewriter.constant(type, ...difference(a, b, wide));
    case "and":
      // x & 0 = 0; x & -1 = x
      if (b === undefined) return undefined;
      if (a !== undefined) return rewriter.constant(type, a.lo & b.lo, a.hi & b.hi);
      if (isZero(b)) return args[1];
      return b.lo === -1 && b.hi === -1 ? args[0] : undefined;
    case "or":
    case "xor":
      // x | 0 = x ^ 0 = x
      if (a !== undefined && isZero(a)) return args[1];
      if (b === undefined) return undefined;
      if (isZero(b)) return args[0];
      if (a === undefined) return undefined;
      return operation.op === "or"
        ? rewriter.constant(type, a.lo | b.lo, a.hi | b.hi)
        : rewriter.constant(type, a.lo ^ b.lo, a.hi ^ b.hi);
    case "shl":
    case "shru":
    case "shrs": {
      // x shifted by 0 = x
      if (b === undefined) return undefined;
      const amount = b.lo & (wide ? 63 : 31);
      if (amount === 0) return args[0];
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
      if (a !== undefined) return a.lo !== 0 ? args[1] : args[2];
      return args[1] === args[2] ? args[1] : undefined;
    default:
      return undefined;
  }
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
