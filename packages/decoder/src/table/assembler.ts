/**
 * An assembler without an instruction set: labels, symbols, sections, directives and data.
 *
 * The source is read once. Names are bound to symbols as they are read, and every statement becomes an item of its
 * section. Then rounds of layout give every item its address and ask its size, until a round changes nothing: a size
 * may depend on any symbol. At last the items write their bytes.
 *
 * The image is flat: the sections one after the other, in the order in which the source first names them, `.text`
 * first. What describes symbols to a linker or debugger (`.globl`, `.type`, `.size`, ...) changes nothing.
 */
import {
  AssemblySymbol,
  type Expression,
  evaluate,
  parseExpression,
  type Symbols,
} from "./assembly-expression.js";
import { AssemblyError, Cursor, statementsOf, stringBytes, type Token } from "./assembly-lexer.js";

/** An item's place in a round of layout. */
export interface Place {
  /** Address of its first byte. */
  readonly address: bigint;
  /** The round, for `evaluate`. */
  readonly round: number;
  /** Whether the addresses of labels are not even near yet: items with a choice take their shortest form. */
  readonly provisional: boolean;
  /** Whether items must take their longest form now: the layout has not settled for many rounds. */
  readonly longest: boolean;
}

/** Bytes that a statement makes. */
export interface Emission {
  /** How many at this place. What it throws while the layout has not settled is ignored. */
  size(place: Place): number;
  /** Writes them to `bytes`, which has just that length. */
  emit(place: Place, bytes: Uint8Array): void;
}

/** What an instruction set adds to the assembler. One instance serves one source. */
export interface AssemblerTarget {
  /** Width of an address in bits: addresses wrap around. */
  readonly addressBits: number;
  /** Parses an instruction from after its mnemonic to the statement's end. */
  instruction(mnemonic: Token, cursor: Cursor, symbols: Symbols): Emission;
  /** Parses a directive of the instruction set: what it makes, if anything, or false if it is not one. */
  directive(name: Token, cursor: Cursor, symbols: Symbols): Emission | boolean;
  /** `size` bytes that do nothing, for a gap between instructions. */
  padding(size: number): Uint8Array;
}

/** An assembled image. */
export interface Assembled {
  readonly bytes: Uint8Array;
  /** Labels and symbols by name; addresses are absolute. */
  readonly symbols: ReadonlyMap<string, bigint>;
}

/** Largest image in bytes: what is larger is a mistake in the source. */
export const IMAGE_LIMIT = 1 << 28;

/** Sections after the first start at multiples of 8. */
const SECTION_MASK = 7n;
/** Rounds after which every label has an address, and `section.start` too. */
const FIRST_ROUNDS = 2;
/** Rounds after which branches are no longer tried in their shorter forms, and after which layout gives up. */
const PATIENCE = 30;
const MOST_ROUNDS = 60;

const dataWidths = new Map([
  ...[".byte", ".1byte"].map((name) => [name, 1] as const),
  ...[".half", ".short", ".2byte"].map((name) => [name, 2] as const),
  ...[".word", ".long", ".4byte"].map((name) => [name, 4] as const),
  ...[".dword", ".quad", ".8byte"].map((name) => [name, 8] as const),
]);
const withoutEffect =
  /^\.(globl|global|local|weak|hidden|protected|internal|type|size|file|loc|ident|attribute|cfi_\w+)$/;

interface Item {
  readonly emission: Emission;
  readonly token: Token;
  /** Bytes from the image's start. */
  offset: number;
  size: number;
}

interface Section {
  readonly isCode: boolean;
  readonly items: Item[];
  /** Address of its first byte. */
  start: bigint;
}

/**
 * Assembles `source` for a target, its first byte at address `origin`. Throws an {@link AssemblyError} that names
 * line and column for the first fault.
 */
export function assembleFor(target: AssemblerTarget, source: string, origin: bigint): Assembled {
  const assembly = new Assembly(target);
  for (const tokens of statementsOf(source)) assembly.statement(new Cursor(tokens));
  return assembly.finish(BigInt.asUintN(target.addressBits, origin));
}

/** An emission whose size is known. */
export const fixed = (size: number, emit: Emission["emit"]): Emission => ({ size: () => size, emit });

class Assembly implements Symbols {
  private readonly names = new Map<string, AssemblySymbol>();
  /** The labels of each number, in the order of the source; the last one may be only referred to yet. */
  private readonly numbered = new Map<string, AssemblySymbol[]>();
  private readonly sections = new Map<string, Section>();
  private section = this.enter(".text", true);
  private previous = this.section;
  private readonly sectionStack: (readonly [Section, Section])[] = [];
  /** The symbol for `.`, once it was asked for. */
  private dot: AssemblySymbol | undefined;
  /** The first token of the statement that is read. */
  private token: Token = { kind: "end", text: "", value: 0n, line: 1, column: 1 };

