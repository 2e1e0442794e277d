/**
 * Assembly source as statements of tokens. A statement ends at a line's end or at `;`. Comments run from `#` or `//`
 * to the line's end, or between slash-star and star-slash. Every pattern consumes what it scans, so the time is
 * linear in the source.
 */

/** A fault in assembly source: what is wrong, and where. */
export class AssemblyError extends Error {
  readonly code = "E_ASSEMBLY";
  /**
   * @param problem what is wrong
   * @param token where; lines and columns count from 1
   * @param expected what would have been right there, if the problem is just that
   */
  constructor(
    readonly problem: string,
    readonly token: Token,
    readonly expected: readonly string[] = [],
  ) {
    super(`line ${token.line}, column ${token.column}: ${problem}`);
    this.name = "AssemblyError";
  }

  /** Line of the fault, from 1. */
  get line(): number {
    return this.token.line;
  }

  /** Column of the fault in UTF-16 units, from 1. */
  get column(): number {
    return this.token.column;
  }
}

/** Kind of a token: `local` is a reference such as `1b`; `end` closes a statement. */
export type TokenKind = "name" | "number" | "local" | "string" | "mark" | "end";

/** A token. */
export interface Token {
  readonly kind: TokenKind;
  /** As written; a string is still in its quotes. */
  readonly text: string;
  /** Of a number; of others 0. */
  readonly value: bigint;
  readonly line: number;
  readonly column: number;
}

type Position = Pick<Token, "line" | "column">;

const blank = /[ \t\r\f\v]+|#[^\n]*|\/\/[^\n]*/y;
const word = /[\w.$]+/y;
const character = /'(\\(?:x[\da-fA-F]+|[0-7]{1,3}|[^\n])|[^\\\n])'?/y;
const mark = /<<|<=|<>|<|>>|>=|>|==|=|!=|!|&&|&|\|\||\||[-+*/%^~(),:@]/y;
const isLocal = /^\d+[bf]$/;
const isNumber = /^(?:0[xX][\da-fA-F]+|0[bB][01]+|0[0-7]*|[1-9]\d*)$/;
/** The longest number of 64 bits is a binary one with its prefix; leading zeros have room too. */
const LONGEST_NUMBER = 80;

/** Splits source into statements: the tokens of each, the last of kind `end`. Empty ones are left out. */
export function statementsOf(source: string): readonly (readonly Token[])[] {
  return new Lexer(source).statements();
}

class Lexer {
  private at = 0;
  private line = 1;
  private lineStart = 0;

  constructor(private readonly source: string) {}

  statements(): Token[][] {
    const { source } = this;
    const statements: Token[][] = [];
    let tokens: Token[] = [];
    for (;;) {
      this.skipBlanks();
      const here = this.position();
      const text = source[this.at];
      if (text === undefined || text === "\n" || text === ";") {
        if (tokens.length > 0) statements.push([...tokens, { kind: "end", text: "", value: 0n, ...here }]);
        tokens = [];
        if (text === undefined) return statements;
        this.at += 1;
        if (text === "\n") this.nextLine(this.at);
      } else tokens.push(this.token(here));
    }
  }

  private position(): Position {
    return { line: this.line, column: this.at - this.lineStart + 1 };
  }

  private nextLine(start: number): void {
    this.line += 1;
    this.lineStart = start;
  }

  /** Takes what `pattern` matches here; empty if it does not. */
  private take(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const text = pattern.exec(this.source)?.[0] ?? "";
    this.at += text.length;
    return text;
  }

  private skipBlanks(): void {
    for (;;) {
      if (this.take(blank) !== "") continue;
      if (!this.source.startsWith("/*", this.at)) return;
      const close = this.source.indexOf("*/", this.at + 2);
      if (close < 0) throw this.unreadable("the comment has no end", this.position(), "/*");
      for (let at = this.source.indexOf("\n", this.at); at >= 0 && at < close; ) {
        this.nextLine(at + 1);
        at = this.source.indexOf("\n", at + 1);
      }
      this.at = close + 2;
    }
  }

  private unreadable(problem: string, here: Position, text: string): AssemblyError {
    return new AssemblyError(problem, { kind: "mark", text, value: 0n, ...here });
  }

