/**
 * One instruction as one row: its encoding as the manual prints it, its operands as an assembler writes them,
 * and its meaning. Decoder, assembler, disassembler, interpreter and translator all come from such rows.
 *
 * Encoding tokens, most significant bit first, separated by blanks:
 * - `0110011` fixed bits;
 * - `rd` a field of its customary width: that of `registerWidths`, or what the table's row maker was given;
 * - `rd'` a 3-bit register field of a compressed instruction, naming registers 8 to 15;
 * - `imm[12|10:5]` pieces of a field: the bits of the field that stand here; what no piece names is zero.
 * Fields called `imm` and `nzimm` are signed, all others unsigned; a name that starts with `nz` must not be zero.
 * `rd!=0` or `rd!=0,2` excludes values: such patterns belong to other rows.
 */
import type { Field } from "../ir/types.js";

/** Widths in bits of fields that are written without brackets, by name. */
export type FieldWidths = Readonly<Record<string, number>>;

/** Registers are fields of 5 bits, unless a table says otherwise or a row writes brackets. */
export const registerWidths: FieldWidths = { rd: 5, rs1: 5, rs2: 5, rs3: 5 };

type Tokens<S extends string> = S extends `${infer Head} ${infer Tail}` ? Head | Tokens<Tail> : S;
type NameOf<T extends string> = T extends `${"0" | "1"}${string}`
  ? never
  : T extends `${infer Name}!=${string}`
    ? NameOf<Name>
    : T extends `${infer Name}[${string}`
      ? Name
      : T extends `${infer Name}'`
        ? Name
        : T;

/** Names of the fields in an encoding string. */
export type FieldNames<S extends string> = NameOf<Tokens<S>>;

/** Fields by name, as the meaning of a row gets them: numbers in an instruction that is known, names in a template. */
export type Fields<Names extends string = string> = Readonly<Record<Names, Field>>;

/** Bits of an instruction that hold bits of a field. */
export interface Piece {
  /** Lowest bit in the instruction. */
  readonly at: number;
  /** Lowest bit in the field. */
  readonly to: number;
  /** Number of bits. */
  readonly width: number;
}

/** A field of an encoding. */
export interface FieldSpec {
  readonly name: string;
  readonly pieces: readonly Piece[];
  readonly signed: boolean;
  /** Number of bits up to and including the highest one that a piece names. */
  readonly width: number;
  /** Added to the bits: 8 for the 3-bit registers of compressed instructions. */
  readonly bias: number;
  /** Values that belong to other rows. */
  readonly excluded: readonly number[];
}

/** A parsed encoding. */
export interface Encoding {
  /** Length in bytes: 2 or 4. */
  readonly length: number;
  /** Bits that are fixed. */
  readonly mask: number;
  /** Their values. */
  readonly match: number;
  readonly fields: readonly FieldSpec[];
}

/** Known field values of a decoded instruction. */
export type FieldValues = Readonly<Record<string, number>>;

/** What a compressed instruction stands for: the name of a base instruction and its fields. */
export type Expansion = readonly [name: string, fields: FieldValues];

/** Options of a row. */
export interface RowOptions {
  /** The row exists only where registers have so many bits. */
  readonly width?: 32 | 64;
  /** Mnemonic, where two rows share one (their keys then differ). */
  readonly as?: string;
  /** Budget units that the instruction costs, for front ends that are made of rows; 1 unless given, 31 at most. */
  readonly cost?: number;
}

/** A row. `M` is the machine that its meaning is written against. */
export interface Row<M> {
  readonly encoding: Encoding;
  readonly pattern: string;
  /** Operands in assembler order; in the syntax of the table's front end. */
  readonly operands: string;
  /** Emits the instruction's meaning; absent for compressed rows. */
  readonly execute: ((machine: M, fields: Fields) => void) | undefined;
  /** The base instruction of a compressed row. */
  readonly expand: ((fields: FieldValues) => Expansion) | undefined;
  readonly options: RowOptions;
}

/** A row of a compressed instruction: it has no meaning of its own. */
export interface CompressedRow extends Row<never> {
  readonly execute: undefined;
}

/**
 * A function that makes rows for machine `M`: its fields' names and types come from the encoding string.
 * @param widths of fields that are written without brackets
 */
export const rowMaker =
  <M>(widths: FieldWidths = registerWidths) =>
  <const S extends string>(
    pattern: S,
    operands: string,
    execute: (machine: M, fields: Fields<FieldNames<S>>) => void,
    options: RowOptions = {},
  ): Row<M> => ({
    encoding: parseEncoding(pattern, widths),
    pattern,
    operands,
    execute: execute as (machine: M, fields: Fields) => void,
    expand: undefined,
    options,
  });

/** Makes a compressed row: it has no meaning of its own but names the base instruction that it stands for. */
export const compressed = <const S extends string>(
  pattern: S,
  operands: string,
  expand: (fields: Readonly<Record<FieldNames<S>, number>>) => Expansion,
  options: RowOptions = {},
): CompressedRow => ({
  encoding: parseEncoding(pattern),
  pattern,
  operands,
  execute: undefined,
  expand: expand as (fields: FieldValues) => Expansion,
  options,
});

