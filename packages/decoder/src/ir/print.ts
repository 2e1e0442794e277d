/**
 * The IR as text, one operation a line. `parse.ts` reads it back; printing and parsing is the identity.
 *
 *   insn +4 len 4                     %7 = call.i64 swap(%1, %2, %3)
 *   %1 = const.i64 -7                 trapif %5, cause 2, %1
 *   %2 = get.i64 x[5]                 set x[$rd], %4
 *   %3 = add.i64 %1, %2               store.64 [%3], %4
 *   %4 = load.s32.i64 [%3]            branch %5, +16, $length
 *
 * A value is named by its operation's position, so numbers skip operations that make none. `$name` is an
 * instruction's field in a template. Distances carry a sign. A mark names its cost unless it is 1; an exit that calls
 * ends in `, link +3`.
 */
import type { StateShape } from "./state.js";
import type { Block, InsnMark, Operation, Target, Value, Wide } from "./types.js";

/**
 * Prints a block.
 * @param block what to print
 * @param shape if given, slots that are no arrays are printed without an index
 */
export function printBlock(block: Block, shape?: StateShape): string {
  return block.operations
    .map((operation, position) => `${printOperation(operation, position, shape)}\n`)
    .join("");
}

/** Prints the operation at `position`; `shape` as for {@link printBlock}. */
export function printOperation(operation: Operation, position: number, shape?: StateShape): string {
  const result = operation.type === null ? "" : `%${position} = `;
  return `${result}${mnemonic(operation)} ${operands(operation, shape)}`.trimEnd();
}

function mnemonic({ op, type, width, signed, amo }: Operation): string {
  const parts: (string | number)[] = [op];
  if (op === "load") parts.push(`${signed ? "s" : "u"}${width}`);
  else {
    if (amo !== undefined) parts.push(amo);
    if (width !== undefined) parts.push(width);
  }
  if (type !== null) parts.push(type);
  return parts.join(".");
}

function operands(operation: Operation, shape: StateShape | undefined): string {
  const args = operation.args.map(printValue);
  switch (operation.op) {
    case "insn":
      return printMark(operation.at!);
    case "charge":
      return `${args[0]}, most ${operation.most}`;
    case "const":
      return printConstant(operation.constant!);
    case "field":
      return `$${operation.field}`;
    case "pc":
      return distance(operation.constant as number);
    case "get":
      return place(operation, shape);
    case "set":
      return `${place(operation, shape)}, ${args[0]}`;
    case "load":
    case "store":
    case "amo":
    case "lr":
    case "sc":
      return [`[${args[0]}]`, ...args.slice(1)].join(", ");
    case "call":
      return `${operation.helper!.name}(${args.join(", ")})`;
    case "trapif":
      return `${args[0]}, cause ${operation.cause}, ${args[1]}`;
    case "trap":
      return `cause ${operation.cause}, ${args[0]}`;
    default: {
      const link = operation.link === undefined ? "" : `, link ${distance(operation.link)}`;
      return [...args, ...(operation.targets ?? []).map(printTarget)].join(", ") + link;
    }
  }
}

function printMark({ offset, length, cost }: InsnMark): string {
  return `${distance(offset)} len ${length}${cost === undefined || cost === 1 ? "" : ` cost ${cost}`}`;
}

const printValue = (value: Value): string => `%${value}`;
const distance = (bytes: number): string => (bytes < 0 ? String(bytes) : `+${bytes}`);
const printTarget = (target: Target): string =>
  typeof target === "number" ? distance(target) : `$${target.field}`;

function place({ slot, index = 0 }: Operation, shape: StateShape | undefined): string {
  if (typeof index === "object") return `${slot}[$${index.field}]`;
  return index === 0 && shape?.slots.get(slot!)?.length === 1 ? slot! : `${slot}[${index}]`;
}

/** Constants of more digits than this are easier to read in base 16. */
const DECIMAL_LIMIT = 65536n;

function printConstant(constant: number | Wide): string {
  const value =
    typeof constant === "number"
      ? BigInt(constant)
      : (BigInt(constant.hi) << 32n) | BigInt(constant.lo >>> 0);
  const magnitude = value < 0n ? -value : value;
  return `${value < 0n ? "-" : ""}${magnitude < DECIMAL_LIMIT ? magnitude : `0x${magnitude.toString(16)}`}`;
}
