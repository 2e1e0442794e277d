/**
 * Reads the text that `print.ts` writes: one operation a line; `;` begins a comment. Values may have any names of
 * letters and digits after the `%`, each defined once and before its uses.
 *
 * The parser settles what each line says; whether the block makes sense is `verify.ts`'s matter.
 */
import { opcodes } from "./opcodes.js";
import type { StateShape } from "./state.js";
import {
  type AmoKind,
  type Block,
  costOfInsn,
  type Helper,
  type InsnMark,
  type Operation,
  type Target,
  type Type,
  type Value,
  type Width,
} from "./types.js";

/** Text that is no IR. */
export class IrSyntaxError extends Error {
  override readonly name = "IrSyntaxError";
  /** Stable code of this error. */
  readonly code = "E_IR_SYNTAX";

  /**
   * @param line line in the text, from 1
   * @param column column in the line, from 1
   * @param reason what was expected, or is unknown
   */
  constructor(
    readonly line: number,
    readonly column: number,
    readonly reason: string,
  ) {
    super(`IR text ${line}:${column}: ${reason}`);
  }
}

const types: ReadonlySet<string> = new Set(["i32", "i64", "f32", "f64"]);
const widths: ReadonlySet<string> = new Set(["8", "16", "32", "64"]);
const amoKinds: ReadonlySet<string> = new Set([
  "swap",
  "add",
  "xor",
  "and",
  "or",
  "min",
  "max",
  "minu",
  "maxu",
]);

/**
 * Parses a block.
 * @param text one operation a line
 * @param shape the slots that the text may name
 * @param helpers the helpers that `call` may name
 * @throws IrSyntaxError with the line and column of the first thing that is wrong
 */
export function parseBlock(text: string, shape: StateShape, helpers: readonly Helper[] = []): Block {
  const byName = new Map(helpers.map((helper) => [helper.name, helper]));
  const values = new Map<string, Value>();
  const operations: Operation[] = [];
  let instructions = 0;
  let bytes = 0;
  let cost = 0;
  let extra = 0;
  text.split("\n").forEach((content, index) => {
    const line = new Line(content, index + 1, values, shape, byName);
    if (line.atEnd()) return;
    const operation = line.operation(operations.length as Value, { ordinal: instructions, charged: cost });
    operations.push(operation);
    extra += operation.most ?? 0;
    if (operation.at === undefined) return;
    instructions += 1;
    cost += costOfInsn(operation.at);
    bytes = Math.max(bytes, operation.at.offset + operation.at.length);
  });
  return {
    operations,
    instructions,
    bytes,
    ...(cost === instructions ? {} : { cost }),
    ...(extra === 0 ? {} : { most: cost + extra }),
  };
}

/** What came before an instruction in its block. */
type Before = Required<Pick<InsnMark, "ordinal" | "charged">>;

/** A cursor over one line. */
class Line {
  private at = 0;
  private readonly text: string;

  constructor(
    content: string,
    private readonly number: number,
    private readonly values: Map<string, Value>,
    private readonly shape: StateShape,
    private readonly helpers: ReadonlyMap<string, Helper>,
  ) {
    this.text = content.replace(/;.*/, "").trimEnd();
    this.skip();
  }

  atEnd(): boolean {
    return this.at >= this.text.length;
  }

  /** Parses the whole line as the operation at `position`, with what came before it. */
  operation(position: Value, before: Before): Operation {
    const nameAt = this.at;
    const name = this.atEnd() || this.text[this.at] !== "%" ? undefined : this.valueName();
    if (name !== undefined) this.expect("=");
    const opAt = this.at;
    const [op, ...suffixes] = this.match(/[a-z0-9.]+/y, "an operation").split(".") as [string, ...string[]];
    if (!opcodes.has(op)) this.fail(opAt, `no operation ${op}`);
    const last = suffixes[suffixes.length - 1];
    const type = last !== undefined && types.has(last) ? (suffixes.pop() as Type) : null;
    if (type === null && name !== undefined) this.fail(opAt, `${op} has no type, so it makes no value`);
    if (type !== null && name === undefined) this.fail(opAt, `the value of ${op} has no name`);
    const operation = { op, type, ...this.suffixes(op, opAt, suffixes), ...this.operands(op, before) };
    if (!this.atEnd()) this.fail(this.at, `unexpected ${this.text.slice(this.at)}`);
    if (name !== undefined) {
      if (this.values.has(name)) this.fail(nameAt, `%${name} is defined twice`);
      this.values.set(name, position);
    }
    return operation;
  }

  private suffixes(op: string, at: number, parts: string[]): Partial<Operation> {
    const fail = (expected: string): never => this.fail(at, `${op} needs ${expected}`);
    switch (op) {
      case "load": {
        const [, sign, width] =
          /^([su])(8|16|32|64)$/.exec(parts.join(".")) ?? fail("a sign and a width: s32, u8");
        return { width: Number(width) as Width, signed: sign === "s" };
      }
      case "amo": {
        const [kind, width] = parts;
        if (parts.length !== 2 || !amoKinds.has(kind!) || !widths.has(width!))
          fail("a kind and a width: add.32");
        return { width: Number(width) as Width, amo: kind as AmoKind };
      }
      case "store":
      case "lr":
      case "sc":
        if (parts.length !== 1 || !widths.has(parts[0]!)) fail("a width");
        return { width: Number(parts[0]) as Width };
      default:
        if (parts.length > 0) this.fail(at, `no operation ${op}.${parts.join(".")}`);
        return {};
    }
  }

