/**
 * Dead code elimination: pure operations that nothing uses, and slot writes that nothing can see.
 *
 *   set x[5], %1 ; (nothing that can leave the block or read slots) ; set x[5], %2   =>   the first goes
 *
 * Whatever may leave the block or raise an exception sees all slots: loads, stores, atomics, `trapif`, calls that
 * read slots or exit, and the block's own exit. A `get` sees its slot.
 */
import { type Block, type Operation, opcodes, type Value } from "@hyperfile/decoder";
import { Rewriter } from "./rewriter.js";

/** Removes what has no effect. */
export function eliminateDead(block: Block): Block {
  const { operations } = block;
  const live = new Uint8Array(operations.length);
  const overwritten = new Set<string>();
  for (let position = operations.length - 1; position >= 0; position--) {
    const operation = operations[position]!;
    if (!isNeeded(operation, live[position] === 1, overwritten)) continue;
    live[position] = 1;
    for (const arg of operation.args) live[arg] = 1;
  }
  const rewriter = new Rewriter(block);
  operations.forEach((operation, old) => {
    if (live[old] === 1) rewriter.keep(old, operation);
  });
  return rewriter.finish();
}

function isNeeded(operation: Operation, used: boolean, overwritten: Set<string>): boolean {
  const kind = opcodes.get(operation.op)!.kind;
  if (operation.op === "set") {
    if (typeof operation.index === "object") return true;
    const key = `${operation.slot}:${operation.index}`;
    if (overwritten.has(key)) return false;
    overwritten.add(key);
    return true;
  }
  if (operation.op === "get") {
    if (!used) return false;
    if (typeof operation.index === "object") overwritten.clear();
    else overwritten.delete(`${operation.slot}:${operation.index}`);
    return true;
  }
  if (kind === "pure") return used;
  if (kind === "call") {
    const { reads, writes, exits } = operation.helper!.effects;
    if (reads || writes || exits) overwritten.clear();
    return true;
  }
  if (kind !== "mark" && kind !== "float") overwritten.clear();
  return true;
}

/** Number of uses of each value of `block`. */
export function useCounts(block: Block): Uint16Array {
  const counts = new Uint16Array(block.operations.length);
  for (const operation of block.operations) {
    for (const arg of operation.args as readonly Value[]) counts[arg] = counts[arg]! + 1;
  }
  return counts;
}