  constructor(private readonly target: AssemblerTarget) {}

  named({ text }: Token): AssemblySymbol {
    return getOrMake(this.names, text, () => new AssemblySymbol());
  }

  local(reference: Token): AssemblySymbol {
    const labels = getOrMake(this.numbered, labelNumber(reference.text.slice(0, -1)), () => []);
    const next = labels.at(-1)?.defined === false ? labels.length - 1 : labels.length;
    if (reference.text.endsWith("f")) {
      labels[next] ??= new AssemblySymbol();
      return labels[next];
    }
    const before = labels[next - 1];
    if (before === undefined) throw new AssemblyError(`no label for ${reference.text}`, reference);
    return before;
  }

  here(): AssemblySymbol {
    if (this.dot === undefined) {
      this.dot = new AssemblySymbol();
      this.label(this.dot);
    }
    return this.dot;
  }

  statement(cursor: Cursor): void {
    this.dot = undefined;
    this.token = cursor.token;
    while (cursor.peek(1).kind === "mark" && cursor.peek(1).text === ":") this.defineLabel(cursor);
    if (cursor.atEnd) return;
    const name =
      cursor.token.kind === "name" ? cursor.next() : cursor.fail("an instruction", "a directive", "a label");
    if (cursor.accept("=")) this.equate(name, cursor, true);
    else if (name.text.startsWith(".")) this.directive(name, cursor);
    else this.place(this.target.instruction(name, cursor, this));
    cursor.expectEnd();
  }

  private place(emission: Emission): void {
    this.section.items.push({ emission, token: this.token, offset: 0, size: 0 });
    this.dot = undefined;
  }

  private label(symbol: AssemblySymbol): void {
    symbol.defined = true;
    const set = ({ address }: Place) => {
      symbol.value = address;
      return 0;
    };
    this.section.items.push({
      emission: { size: set, emit: () => {} },
      token: this.token,
      offset: 0,
      size: 0,
    });
  }

  private defineLabel(cursor: Cursor): void {
    const name = cursor.next();
    if (name.kind === "name") {
      const symbol = this.named(name);
      if (symbol.defined || name.text === ".") throw new AssemblyError(`${name.text} is defined twice`, name);
      this.label(symbol);
    } else if (name.kind === "number" && /^\d+$/.test(name.text)) {
      const labels = getOrMake(this.numbered, labelNumber(name.text), () => []);
      if (labels.at(-1)?.defined !== false) labels.push(new AssemblySymbol());
      this.label(labels.at(-1)!);
    } else throw new AssemblyError(`${JSON.stringify(name.text.slice(0, 80))} can't be a label`, name);
    cursor.expect(":");
  }

  /** `name = expression`. A symbol may be set again, if it is no label: what stands above keeps what it had. */
  private equate(name: Token, cursor: Cursor, again: boolean): void {
    if (name.text === ".") return this.place(this.originOf(cursor));
    const definition = parseExpression(cursor, this);
    let symbol = this.named(name);
    if (symbol.defined) {
      if (symbol.definition === undefined || !again)
        throw new AssemblyError(`${name.text} is defined twice`, name);
      symbol = new AssemblySymbol();
      this.names.set(name.text, symbol);
    }
    symbol.defined = true;
    symbol.definition = definition;
  }

  private directive(name: Token, cursor: Cursor): void {
    if (withoutEffect.test(name.text)) return cursor.skipRest();
    if (this.sectionDirective(name, cursor) || this.data(name, cursor)) return;
    const emission = this.layoutDirective(name, cursor) ?? this.target.directive(name, cursor, this);
    if (emission === false) throw new AssemblyError(`no directive ${name.text.slice(0, 80)}`, name);
    if (emission !== true) this.place(emission);
  }

  private enter(name: string, isCode: boolean): Section {
    return getOrMake(this.sections, name, () => ({ isCode, items: [], start: 0n }));
  }

  private switchTo(section: Section): true {
    this.previous = this.section;
    this.section = section;
    return true;
  }

