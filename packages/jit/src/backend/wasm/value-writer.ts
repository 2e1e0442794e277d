/** What the printers of integer and floating-point operations need of the emitter: values on the stack and in locals. */
import type { Block, Value } from "@hyperfile/decoder";
import type { FunctionWriter, ValueType } from "./encoder.js";

/** Local variables for temporary values, used again in the next block. */
export class Temporaries {
  private readonly free = new Map<ValueType, number[]>();
  private readonly taken: { type: ValueType; local: number }[] = [];

  constructor(private readonly writer: FunctionWriter) {}

  /** A local of this type that holds nothing. */
  take(type: ValueType): number {
    const local = this.free.get(type)?.pop() ?? this.writer.local(type);
    this.taken.push({ type, local });
    return local;
  }

  /** All may be used again. */
  release(): void {
    for (const { type, local } of this.taken) {
      const list = this.free.get(type);
      if (list === undefined) this.free.set(type, [local]);
      else list.push(local);
    }
    this.taken.length = 0;
  }
}

/** Writes the values of one block. */
export interface ValueWriter {
  readonly block: Block;
  readonly writer: FunctionWriter;
  readonly temporaries: Temporaries;
  /** Pushes a value. */
  push(value: Value): void;
  /** The value in a local, so that it may be read again; its number. */
  inLocal(value: Value): number;
  /** The constant that a value is, as an i32; undefined if it is none or does not fit. */
  constantOf(value: Value): number | undefined;
}
