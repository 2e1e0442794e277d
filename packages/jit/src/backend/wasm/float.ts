/**
 * The fast paths of floating point: host arithmetic where it gives the guest's result and flags, with everything
 * else left to the exact runtime.
 *
 * WebAssembly rounds to nearest, ties to even, and has no exception flags. So the fast path of an operation that
 * rounds asks for that mode, for an "inexact" flag that is set already (it is sticky, and most results set it), and
 * for a result that is normal and not the least normal number (finite, for sums): then none of overflow, underflow, invalid and
 * division by zero can have happened. NaN never takes it.
 *
 * A fused multiply-add is built from error-free transformations (S. Boldo, G. Melquiond, "Emulation of a FMA and
 * correctly-rounded sums: proved algorithms using rounding to odd", IEEE Transactions on Computers 57(4), 2008).
 */
import type { Operation, Value } from "@hyperfile/decoder";
import { Op, Saturating, ValueType } from "./encoder.js";
import type { ValueWriter } from "./value-writer.js";

const INEXACT = 1;
const NEAREST_EVEN = 0;
const TOWARD_ZERO = 1;
const LEAST_NORMAL_F64 = 2 ** -1022;
const LEAST_NORMAL_F32 = 2 ** -126;
/** Operands of a fused multiply-add between these magnitudes neither overflow nor lose bits on the way. */
const FMA_LEAST = 2 ** -400;
const FMA_MOST = 2 ** 400;
/** Veltkamp's constant: splits a double into two halves of 26 bits. */
const SPLIT = 2 ** 27 + 1;

const arithmetic: Readonly<Record<string, readonly [single: number, double: number]>> = {
  fadd: [Op.f32_add, Op.f64_add],
  fsub: [Op.f32_sub, Op.f64_sub],
  fmul: [Op.f32_mul, Op.f64_mul],
  fdiv: [Op.f32_div, Op.f64_div],
  fsqrt: [Op.f32_sqrt, Op.f64_sqrt],
};
const comparisons: Readonly<Record<string, readonly [single: number, double: number]>> = {
  feq: [Op.f32_eq, Op.f64_eq],
  flt: [Op.f32_lt, Op.f64_lt],
  fle: [Op.f32_le, Op.f64_le],
};
const extremes: Readonly<Record<string, readonly [single: number, double: number]>> = {
  fmin: [Op.f32_min, Op.f64_min],
  fmax: [Op.f32_max, Op.f64_max],
};

/**
 * Prints the fast path of `operation`, which leaves its result in the local `result`, and opens the arm in which
 * the caller prints the slow one; the caller ends it. False, with nothing printed, where there is no fast path.
 */
export function emitFastFloat(
  emitter: ValueWriter,
  operation: Operation,
  result: number,
  flagsOffset: number | undefined,
): boolean {
  if (flagsOffset === undefined) return false;
  const fast = new FastFloat(emitter, result, flagsOffset);
  return fast.emit(operation);
}

class FastFloat {
  private readonly writer;

  constructor(
    private readonly emitter: ValueWriter,
    private readonly result: number,
    private readonly flagsOffset: number,
  ) {
    this.writer = emitter.writer;
  }

  emit(operation: Operation): boolean {
    const { op, args, type } = operation;
    const operandType = this.emitter.block.operations[args[0]!]!.type!;
    const double = operandType === "f64" || type === "f64";
    const column = double ? 1 : 0;
    if (arithmetic[op] !== undefined) {
      const mode = args[args.length - 1]!;
      const opcode = arithmetic[op]![column];
      const operate = () => {
        for (const arg of args.slice(0, -1)) this.float(arg, double);
        this.writer.op(opcode);
      };
      // A sum that is not normal is exact: it can't underflow.
      return this.rounded(mode, double, operate, op === "fadd" || op === "fsub");
    }
    if (comparisons[op] !== undefined) return this.comparison(comparisons[op]![column], args, double);
    if (extremes[op] !== undefined) return this.extreme(extremes[op]![column], args, double);
    switch (op) {
      case "fma":
        return double ? this.fusedDouble(args) : this.fusedSingle(args);
      case "fdemote":
        return this.rounded(args[1]!, false, () => {
          this.float(args[0]!, true);
          this.writer.op(Op.f32_demote_f64);
        });
      case "fpromote":
        return this.promote(args[0]!);
      case "i32tof":
      case "u32tof":
        if (double)
          return this.exactConversion(
            op === "i32tof" ? Op.f64_convert_i32_s : Op.f64_convert_i32_u,
            args[0]!,
          );
        if (op === "u32tof") return false;
        return this.conversion(args, Op.f32_convert_i32_s, false);
      case "i64tof":
        return this.conversion(args, double ? Op.f64_convert_i64_s : Op.f32_convert_i64_s, double);
      case "ftoi32":
      case "ftoi64":
        return this.toInteger(op === "ftoi64", args, double);
      default:
        return false;
    }
  }

