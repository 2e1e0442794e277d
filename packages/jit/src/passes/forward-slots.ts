/**
 * Slot forwarding: a `get` of a slot whose value the block has read or written already becomes that value.
 *
 *   set x[5], %1 ; %2 = get x[5]   =>   %2 is %1
 *   %1 = get x[5] ; %2 = get x[5]  =>   %2 is %1
 *
 * A call that may write slots forgets everything. Templates index slots by fields, of which two may name the same
 * slot, so this pass leaves such accesses alone and is not run on templates.
 */
import type { Block, Value } from "@hyperfile/decoder";
import { Rewriter } from "./rewriter.js";

/** Forwards slot values inside `block`. */
export function forwardSlots(block: Block): Block {
  const rewriter = new Rewriter(block);
  const known = new Map<string, Value[]>();
  const valuesOf = (slot: string): Value[] => {
    let values = known.get(slot);
    if (values === undefined) {
      values = [];
      known.set(slot, values);
    }
    return values;
  };
  block.operations.forEach((operation, old) => {
    const { op, slot, index } = operation;
    if (op === "get" && typeof index !== "object") {
      const values = valuesOf(slot!);
      const value = values[index ?? 0];
      if (value !== undefined) rewriter.replace(old, value);
      else values[index ?? 0] = rewriter.keep(old, operation);
      return;
    }
    rewriter.keep(old, operation);
    if (op === "set" && typeof index !== "object")
      valuesOf(slot!)[index ?? 0] = rewriter.value(operation.args[0]!);
    else if (op === "call" && operation.helper!.effects.writes) known.clear();
  });
  return rewriter.finish();
}