/** Parses an encoding string. Throws on a malformed one: a bad table must not load. */
export function parseEncoding(pattern: string, widths: FieldWidths = registerWidths): Encoding {
  const tokens = pattern.split(" ").map((token) => parseToken(token, widths));
  const bits = tokens.reduce((sum, token) => sum + token.width, 0);
  if (bits !== 16 && bits !== 32) throw new Error(`encoding "${pattern}" has ${bits} bits: 16 or 32`);
  let mask = 0;
  let match = 0;
  let at = bits;
  const fields = new Map<string, { pieces: Piece[]; bias: number; excluded: number[] }>();
  for (const token of tokens) {
    at -= token.width;
    if (token.fixed !== undefined) {
      mask |= ((2 ** token.width - 1) << at) | 0;
      match |= (token.fixed << at) | 0;
      continue;
    }
    const field = fields.get(token.name) ?? { pieces: [], bias: token.bias, excluded: token.excluded };
    fields.set(token.name, field);
    let top = at + token.width;
    for (const range of token.ranges) {
      top -= range.width;
      const repeated = field.pieces.some(
        ({ to, width }) => to < range.low + range.width && range.low < to + width,
      );
      if (repeated) throw new Error(`encoding "${pattern}" has bits of ${token.name} twice`);
      if (range.low + range.width > 32)
        throw new Error(`${token.name} in "${pattern}" has more than 32 bits`);
      field.pieces.push({ at: top, to: range.low, width: range.width });
    }
  }
  return {
    length: bits / 8,
    mask,
    match,
    fields: [...fields].map(([name, { pieces, bias, excluded }]) => ({
      name,
      pieces,
      bias,
      signed: name === "imm" || name === "nzimm",
      width: Math.max(...pieces.map((piece) => piece.to + piece.width)),
      excluded: name.startsWith("nz") ? [0, ...excluded] : excluded,
    })),
  };
}

interface Token {
  readonly width: number;
  readonly fixed?: number;
  readonly name: string;
  readonly bias: number;
  readonly excluded: number[];
  readonly ranges: readonly { readonly low: number; readonly width: number }[];
}

function parseToken(token: string, widths: FieldWidths): Token {
  if (/^[01]+$/.test(token)) {
    return {
      width: token.length,
      fixed: Number.parseInt(token, 2),
      name: "",
      bias: 0,
      excluded: [],
      ranges: [],
    };
  }
  const parts = /^([a-z]+\d?)('?)(?:\[(\d+(?::\d+)?(?:\|\d+(?::\d+)?)*)\])?(?:!=(\d+(?:,\d+)*))?$/.exec(
    token,
  );
  if (parts === null) throw new Error(`encoding token "${token}" is malformed`);
  const [, name = "", prime, pieces, exclusions] = parts;
  const excluded = exclusions === undefined ? [] : exclusions.split(",").map(Number);
  if (pieces === undefined) {
    const width = prime === "'" ? 3 : widths[name];
    if (width === undefined)
      throw new Error(`field "${name}" has no customary width: write ${name}[high:low]`);
    return { width, name, bias: prime === "'" ? 8 : 0, excluded, ranges: [{ low: 0, width }] };
  }
  const ranges = pieces.split("|").map((range) => {
    const [high = 0, low = high] = range.split(":").map(Number);
    if (high < low) throw new Error(`encoding token "${token}": range ${range} is upside down`);
    return { low, width: high - low + 1 };
  });
  return { width: ranges.reduce((sum, range) => sum + range.width, 0), name, bias: 0, excluded, ranges };
}

/** The lowest `width` bits set, as an int32. Shifted, since a power costs V8 a call. */
const lowBits = (width: number): number => (width === 32 ? -1 : (1 << width) - 1);

/** The value of a field in an instruction's bits. */
export function extractField(field: FieldSpec, bits: number): number {
  let value = 0;
  for (const piece of field.pieces) {
    value |= ((bits >>> piece.at) & lowBits(piece.width)) << piece.to;
  }
  if (field.signed) {
    const unused = 32 - field.width;
    value = (value << unused) >> unused;
  }
  return value + field.bias;
}

/** The bits of `value` where the field's pieces stand. */
function scatter(field: FieldSpec, value: number): number {
  let bits = 0;
  for (const piece of field.pieces) {
    bits |= (((value - field.bias) >>> piece.to) & lowBits(piece.width)) << piece.at;
  }
  return bits;
}

/** Whether a field can hold `value`. */
export const fieldHolds = (field: FieldSpec, value: number): boolean =>
  extractField(field, scatter(field, value)) === value && !field.excluded.includes(value);

/** The instruction bits that hold `value` in a field; throws if the field can't hold it. */
export function insertField(field: FieldSpec, value: number): number {
  if (!fieldHolds(field, value)) throw new RangeError(`${field.name} = ${value} can't be encoded`);
  return scatter(field, value);
}

/** The bits of an instruction with the given field values; absent ones are zero. Throws if one can't be encoded. */
export function encode(encoding: Encoding, values: FieldValues): number {
  let bits = encoding.match;
  for (const field of encoding.fields) bits |= insertField(field, values[field.name] ?? 0);
  return bits;
}

/** True if `bits` are an instance of the row's encoding. */
export function matches(encoding: Encoding, bits: number): boolean {
  if (((bits & encoding.mask) | 0) !== encoding.match) return false;
  for (const field of encoding.fields) {
    if (field.excluded.length > 0 && field.excluded.includes(extractField(field, bits))) return false;
  }
  return true;
}