  /** Pushes a float, from its bits. */
  private float(value: Value, double: boolean): void {
    this.emitter.push(value);
    this.writer.op(double ? Op.f64_reinterpret_i64 : Op.f32_reinterpret_i32);
  }

  /** Pushes whether `mode` is `wanted`; gives false, with nothing pushed, if it is known to be another. */
  private modeIs(mode: Value, wanted: number): boolean {
    const known = this.emitter.constantOf(mode);
    if (known !== undefined && known !== wanted) return false;
    if (known !== undefined) this.writer.i32(1);
    else {
      this.emitter.push(mode);
      this.writer.i32(wanted);
      this.writer.op(Op.i32_eq);
    }
    return true;
  }

  /** Pushes whether the inexact flag is set: 1 or 0. */
  private inexactIsSet(): void {
    this.writer.loadAt(Op.i32_load, this.flagsOffset);
    this.writer.i32(INEXACT);
    this.writer.op(Op.i32_and);
  }

  /** Pushes whether the float in `local` is normal, and more than the least normal number. */
  private isOrdinary(local: number, double: boolean): void {
    const { writer } = this;
    writer.get(local);
    writer.op(double ? Op.f64_abs : Op.f32_abs);
    if (double) writer.f64(LEAST_NORMAL_F64);
    else writer.f32(LEAST_NORMAL_F32);
    writer.op(double ? Op.f64_gt : Op.f32_gt);
    this.isFinite(local, double);
    writer.op(Op.i32_and);
  }

  /** Pushes whether the float in `local` is neither infinite nor NaN. */
  private isFinite(local: number, double: boolean): void {
    const { writer } = this;
    writer.get(local);
    writer.op(double ? Op.f64_abs : Op.f32_abs);
    if (double) writer.f64(Infinity);
    else writer.f32(Infinity);
    writer.op(double ? Op.f64_lt : Op.f32_lt);
  }

  private takeFloat(local: number, double: boolean): void {
    this.writer.get(local);
    this.writer.op(double ? Op.i64_reinterpret_f64 : Op.i32_reinterpret_f32);
    this.writer.set(this.result);
  }

  /** An operation that rounds its exact result once. */
  private rounded(mode: Value, double: boolean, operate: () => void, anySmall = false): boolean {
    const { writer, emitter } = this;
    if (!this.modeIs(mode, NEAREST_EVEN)) return false;
    this.inexactIsSet();
    writer.op(Op.i32_and);
    const value = emitter.temporaries.take(double ? ValueType.f64 : ValueType.f32);
    operate();
    writer.set(value);
    if (anySmall) this.isFinite(value, double);
    else this.isOrdinary(value, double);
    writer.op(Op.i32_and);
    writer.ifLikely();
    this.takeFloat(value, double);
    writer.else();
    return true;
  }

  private conversion(args: readonly Value[], opcode: number, double: boolean): boolean {
    const { writer, emitter } = this;
    if (!this.modeIs(args[1]!, NEAREST_EVEN)) return false;
    this.inexactIsSet();
    writer.op(Op.i32_and);
    writer.ifLikely();
    emitter.push(args[0]!);
    writer.op(opcode);
    writer.op(double ? Op.i64_reinterpret_f64 : Op.i32_reinterpret_f32);
    writer.set(this.result);
    writer.else();
    return true;
  }

  private exactConversion(opcode: number, value: Value): boolean {
    const { writer, emitter } = this;
    writer.i32(1);
    writer.ifLikely();
    emitter.push(value);
    writer.op(opcode);
    writer.op(Op.i64_reinterpret_f64);
    writer.set(this.result);
    writer.else();
    return true;
  }

  /** Pushes whether a float equals itself: it is no NaN. */
  private isNumber(value: Value, double: boolean): void {
    this.float(value, double);
    this.float(value, double);
    this.writer.op(double ? Op.f64_eq : Op.f32_eq);
  }

