/** Integer operations of the IR in WebAssembly: one opcode where there is one, sequences elsewhere. */
import type { Type, Value } from "@hyperfile/decoder";
import { Op, ValueType } from "./encoder.js";
import type { ValueWriter } from "./value-writer.js";

const opcodes: Readonly<Record<string, readonly [narrow: number, wide: number]>> = {
  add: [Op.i32_add, Op.i64_add],
  sub: [Op.i32_sub, Op.i64_sub],
  mul: [Op.i32_mul, Op.i64_mul],
  and: [Op.i32_and, Op.i64_and],
  or: [Op.i32_or, Op.i64_or],
  xor: [Op.i32_xor, Op.i64_xor],
  shl: [Op.i32_shl, Op.i64_shl],
  shru: [Op.i32_shr_u, Op.i64_shr_u],
  shrs: [Op.i32_shr_s, Op.i64_shr_s],
  rotl: [Op.i32_rotl, Op.i64_rotl],
  rotr: [Op.i32_rotr, Op.i64_rotr],
  clz: [Op.i32_clz, Op.i64_clz],
  ctz: [Op.i32_ctz, Op.i64_ctz],
  popcnt: [Op.i32_popcnt, Op.i64_popcnt],
  eq: [Op.i32_eq, Op.i64_eq],
  ne: [Op.i32_ne, Op.i64_ne],
  lt: [Op.i32_lt_s, Op.i64_lt_s],
  ltu: [Op.i32_lt_u, Op.i64_lt_u],
  ge: [Op.i32_ge_s, Op.i64_ge_s],
  geu: [Op.i32_ge_u, Op.i64_ge_u],
  sext8: [Op.i32_extend8_s, Op.i64_extend8_s],
  sext16: [Op.i32_extend16_s, Op.i64_extend16_s],
};

/** The opcode of an operation on operands of `type`, if one does it. */
export const plainOpcodes = (op: string, type: Type): number | undefined =>
  opcodes[op]?.[type === "i64" ? 1 : 0];

const divisions = {
  div: [Op.i32_div_s, Op.i64_div_s],
  divu: [Op.i32_div_u, Op.i64_div_u],
  rem: [Op.i32_rem_s, Op.i64_rem_s],
  remu: [Op.i32_rem_u, Op.i64_rem_u],
} as const;

/**
 * Pushes a quotient or remainder. WebAssembly traps on a zero divisor and on the quotient that overflows; its
 * remainder by -1 is 0 without a trap.
 */
export function emitDivision(
  emitter: ValueWriter,
  op: keyof typeof divisions,
  type: "i32" | "i64",
  a: Value,
  b: Value,
): void {
  const { writer } = emitter;
  const wide = type === "i64";
  const result = wide ? ValueType.i64 : ValueType.i32;
  const constant = (value: number) => (wide ? writer.i64(value, value >> 31) : writer.i32(value));
  const divide = () => {
    emitter.push(a);
    emitter.push(b);
    writer.op(divisions[op][wide ? 1 : 0]);
  };
  const divisor = emitter.constantOf(b);
  if (divisor !== undefined && divisor !== 0 && divisor !== -1) return divide();
  emitter.inLocal(a);
  emitter.inLocal(b);
  emitter.push(b);
  writer.op(wide ? Op.i64_eqz : Op.i32_eqz);
  writer.if(result);
  if (op === "div" || op === "divu") constant(-1);
  else emitter.push(a);
  writer.else();
  if (op === "div") {
    emitter.push(b);
    constant(-1);
    writer.op(wide ? Op.i64_eq : Op.i32_eq);
    writer.if(result);
    constant(0);
    emitter.push(a);
    writer.op(wide ? Op.i64_sub : Op.i32_sub);
    writer.else();
    divide();
    writer.end();
  } else divide();
  writer.end();
}

