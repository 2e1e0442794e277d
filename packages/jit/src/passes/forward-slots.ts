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
  const known = new Map<string, Value>();
  block.operations.forEach((operation, old) => {
    const key = `${operation.slot}:${operation.index}`;
    if (operation.op === "get") {
      const value = known.get(key);
      if (value !== undefined) {
        rewriter.replace(old, value);
        return;
      }
      known.set(key, rewriter.keep(old, operation));
      return;
    }
    rewriter.keep(old, operation);
    if (operation.op === "set") known.set(key, rewriter.value(operation.args[0]!));
    if (operation.helper?.effects.writes === true) known.clear();
  });
  return rewriter.finish();
}