  private bothNumbers(args: readonly Value[], double: boolean): void {
    this.isNumber(args[0]!, double);
    this.isNumber(args[1]!, double);
    this.writer.op(Op.i32_and);
    this.writer.ifLikely();
  }

  private comparison(opcode: number, args: readonly Value[], double: boolean): boolean {
    this.bothNumbers(args, double);
    this.float(args[0]!, double);
    this.float(args[1]!, double);
    this.writer.op(opcode);
    this.writer.set(this.result);
    this.writer.else();
    return true;
  }

  private extreme(opcode: number, args: readonly Value[], double: boolean): boolean {
    this.bothNumbers(args, double);
    this.float(args[0]!, double);
    this.float(args[1]!, double);
    this.writer.op(opcode);
    this.writer.op(double ? Op.i64_reinterpret_f64 : Op.i32_reinterpret_f32);
    this.writer.set(this.result);
    this.writer.else();
    return true;
  }

  private promote(value: Value): boolean {
    const { writer } = this;
    this.isNumber(value, false);
    writer.ifLikely();
    this.float(value, false);
    writer.op(Op.f64_promote_f32);
    writer.op(Op.i64_reinterpret_f64);
    writer.set(this.result);
    writer.else();
    return true;
  }

  /** Toward zero, in range; exact, or with the inexact flag set already. */
  private toInteger(wide: boolean, args: readonly Value[], double: boolean): boolean {
    const { writer, emitter } = this;
    if (!this.modeIs(args[1]!, TOWARD_ZERO)) return false;
    this.inexactIsSet();
    writer.op(Op.i32_and);
    this.float(args[0]!, double);
    writer.op(double ? Op.f64_abs : Op.f32_abs);
    const limit = wide ? 2 ** 63 : 2 ** 31;
    if (double) writer.f64(limit);
    else writer.f32(limit);
    writer.op(double ? Op.f64_lt : Op.f32_lt);
    writer.op(Op.i32_and);
    writer.ifLikely();
    emitter.push(args[0]!);
    writer.op(double ? Op.f64_reinterpret_i64 : Op.f32_reinterpret_i32);
    writer.op(Op.saturating);
    if (wide) writer.op(double ? Saturating.i64_trunc_sat_f64_s : Saturating.i64_trunc_sat_f32_s);
    else writer.op(double ? Saturating.i32_trunc_sat_f64_s : Saturating.i32_trunc_sat_f32_s);
    writer.set(this.result);
    writer.else();
    return true;
  }

  // -- fused multiply-add

  private readonly double = (): number => this.emitter.temporaries.take(ValueType.f64);

  /** `sum` := x + y rounded, `error` := what rounding lost (Knuth's TwoSum). */
  private twoSum(x: number, y: number, sum: number, error: number): void {
    const { writer } = this;
    const part = this.double();
    writer.get(x);
    writer.get(y);
    writer.op(Op.f64_add);
    writer.tee(sum);
    writer.get(x);
    writer.op(Op.f64_sub);
    writer.set(part);
    writer.get(x);
    writer.get(sum);
    writer.get(part);
    writer.op(Op.f64_sub);
    writer.op(Op.f64_sub);
    writer.get(y);
    writer.get(part);
    writer.op(Op.f64_sub);
    writer.op(Op.f64_add);
    writer.set(error);
  }

  /** The upper and lower half of a double's digits (Veltkamp's splitting). */
  private split(x: number, high: number, low: number): void {
    const { writer } = this;
    const scaled = this.double();
    writer.get(x);
    writer.f64(SPLIT);
    writer.op(Op.f64_mul);
    writer.tee(scaled);
    writer.get(scaled);
    writer.get(x);
    writer.op(Op.f64_sub);
    writer.op(Op.f64_sub);
    writer.set(high);
    writer.get(x);
    writer.get(high);
    writer.op(Op.f64_sub);
    writer.set(low);
  }

