/**
 * Pre-decoded operations: what both interpreters run on. A code page is an array of entries, one for each half-word
 * (or byte) at which an instruction may begin; the array's place stands in `engine/code-pages.ts`. An entry is two
 * words: the first packs opcode and register numbers, the second holds the immediate. An entry's index within its
 * page, in words, is the instruction's byte offset scaled, so a branch is an addition. An entry that has not been
 * decoded is 0, and decodes itself when it is reached. Instructions that come in several lengths have an opcode for
 * each: the address of the next entry then never waits for this one to be loaded.
 *
 *   word 0:  bits 0-9 opcode | 10-15 field A | 16-20 field B | 21-25 field C
 *   word 1:  one immediate, or several small fields
 */
import type { FrontEnd, GuestInsn, Template, TemplateField } from "@hyperfile/decoder";
import { PAGE_SIZE } from "../memory/layout.js";

/** Opcodes of the interpreter itself; templates follow. */
export const InternalOpcode = {
  /** Not decoded yet. */
  undecoded: 0,
  /** The end of the page: go on in the next one. */
  pageEnd: 1,
  /** The instruction continues in the next page. */
  crossing: 2,
  /** A debugger wants to know before the instruction here runs. */
  breakpoint: 3,
} as const;
/** Opcode of template 0. */
export const FIRST_TEMPLATE = 4;

/** Why the interpreter returned. */
export const InterpreterExit = {
  /** The budget is used up, or `header.exit` is set. */
  done: 0,
  /** The program counter is not in the fetch TLB. */
  fetch: 1,
  /** The code at the program counter has run often enough to be translated, or has been. */
  hot: 2,
  /** The instruction at the program counter crosses into the next page. */
  crossing: 3,
  /** The program counter is at an offset in its page at which a breakpoint is set. */
  breakpoint: 4,
} as const;

/** Where a field is in an entry: bits `at` to `at + width - 1` of a word. */
export interface FieldPlace {
  readonly word: 0 | 1;
  readonly at: number;
  readonly width: number;
  readonly signed: boolean;
}

/** A field as `pack` puts it into a word. */
interface PackedField {
  readonly name: string;
  readonly at: number;
  readonly mask: number;
  /** What stands for the value 0. */
  readonly zeroBecomes: number;
}

/** Bits of an opcode in word 0 of an entry. */
export const OPCODE_BITS = 10;
const registers: readonly { readonly at: number; readonly width: number }[] = [
  { at: 10, width: 6 },
  { at: 16, width: 5 },
  { at: 21, width: 5 },
];

/** Where a template's fields are kept in an entry. */
export class EntryFormat {
  private readonly byName = new Map<string, FieldPlace>();
  /** What goes into each word. */
  private readonly packing: readonly [PackedField[], PackedField[]] = [[], []];

  /** Lays the fields out; throws if they don't fit: such a front end can't be interpreted. */
  constructor(
    readonly template: Template,
    readonly length: number,
    readonly opcode: number,
  ) {
    if (opcode >= 1 << OPCODE_BITS)
      throw new Error(`${template.name}: more than ${1 << OPCODE_BITS} opcodes`);
    const zeroes = new Map<string, number>();
    const indexed = new Set(
      template.block.operations.flatMap((o) => (typeof o.index === "object" ? [o.index.field] : [])),
    );
    const used = new Set(
      template.block.operations.flatMap((o) => [
        ...(o.field === undefined ? [] : [o.field]),
        ...(typeof o.index === "object" ? [o.index.field] : []),
        ...(o.targets ?? []).flatMap((target) => (typeof target === "object" ? [target.field] : [])),
      ]),
    );
    const fields = template.fields.filter((field) => used.has(field.name));
    const free = [...registers];
    const immediates: TemplateField[] = [];
    for (const field of fields) {
      const needed = field.zeroBecomes === undefined ? field.width : Math.max(field.width, 6);
      const position = indexed.has(field.name)
        ? free.findLastIndex((place) => place.width === needed || (place.width > needed && free.length === 1))
        : -1;
      if (field.zeroBecomes !== undefined) zeroes.set(field.name, field.zeroBecomes);
      if (position < 0) immediates.push(field);
      else this.byName.set(field.name, { word: 0, signed: false, ...free.splice(position, 1)[0]! });
    }
    let at = 0;
    for (const field of immediates) {
      const width = immediates.length === 1 ? 32 : field.width;
      this.byName.set(field.name, { word: 1, at, width, signed: field.signed });
      at += width;
    }
    if (at > 32) throw new Error(`${template.name}: fields take ${at} bits, an entry has 32`);
    for (const [name, place] of this.byName) {
      this.packing[place.word].push({
        name,
        at: place.at,
        mask: place.width === 32 ? -1 : (1 << place.width) - 1,
        zeroBecomes: zeroes.get(name) ?? 0,
      });
    }
  }

  /** First word of the entry for `insn`. */
  first(insn: GuestInsn): number {
    return this.pack(insn, 0) | this.opcode;
  }

  /** Second word. */
  second(insn: GuestInsn): number {
    return this.pack(insn, 1);
  }

  /** Where the fields are. */
  get places(): Iterable<FieldPlace> {
    return this.byName.values();
  }

  /** Where a field is kept. Throws if the template has none of that name. */
  place(name: string): FieldPlace {
    const place = this.byName.get(name);
    if (place === undefined) throw new Error(`${this.template.name}: no field ${name}`);
    return place;
  }

  private pack(insn: GuestInsn, word: 0 | 1): number {
    let bits = 0;
    for (const { name, at, mask, zeroBecomes } of this.packing[word]) {
      const value = insn.fields[name]!;
      bits |= ((value === 0 ? zeroBecomes : value) & mask) << at;
    }
    return bits;
  }
}

/** The entry formats of a front end. */
export interface EntryFormats {
  /** All of them, by opcode from {@link FIRST_TEMPLATE} on. */
  readonly all: readonly EntryFormat[];
  /** The format of a template in one of its lengths; throws on a length that it does not declare. */
  of(template: number, length: number): EntryFormat;
}

/** Lays out the entries of all templates. */
export function entryFormats(frontEnd: FrontEnd): EntryFormats {
  const all: EntryFormat[] = [];
  const byTemplate = frontEnd.templates.map((template) => {
    checkTemplate(template);
    const formats: EntryFormat[] = [];
    for (const length of template.lengths) {
      const format = new EntryFormat(template, length, FIRST_TEMPLATE + all.length);
      all.push(format);
      formats[length] = format;
    }
    return formats;
  });
  return {
    all,
    of(template, length) {
      const found = byTemplate[template]?.[length];
      if (found === undefined) throw new Error(`${frontEnd.templates[template]?.name}: no length ${length}`);
      return found;
    },
  };
}

/**
 * The bits of a program counter that are compared with the fetch TLB's page: with the lowest ones among them, where the
 * front end declares what a misaligned jump does, a misaligned address is never known. Where it declares
 * nothing, whoever sets the program counter aligns it.
 */
export const fetchMaskOf = ({ alignment = 1, misaligned }: FrontEnd): number =>
  misaligned === undefined ? -PAGE_SIZE : -PAGE_SIZE | (alignment - 1);

/** Refuses what the interpreters do not do: they have the instruction's own address only. */
function checkTemplate({ name, block }: Template): void {
  for (const { op, constant } of block.operations) {
    if (op === "pc" && constant !== 0)
      throw new Error(`${name}: a template's pc is that of its instruction: add ${constant} as a constant`);
  }
}