  private sectionDirective(name: Token, cursor: Cursor): boolean {
    switch (name.text) {
      case ".text":
      case ".data":
      case ".rodata":
      case ".bss":
        return this.switchTo(this.enter(name.text, name.text === ".text"));
      case ".section":
        return this.switchTo(this.namedSection(cursor));
      case ".pushsection":
        this.sectionStack.push([this.section, this.previous]);
        return this.switchTo(this.namedSection(cursor));
      case ".popsection": {
        const outer = this.sectionStack.pop();
        if (outer === undefined) throw new AssemblyError(".popsection without a .pushsection", name);
        [this.section, this.previous] = outer;
        return true;
      }
      case ".previous":
        return this.switchTo(this.previous);
      default:
        return false;
    }
  }

  /** `name, "flags", ...`: code if the flags have an `x`, or without flags if the name says so. */
  private namedSection(cursor: Cursor): Section {
    let name = "";
    while (!cursor.atEnd && !cursor.isMark(",")) name += cursor.next().text;
    if (name === "") cursor.fail("a section's name");
    const flags = cursor.accept(",") && cursor.token.kind === "string" ? cursor.token.text : undefined;
    cursor.skipRest();
    return this.enter(name.replaceAll('"', ""), flags?.includes("x") ?? /^\.text(\.|$)/.test(name));
  }

  private layoutDirective(name: Token, cursor: Cursor): Emission | undefined | true {
    switch (name.text) {
      case ".equ":
      case ".set":
      case ".equiv": {
        const symbol = cursor.name("a symbol");
        cursor.expect(",");
        this.equate(symbol, cursor, name.text !== ".equiv");
        return true;
      }
      case ".align":
      case ".p2align":
        return this.alignment(cursor, (value) => (value >= 0n && value <= 28n ? 1n << value : 0n));
      case ".balign":
        return this.alignment(cursor, (value) => (value === 0n ? 1n : value));
      case ".org":
        return this.originOf(cursor);
      case ".zero":
      case ".space":
      case ".skip": {
        const size = parseExpression(cursor, this);
        const fill = this.fillByte(cursor);
        return sized(
          ({ round }) => checkCount(evaluate(size, round), size.token),
          (place, bytes) => void bytes.fill(byteOf(fill, place)),
        );
      }
      default:
        return undefined;
    }
  }

  private fillByte(cursor: Cursor): Expression | undefined {
    return cursor.accept(",") ? parseExpression(cursor, this) : undefined;
  }

  /** To an address of the section, or without labels to a distance from its start. */
  private originOf(cursor: Cursor): Emission {
    const to = parseExpression(cursor, this);
    const fill = this.fillByte(cursor);
    const { section } = this;
    const { addressBits } = this.target;
    const distance = ({ round, address }: Place) => {
      const goal =
        to.constant === undefined
          ? evaluate(to, round)
          : BigInt.asUintN(addressBits, section.start + to.constant);
      if (goal < address) throw new AssemblyError(`.org goes back by ${address - goal} bytes`, to.token);
      return checkCount(goal - address, to.token);
    };
    return sized(distance, (place, bytes) => void bytes.fill(byteOf(fill, place)));
  }

  /** To a multiple of a power of 2; the optional third operand is the most bytes to skip. */
  private alignment(cursor: Cursor, unitOf: (value: bigint) => bigint): Emission {
    const value = parseExpression(cursor, this);
    let fill: Expression | undefined;
    let most: Expression | undefined;
    if (cursor.accept(",")) {
      if (!cursor.isMark(",")) fill = parseExpression(cursor, this);
      if (cursor.accept(",")) most = parseExpression(cursor, this);
    }
    const isCode = fill === undefined && this.section.isCode;
    const gap = ({ address, round }: Place) => {
      const unit = unitOf(evaluate(value, round));
      if (unit <= 0n || unit > BigInt(IMAGE_LIMIT) || (unit & (unit - 1n)) !== 0n) {
        throw new AssemblyError(`${evaluate(value, round)} is no alignment`, value.token);
      }
      const size = -address & (unit - 1n);
      return most !== undefined && size > evaluate(most, round) ? 0 : Number(size);
    };
    return sized(gap, (place, bytes) => {
      if (isCode) bytes.set(this.target.padding(bytes.length));
      else bytes.fill(byteOf(fill, place));
    });
  }

  private data(name: Token, cursor: Cursor): boolean {
    const width = dataWidths.get(name.text);
    if (width !== undefined) {
      do this.place(numberOf(width, parseExpression(cursor, this)));
      while (cursor.accept(","));
      return true;
    }
    if (!/^\.(ascii|asciz|string)$/.test(name.text)) return false;
    do {
      if (cursor.token.kind !== "string") cursor.fail("a string");
      const text = stringBytes(cursor.next());
      const size = text.length + (name.text === ".ascii" ? 0 : 1);
      this.place(fixed(size, (_, bytes) => bytes.set(text)));
    } while (cursor.accept(","));
    return true;
  }