  /** `product` := x * y rounded, `error` := what rounding lost (Dekker's product). */
  private twoProduct(x: number, y: number, product: number, error: number): void {
    const { writer } = this;
    const [xh, xl, yh, yl] = [this.double(), this.double(), this.double(), this.double()];
    this.split(x, xh, xl);
    this.split(y, yh, yl);
    writer.get(x);
    writer.get(y);
    writer.op(Op.f64_mul);
    writer.set(product);
    const times = (a: number, b: number) => {
      writer.get(a);
      writer.get(b);
      writer.op(Op.f64_mul);
    };
    times(xh, yh);
    writer.get(product);
    writer.op(Op.f64_sub);
    times(xh, yl);
    writer.op(Op.f64_add);
    times(xl, yh);
    writer.op(Op.f64_add);
    times(xl, yl);
    writer.op(Op.f64_add);
    writer.set(error);
  }

  /** Pushes x + y rounded to odd: if anything is lost, the neighbour whose last bit is 1. */
  private sumToOdd(x: number, y: number): void {
    const { writer, emitter } = this;
    const [sum, error] = [this.double(), this.double()];
    const bits = emitter.temporaries.take(ValueType.i64);
    this.twoSum(x, y, sum, error);
    writer.get(sum);
    writer.op(Op.i64_reinterpret_f64);
    writer.set(bits);
    // Moves one place up or down: by the signs of the error and of the sum.
    writer.get(bits);
    writer.i64(1, 0);
    writer.get(error);
    writer.op(Op.i64_reinterpret_f64);
    writer.get(bits);
    writer.op(Op.i64_xor);
    writer.i64(63, 0);
    writer.op(Op.i64_shr_s);
    writer.i64(1, 0);
    writer.op(Op.i64_or);
    writer.get(bits);
    writer.i64(-1, -1);
    writer.op(Op.i64_xor);
    writer.i64(1, 0);
    writer.op(Op.i64_and);
    writer.op(Op.i64_mul);
    writer.get(error);
    writer.f64(0);
    writer.op(Op.f64_eq);
    writer.op(Op.i32_eqz);
    writer.op(Op.i64_extend_i32_u);
    writer.op(Op.i64_mul);
    writer.op(Op.i64_mul);
    writer.op(Op.i64_add);
    writer.op(Op.f64_reinterpret_i64);
  }

  private isModerate(local: number): void {
    const { writer } = this;
    writer.get(local);
    writer.op(Op.f64_abs);
    writer.f64(FMA_LEAST);
    writer.op(Op.f64_gt);
    writer.get(local);
    writer.op(Op.f64_abs);
    writer.f64(FMA_MOST);
    writer.op(Op.f64_lt);
    writer.op(Op.i32_and);
  }

  private fusedDouble(args: readonly Value[]): boolean {
    const { writer } = this;
    const [a, b, c] = [this.double(), this.double(), this.double()];
    const [uh, ul, th, tl, vh, vl, z] = [
      this.double(), this.double(), this.double(), this.double(), this.double(), this.double(), this.double(),
    ]; // biome-ignore format: one line of names, one of values
    if (!this.modeIs(args[3]!, NEAREST_EVEN)) return false;
    this.inexactIsSet();
    writer.op(Op.i32_and);
    for (const [position, local] of [a, b, c].entries()) {
      this.float(args[position]!, true);
      writer.set(local);
      this.isModerate(local);
      writer.op(Op.i32_and);
    }
    writer.if(ValueType.i32);
    this.twoProduct(a, b, uh, ul);
    this.twoSum(c, ul, th, tl);
    this.twoSum(uh, th, vh, vl);
    this.sumToOdd(tl, vl);
    writer.set(z);
    writer.get(vh);
    writer.get(z);
    writer.op(Op.f64_add);
    writer.set(z);
    this.isOrdinary(z, true);
    writer.else();
    writer.i32(0);
    writer.end();
    writer.ifLikely();
    this.takeFloat(z, true);
    writer.else();
    return true;
  }

  /** The product of two singles is exact in a double, and a double rounded to odd rounds again as if but once. */
  private fusedSingle(args: readonly Value[]): boolean {
    const { writer } = this;
    const [product, addend] = [this.double(), this.double()];
    return this.rounded(args[3]!, false, () => {
      this.float(args[0]!, false);
      writer.op(Op.f64_promote_f32);
      this.float(args[1]!, false);
      writer.op(Op.f64_promote_f32);
      writer.op(Op.f64_mul);
      writer.set(product);
      this.float(args[2]!, false);
      writer.op(Op.f64_promote_f32);
      writer.set(addend);
      this.sumToOdd(product, addend);
      writer.op(Op.f32_demote_f64);
    });
  }
}
