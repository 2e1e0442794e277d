/**
 * The values of a block while it is printed as JavaScript: the expression or name of each, in one of three forms.
 *
 * - An i32 or f32 is an int32.
 * - An i64 or f64 is a pair of int32, of which the high half may be known as the sign of the low one, or as zero, and is
 *   then never computed.
 * - Where a region keeps doubles as numbers (`doubles.ts`), it is a number with a pair beside it, which holds the bits
 *   if the number is a NaN.
 *
 * A pure operation with one use is printed inside its user; others get a `const`.
 */
import type { Block, Type, Value } from "@hyperfile/decoder";
import { useCounts } from "../../passes/eliminate-dead.js";
import { Widths } from "../../passes/widths.js";
import { highHalvesNeeded } from "./demand.js";

/** Comparisons of integers: their expressions are booleans, turned into int32. */
export const comparisons: ReadonlySet<string> = new Set(["eq", "ne", "lt", "ltu", "ge", "geu"]);

/** The values of one block. */
export class Values {
  /** Expressions of int32, or of the low halves of pairs. */
  readonly low: string[] = [];
  /** Expressions of high halves; or `sign`, or `zero`. */
  readonly high: string[] = [];
  /** Names of numbers, and the pairs beside them. */
  readonly numbers: string[] = [];
  readonly nans: (readonly [lo: string, hi: string])[] = [];
  /** 1 for values of 64 bits whose high half is needed. */
  readonly highs: Uint8Array;
  /** Position of the operation that is printed. */
  current = 0;
  /** How many bits values need. */
  private readonly widths: Widths;
  private readonly uses: Uint16Array;
  private temporaries = 0;

  /**
   * @param block the block
   * @param resultHighWord word in which runtime functions leave the high half of their result
   * @param suffix end of the names of values, where several blocks share a function
   * @param wanted 1 for values of 64 bits that are wanted as numbers
   * @param print takes each line of output
   */
  constructor(
    readonly block: Block,
    readonly resultHighWord: number,
    private readonly suffix: string,
    readonly wanted: Uint8Array,
    private readonly print: (line: string) => void,
  ) {
    this.uses = useCounts(block);
    this.widths = new Widths(block.operations);
    this.highs = highHalvesNeeded(block, this.widths);
  }

  /** What tells the current operation's locals from others. */
  get id(): string {
    return `${this.current}${this.suffix}`;
  }

  /** Expression that is true where the i32 `value` is not zero. */
  condition(value: Value): string {
    const text = this.low[value]!;
    const boolean = /^\((.*) \| 0\)$/.exec(text);
    const operation = this.block.operations[value]!;
    if (boolean !== null && comparisons.has(operation.op)) return boolean[1]!;
    return `${text} !== 0`;
  }

  /** A fresh local name. */
  temporary(prefix: string): string {
    return `${prefix}${this.temporaries++}${this.suffix}`;
  }

  /** Names the current value `expression`, inline where it has one use. */
  single(expression: string): void {
    const { current } = this;
    const simple = /^-?[\w$]+$/.test(expression);
    if (simple || this.uses[current]! <= 1) {
      this.low[current] = expression;
      return;
    }
    this.line(`const v${this.id} = ${expression};`);
    this.low[current] = `v${this.id}`;
  }

  /** Names the halves of the current value; `hi` may be "sign" or "zero". */
  pair(lo: string, hi: string): void {
    const { current } = this;
    const needed = this.highs[current] === 1;
    if (/^-?[\w$]+$/.test(lo) || (this.uses[current]! <= 1 && !(needed && hi === "sign")))
      this.low[current] = lo;
    else {
      this.line(`const l${this.id} = ${lo};`);
      this.low[current] = `l${this.id}`;
    }
    if (!needed || hi === "sign" || hi === "zero" || /^-?[\w$]+$/.test(hi) || this.uses[current]! <= 1)
      this.high[current] = hi;
    else {
      this.line(`const h${this.id} = ${hi};`);
      this.high[current] = `h${this.id}`;
    }
  }

