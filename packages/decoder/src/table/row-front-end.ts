/**
 * A front end from instruction rows: decoding, meaning and assembly text of a CPU whose instructions are words of 2 or
 * 4 bytes with fields at fixed bits. A CPU that is less regular implements `FrontEnd` itself.
 *
 * A row's meaning is written against `InsnBuilder` and runs twice: with symbolic fields it makes the template from
 * which the interpreters are generated, with known ones the blocks that are translated. So it may not branch in
 * TypeScript on the value of a field. Both are held against each other when the front end is made (`row-check.ts`), and
 * everything else that the translator relies on is checked then, too (`front-end-check.ts`).
 *
 * Operands of a row are text in which names of fields stand for their values: those that begin with `r` print as
 * registers (`r3`), others as signed decimal numbers, and `@imm` as the address that lies so many bytes from the
 * instruction. `operand` replaces these rules.
 */
import type { FrontEnd, GuestInsn, Template, TemplateField } from "../front-end.js";
import { checkFrontEnd, FrontEndError, fallsThrough } from "../front-end-check.js";
import { BlockBuilder } from "../ir/builder.js";
import { type SlotDeclaration, type StateShape, stateShape } from "../ir/state.js";
import { type Field, MAXIMUM_COST, type Target, type Value } from "../ir/types.js";
import { InstructionTable, type TableEntry } from "./instruction-table.js";
import { type FieldSpec, type Fields, type Row, registerWidths, rowMaker } from "./row.js";
import { differenceOf, valuesOf, valuesToTry } from "./row-check.js";

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
  /** As in `FrontEnd`, but the length of the shortest instruction unless given. */
  readonly alignment?: number;
  /** As in `FrontEnd`. */
  readonly misaligned?: "fault" | "mask";
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
 * @throws FrontEndError naming the row and the field if anything is wrong with it, if rows overlap, or if a row of 2
 *   bytes and one of 4 can begin alike: a bad table must not load
 */
export function rowFrontEnd(options: RowFrontEndOptions): RowFrontEnd {
  const { name, rows, operand = plainOperand, illegal: cause, byteOrder = "little", pageBytes } = options;
  refuseUnknown(options);
  const shape: StateShape = stateShape(options.slots);
  const addressType = shape.slots.get("pc")?.type;
  if (addressType !== "i32" && addressType !== "i64")
    throw new FrontEndError(name, "it needs a slot pc of type i32 or i64");
  if (!Number.isSafeInteger(cause) || cause < 0)
    throw new FrontEndError(name, `illegal is ${cause}: the number of an exception`);
  const table = tableOf(name, rows);
  const { entries } = table;
  const lengths = [...new Set(entries.map(({ row }) => row.encoding.length))].sort((a, b) => a - b);
  const shortest = lengths[0] ?? 4;
  checkBeginnings(name, entries, byteOrder);

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
    naming(name, entry, () => {
      checkRow(entry);
      builder.begin(0, undefined, entry?.row.options.cost);
      write(builder, entry, symbolic(specs.map((spec) => spec.name)));
    });
    return {
      name: entry?.name ?? "illegal",
      fields: specs.map(templateField),
      lengths: [entry?.row.encoding.length ?? shortest],
      block: finish(builder),
    };
  };
  const templates = [...entries.map(templateOf), templateOf(undefined)];
  const illegal = entries.length;
  const ends = templates.map((template) => !fallsThrough(template));

  const frontEnd: RowFrontEnd = {
    name,
    shape,
    addressType,
    granularity: shortest === 4 ? 1 : Math.log2(shortest),
    maximumLength: lengths[lengths.length - 1] ?? shortest,
    alignment: options.alignment ?? shortest,
    misaligned: options.misaligned ?? "fault",
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
  checkFrontEnd(frontEnd);
  for (const entry of entries) naming(name, entry, () => checkMeaning(frontEnd, entry));
  return frontEnd;
}

/** The table of the rows; an error names the front end. */
function tableOf(frontEnd: string, rows: RowFrontEndOptions["rows"]): InstructionTable<InsnBuilder> {
  try {
    return new InstructionTable<InsnBuilder>(rows);
  } catch (error) {
    throw new FrontEndError(frontEnd, (error as Error).message, { cause: error });
  }
}

/** Options that there are. */
const optionNames: Readonly<Record<keyof RowFrontEndOptions, true>> = {
  name: true, slots: true, rows: true, illegal: true, byteOrder: true, pageBytes: true, alignment: true,
  misaligned: true, operand: true,
}; // biome-ignore format: a list

function refuseUnknown(options: RowFrontEndOptions): void {
  const { name, byteOrder = "little" } = options;
  const unknown = Object.keys(options).find((key) => !Object.hasOwn(optionNames, key));
  if (unknown !== undefined)
    throw new FrontEndError(name, `no option ${unknown}: there are ${Object.keys(optionNames).join(", ")}`);
  if (byteOrder !== "little" && byteOrder !== "big")
    throw new FrontEndError(name, `byteOrder is ${byteOrder}: "little" or "big"`);
}

