/**
 * Finds what would leave its instruction too early. A store that changed code, or that a device answers by stopping the
 * CPU, leaves the block after its instruction; so does a helper that asks for it. Where the instruction goes on after
 * the store or the call (a second store, a register, a jump), it is *late*: it leaves a note in `header.late` instead,
 * and the block looks for one where the instruction ends. So all of an instruction happens, or none of it but what came
 * before a fault.
 *
 * A helper that gives a result may not ask for an early end, and is none of these.
 */
import { type Block, type InsnMark, type Operation, opcodes } from "@hyperfile/decoder";

/** The late operations of a block. */
export interface LateExits {
  /** Positions of stores and calls after which their instruction still does something. */
  readonly operations: ReadonlySet<number>;
  /** Positions of marks and of the exit before which such an instruction ends. */
  readonly ends: ReadonlySet<number>;
}

const NONE: LateExits = { operations: new Set(), ends: new Set() };
const known = new WeakMap<Block, LateExits>();

/** The late operations of `block`: none in most. */
export function lateExits(block: Block): LateExits {
  let found = known.get(block);
  if (found === undefined) {
    found = find(block.operations);
    known.set(block, found);
  }
  return found;
}

function find(operations: readonly Operation[]): LateExits {
  let late: Set<number> | undefined;
  const ends = new Set<number>();
  /** Of the current instruction: what may leave after it, and whether anything of that is late. */
  let candidates: number[] = [];
  let isLate = false;
  let mark: InsnMark | undefined;
  for (let position = 0; position < operations.length; position++) {
    const operation = operations[position]!;
    if (operation.op === "insn") {
      if (isLate) ends.add(position);
      mark = operation.at!;
      candidates = [];
      isLate = false;
      continue;
    }
    if (candidates.length > 0 && doesSomething(operation, operations[candidates.at(-1)!]!, mark)) {
      late ??= new Set();
      for (const candidate of candidates) late.add(candidate);
      candidates = [];
      isLate = true;
    }
    if (mayLeave(operation)) candidates.push(position);
    if (isLate && position === operations.length - 1) ends.add(position);
  }
  return late === undefined ? NONE : { operations: late, ends };
}

const mayLeave = ({ op, helper }: Operation): boolean =>
  op === "store" || (op === "call" && helper!.effects.exits && helper!.result === null);

/** Whether an operation after `last`, which may leave, has an effect that leaving there would lose. */
function doesSomething(operation: Operation, last: Operation, mark: InsnMark | undefined): boolean {
  const { op, targets } = operation;
  if (op === "get") return false;
  if (op === "leave") return last.op === "store";
  if (op === "jump") {
    const [target] = targets!;
    if (typeof target === "object") return target.field !== "length";
    return target !== mark!.offset + mark!.length;
  }
  return opcodes.get(op)!.kind !== "pure";
}
