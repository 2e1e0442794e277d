/**
 * Common subexpressions: a pure operation on the same values is the same value.
 *
 *   %3 = mul %1, %2 ; %4 = mul %1, %2   =>   %4 is %3
 *
 * This is the table of what a block has computed; `simplify.ts` asks it for every operation that it would make. A walk
 * of its own would have to build the block once more.
 */
import { type Operation, opcodes, type Type, type Value } from "@hyperfile/decoder";

const opcodeNumbers = new Map([...opcodes.keys()].map((name, index) => [name, index]));
const typeNumbers: Readonly<Record<Type, number>> = { i32: 0, i64: 1, f32: 2, f64: 3 };
/** More than the operations of any block. */
const VALUES = 2 ** 18;

/** Values by what computes them. */
export class CommonSubexpressions {
  private readonly available = new Map<number, Value>();

  /** The value of an equal operation before, else `value`, which the operation has from now on. */
  find(operation: Operation, value: Value): Value {
    const key = keyOf(operation);
    if (key === undefined) return value;
    const same = this.available.get(key);
    if (same !== undefined) return same;
    this.available.set(key, value);
    return value;
  }
}

/** A number that equal operations on equal values share; undefined for operations that are not looked up. */
function keyOf({ op, type, args }: Operation): number | undefined {
  if (args.length > 2) return undefined;
  const second = args.length === 2 ? args[1]! : 0;
  const head = opcodeNumbers.get(op)! * 4 + typeNumbers[type!];
  return (head * VALUES + args[0]!) * VALUES + second;
}
