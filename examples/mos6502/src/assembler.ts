/**
 * A small assembler, out of the same table as the decoder: the operand's form chooses the mode, and its value whether
 * the zero page will do.
 *
 * A line is `label: instruction operand ; comment`, each part optional, or `name = expression`. Directives: `.org`,
 * `.byte`, `.word`, `.fill count, value`. Expressions know `$12`, `%101`, `'c'`, decimal numbers, names, `*` (this
 * address), `+ - & |`, `<` and `>` (low and high byte) and brackets `[ ]`. A name that is defined further down is taken
 * for a full address.
 */
import { findOpcode, type Mode, type Opcode } from "./opcodes.js";

/** A fault in a program; the message names the line. */
export class Asm6502Error extends Error {
  override readonly name = "Asm6502Error";
  readonly code = "E_ASM6502";
}

/** An assembled program. */
export interface Program {
  /** Address of the first byte. */
  readonly origin: number;
  readonly bytes: Uint8Array;
  /** Values of labels and names. */
  readonly symbols: ReadonlyMap<string, number>;
}

/** Forms of operands, and the modes that they may mean: the shorter one first. */
const forms: readonly (readonly [pattern: RegExp, modes: readonly Mode[]])[] = [
  [/^()$/i, ["imp"]],
  [/^a$/i, ["imp"]],
  [/^#(.+)$/i, ["imm"]],
  [/^\((.+),\s*x\)$/i, ["izx"]],
  [/^\((.+)\),\s*y$/i, ["izy"]],
  [/^\((.+)\)$/i, ["ind"]],
  [/^(.+),\s*x$/i, ["zpx", "abx"]],
  [/^(.+),\s*y$/i, ["zpy", "aby"]],
  [/^([^#(].*)$/i, ["rel", "zp", "abs"]],
];

const TOKEN = /\s*('(?:.)'|\$[\da-f]+|%[01]+|\d+|[a-z_]\w*|[-+*&|<>[\]])/iy;

/** Assembles `source`, its first byte at `origin`. @throws Asm6502Error for the first fault */
export function assemble6502(source: string, origin = 0): Program {
  const lines = source.split("\n");
  const symbols = new Map<string, number>();
  // The first pass finds where everything lies, the second one writes it.
  const pass = (isLast: boolean): number[] => {
    const bytes: number[] = [];
    lines.forEach((line, index) => {
      try {
        new Line(line, origin + bytes.length, symbols, isLast).assemble(bytes, origin);
      } catch (error) {
        throw new Asm6502Error(`line ${index + 1}: ${(error as Error).message}: ${line.trim()}`);
      }
    });
    return bytes;
  };
  pass(false);
  return { origin, bytes: Uint8Array.from(pass(true)), symbols };
}

class Line {
  constructor(
    private readonly text: string,
    private readonly address: number,
    private readonly symbols: Map<string, number>,
    private readonly isLast: boolean,
  ) {}

  assemble(bytes: number[], origin: number): void {
    const statement = this.text.replace(/;.*$/, "").trim();
    const definition = /^(\w+)\s*=\s*(.+)$/.exec(statement);
    if (definition !== null) return this.define(definition[1]!, this.must(this.value(definition[2]!)));
    const [, label, word = "", rest = ""] = /^(?:(\w+):)?\s*([.\w]*)\s*(.*)$/.exec(statement)!;
    if (label !== undefined) this.define(label, this.address);
    if (word.startsWith(".")) this.directive(word, rest, bytes, origin);
    else if (word !== "") this.instruction(word.toLowerCase(), rest, bytes);
  }

  private define(name: string, value: number): void {
    const known = this.symbols.get(name);
    if (known !== undefined && (!this.isLast || known !== value)) throw new Error(`${name} is defined twice`);
    this.symbols.set(name, value);
  }

  private directive(word: string, rest: string, bytes: number[], origin: number): void {
    const values = () => rest.split(/,(?!')/).map((part) => this.value(part.trim()));
    switch (word) {
      case ".org": {
        const gap = this.must(this.value(rest)) - origin - bytes.length;
        if (gap < 0) throw new Error("it lies before what was assembled");
        bytes.push(...new Array<number>(gap).fill(0));
        return;
      }
      case ".byte":
        for (const value of values()) bytes.push((value ?? 0) & 0xff);
        return;
      case ".word":
        for (const value of values()) bytes.push((value ?? 0) & 0xff, ((value ?? 0) >> 8) & 0xff);
        return;
      case ".fill": {
        const [count, value = 0] = values();
        bytes.push(...new Array<number>(this.must(count)).fill(value & 0xff));
        return;
      }
      default:
        throw new Error(`${word} is no directive`);
    }
  }

  private instruction(name: string, operand: string, bytes: number[]): void {
    const [opcode, text] = this.choose(name, operand);
    const value = text === "" ? 0 : (this.value(text) ?? this.address);
    bytes.push(opcode.byte);
    if (opcode.mode === "rel") {
      const distance = value - this.address - 2;
      if (this.isLast && (distance < -128 || distance > 127))
        throw new Error(`${distance} bytes are too far`);
      bytes.push(distance & 0xff);
      return;
    }
    const most = opcode.length === 2 ? 0xff : 0xffff;
    if (this.isLast && (value < -(most + 1) / 2 || value > most)) throw new Error(`${value} does not fit`);
    if (opcode.length > 1) bytes.push(value & 0xff);
    if (opcode.length > 2) bytes.push((value >> 8) & 0xff);
  }

  /** The opcode that the operand's form and value ask for, and the operand's expression. */
  private choose(name: string, operand: string): readonly [Opcode, string] {
    for (const [pattern, modes] of forms) {
      const found = pattern.exec(operand);
      if (found === null) continue;
      const known = modes
        .map((mode) => findOpcode(name, mode))
        .filter((opcode): opcode is Opcode => opcode !== undefined);
      if (known.length === 0) continue;
      const text = found[1] ?? "";
      const [short, long] = known as [Opcode, Opcode?];
      if (long === undefined) return [short, text];
      return [this.inZeroPage(text) ? short : long, text];
    }
    throw new Error(`${name} has no such operand`);
  }

  /** Whether an expression is known to lie in the zero page, and was so in the first pass. */
  private inZeroPage(text: string): boolean {
    const value = this.value(text, true);
    return value !== undefined && value >= 0 && value <= 0xff;
  }

  private must(value: number | undefined): number {
    if (value === undefined) throw new Error("it must be known here");
    return value;
  }

  /** The value of an expression; undefined if it uses a name that is not known yet, or lies further down. */
  private value(text: string, isBefore = false): number | undefined {
    const tokens: string[] = [];
    TOKEN.lastIndex = 0;
    for (let at = 0; at < text.trimEnd().length; at = TOKEN.lastIndex) {
      const token = TOKEN.exec(text)?.[1];
      if (token === undefined) throw new Error(`${text} is no expression`);
      tokens.push(token);
    }
    let isKnown = true;
    const one = (): number => {
      const token = tokens.shift();
      if (token === undefined) throw new Error("an operand is missing");
      if (token === "<") return one() & 0xff;
      if (token === ">") return (one() >> 8) & 0xff;
      if (token === "-") return -one();
      if (token === "*") return this.address;
      if (token === "[") {
        const inner = all();
        if (tokens.shift() !== "]") throw new Error("a bracket is not closed");
        return inner;
      }
      if (token.startsWith("$")) return Number.parseInt(token.slice(1), 16);
      if (token.startsWith("%")) return Number.parseInt(token.slice(1), 2);
      if (token.startsWith("'")) return token.charCodeAt(1);
      if (/^\d/.test(token)) return Number(token);
      const value = this.symbols.get(token);
      if (value === undefined && this.isLast) throw new Error(`${token} is not defined`);
      if (value === undefined || (isBefore && this.isLast && value > 0xff)) isKnown = false;
      return value ?? 0;
    };
    const all = (): number => {
      let left = one();
      while (tokens.length > 0 && tokens[0] !== "]") {
        const operator = tokens.shift();
        const right = one();
        if (operator === "+") left += right;
        else if (operator === "-") left -= right;
        else if (operator === "&") left &= right;
        else if (operator === "|") left |= right;
        else throw new Error(`${operator} is no operator`);
      }
      return left;
    };
    const result = all();
    return isKnown ? result : undefined;
  }
}