/** Pushes the upper half of a product. */
export function emitMultiplyHigh(
  emitter: ValueWriter,
  op: "mulh" | "mulhu" | "mulhsu",
  type: "i32" | "i64",
  a: Value,
  b: Value,
): void {
  const { writer } = emitter;
  if (type === "i32") {
    emitter.push(a);
    writer.op(op === "mulhu" ? Op.i64_extend_i32_u : Op.i64_extend_i32_s);
    emitter.push(b);
    writer.op(op === "mulh" ? Op.i64_extend_i32_s : Op.i64_extend_i32_u);
    writer.op(Op.i64_mul);
    writer.i64(32, 0);
    writer.op(Op.i64_shr_u);
    writer.op(Op.i32_wrap_i64);
    return;
  }
  const x = emitter.inLocal(a);
  const y = emitter.inLocal(b);
  const take = () => emitter.temporaries.take(ValueType.i64);
  const [xl, xh, yl, yh, middle] = [take(), take(), take(), take(), take()];
  const low = (local: number) => {
    writer.get(local);
    writer.i64(-1, 0);
    writer.op(Op.i64_and);
  };
  const high = (local: number) => {
    writer.get(local);
    writer.i64(32, 0);
    writer.op(Op.i64_shr_u);
  };
  const product = (left: number, right: number) => {
    writer.get(left);
    writer.get(right);
    writer.op(Op.i64_mul);
  };
  for (const [source, lower, upper] of [
    [x, xl, xh],
    [y, yl, yh],
  ] as const) {
    low(source);
    writer.set(lower);
    high(source);
    writer.set(upper);
  }
  // middle = xh*yl + (xl*yl >> 32), which can't overflow; then the other cross product on its low half.
  product(xh, yl);
  product(xl, yl);
  writer.i64(32, 0);
  writer.op(Op.i64_shr_u);
  writer.op(Op.i64_add);
  writer.set(middle);
  product(xh, yh);
  high(middle);
  writer.op(Op.i64_add);
  product(xl, yh);
  low(middle);
  writer.op(Op.i64_add);
  writer.i64(32, 0);
  writer.op(Op.i64_shr_u);
  writer.op(Op.i64_add);
  // A negative operand counts as its value plus 2^64 above.
  const correct = (negative: number, other: number) => {
    writer.get(negative);
    writer.i64(63, 0);
    writer.op(Op.i64_shr_s);
    writer.get(other);
    writer.op(Op.i64_and);
    writer.op(Op.i64_sub);
  };
  if (op !== "mulhu") correct(x, y);
  if (op === "mulh") correct(y, x);
}

/** Pushes a value with its bytes in reverse order. */
export function emitSwapBytes(emitter: ValueWriter, type: "i32" | "i64", a: Value): void {
  const { writer } = emitter;
  if (type === "i32") {
    const x = emitter.inLocal(a);
    writer.get(x);
    writer.i32(8);
    writer.op(Op.i32_rotl);
    writer.i32(0x00ff00ff);
    writer.op(Op.i32_and);
    writer.get(x);
    writer.i32(8);
    writer.op(Op.i32_rotr);
    writer.i32(0xff00ff00);
    writer.op(Op.i32_and);
    writer.op(Op.i32_or);
    return;
  }
  const value = emitter.temporaries.take(ValueType.i64);
  emitter.push(a);
  writer.set(value);
  for (const [shift, mask] of [
    [8, 0x00ff00ff],
    [16, 0x0000ffff],
  ] as const) {
    writer.get(value);
    writer.i64(shift, 0);
    writer.op(Op.i64_shr_u);
    writer.i64(mask, mask);
    writer.op(Op.i64_and);
    writer.get(value);
    writer.i64(mask, mask);
    writer.op(Op.i64_and);
    writer.i64(shift, 0);
    writer.op(Op.i64_shl);
    writer.op(Op.i64_or);
    writer.set(value);
  }
  writer.get(value);
  writer.i64(32, 0);
  writer.op(Op.i64_rotl);
}
