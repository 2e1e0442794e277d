/**
 * Finds slot reads whose value outlives the slot's content. A backend that keeps slots in locals may name the slot's
 * local instead of copying it, unless the slot is overwritten before the value's last use is printed, and a value
 * that is printed inside its users is used wherever they are printed.
 */
import type { Block, Operation } from "@hyperfile/decoder";

/**
 * For each `get`: 1 if its slot may be overwritten before the value's last use is printed, else 0. Elements that
 * are named by fields count as any element of their array.
 * @param isPrintedInUsers whether the operation at a position is printed inside its users, not where it stands
 */
export function staleReads(
  block: Block,
  isPrintedInUsers: (operation: Operation, position: number) => boolean,
): Uint8Array {
  const { operations } = block;
  const count = operations.length;
  const lastUse = new Int32Array(count);
  for (let position = count - 1; position >= 0; position--) {
    const operation = operations[position]!;
    const printedAt = isPrintedInUsers(operation, position)
      ? Math.max(position, lastUse[position]!)
      : position;
    for (const arg of operation.args) lastUse[arg] = Math.max(lastUse[arg]!, printedAt);
  }
  const stale = new Uint8Array(count);
  const reads: { position: number; slot: string; index: Operation["index"] }[] = [];
  operations.forEach((operation, position) => {
    if (operation.op === "get") reads.push({ position, slot: operation.slot!, index: operation.index ?? 0 });
    const overwrites = (read: (typeof reads)[number]) => {
      if (operation.op === "call") return operation.helper!.effects.writes;
      if (operation.op !== "set" || operation.slot !== read.slot) return false;
      const index = operation.index ?? 0;
      return typeof index === "object" || typeof read.index === "object" || index === read.index;
    };
    if (operation.op !== "set" && operation.op !== "call") return;
    for (const read of reads) {
      if (lastUse[read.position]! > position && overwrites(read)) stale[read.position] = 1;
    }
  });
  return stale;
}
