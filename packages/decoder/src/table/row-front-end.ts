/**
 * A front end from instruction rows: decoding, meaning and assembly text of a CPU whose instructions are words of 2 or
 * 4 bytes with fields at fixed bits. A CPU that is less regular implements `FrontEnd` itself.
 *
 * A row's meaning is written against `InsnBuilder` and runs twice: with symbolic fields it makes the template from
 * which the interpreters are generated, with known ones the blocks that are translated. So it may not branch in
 * TypeScript on the value of a field.
 *
 * Operands of a row are text in which names of fields stand for their values: those that begin with `r` print as
 * registers (`r3`), others as signed decimal numbers, and `@imm` as the address that lies so many bytes from the
 * instruction. `operand` replaces these rules.
 */
import type { FrontEnd, GuestInsn, Template } from "../front-end.js";
import { BlockBuilder } from "../ir/builder.js";
import { type SlotDeclaration, type StateShape, stateShape } from "../ir/state.js";
import type { Field, Target, Value } from "../ir/types.js";
import { InstructionTable, type TableEntry } from "./instruction-table.js";
import { type Fields, type Row, rowMaker } from "./row.js";

const ANYTHING = { reads: true, writes: true, exits: true };

/** A block builder that knows which instruction it is at: what the meanings of rows are written against. */
export class InsnBuilder extends BlockBuilder {
  private offset = 0;
  private size: Field = { name: "length", value: undefined };

  /**
   * Starts the next instruction.
   * @param offset bytes from the block's start
   * @param length its length in bytes; undefined inside a template
   */
  begin(offset: number, length: number | undefined, cost?: number): void {
    this.offset = offset;
    this.size = { name: "length", value: length };
    this.insn(offset, length ?? 0, cost);
  }

  /** The address of this instruction plus a field, as an exit's target. */
  target(distance: Field): Target {
    return distance.value === undefined ? { field: distance.name } : this.offset + distance.value;
  }

  /** The next instruction, as an exit's target. */
  get next(): Target {
    return this.target(this.size);
  }

  /** The address of this instruction. */
  here(): Value {
    return this.pc(this.offset);
  }

  /** The address of the next instruction: what a call saves. */
  link(): Value {
    if (this.size.value !== undefined) return this.pc(this.offset + this.size.value);
    const size = this.field(this.size);
    return this.binary("add", this.pc(this.offset), this.addressType === "i64" ? this.zext32(size) : size);
  }

  /**
   * Ends the instruction with a helper without arguments that says how to go on: it may read and write all state, and
   * sets the program counter or stops the CPU.
   */
  leaveBy(name: string): void {
    this.call({ name, parameters: [], result: null, effects: ANYTHING }, []);
    this.leave();
  }
}

/** Makes one row of a table for {@link rowFrontEnd}; see `table/row.ts` for the encoding string. */
export const insnRow: ReturnType<typeof rowMaker<InsnBuilder>> = rowMaker<InsnBuilder>();

/** A CPU as rows. */
export interface RowFrontEndOptions {
  readonly name: string;
  /** Slots; one must be called `pc` and have the type of addresses. */
  readonly slots: readonly SlotDeclaration[];
  /** The instructions by name. */
  readonly rows: Readonly<Record<string, Row<InsnBuilder>>>;
  /** Exception number of what is no instruction. Its trap value is 0. */
  readonly illegal: number;
  /** Which byte of an instruction comes first; the least significant unless given. */
  readonly byteOrder?: "little" | "big";
  /** As in `FrontEnd`. */
  readonly pageBytes?: number;
  /** Text of an operand, instead of the rules above. */
  readonly operand?: (field: string, value: number, address: number) => string;
}

/** A front end that was made from rows. */
export interface RowFrontEnd extends FrontEnd {
  readonly table: InstructionTable<InsnBuilder>;
  readonly byteOrder: "little" | "big";
  /** Text of an operand. */
  readonly operand: (field: string, value: number, address: number) => string;
}

const plainOperand = (field: string, value: number): string =>
  field.startsWith("r") ? `r${value}` : String(value);

/** A field's name in an operand string, with the mark of an address. */
const OPERAND = /(@?)\b([a-z]+\d?)\b/g;

/**
 * Makes a front end.
 * @throws Error if rows overlap, if a row of 2 bytes and one of 4 can begin alike, or if there is no slot `pc` of type
 *   i32 or i64: a bad table must not load
 */
