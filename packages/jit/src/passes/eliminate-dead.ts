/**
 * Dead code elimination: pure operations that nothing uses, and slot writes that nothing can see.
 *
 *   set x[5], %1 ; (nothing that can leave the block or read slots) ; set x[5], %2   =>   the first goes
 *
 * Whatever may leave the block or raise an exception sees all slots: loads, stores, atomics, `trapif`, calls that
 * read slots or exit, the end of an instruction with a late store or call, and the block's own exit. A `get` sees its
 * slot.
 */
import { type Block, type Operation, opcodes, type Value } from "@hyperfile/decoder";
import { lateExits } from "./late-exits.js";
import { Rewriter } from "./rewriter.js";

/** Removes what has no effect. */
export function eliminateDead(block: Block): Block {
  const { operations } = block;
  const live = new Uint8Array(operations.length);
  const overwritten = new Map<string, Set<number>>();
  const { ends } = lateExits(block);
  for (let position = operations.length - 1; position >= 0; position--) {
    const operation = operations[position]!;
    if (!isNeeded(operation, live[position] === 1, overwritten)) continue;
    live[position] = 1;
    for (const arg of operation.args) live[arg] = 1;
    if (ends.has(position)) overwritten.clear();
  }
  const rewriter = new Rewriter(block);
  operations.forEach((operation, old) => {
    if (live[old] === 1) rewriter.keep(old, operation);
  });
  return rewriter.finish();
}

/** `overwritten`: elements of slots that are written again before anything can see them. */
function isNeeded(operation: Operation, used: boolean, overwritten: Map<string, Set<number>>): boolean {
  const kind = opcodes.get(operation.op)!.kind;
  if (operation.op === "set") {
    if (typeof operation.index === "object") return true;
    const elements = overwritten.get(operation.slot!);
    if (elements === undefined) overwritten.set(operation.slot!, new Set([operation.index ?? 0]));
    else if (elements.has(operation.index ?? 0)) return false;
    else elements.add(operation.index ?? 0);
    return true;
  }
  if (operation.op === "get") {
    if (!used) return false;
    if (typeof operation.index === "object") overwritten.clear();
    else overwritten.get(operation.slot!)?.delete(operation.index ?? 0);
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