  private operands(op: string, before: Before): Pick<Operation, "args"> & Partial<Operation> {
    switch (op) {
      case "insn":
        return { args: [], at: this.mark(before) };
      case "charge": {
        const units = this.value();
        this.expect(",");
        this.expect("most");
        return { args: [units], most: this.count("a most") };
      }
      case "const":
        return { args: [], constant: this.constant() };
      case "field":
        return { args: [], field: this.field() };
      case "pc":
        return { args: [], constant: this.distance() };
      case "get":
        return { args: [], ...this.place() };
      case "set": {
        const place = this.place();
        this.expect(",");
        return { args: [this.value()], ...place };
      }
      case "load":
      case "lr":
        return { args: [this.address()] };
      case "store":
      case "amo":
      case "sc": {
        const address = this.address();
        this.expect(",");
        return { args: [address, this.value()] };
      }
      case "call":
        return this.call();
      case "trapif": {
        const condition = this.value();
        this.expect(",");
        const cause = this.cause();
        return { args: [condition, this.value()], cause };
      }
      case "trap": {
        const cause = this.cause();
        return { args: [this.value()], cause };
      }
      case "jump":
        return { args: [], targets: [this.target()], ...this.link() };
      case "jumpr":
        return { args: [this.value()], ...this.link() };
      case "branch": {
        const condition = this.value();
        this.expect(",");
        const taken = this.target();
        this.expect(",");
        return { args: [condition], targets: [taken, this.target()] };
      }
      default:
        return { args: this.list(() => this.atEnd()) };
    }
  }

  private mark({ ordinal, charged }: Before): InsnMark {
    const offset = this.distance();
    this.expect("len");
    const length = this.count("a length in bytes");
    let cost = 1;
    if (!this.atEnd()) {
      this.expect("cost");
      cost = this.count("a cost");
    }
    const plain = cost === 1 && charged === ordinal;
    return { offset, length, ordinal, ...(plain ? {} : { cost, charged }) };
  }

  private count(what: string): number {
    return Number(this.match(/\d+/y, what));
  }

  private link(): Pick<Operation, "link"> {
    const start = this.at;
    if (this.atEnd()) return {};
    this.expect(",");
    if (!this.text.startsWith("link", this.at)) this.fail(start, `unexpected ${this.text.slice(start)}`);
    this.expect("link");
    return { link: this.distance() };
  }

  /** The operation's type stands before its constant and decides how it is kept. */
  private constant(): Operation["constant"] & {} {
    const start = this.at;
    const digits = this.match(/-?(0x[0-9a-f]+|\d+)/y, "a constant");
    const value = digits.startsWith("-") ? -BigInt(digits.slice(1)) : BigInt(digits);
    const wide = /\.i64\s/.test(this.text.slice(0, start));
    const bits = wide ? 64 : 32;
    if (value !== BigInt.asIntN(bits, value))
      this.fail(start, `${digits} does not fit a signed ${bits}-bit constant`);
    if (!wide) return Number(value);
    return { lo: Number(BigInt.asIntN(32, value)), hi: Number(BigInt.asIntN(32, value >> 32n)) };
  }

  private distance(): number {
    return Number(this.match(/[+-]\d+/y, "a distance with its sign"));
  }

  private target(): Target {
    return this.text[this.at] === "$" ? { field: this.field() } : this.distance();
  }

  private field(): string {
    return this.match(/\$[A-Za-z_]\w*/y, "a field").slice(1);
  }

  private cause(): number {
    this.expect("cause");
    const cause = Number(this.match(/\d+/y, "an exception number"));
    this.expect(",");
    return cause;
  }

  private place(): Pick<Operation, "slot" | "index"> & {} {
    const start = this.at;
    const slot = this.match(/[A-Za-z_]\w*/y, "a slot");
    if (!this.shape.slots.has(slot)) this.fail(start, `no slot ${slot}`);
    if (this.text[this.at] !== "[") return { slot, index: 0 };
    this.expect("[");
    const index =
      this.text[this.at] === "$" ? { field: this.field() } : Number(this.match(/\d+/y, "an index"));
    this.expect("]");
    return { slot, index };
  }

  private address(): Value {
    this.expect("[");
    const value = this.value();
    this.expect("]");
    return value;
  }

  private call(): Pick<Operation, "args" | "helper"> & {} {
    const start = this.at;
    const name = this.match(/[A-Za-z_]\w*/y, "a helper");
    const helper = this.helpers.get(name);
    if (helper === undefined) return this.fail(start, `no helper ${name}`);
    this.expect("(");
    const args = this.list(() => this.text[this.at] === ")");
    this.expect(")");
    return { args, helper };
  }

  private list(ends: () => boolean): Value[] {
    const list: Value[] = [];
    while (!ends()) {
      if (list.length > 0) this.expect(",");
      list.push(this.value());
    }
    return list;
  }

  private value(): Value {
    const start = this.at;
    const name = this.valueName();
    const value = this.values.get(name);
    if (value === undefined) return this.fail(start, `%${name} is not defined before`);
    return value;
  }

  private valueName(): string {
    return this.match(/%\w+/y, "a value").slice(1);
  }

  private expect(symbol: string): void {
    if (!this.text.startsWith(symbol, this.at)) this.fail(this.at, `expected ${symbol}`);
    this.at += symbol.length;
    this.skip();
  }

  private match(pattern: RegExp, what: string): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found === undefined) return this.fail(this.at, `expected ${what}`);
    this.at += found.length;
    this.skip();
    return found;
  }

  private skip(): void {
    while (this.text[this.at] === " " || this.text[this.at] === "\t") this.at += 1;
  }

  private fail(at: number, reason: string): never {
    throw new IrSyntaxError(this.number, at + 1, reason);
  }
}
