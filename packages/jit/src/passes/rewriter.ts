/**
 * What every pass shares: it walks a block once, forwards, and builds a new operation list in which arguments are
 * renumbered. A pass decides for each operation whether to keep it, replace it by another, or map its value to
 * one that exists already.
 */
import type { Block, Operation, Type, Value, Wide } from "@hyperfile/decoder";

/** Builds the rewritten block. */
export class Rewriter {
  readonly operations: Operation[] = [];
  private readonly renamed: Value[];
  private readonly constants = new Map<string, Value>();

  constructor(readonly source: Block) {
    this.renamed = new Array(source.operations.length);
  }

  /** The new name of an old value. */
  value(old: Value): Value {
    return this.renamed[old]!;
  }

  /** The operation that makes a new value. */
  definition(value: Value): Operation {
    return this.operations[value]!;
  }

  /** From now on `old` means `value`. */
  replace(old: number, value: Value): void {
    this.renamed[old] = value;
  }

  /** Appends an operation whose arguments are new values already. */
  emit(operation: Operation): Value {
    this.operations.push(operation);
    return (this.operations.length - 1) as Value;
  }

  /** Appends `operation` of the source, arguments renumbered, and names its value. */
  keep(old: number, operation: Operation): Value {
    const args = operation.args.length === 0 ? operation.args : operation.args.map((arg) => this.value(arg));
    const value = this.emit(args === operation.args ? operation : { ...operation, args });
    this.renamed[old] = value;
    return value;
  }

  /** A constant; made once per block. */
  constant(type: Type, lo: number, hi: number = lo >> 31): Value {
    const key = type === "i64" ? `${lo}:${hi}` : `${lo}`;
    const known = this.constants.get(key);
    if (known !== undefined) return known;
    const constant: number | Wide = type === "i64" ? { lo, hi } : lo;
    const value = this.emit({ op: "const", type, args: [], constant });
    this.constants.set(key, value);
    return value;
  }

  /** The rewritten block. */
  finish(): Block {
    return { ...this.source, operations: this.operations };
  }
}