export function rowFrontEnd(options: RowFrontEndOptions): RowFrontEnd {
  const { name, rows, operand = plainOperand, illegal: cause, byteOrder = "little", pageBytes } = options;
  const shape: StateShape = stateShape(options.slots);
  const addressType = shape.slots.get("pc")?.type;
  if (addressType !== "i32" && addressType !== "i64")
    throw new Error(`${name}: it needs a slot pc of type i32 or i64`);
  const table = new InstructionTable<InsnBuilder>(rows);
  const { entries } = table;
  const lengths = [...new Set(entries.map(({ row }) => row.encoding.length))].sort((a, b) => a - b);
  const shortest = lengths[0] ?? 4;
  checkBeginnings(entries, byteOrder);

  const write = (builder: InsnBuilder, entry: TableEntry<InsnBuilder> | undefined, fields: Fields) => {
    if (entry === undefined) builder.trap(cause, builder.constant(addressType, 0));
    else entry.row.execute!(builder, fields);
  };
  const finish = (builder: InsnBuilder) => {
    if (!builder.finished) builder.jump(builder.next);
    return builder.finish();
  };
  const templateOf = (entry: TableEntry<InsnBuilder> | undefined): Template => {
    const specs = entry?.row.encoding.fields ?? [];
    const builder = new InsnBuilder(shape, addressType);
    builder.begin(0, undefined, entry?.row.options.cost);
    write(builder, entry, symbolic(specs.map((spec) => spec.name)));
    return {
      name: entry?.name ?? "illegal",
      fields: specs.map((spec) => ({
        name: spec.name,
        width: spec.width,
        signed: spec.signed,
        zeroBecomes: undefined,
      })),
      lengths: [entry?.row.encoding.length ?? shortest],
      block: finish(builder),
    };
  };
  const templates = [...entries.map(templateOf), templateOf(undefined)];
  const illegal = entries.length;
  const ends = templates.map(({ block }) => {
    const exit = block.operations[block.operations.length - 1]!;
    const target = exit.targets?.[0];
    return exit.op !== "jump" || typeof target !== "object" || target.field !== "length";
  });

  return {
    name,
    shape,
    addressType,
    granularity: shortest === 4 ? 1 : Math.log2(shortest),
    maximumLength: lengths[lengths.length - 1] ?? shortest,
    templates,
    table,
    byteOrder,
    operand,
    ...(pageBytes === undefined ? {} : { pageBytes }),
    decode(bytes, at, available): GuestInsn | null {
      let bits = 0;
      for (const length of lengths) {
        if (length > available) return null;
        bits = wordAt(bytes, at, length, byteOrder);
        const decoded = table.decode(bits, length);
        if (decoded !== undefined) return { opcode: decoded.entry.index, length, fields: decoded.fields };
      }
      return { opcode: illegal, length: shortest, fields: { bits: wordAt(bytes, at, shortest, byteOrder) } };
    },
    endsBlock: (insn) => ends[insn.opcode]!,
    translate(insns) {
      const builder = new InsnBuilder(shape, addressType);
      let offset = 0;
      for (const insn of insns) {
        const entry = entries[insn.opcode];
        builder.begin(offset, insn.length, entry?.row.options.cost);
        write(builder, entry, known(insn.fields));
        offset += insn.length;
      }
      return finish(builder);
    },
    format(insn, pcLo, pcHi) {
      const entry = entries[insn.opcode];
      if (entry === undefined) return `.${insn.length}byte 0x${(insn.fields.bits! >>> 0).toString(16)}`;
      const address = (addressType === "i64" ? (pcHi >>> 0) * 2 ** 32 : 0) + (pcLo >>> 0);
      const text = entry.row.operands.replace(OPERAND, (all, at: string, field: string) => {
        const value = insn.fields[field];
        if (value === undefined) return all;
        return at === "" ? operand(field, value, address) : addressText(pcLo, pcHi, value, addressType);
      });
      return text === "" ? entry.mnemonic : `${entry.mnemonic} ${text}`;
    },
  };
}

const symbolic = (names: readonly string[]): Fields =>
  Object.fromEntries(names.map((name) => [name, { name, value: undefined }]));

function known(values: Readonly<Record<string, number>>): Fields {
  const fields: Record<string, Field> = {};
  for (const name of Object.keys(values)) fields[name] = { name, value: values[name]! };
  return fields;
}

function addressText(lo: number, hi: number, distance: number, type: "i32" | "i64"): string {
  const address = (BigInt(hi >>> 0) << 32n) + BigInt(lo >>> 0) + BigInt(distance);
  return `0x${BigInt.asUintN(type === "i64" ? 64 : 32, address).toString(16)}`;
}

/** `length` bytes as one int32. */
function wordAt(bytes: Uint8Array, at: number, length: number, order: "little" | "big"): number {
  let bits = 0;
  for (let place = 0; place < length; place++)
    bits |= bytes[at + place]! << (8 * (order === "little" ? place : length - 1 - place));
  return bits;
}

/** Throws if the first bytes of some instruction are an instruction of their own. */
function checkBeginnings(entries: readonly TableEntry<InsnBuilder>[], order: "little" | "big"): void {
  for (const { name, row } of entries) {
    for (const other of entries) {
      const [short, long] = [row.encoding, other.row.encoding];
      if (short.length >= long.length) continue;
      const shift = order === "little" ? 0 : 8 * (long.length - short.length);
      const differing = (short.match ^ (long.match >>> shift)) & short.mask & (long.mask >>> shift);
      if (differing === 0) throw new Error(`rows ${name} and ${other.name} begin alike`);
    }
  }
}
