/**
 * Reads WebAssembly: the number formats of function bodies, and modules of the shape that `backend/wasm/encoder.ts`
 * writes (WebAssembly Core Specification, chapter 5). It reads what the engine is given, so that a listing shows that
 * and not what the encoder meant.
 */
import { Op, type Signature, type ValueType } from "../backend/wasm/encoder.js";

/** Bytes that are not WebAssembly of the kind that is emitted here. */
export class WasmTextError extends Error {
  readonly code = "E_WASM_TEXT";

  constructor(message: string, offset: number) {
    super(`${message} at offset 0x${offset.toString(16)} of the WebAssembly`);
    this.name = "WasmTextError";
  }
}

/** A cursor over bytes. Every method throws {@link WasmTextError} at the end of the bytes. */
export class ByteReader {
  constructor(
    private readonly bytes: Uint8Array,
    public at = 0,
    readonly end = bytes.length,
  ) {}

  get done(): boolean {
    return this.at >= this.end;
  }

  byte(): number {
    if (this.at >= this.end) throw new WasmTextError("the code ends too early", this.at);
    return this.bytes[this.at++]!;
  }

  /** The next `count` bytes. */
  take(count: number): Uint8Array {
    if (count > this.end - this.at) throw new WasmTextError("the code ends too early", this.at);
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  /** Unsigned LEB128 of 32 bits. */
  unsigned(): number {
    return Number(BigInt.asUintN(32, this.leb().value));
  }

  /** Signed LEB128 of 32 or 64 bits. */
  signed(): bigint {
    const { value, bits } = this.leb();
    return BigInt.asIntN(64, BigInt.asIntN(bits, value));
  }

  f32(): number {
    const bytes = this.take(4);
    return new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
  }

  f64(): number {
    const bytes = this.take(8);
    return new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0, true);
  }

  name(): string {
    return new TextDecoder().decode(this.take(this.unsigned()));
  }

  private leb(): { value: bigint; bits: number } {
    const start = this.at;
    let value = 0n;
    for (let bits = 0; bits < 70; ) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << BigInt(bits);
      bits += 7;
      if (byte < 0x80) return { value, bits };
    }
    throw new WasmTextError("a number has more than ten bytes", start);
  }
}

/** A function as its instructions, with what it takes to read them. */
export interface WasmFunction {
  /** The export's name; undefined if it is not known. */
  readonly place: string | undefined;
  readonly signature: Signature;
  /** Types of the locals after the parameters. */
  readonly locals: readonly ValueType[];
  /** Its instructions without the `end` of the function. */
  readonly code: Uint8Array;
  /** Which way branches usually go: 1 if the first arm is the usual one, 0 if it is not; by offset in `code`. */
  readonly hints: ReadonlyMap<number, number>;
}

/** What a function's numbers of types and of functions mean. */
export interface WasmScope {
  signature(type: number): Signature;
  function(index: number): { readonly name: string; readonly signature: Signature };
}

/** A module. */
export interface WasmModule extends WasmScope {
  readonly functions: readonly WasmFunction[];
}

/** Section numbers (5.5.2). */
const Section = { custom: 0, type: 1, import: 2, function: 3, export: 7, code: 10 } as const;
const HEADER_BYTES = 8;
/** Kinds of imports and exports (5.5.5). */
const Kind = { function: 0, table: 1, memory: 2 } as const;

/**
 * Reads a module that the encoder wrote.
 * @throws WasmTextError if it is none
 */
export function readWasmModule(bytes: Uint8Array): WasmModule {
  const types: Signature[] = [];
  const imported: { name: string; type: number }[] = [];
  const declared: number[] = [];
  const places = new Map<number, string>();
  const bodies: { locals: ValueType[]; code: Uint8Array; head: number }[] = [];
  const hints = new Map<number, Map<number, number>>();
  const list = (reader: ByteReader, each: () => void) => {
    for (let left = reader.unsigned(); left > 0; left--) each();
  };
  const readers: Readonly<Record<number, (reader: ByteReader) => void>> = {
    [Section.type]: (reader) =>
      list(reader, () => {
        reader.byte();
        const parameters = [...reader.take(reader.unsigned())] as ValueType[];
        types.push({ parameters, results: [...reader.take(reader.unsigned())] as ValueType[] });
      }),
    [Section.import]: (reader) => list(reader, () => readImport(reader, imported)),
    [Section.function]: (reader) => list(reader, () => declared.push(reader.unsigned())),
    [Section.export]: (reader) =>
      list(reader, () => {
        const name = reader.name();
        const kind = reader.byte();
        const index = reader.unsigned();
        if (kind === Kind.function) places.set(index, name);
      }),
    [Section.custom]: (reader) => {
      if (reader.name() !== "metadata.code.branch_hint") return;
      list(reader, () => {
        const known = new Map<number, number>();
        hints.set(reader.unsigned(), known);
        list(reader, () => {
          const offset = reader.unsigned();
          reader.byte();
          known.set(offset, reader.byte());
        });
      });
    },
    [Section.code]: (reader) =>
      list(reader, () => {
        const body = new ByteReader(bytes, reader.at);
        const end = body.unsigned() + body.at;
        const start = body.at;
        const locals: ValueType[] = [];
        list(body, () => {
          const count = body.unsigned();
          const type = body.byte() as ValueType;
          for (let index = 0; index < count; index++) locals.push(type);
        });
        const head = body.at - start;
        bodies.push({ locals, head, code: body.take(end - 1 - body.at) });
        reader.at = end;
      }),
  };
  const reader = new ByteReader(bytes, HEADER_BYTES);
  while (!reader.done) {
    const id = reader.byte();
    const length = reader.unsigned();
    const start = reader.at;
    reader.take(length);
    readers[id]?.(new ByteReader(bytes, start, start + length));
  }
  const first = imported.length;
  const functions = bodies.map(({ locals, code, head }, index): WasmFunction => {
    const own = hints.get(first + index) ?? new Map<number, number>();
    return {
      place: places.get(first + index),
      signature: types[declared[index]!]!,
      locals,
      code,
      hints: new Map([...own].map(([offset, likely]) => [offset - head, likely])),
    };
  });
  return {
    functions,
    signature: (type) => types[type]!,
    function: (index) => {
      const known = imported[index];
      if (known !== undefined) return { name: known.name, signature: types[known.type]! };
      const own = functions[index - first];
      if (own === undefined) throw new WasmTextError(`there is no function ${index}`, 0);
      return { name: `function_${own.place ?? index}`, signature: own.signature };
    },
  };
}

function readImport(reader: ByteReader, functions: { name: string; type: number }[]): void {
  reader.name();
  const name = reader.name();
  const kind = reader.byte();
  if (kind === Kind.function) {
    functions.push({ name, type: reader.unsigned() });
    return;
  }
  if (kind === Kind.table) reader.byte();
  const hasMaximum = (reader.byte() & 1) !== 0;
  reader.unsigned();
  if (hasMaximum) reader.unsigned();
}

/** Names of opcodes as in the text format: `i32.add`. */
export const opcodeNames: ReadonlyMap<number, string> = new Map(
  Object.entries(Op).map(([name, opcode]) => [opcode, name.replace(/^(local|[if](?:32|64))_/, "$1.")]),
);
