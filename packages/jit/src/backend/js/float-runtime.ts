/**
 * Binds the IR's floating-point operations to the exact arithmetic of the decoder package, behind the fast paths of
 * `float-fast.ts`. The accrued flags live in a slot of the guest, so that every tier sees them; 64-bit results leave
 * their high half in the header word `resultHigh`.
 */
import { FloatUnit } from "@hyperfile/decoder";
import { fastFloat } from "./float-fast.js";

type Operation = (...args: number[]) => number;

/**
 * The functions that emitted code calls, by name.
 * @param words linear memory as int32
 * @param resultHigh word index of `header.resultHigh`
 * @param flags word index of the slot with the accrued flags
 */
export function floatRuntime(
  words: Int32Array,
  resultHigh: number,
  flags: number,
): Record<string, Operation> {
  const unit = new FloatUnit();
  /** An operation with a 32-bit result. */
  const narrow =
    (operation: Operation): Operation =>
    (a, b, c, d, e, f, g) => {
      unit.flags = words[flags]!;
      const result = operation(a!, b!, c!, d!, e!, f!, g!);
      words[flags] = unit.flags;
      return result;
    };
  /** An operation with a 64-bit result. */
  const wide =
    (operation: Operation): Operation =>
    (a, b, c, d, e, f, g) => {
      unit.flags = words[flags]!;
      const result = operation(a!, b!, c!, d!, e!, f!, g!);
      words[flags] = unit.flags;
      words[resultHigh] = unit.hi;
      return result;
    };
  const exact = {
    fadd_f64: wide((a, b, c, d, rm) => unit.add64(a!, b!, c!, d!, rm!)),
    fsub_f64: wide((a, b, c, d, rm) => unit.sub64(a!, b!, c!, d!, rm!)),
    fmul_f64: wide((a, b, c, d, rm) => unit.mul64(a!, b!, c!, d!, rm!)),
    fdiv_f64: wide((a, b, c, d, rm) => unit.div64(a!, b!, c!, d!, rm!)),
    fsqrt_f64: wide((a, b, rm) => unit.sqrt64(a!, b!, rm!)),
    fma_f64: wide((a, b, c, d, e, f, rm) => unit.fma64(a!, b!, c!, d!, e!, f!, rm!)),
    fmin_f64: wide((a, b, c, d) => unit.min64(a!, b!, c!, d!)),
    fmax_f64: wide((a, b, c, d) => unit.max64(a!, b!, c!, d!)),
    feq_f64: narrow((a, b, c, d) => unit.eq64(a!, b!, c!, d!)),
    flt_f64: narrow((a, b, c, d) => unit.lt64(a!, b!, c!, d!)),
    fle_f64: narrow((a, b, c, d) => unit.le64(a!, b!, c!, d!)),
    fclass_f64: narrow((a, b) => unit.class64(a!, b!)),
    fadd_f32: narrow((a, b, rm) => unit.add32(a!, b!, rm!)),
    fsub_f32: narrow((a, b, rm) => unit.sub32(a!, b!, rm!)),
    fmul_f32: narrow((a, b, rm) => unit.mul32(a!, b!, rm!)),
    fdiv_f32: narrow((a, b, rm) => unit.div32(a!, b!, rm!)),
    fsqrt_f32: narrow((a, rm) => unit.sqrt32(a!, rm!)),
    fma_f32: narrow((a, b, c, rm) => unit.fma32(a!, b!, c!, rm!)),
    fmin_f32: narrow((a, b) => unit.min32(a!, b!)),
    fmax_f32: narrow((a, b) => unit.max32(a!, b!)),
    feq_f32: narrow((a, b) => unit.eq32(a!, b!)),
    flt_f32: narrow((a, b) => unit.lt32(a!, b!)),
    fle_f32: narrow((a, b) => unit.le32(a!, b!)),
    fclass_f32: narrow((a) => unit.class32(a!)),
    fdemote: narrow((a, b, rm) => unit.f64ToF32(a!, b!, rm!)),
    fpromote: wide((a) => unit.f32ToF64(a!)),
    ftoi32_f64: narrow((a, b, rm) => unit.f64ToI32(a!, b!, rm!)),
    ftou32_f64: narrow((a, b, rm) => unit.f64ToU32(a!, b!, rm!)),
    ftoi64_f64: wide((a, b, rm) => unit.f64ToI64(a!, b!, rm!)),
    ftou64_f64: wide((a, b, rm) => unit.f64ToU64(a!, b!, rm!)),
    ftoi32_f32: narrow((a, rm) => unit.f32ToI32(a!, rm!)),
    ftou32_f32: narrow((a, rm) => unit.f32ToU32(a!, rm!)),
    ftoi64_f32: wide((a, rm) => unit.f32ToI64(a!, rm!)),
    ftou64_f32: wide((a, rm) => unit.f32ToU64(a!, rm!)),
    i32tof_f64: wide((a) => unit.i32ToF64(a!)),
    u32tof_f64: wide((a) => unit.u32ToF64(a!)),
    i64tof_f64: wide((a, b, rm) => unit.i64ToF64(a!, b!, rm!)),
    u64tof_f64: wide((a, b, rm) => unit.u64ToF64(a!, b!, rm!)),
    i32tof_f32: narrow((a, rm) => unit.i32ToF32(a!, rm!)),
    u32tof_f32: narrow((a, rm) => unit.u32ToF32(a!, rm!)),
    i64tof_f32: narrow((a, b, rm) => unit.i64ToF32(a!, b!, rm!)),
    u64tof_f32: narrow((a, b, rm) => unit.u64ToF32(a!, b!, rm!)),
  };
  return { ...exact, ...fastFloat(words, resultHigh, flags, exact) };
}