  /** Lays the sections out from `origin` and writes them. */
  finish(origin: bigint): Assembled {
    const place = this.layOut(origin);
    const last = [...this.sections.values()].findLast(({ items }) => items.length > 0)?.items.at(-1);
    const bytes = new Uint8Array(last === undefined ? 0 : last.offset + last.size);
    for (const { items } of this.sections.values()) {
      for (const { offset, size, emission } of items) {
        place.offset = offset;
        // A size that could not be told is a fault now that the layout has settled.
        emission.size(place);
        emission.emit(place, bytes.subarray(offset, offset + size));
      }
    }
    const values = new Map<string, bigint>();
    for (const [name, symbol] of this.names) {
      if (!symbol.defined) continue;
      const token: Token = { ...this.token, kind: "name", text: name };
      values.set(name, evaluate({ token, constant: undefined, code: [{ symbol, token }] }, place.round));
    }
    return { bytes, symbols: values };
  }

  /** Gives every item its place; returns one of the round in which nothing changed any more. */
  private layOut(origin: bigint): MovingPlace {
    for (let round = 1; ; round++) {
      const place = new MovingPlace(origin, this.target.addressBits, round);
      const changed = this.layOutOnce(place);
      if (changed === undefined && !place.provisional) return place;
      if (changed !== undefined && round >= MOST_ROUNDS) {
        throw new AssemblyError("a size here depends on itself", changed);
      }
    }
  }

  /** One round; returns the first statement whose size changed. */
  private layOutOnce(place: MovingPlace): Token | undefined {
    let changed: Token | undefined;
    let end = this.token;
    for (const section of this.sections.values()) {
      if (section.items.length > 0 && place.offset > 0) place.offset += Number(-place.address & SECTION_MASK);
      section.start = place.address;
      for (const item of section.items) {
        const { offset } = place;
        const size = sizeOf(item, place);
        if (size !== item.size || offset !== item.offset) changed ??= item.token;
        item.offset = offset;
        item.size = size;
        place.offset += size;
        if (size > 0) end = item.token;
      }
    }
    if (changed === undefined && place.offset > IMAGE_LIMIT) {
      throw new AssemblyError(`the image grows beyond ${IMAGE_LIMIT} bytes`, end);
    }
    return changed;
  }
}

/** The place of one item after the other. Addresses are made only when they are asked for. */
class MovingPlace implements Place {
  /** Bytes from the image's start. */
  offset = 0;
  readonly provisional: boolean;
  readonly longest: boolean;

  constructor(
    private readonly origin: bigint,
    private readonly addressBits: number,
    readonly round: number,
  ) {
    this.provisional = round <= FIRST_ROUNDS;
    this.longest = round > PATIENCE;
  }

  get address(): bigint {
    return BigInt.asUintN(this.addressBits, this.origin + BigInt(this.offset));
  }
}

function sizeOf({ emission }: Item, place: Place): number {
  try {
    return emission.size(place);
  } catch (error) {
    if (error instanceof AssemblyError) return 0;
    throw error;
  }
}

/** `01` is the label `1`. */
const labelNumber = (text: string): string => text.replace(/^0+(?=.)/, "");

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

const sized = (size: Emission["size"], emit: Emission["emit"]): Emission => ({ size, emit });

/** An emission of a number in little-endian bytes; throws unless it fits with or without a sign. */
export const numberOf = (width: number, expression: Expression): Emission =>
  fixed(width, ({ round }, bytes) => {
    const value = evaluate(expression, round);
    checkWidth(value, width, expression.token);
    for (let index = 0; index < width; index++) bytes[index] = Number((value >> BigInt(8 * index)) & 0xffn);
  });

function byteOf(expression: Expression | undefined, { round }: Place): number {
  if (expression === undefined) return 0;
  const value = evaluate(expression, round);
  checkWidth(value, 1, expression.token);
  return Number(BigInt.asUintN(8, value));
}

function checkCount(value: bigint, at: Token): number {
  if (value < 0n || value > BigInt(IMAGE_LIMIT))
    throw new AssemblyError(`${value} bytes are out of range`, at);
  return Number(value);
}

/** Throws unless `value` fits `width` bytes, signed or unsigned. */
function checkWidth(value: bigint, width: number, at: Token): void {
  const bits = 8 * width;
  if (BigInt.asUintN(bits, value) === value || BigInt.asIntN(bits, value) === value) return;
  throw new AssemblyError(`${value} does not fit ${width} byte${width === 1 ? "" : "s"}`, at);
}