  private token(here: Position): Token {
    if (this.source[this.at] === '"') return { kind: "string", text: this.string(here), value: 0n, ...here };
    const letters = this.take(word);
    if (letters !== "") return this.wordToken(letters, here);
    const quoted = this.take(character);
    if (quoted !== "") {
      const [code] = bytesOf(/^'(\\?.[^']*)/s.exec(quoted)![1]!);
      return { kind: "number", text: quoted, value: BigInt(code!), ...here };
    }
    const text = this.take(mark);
    if (text !== "") return { kind: "mark", text, value: 0n, ...here };
    const found = this.source[this.at]!;
    throw this.unreadable(`unexpected character ${JSON.stringify(found)}`, here, found);
  }

  private wordToken(text: string, here: Position): Token {
    if (!/^\d/.test(text)) return { kind: "name", text, value: 0n, ...here };
    if (isLocal.test(text)) return { kind: "local", text, value: 0n, ...here };
    if (!isNumber.test(text)) {
      const octal = /^0\d+$/.test(text) ? " octal" : "";
      throw this.unreadable(`${text.slice(0, LONGEST_NUMBER)} is no${octal} number`, here, text);
    }
    const value = text.length > LONGEST_NUMBER ? undefined : BigInt(text.replace(/^0(?=\d)/, "0o"));
    if (value === undefined || BigInt.asUintN(64, value) !== value) {
      throw this.unreadable("the number has more than 64 bits", here, text);
    }
    return { kind: "number", text, value, ...here };
  }

  private string(here: Position): string {
    const start = this.at;
    for (this.at += 1; this.source[this.at] !== '"'; this.at += 1) {
      if (this.source[this.at] === "\\") this.at += 1;
      const found = this.source[this.at];
      if (found === undefined || found === "\n")
        throw this.unreadable("the string has no end on its line", here, '"');
    }
    this.at += 1;
    return this.source.slice(start, this.at);
  }
}

const escapes: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, b: 8, f: 12 };

/** Characters as UTF-8; after a backslash `b f n r t`, up to three octal digits, or `x` and hexadecimal ones. */
function bytesOf(text: string): number[] {
  const bytes: number[] = [];
  const encoder = new TextEncoder();
  for (const [piece, octal, hex, letter] of text.matchAll(/\\(?:([0-7]{1,3})|x([\da-fA-F]+)|(.))|[^\\]+/gs)) {
    if (octal !== undefined) bytes.push(Number.parseInt(octal, 8) & 255);
    else if (hex !== undefined) bytes.push(Number.parseInt(hex.slice(-2), 16));
    else if (letter !== undefined && letter in escapes) bytes.push(escapes[letter]!);
    else for (const byte of encoder.encode(letter ?? piece)) bytes.push(byte);
  }
  return bytes;
}

/** The bytes that a string token stands for. */
export const stringBytes = (token: Token): Uint8Array => Uint8Array.from(bytesOf(token.text.slice(1, -1)));

/** A place in a statement's tokens. */
export class Cursor {
  constructor(
    private readonly tokens: readonly Token[],
    private position = 0,
  ) {}

  /** The token here. */
  get token(): Token {
    return this.tokens[this.position]!;
  }

  /** The token `distance` further on; the last one if there are not so many. */
  peek(distance: number): Token {
    return this.tokens[Math.min(this.position + distance, this.tokens.length - 1)]!;
  }

  /** Whether the statement ends here. */
  get atEnd(): boolean {
    return this.token.kind === "end";
  }

  /** Whether the mark `text` is here. */
  isMark(text: string): boolean {
    return this.token.kind === "mark" && this.token.text === text;
  }

  /** Takes the token here. */
  next(): Token {
    const { token } = this;
    if (!this.atEnd) this.position += 1;
    return token;
  }

  /** Takes the token here if it is the mark `text`. */
  accept(text: string): boolean {
    const found = this.isMark(text);
    if (found) this.position += 1;
    return found;
  }

  /** Takes the mark `text`; throws if it is not here. */
  expect(text: string): void {
    if (!this.accept(text)) this.fail(`"${text}"`);
  }

  /** Takes a name; throws, saying `what` is expected, if there is none. */
  name(what: string): Token {
    return this.token.kind === "name" ? this.next() : this.fail(what);
  }

  /** Throws unless the statement ends here. */
  expectEnd(): void {
    if (!this.atEnd) this.fail("the end of the statement");
  }

  /** Goes to the statement's end. */
  skipRest(): void {
    this.position = this.tokens.length - 1;
  }

  /** Throws: `expected` is missing here. */
  fail(...expected: string[]): never {
    const { kind, text } = this.token;
    const found = kind === "end" ? "the statement ends" : `found ${JSON.stringify(text.slice(0, 80))}`;
    throw new AssemblyError(`expected ${expected.join(" or ")}, ${found}`, this.token, expected);
  }

  /** A second cursor at the same place. */
  fork(): Cursor {
    return new Cursor(this.tokens, this.position);
  }
}