  /** The low half of `value` as a name or literal, so that it may be repeated. */
  atom(value: Value): string {
    const text = this.low[value]!;
    if (/^-?[\w$]+$/.test(text)) return text;
    this.line(`const l${value}${this.suffix} = ${text};`);
    this.low[value] = `l${value}${this.suffix}`;
    return `l${value}${this.suffix}`;
  }

  /** The high half of `value` as a name or literal. */
  atomHigh(value: Value): string {
    const text = this.hi(value);
    if (/^-?[\w$]+$/.test(text)) return text;
    if (this.high[value] === "sign") {
      const name = this.temporary("s");
      this.line(`const ${name} = ${text};`);
      return name;
    }
    this.line(`const h${value}${this.suffix} = ${text};`);
    this.high[value] = `h${value}${this.suffix}`;
    return `h${value}${this.suffix}`;
  }

  /** The type of a value. */
  typeOf(value: Value): Type {
    return this.block.operations[value]!.type!;
  }

  /** The value as call arguments: one or two. */
  operand(value: Value): string[] {
    const type = this.typeOf(value);
    return type === "i64" || type === "f64" ? [this.lo(value), this.hi(value)] : [this.lo(value)];
  }

  /** The constant, or its low half, that a value is; undefined if it is none. */
  constantOf(value: Value): number | undefined {
    const operation = this.block.operations[value]!;
    if (operation.op !== "const") return undefined;
    return typeof operation.constant === "number" ? operation.constant : operation.constant!.lo;
  }

  /** Whether the high half is the sign of the low one. */
  isSignExtended(value: Value): boolean {
    return this.widths.signed(value) <= 32;
  }

  /** Whether the high half is zero. */
  isZeroExtended(value: Value): boolean {
    return this.widths.unsigned(value) <= 32;
  }

  /** How the high half of the current value follows from the low one; undefined if it must be computed. */
  extension(): "zero" | "sign" | undefined {
    const value = this.current as Value;
    if (this.isZeroExtended(value)) return "zero";
    return this.isSignExtended(value) ? "sign" : undefined;
  }

  /** A runtime function of 64 bits: its low half is the result, the high half waits in the header. */
  wideCall(name: string, args: string[]): void {
    const { current } = this;
    this.line(`const l${this.id} = ${name}(${args.join(", ")}), h${this.id} = I[${this.resultHighWord}];`);
    this.low[current] = `l${this.id}`;
    this.high[current] = `h${this.id}`;
  }

  /** Names both halves at once. */
  named(lo: string, hi: string): void {
    const { current } = this;
    this.line(`const l${this.id} = ${lo}, h${this.id} = ${hi};`);
    this.low[current] = `l${this.id}`;
    this.high[current] = `h${this.id}`;
  }

  /** Expression of a value, or of the low half of a pair. */
  lo(value: Value): string {
    return this.low[value]!;
  }

  /** Expression of the high half of a pair. */
  hi(value: Value): string {
    const kind = this.high[value]!;
    if (kind === "sign") return `(${this.atom(value)} >> 31)`;
    return kind === "zero" ? "0" : kind;
  }

  /** Adds a line of output. */
  line(text: string): void {
    if (text !== "") this.print(text);
  }

  /** Name of a value's number, made here if it has only halves so far. */
  number(value: Value): string {
    const known = this.numbers[value];
    if (known !== undefined) return known;
    const [low, high] = [this.atom(value), this.atomHigh(value)];
    const name = `$${value}${this.suffix}`;
    this.line(`const ${name} = toDouble(${low}, ${high});`);
    this.numbers[value] = name;
    this.nans[value] = [low, high];
    return name;
  }

  /** The current value is the number of this name; if it is a NaN, its bits are these. */
  nameNumber(number: string, nanLow: string, nanHigh: string): void {
    const { current } = this;
    this.numbers[current] = number;
    this.nans[current] = [nanLow, nanHigh];
    this.low[current] = `lowOf(${number}, ${nanLow})`;
    this.high[current] = `highOf(${number}, ${nanHigh})`;
  }

  /** Values as call arguments, separated by commas. */
  bitsOf(values: readonly Value[]): string {
    return values.flatMap((value) => this.operand(value)).join(", ");
  }
}