/** Does what concerns a row; an error names it. */
function naming(frontEnd: string, entry: TableEntry<InsnBuilder> | undefined, run: () => void): void {
  try {
    run();
  } catch (error) {
    if (error instanceof FrontEndError || entry === undefined || !(error instanceof Error)) throw error;
    throw new FrontEndError(frontEnd, `row ${entry.name}: ${error.message}`, { cause: error });
  }
}

function templateField(spec: FieldSpec): TemplateField {
  const { name, width, signed, bias, pieces, excluded } = spec;
  const lowest = Math.min(...pieces.map(({ to }) => to));
  let most = signed ? 2 ** (width - 1) - 1 : 2 ** width - 1 + bias;
  while (excluded.includes(most)) most--;
  return {
    name,
    width: bias === 0 ? width : 32 - Math.clz32(2 ** width - 1 + bias),
    signed,
    ...(signed ? {} : { maximum: most }),
    ...(lowest === 0 || bias !== 0 ? {} : { multipleOf: 2 ** lowest }),
    zeroBecomes: undefined,
  };
}

/** Throws if a row can't be one of a front end: before its meaning is asked for. */
function checkRow(entry: TableEntry<InsnBuilder> | undefined): void {
  if (entry === undefined) return;
  const { encoding, operands, execute, options } = entry.row;
  if (execute === undefined) throw new Error("it has no meaning: compressed rows are not for rowFrontEnd");
  const { cost = 1 } = options;
  if (!Number.isInteger(cost) || cost < 1 || cost > MAXIMUM_COST)
    throw new Error(`a cost of ${cost}: 1 to ${MAXIMUM_COST}; builder.charge takes more`);
  const names = encoding.fields.map((field) => field.name);
  for (const field of names)
    if (field === "length") throw new Error("field length: the name stands for the instruction's length");
  for (const spec of encoding.fields)
    if (valuesOf(spec).length === 0) throw new Error(`field ${spec.name} has no value that is not excluded`);
  const stems = new Set(names.map(stemOf));
  for (const [, at, word] of operands.matchAll(OPERAND)) {
    if (names.includes(word!)) continue;
    // Other words are text, unless they look like a field that was meant.
    if (at !== "" || stems.has(stemOf(word!)) || Object.hasOwn(registerWidths, word!) || word === "imm")
      throw new Error(`the operands name ${word}, which is no field; it has ${names.join(", ") || "none"}`);
  }
}

/** A field's name without its number. */
const stemOf = (name: string): string => name.replace(/\d$/, "");

/** Throws if a row writes something else where its fields are known than its template says. */
function checkMeaning(frontEnd: RowFrontEnd, { index, row }: TableEntry<InsnBuilder>): void {
  const { templates } = frontEnd;
  const template = templates[index]!;
  const { length } = row.encoding;
  const before = templates.findIndex((each) => each !== template && fallsThrough(each));
  const lead = before < 0 || before >= frontEnd.table.entries.length ? undefined : leadOf(frontEnd, before);
  for (const fields of valuesToTry(row.encoding.fields)) {
    const insn: GuestInsn = { opcode: index, length, fields };
    const block = frontEnd.translate(lead === undefined ? [insn] : [lead, insn]);
    const from = block.operations.findLastIndex(({ op }) => op === "insn");
    const difference = differenceOf(template.block, fields, length, block, from);
    if (difference === undefined) continue;
    const values = Object.entries(fields).map(([name, value]) => `${name} = ${value}`);
    const where = values.length === 0 ? "the second time" : `with ${values.join(", ")}`;
    const hint = "a row writes the same whatever its fields are, each time that it runs";
    throw new Error(`its meaning is another ${where} (${difference}): ${hint}`);
  }
}

/** An instruction that goes on with the next. */
function leadOf({ table }: RowFrontEnd, index: number): GuestInsn {
  const { encoding } = table.entries[index]!.row;
  return { opcode: index, length: encoding.length, fields: valuesToTry(encoding.fields)[0]! };
}

/** Fields without values; naming one that is not there is an error. */
const symbolic = (names: readonly string[]): Fields =>
  new Proxy<Record<string, Field>>(
    Object.fromEntries(names.map((name) => [name, { name, value: undefined }])),
    {
      get(fields, name) {
        if (typeof name === "string" && !Object.hasOwn(fields, name))
          throw new Error(`it uses field ${name}; it has ${names.join(", ") || "none"}`);
        return Reflect.get(fields, name);
      },
    },
  );

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
function checkBeginnings(
  frontEnd: string,
  entries: readonly TableEntry<InsnBuilder>[],
  order: "little" | "big",
): void {
  for (const { name, row } of entries) {
    for (const other of entries) {
      const [short, long] = [row.encoding, other.row.encoding];
      if (short.length >= long.length) continue;
      const shift = order === "little" ? 0 : 8 * (long.length - short.length);
      const differing = (short.match ^ (long.match >>> shift)) & short.mask & (long.mask >>> shift);
      if (differing === 0) throw new FrontEndError(frontEnd, `rows ${name} and ${other.name} begin alike`);
    }
  }
}
