/**
 * What every pass shares: it walks a block once, forwards, and builds a new operation list in which arguments are
 * renumbered. A pass decides for each operation whether to keep it, replace it by another, or map its value to
 * one that exists already.
 */
import { type Block, type Operation, opcodes, type Type, type Value, type Wide } from "@hyperfile/decoder";

/** Builds the rewritten block. */
export class Rewriter {
  readonly operations: Operation[] = [];
  private readonly renamed: Value[];
  /** Constants of type i32, those of type i64 that are sign-extended, and other ones by their high half. */
  private readonly narrow = new Map<number, Value>();
  private readonly extended = new Map<number, Value>();
  private readonly wide = new Map<number, Map<number, Value>>();

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

  /** The new names of an operation's arguments: the same array if none changed. */
  renamedArgs({ args }: Operation): readonly Value[] {
    if (args.length === 0) return args;
    const renamed: Value[] = [];
    let same = true;
    for (const arg of args) {
      const value = this.renamed[arg]!;
      renamed.push(value);
      same &&= value === arg;
    }
    return same ? args : renamed;
  }

  /** Appends `operation` of the source, arguments renumbered, and names its value. */
  keep(old: number, operation: Operation): Value {
    const value = this.emit(this.renumber(operation));
    this.renamed[old] = value;
    return value;
  }

  /** The operation with its arguments renumbered; the common kinds without a generic copy, which is slow. */
  private renumber(operation: Operation): Operation {
    const { op, type, args } = operation;
    const renamed = this.renamedArgs(operation);
    if (renamed === args) return operation;
    if (op === "set") return { op, type, args: renamed, slot: operation.slot!, index: operation.index! };
    if (op === "load") return { op, type, args: renamed, width: operation.width!, signed: operation.signed! };
    if (opcodes.get(op)!.kind === "pure") return { op, type, args: renamed };
    return { ...operation, args: renamed };
  }

  /** A constant; made once per block. */
  constant(type: Type, lo: number, hi: number = lo >> 31): Value {
    const known = this.constantsLike(type, lo, hi);
    const value = known.get(lo);
    if (value !== undefined) return value;
    const constant: number | Wide = type === "i64" ? { lo, hi } : lo;
    const made = this.emit({ op: "const", type, args: [], constant });
    known.set(lo, made);
    return made;
  }

  private constantsLike(type: Type, lo: number, hi: number): Map<number, Value> {
    if (type !== "i64") return this.narrow;
    if (hi === lo >> 31) return this.extended;
    let known = this.wide.get(hi);
    if (known === undefined) {
      known = new Map();
      this.wide.set(hi, known);
    }
    return known;
  }

  /** The rewritten block. */
  finish(): Block {
    return { ...this.source, operations: this.operations };
  }
}
