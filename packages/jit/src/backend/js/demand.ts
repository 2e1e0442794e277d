/**
 * Which halves of 64-bit values are needed. JavaScript has no fast 64-bit integer, so an i64 becomes two int32
 * halves, and most of the cost of 64-bit code is in high halves that nobody looks at: the sum that a sign extension
 * from 32 bits follows, the source of a byte store. This backward walk finds them.
 */
import type { Block, Operation } from "@hyperfile/decoder";

/** Operations whose low half depends only on the low halves of their i64 operands. */
const lowFromLow = new Set([
  "add",
  "sub",
  "mul",
  "and",
  "or",
  "xor",
  "shl",
  "sext8",
  "sext16",
  "zext8",
  "zext16",
]);

/** For each value 1 if its high half is needed, else 0. Meaningful for i64 values only. */
export function highHalvesNeeded(block: Block): Uint8Array {
  const needed = new Uint8Array(block.operations.length);
  for (let position = block.operations.length - 1; position >= 0; position--) {
    const operation = block.operations[position]!;
    operation.args.forEach((arg, argument) => {
      if (needsHigh(operation, argument, needed[position] === 1)) needed[arg] = 1;
    });
  }
  return needed;
}

function needsHigh(operation: Operation, argument: number, resultHigh: boolean): boolean {
  if (operation.op === "wrap") return false;
  if (/^[sz]ext(8|16)$/.test(operation.op)) return false;
  if (operation.op === "store" && argument === 1) return operation.width === 64;
  if (operation.op === "shl" && argument === 1) return false;
  if (operation.op === "select") return argument === 0 ? false : resultHigh;
  if (lowFromLow.has(operation.op)) return resultHigh;
  return true;
}
