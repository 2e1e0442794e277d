/**
 * Which halves of 64-bit values are needed. JavaScript has no fast 64-bit integer, so an i64 becomes two int32
 * halves, and most of the cost of 64-bit code is in high halves that nobody looks at: the sum that a sign extension
 * from 32 bits follows, the source of a byte store. This backward walk finds them.
 */
import type { Block, Operation, Value } from "@hyperfile/decoder";
import type { Widths } from "../../passes/widths.js";

/** Operations besides shifts whose low half depends only on the low halves of their i64 operands. */
const lowFromLow = new Set(["add", "sub", "mul", "and", "or", "xor"]);
/** Operations whose result depends only on the low half of their i64 operand. */
const fromLow = new Set(["wrap", "sext8", "sext16", "zext8", "zext16"]);

const comparisons = new Set(["eq", "ne", "lt", "ltu", "ge", "geu"]);

/**
 * For each value 1 if its high half is needed, else 0. Meaningful for i64 values only.
 * @param widths how many bits the block's values need
 */
export function highHalvesNeeded(block: Block, widths: Widths): Uint8Array {
  const { operations } = block;
  const needed = new Uint8Array(operations.length);
  for (let position = operations.length - 1; position >= 0; position--) {
    const operation = operations[position]!;
    if (comparesLowHalves(operation, widths)) continue;
    const high = needed[position] === 1 && !followsFromLow(position as Value, widths);
    const { args } = operation;
    for (let argument = 0; argument < args.length; argument++) {
      if (needsHigh(operations, operation, argument, high)) needed[args[argument]!] = 1;
    }
  }
  return needed;
}

/** Whether a high half is the sign of the low one, or zero, and is not computed from the operands'. */
const followsFromLow = (value: Value, widths: Widths): boolean =>
  widths.signed(value) <= 32 || widths.unsigned(value) <= 32;

function comparesLowHalves({ op, args }: Operation, widths: Widths): boolean {
  if (!comparisons.has(op)) return false;
  const [a, b] = args as readonly [Value, Value];
  return (
    (widths.signed(a) <= 32 && widths.signed(b) <= 32) ||
    (widths.unsigned(a) <= 32 && widths.unsigned(b) <= 32)
  );
}

function needsHigh(
  operations: readonly Operation[],
  operation: Operation,
  argument: number,
  resultHigh: boolean,
): boolean {
  const { op, args } = operation;
  if (fromLow.has(op)) return false;
  if (op === "store" && argument === 1) return operation.width === 64;
  if (op === "select") return argument === 0 ? false : resultHigh;
  if (op === "shl") return argument === 0 && resultHigh && !shiftsOut(operations[args[1]!]!);
  return resultHigh || !lowFromLow.has(op);
}

/** Whether nothing of a high half is left after a shift to the left by `amount`. */
const shiftsOut = ({ op, constant }: Operation): boolean =>
  op === "const" && ((constant as number) & 32) !== 0;
