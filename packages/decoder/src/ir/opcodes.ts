/**
 * The opcode table: what every operation takes and makes, and what it touches. The builder, the verifier, the
 * printer, the parser, the evaluator and the backends all work from these rows.
 *
 * Operand types: `T` is the operation's own integer type (i32 or i64); `F` its own float type (f32 or f64).
 * Arithmetic wraps. Shift and rotate amounts are i32 and count modulo the width. Division is total: by zero the
 * quotient is all ones and the remainder the dividend; the most negative value by -1 gives itself, remainder 0.
 * Float operations round by their last operand (0 nearest-even, 1 to zero, 2 down, 3 up, 4 nearest-away), accrue
 * IEEE 754 exception flags in the machine, and give the default NaN for every NaN result. `charge` takes its operand,
 * which is not negative, from the budget beside what the instruction costs anyway.
 */
import type { Type } from "./types.js";

/** Operand or result type in the table. */
export type TypeRule = Type | "T" | "F" | "none";

/** One row of the table. */
export interface Opcode {
  readonly name: string;
  readonly args: readonly TypeRule[];
  readonly result: TypeRule;
  /** `pure` depends on its operands only; `float` also accrues flags; others touch slots, memory or control. */
  readonly kind: "pure" | "float" | "state" | "memory" | "call" | "mark" | "exit";
}

const rows: Opcode[] = [];
const add = (kind: Opcode["kind"], names: string, args: string, result: TypeRule) => {
  for (const name of names.split(" ")) {
    rows.push({ name, args: (args === "" ? [] : args.split(" ")) as TypeRule[], result, kind });
  }
};

add("pure", "const", "", "T");
add("pure", "field", "", "i32");
add("pure", "pc", "", "T");
add("pure", "add sub mul and or xor", "T T", "T");
add("pure", "mulh mulhu mulhsu", "T T", "T");
add("pure", "div divu rem remu", "T T", "T");
add("pure", "shl shru shrs rotl rotr", "T i32", "T");
add("pure", "clz ctz popcnt bswap", "T", "T");
add("pure", "eq ne lt ltu ge geu", "T T", "i32");
add("pure", "select", "i32 T T", "T");
add("pure", "sext8 sext16 zext8 zext16", "T", "T");
add("pure", "wrap", "i64", "i32");
add("pure", "sext32 zext32", "i32", "i64");
add("pure", "bits32", "f32", "i32");
add("pure", "bits64", "f64", "i64");
add("pure", "float32", "i32", "f32");
add("pure", "float64", "i64", "f64");

add("float", "fadd fsub fmul fdiv", "F F i32", "F");
add("float", "fsqrt", "F i32", "F");
add("float", "fma", "F F F i32", "F");
add("float", "fmin fmax", "F F", "F");
add("float", "feq flt fle", "F F", "i32");
add("pure", "fclass", "F", "i32");
add("float", "fdemote", "f64 i32", "f32");
add("float", "fpromote", "f32", "f64");
add("float", "ftoi32 ftou32", "F i32", "i32");
add("float", "ftoi64 ftou64", "F i32", "i64");
add("float", "i32tof u32tof", "i32 i32", "F");
add("float", "i64tof u64tof", "i64 i32", "F");

add("state", "get", "", "none");
add("state", "set", "none", "none");
add("memory", "load", "none", "none");
add("memory", "store", "none none", "none");
add("memory", "amo", "none none", "none");
add("memory", "lr", "none", "none");
add("memory", "sc", "none none", "none");
add("call", "call", "", "none");
add("mark", "insn", "", "none");
add("mark", "charge", "i32", "none");
add("state", "trapif", "i32 none", "none");

add("exit", "jump", "", "none");
add("exit", "branch", "i32", "none");
add("exit", "jumpr", "none", "none");
add("exit", "trap", "none", "none");
add("exit", "leave", "", "none");

/** The table by name. */
export const opcodes: ReadonlyMap<string, Opcode> = new Map(rows.map((row) => [row.name, row]));
