/**
 * How many bits the values of a block need: loads of bytes, comparisons, extensions, masks and what is computed from
 * them are narrower than their type. A value has `signed` bits if its sign fills the rest, and `unsigned` bits if zeros
 * do; the width of its type says that nothing is known.
 *
 *   x & y        unsigned: the lesser of both      x | y, x ^ y   the greater of both
 *   x + y        one more than the greater         x * y          the sum
 *
 * Widths are found when they are asked for, from the operands' down to the operations of which nothing is known.
 */
import type { Operation, Value } from "@hyperfile/decoder";
import { halvesOf } from "./halves.js";

/** Widths of the values of a list of operations, which may grow. */
export class Widths {
  /** What is known: signed bits, and 256 times the unsigned ones. */
  private readonly known: number[] = [];

  constructor(private readonly operations: readonly Operation[]) {}

  /** Least number of bits of which the highest is the sign of the whole value, as far as is known. */
  signed(value: Value): number {
    return this.of(value) & 255;
  }

  /** Least number of bits above which all are zero, as far as is known. */
  unsigned(value: Value): number {
    return this.of(value) >> 8;
  }

  private of(value: Value): number {
    let widths = this.known[value];
    if (widths === undefined) {
      widths = this.find(this.operations[value]!);
      this.known[value] = widths;
    }
    return widths;
  }

  private find(operation: Operation): number {
    const { op, type, args } = operation;
    const width = type === "i64" || type === "f64" ? 64 : 32;
    const [a, b] = args as readonly [Value, Value];
    switch (op) {
      case "const":
        return ofConstant(operation, width);
      case "load":
        return operation.signed
          ? packed(operation.width!, width, width)
          : packed(width, operation.width!, width);
      case "eq":
      case "ne":
      case "lt":
      case "ltu":
      case "ge":
      case "geu":
      case "feq":
      case "flt":
      case "fle":
      case "sc":
        return packed(width, 1, width);
      case "clz":
      case "ctz":
      case "popcnt":
        return packed(width, 7, width);
      case "sext8":
        return this.extended(a, 8, width);
      case "sext16":
        return this.extended(a, 16, width);
      case "sext32":
        return this.extended(a, 32, width);
      case "zext8":
        return packed(width, Math.min(8, this.unsigned(a)), width);
      case "zext16":
        return packed(width, Math.min(16, this.unsigned(a)), width);
      case "zext32":
        return packed(width, this.unsigned(a), width);
      case "wrap":
        return packed(this.signed(a), this.unsigned(a), width);
      case "and":
        return packed(
          Math.max(this.signed(a), this.signed(b)),
          Math.min(this.unsigned(a), this.unsigned(b)),
          width,
        );
      case "or":
      case "xor":
        return this.greater(a, b, 0, width);
      case "add":
        return this.greater(a, b, 1, width);
      case "sub":
        return packed(Math.max(this.signed(a), this.signed(b)) + 1, width, width);
      case "mul":
        return packed(this.signed(a) + this.signed(b), this.unsigned(a) + this.unsigned(b), width);
      case "remu":
        return packed(width, this.unsigned(a), width);
      case "select":
        return this.greater(b, args[2]!, 0, width);
      case "shl":
      case "shru":
      case "shrs":
        return this.shifted(op, a, b, width);
      default:
        return packed(width, width, width);
    }
  }

  /** Of a sign extension from `bits`: a value that is narrow enough and positive stays what it is. */
  private extended(a: Value, bits: number, width: number): number {
    const unsigned = this.unsigned(a);
    return packed(Math.min(bits, this.signed(a)), unsigned < bits ? unsigned : width, width);
  }

  private greater(a: Value, b: Value, more: number, width: number): number {
    const signed = Math.max(this.signed(a), this.signed(b)) + more;
    return packed(signed, Math.max(this.unsigned(a), this.unsigned(b)) + more, width);
  }

  private shifted(op: "shl" | "shru" | "shrs", a: Value, by: Value, width: number): number {
    const [signed, unsigned] = [this.signed(a), this.unsigned(a)];
    const amount = this.operations[by]!;
    if (amount.op !== "const") {
      // To the right a value gets no wider, unless zeros come in where the sign was.
      if (op === "shrs") return packed(signed, unsigned, width);
      return packed(width, op === "shru" ? unsigned : width, width);
    }
    const n = (amount.constant as number) & (width - 1);
    if (op === "shl") return packed(signed + n, unsigned + n, width);
    if (op === "shrs")
      return packed(Math.max(1, signed - n), unsigned < width ? Math.max(0, unsigned - n) : width, width);
    return packed(n === 0 ? signed : width, Math.max(0, unsigned - n), width);
  }
}

/** Both widths, each as small as the other one makes it. */
function packed(signed: number, unsigned: number, width: number): number {
  const zeros = Math.min(unsigned, width);
  return Math.min(signed, zeros + 1, width) | (zeros << 8);
}

function ofConstant(operation: Operation, width: number): number {
  const { lo, hi } = halvesOf(operation);
  const bits =
    width === 32 || hi === lo >> 31 ? 32 - Math.clz32(lo ^ (lo >> 31)) : 64 - Math.clz32(hi ^ (hi >> 31));
  const highest = width === 32 ? lo : hi;
  const exact = width === 64 && hi === 0 ? 32 - Math.clz32(lo) : bits;
  return packed(bits + 1, highest < 0 ? width : exact, width);
}
