/**
 * Prints IR operations as JavaScript over int32: the part that translations and the interpreter share.
 *
 * - An i32 or f32 value is an int32; an i64 or f64 value is a pair of int32, of which the high half may be known
 *   as the sign of the low one, or as zero, and is then never computed.
 * - A pure operation with one use is printed inside its user; others get a `const`.
 * - Guest memory goes through the software TLB inline: one masked compare checks page and alignment together;
 *   a miss calls a slow path by name, and `header.exit` tells afterwards whether to leave.
 * - Regions keep doubles as numbers; see `doubles.ts`.
 *
 * The emitted text uses only the names in `bindings.ts`, its own constants, and typed-array indexing; `verify.ts`
 * checks exactly that.
 */
import {
  type Block,
  type InsnMark,
  type Operation,
  opcodes,
  type StateShape,
  type Value,
} from "@hyperfile/decoder";
import { header, PAGE_SIZE, STATE_OFFSET, TLB_ENTRIES } from "../../memory/layout.js";
import { amoKinds } from "../../mmu/ports.js";
import { useCounts } from "../../passes/eliminate-dead.js";
import { staleReads } from "../../passes/stale-reads.js";
import { highHalvesNeeded } from "./demand.js";
import { CANONICAL_NAN, fastComparisons, fastDoubles } from "./doubles.js";

/** Word index of a header field of the hart block that starts at `hartOffset`. */
export const headerWord = (hartOffset: number, field: keyof typeof header): number =>
  (hartOffset + header[field]) >> 2;

/** What differs between a translation and an interpreter's handler. */
export interface EmitterHost {
  /** The operations that follow belong to this instruction. */
  mark(at: InsnMark): void;
  /** Statements that take an i32 from the budget. */
  charge(units: string): string;
  /** Statements and value for the `site` argument of a slow path or helper at the current instruction. */
  site(): string;
  /** Statements to run before a slow path (an interpreter saves its registers). */
  beforeSlowPath(): string;
  /** Statements that leave because `header.exit` is set. */
  bail(): string;
  /** Statements to run after a helper that may have changed the hart's mode. */
  afterHelper(): string;
  /** Low and high half of the address of the block's start plus a distance. */
  pc(distance: number): readonly [lo: string, hi: string];
  /** The int32 value of an instruction field (templates only). */
  field(name: string): string;
  /** Word offset of element `field` of a slot array whose elements have `words` words (templates only). */
  fieldIndex(name: string, words: 1 | 2): string;
  /** Statements for the block's exit. */
  exit(operation: Operation, emitter: JsEmitter): void;
  /** End of the names of values, where several blocks share a function. */
  readonly suffix?: string;
  /** Locals with a slot's low and high half and, where it is kept as a double, its number; else that is empty. */
  slotLocals?(operation: Operation): readonly [lo: string, hi: string, number: string] | undefined;
  /** Word of the accrued floating-point flags, where doubles are kept as numbers. */
  readonly flagsWord?: number | undefined;
  /** Statements that bring slots to memory, before a helper that reads or writes them. */
  spill?(): string;
  /** Statements that leave because `header.exit` is set, after a helper for which slots were spilled. */
  bailSpilled?(): string;
}

/** Prints one block. */
export class JsEmitter {
  readonly lines: string[] = [];
  private readonly uses: Uint16Array;
  private readonly highs: Uint8Array;
  private readonly low: string[] = [];
  private readonly high: string[] = [];
  /** Names of the numbers of doubles, and the halves beside them, which mean something if the number is a NaN. */
  private readonly numbers: string[] = [];
  private readonly nans: (readonly [lo: string, hi: string])[] = [];
  /** Values of 64 bits that are wanted as numbers. */
  private readonly wanted: Uint8Array;
  /** Reads of slots in locals that must be copied, since the slot changes before their last use. */
  private readonly stale: Uint8Array | undefined;
  private readonly suffix: string;
  private current = 0;
  private temporaries = 0;
  private print = (line: string): void => {
    this.lines.push(line);
  };

  /**
   * @param block what to print
   * @param shape where the slots are
   * @param hartOffset byte offset of the hart's block in linear memory
   * @param wideAddresses whether guest addresses are i64
   * @param host what the surrounding function provides
   * @param pageBytes bytes of the pages in which loads and stores are translated
   */
  constructor(
    readonly block: Block,
    private readonly shape: StateShape,
    private readonly hartOffset: number,
    private readonly wideAddresses: boolean,
    private readonly host: EmitterHost,
    private readonly pageBytes = PAGE_SIZE,
  ) {
    this.uses = useCounts(block);
    this.highs = highHalvesNeeded(block);
    this.suffix = host.suffix ?? "";
    this.wanted = this.wantedNumbers();
    // A value may be repeated under another name: each pure operation counts as printed inside its users.
    if (host.slotLocals !== undefined)
      this.stale = staleReads(block, ({ op }) => opcodes.get(op)!.kind === "pure");
  }

  /**
   * Prints all operations in order.
   * @param print takes each line as it comes; without it, they gather in `lines`
   */
  emitAll(print?: (line: string) => void): void {
    if (print !== undefined) this.print = print;
    this.block.operations.forEach((operation, position) => {
      this.current = position;
      this.emit(operation);
    });
  }

  /** Adds a line of output. */
  line(text: string): void {
    if (text !== "") this.print(text);
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

  /** Expression that is true where the i32 `value` is not zero. */
  condition(value: Value): string {
    const text = this.low[value]!;
    const boolean = /^\((.*) \| 0\)$/.exec(text);
    const operation = this.block.operations[value]!;
    if (boolean !== null && comparisons.has(operation.op)) return boolean[1]!;
    return `${text} !== 0`;
  }

  /** Word index of a slot's low half as an expression. */
  slotWord(operation: Operation): string {
    const slot = this.shape.slots.get(operation.slot!)!;
    const base = (this.hartOffset + STATE_OFFSET + slot.offset) >> 2;
    const words = (slot.stride >> 2) as 1 | 2;
    if (typeof operation.index === "object")
      return `${this.host.fieldIndex(operation.index.field, words)} + ${base}`;
    return String(base + (operation.index ?? 0) * words);
  }

  /** A fresh local name. */
  temporary(prefix: string): string {
    return `${prefix}${this.temporaries++}${this.suffix}`;
  }

  /** What tells the current operation's locals from others. */
  private get id(): string {
    return `${this.current}${this.suffix}`;
  }

  private headerWord(field: keyof typeof header): number {
    return headerWord(this.hartOffset, field);
  }

  private emit(operation: Operation): void {
    const { op, args } = operation;
    switch (op) {
      case "insn":
        return this.host.mark(operation.at!);
      case "charge":
        return this.line(this.host.charge(this.lo(args[0]!)));
      case "const":
        return this.emitConstant(operation);
      case "field":
        return this.single(this.host.field(operation.field!));
      case "pc": {
        const [lo, hi] = this.host.pc(operation.constant as number);
        return operation.type === "i64" ? this.pair(lo, hi) : this.single(lo);
      }
      case "get":
        return this.emitGet(operation);
      case "set": {
        const locals = this.host.slotLocals?.(operation);
        if (locals !== undefined) return this.setLocals(locals, args[0]!);
        const word = this.slotWord(operation);
        const wide = this.shape.slots.get(operation.slot!)!.stride === 8;
        this.line(`I[${word}] = ${this.lo(args[0]!)};`);
        if (wide)
          this.line(
            `I[${word} + 1] = ${this.hi(args[0]!)};`.replace(/\[(\d+) \+ 1\]/, (_, n) => `[${+n + 1}]`),
          );
        return;
      }
      case "load":
        return this.emitLoad(operation);
      case "store":
        return this.emitStore(operation);
      case "amo":
        return this.slowMemory(
          `amo${operation.width}`,
          [String(amoKinds.indexOf(operation.amo!)), ...this.address(args[0]!), ...this.operand(args[1]!)],
          operation.type,
        );
      case "lr":
        return this.slowMemory(`lr${operation.width}`, this.address(args[0]!), operation.type);
      case "sc":
        return this.slowMemory(
          `sc${operation.width}`,
          [...this.address(args[0]!), ...this.operand(args[1]!)],
          operation.type,
        );
      case "call":
        return this.emitCall(operation);
      case "trapif":
      case "trap": {
        const raise = `${this.host.beforeSlowPath()} raise(${[operation.cause, ...this.operand(args[args.length - 1]!), this.host.site()].join(", ")}); ${this.host.bail()}`;
        if (op === "trapif") this.line(`if (${this.condition(args[0]!)}) { ${raise} }`);
        else this.line(raise);
        return;
      }
      case "jump":
      case "branch":
      case "jumpr":
      case "leave":
        return this.host.exit(operation, this);
      default:
        if (/^(f[a-z]|bits|[iu](32|64)tof)/.test(op)) return this.emitFloat(operation);
        return operation.type === "i64" ? this.emitWide(operation) : this.emitNarrow(operation);
    }
  }

  // -- values

  /** Names the current value `expression`, inline where it has one use. */
  private single(expression: string): void {
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
  private pair(lo: string, hi: string): void {
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

  private typeOf(value: Value) {
    return this.block.operations[value]!.type!;
  }

  /** The value as call arguments: one or two. */
  private operand(value: Value): string[] {
    const type = this.typeOf(value);
    return type === "i64" || type === "f64" ? [this.lo(value), this.hi(value)] : [this.lo(value)];
  }

  /** A guest address as two call arguments; the high half of a 32-bit address is 0. */
  private address(value: Value): string[] {
    return this.wideAddresses ? [this.lo(value), this.hi(value)] : [this.lo(value), "0"];
  }

  private constantOf(value: Value): number | undefined {
    const operation = this.block.operations[value]!;
    if (operation.op !== "const") return undefined;
    return typeof operation.constant === "number" ? operation.constant : operation.constant!.lo;
  }

  private isSigned(value: Value): boolean {
    return this.high[value] === "sign";
  }

  private isZeroHigh(value: Value): boolean {
    return this.high[value] === "zero" || this.high[value] === "0";
  }

  private emitConstant(operation: Operation): void {
    const { constant } = operation;
    if (typeof constant === "number") {
      this.low[this.current] = String(constant);
      return;
    }
    this.low[this.current] = String(constant!.lo);
    this.high[this.current] = String(constant!.hi);
  }

  private emitGet(operation: Operation): void {
    const { current } = this;
    const locals = this.host.slotLocals?.(operation);
    if (locals !== undefined) {
      const isStale = this.stale![current] === 1;
      const [low, high] = isStale ? [`l${this.id}`, `h${this.id}`] : locals;
      if (locals[2] !== "") {
        const number = isStale ? `$${this.id}` : locals[2];
        if (isStale)
          this.line(`const ${number} = ${locals[2]}, ${low} = ${locals[0]}, ${high} = ${locals[1]};`);
        return this.nameNumber(number, low, high);
      }
      this.low[current] = low;
      if (locals[1] !== "") this.high[current] = high;
      const needed = locals[1] !== "" && this.highs[current] === 1;
      if (isStale) this.line(`const ${low} = ${locals[0]}${needed ? `, ${high} = ${locals[1]}` : ""};`);
      return;
    }
    const word = this.slotWord(operation);
    if (this.shape.slots.get(operation.slot!)!.stride === 4) {
      this.line(`const v${this.id} = I[${word}];`);
      this.low[current] = `v${this.id}`;
      return;
    }
    this.line(`const l${this.id} = I[${word}];`);
    this.low[current] = `l${this.id}`;
    this.high[current] = `h${this.id}`;
    if (this.highs[current] === 1) {
      const next = /^\d+$/.test(word) ? String(+word + 1) : `${word} + 1`;
      this.line(`const h${this.id} = I[${next}];`);
    }
  }

  private setLocals(locals: readonly [lo: string, hi: string, number: string], value: Value): void {
    const [low, high, number] = locals;
    const known = number === "" ? undefined : this.numbers[value];
    if (known !== undefined) {
      const [nanLow, nanHigh] = this.nans[value]!;
      // A NaN's high half may be computed from the slot's own locals.
      return this.line(`${high} = ${nanHigh}; ${low} = ${nanLow}; ${number} = ${known};`);
    }
    this.setHalves(low, high, value);
    if (number !== "") this.line(`${number} = toDouble(${low}, ${high});`);
  }

  private setHalves(low: string, high: string, value: Value): void {
    const text = this.lo(value);
    if (high === "") return this.line(`${low} = ${text};`);
    // The high half's text may name the slot's own locals, or the low half's text, which is dear to print twice.
    const highText = this.high[value] === "sign" ? `${low} >> 31` : this.hi(value);
    if (this.high[value] !== "sign" && names(highText).includes(low)) {
      const name = this.temporary("t");
      this.line(`const ${name} = ${highText};`);
      this.line(`${low} = ${text}; ${high} = ${name};`);
    } else this.line(`${low} = ${text}; ${high} = ${highText};`);
  }

  // -- 32-bit operations

  private emitNarrow(operation: Operation): void {
    const { op, args } = operation;
    const a = args[0]!;
    const b = args[1]!;
    if (comparisons.has(op)) return this.single(`(${this.comparison(op, a, b)} | 0)`);
    switch (op) {
      case "add":
        return this.single(`(${this.lo(a)} + ${this.lo(b)} | 0)`);
      case "sub":
        return this.single(`(${this.lo(a)} - ${this.lo(b)} | 0)`);
      case "mul":
        return this.single(`imul(${this.lo(a)}, ${this.lo(b)})`);
      case "and":
        return this.single(`(${this.lo(a)} & ${this.lo(b)})`);
      case "or":
        return this.single(`(${this.lo(a)} | ${this.lo(b)})`);
      case "xor":
        return this.single(`(${this.lo(a)} ^ ${this.lo(b)})`);
      case "shl":
        return this.single(`(${this.lo(a)} << ${this.lo(b)})`);
      case "shru":
        return this.single(`(${this.lo(a)} >>> ${this.lo(b)} | 0)`);
      case "shrs":
        return this.single(`(${this.lo(a)} >> ${this.lo(b)})`);
      case "rotl":
        return this.single(
          `(${this.atom(a)} << ${this.atom(b)} | ${this.atom(a)} >>> (32 - ${this.atom(b)}))`,
        );
      case "rotr":
        return this.single(
          `(${this.atom(a)} >>> ${this.atom(b)} | ${this.atom(a)} << (32 - ${this.atom(b)}))`,
        );
      case "div":
        return this.single(`(${this.atom(b)} === 0 ? -1 : ${this.lo(a)} / ${this.atom(b)} | 0)`);
      case "rem":
        return this.single(
          `(${this.atom(b)} === 0 ? ${this.atom(a)} : ${this.atom(a)} % ${this.atom(b)} | 0)`,
        );
      case "divu":
        return this.single(
          `(${this.atom(b)} === 0 ? -1 : (${this.lo(a)} >>> 0) / (${this.atom(b)} >>> 0) | 0)`,
        );
      case "remu":
        return this.single(
          `(${this.atom(b)} === 0 ? ${this.atom(a)} : (${this.atom(a)} >>> 0) % (${this.atom(b)} >>> 0) | 0)`,
        );
      case "mulh":
      case "mulhu":
      case "mulhsu":
        return this.single(`${op}32(${this.lo(a)}, ${this.lo(b)})`);
      case "clz":
        return this.single(`clz32(${this.lo(a)})`);
      case "ctz":
        return this.single(`(32 - clz32(~${this.atom(a)} & ${this.atom(a)} - 1))`);
      case "popcnt":
        return this.single(`popcnt32(${this.lo(a)})`);
      case "bswap":
        return this.single(`bswap32(${this.lo(a)})`);
      case "sext8":
        return this.single(`(${this.lo(a)} << 24 >> 24)`);
      case "sext16":
        return this.single(`(${this.lo(a)} << 16 >> 16)`);
      case "zext8":
        return this.single(`(${this.lo(a)} & 255)`);
      case "zext16":
        return this.single(`(${this.lo(a)} & 65535)`);
      case "wrap":
        return this.single(this.lo(a));
      case "select":
        return this.single(`(${this.condition(a)} ? ${this.lo(b)} : ${this.lo(args[2]!)})`);
      default:
        throw new Error(`the JavaScript backend does not know ${op}.i32`);
    }
  }

  private comparison(op: string, a: Value, b: Value): string {
    if (this.typeOf(a) === "i64") return this.wideComparison(op, a, b);
    const x = this.lo(a);
    const y = this.lo(b);
    switch (op) {
      case "eq":
        return `${x} === ${y}`;
      case "ne":
        return `${x} !== ${y}`;
      case "lt":
        return `${x} < ${y}`;
      case "ge":
        return `${x} >= ${y}`;
      case "ltu":
        return `(${x} >>> 0) < (${y} >>> 0)`;
      default:
        return `(${x} >>> 0) >= (${y} >>> 0)`;
    }
  }

  private isSignExtended(value: Value): boolean {
    const constant = this.block.operations[value]!.constant;
    if (this.block.operations[value]!.op === "const" && typeof constant === "object") {
      return constant.hi === constant.lo >> 31;
    }
    return this.isSigned(value);
  }

  private wideComparison(op: string, a: Value, b: Value): string {
    // Sign extension keeps both the signed and the unsigned order, so low halves decide.
    if (this.isSignExtended(a) && this.isSignExtended(b)) {
      const x = this.lo(a);
      const y = this.lo(b);
      const unsigned = op === "ltu" || op === "geu";
      const sign = { eq: "===", ne: "!==", lt: "<", ltu: "<", ge: ">=", geu: ">=" }[op];
      return unsigned ? `(${x} >>> 0) ${sign} (${y} >>> 0)` : `${x} ${sign} ${y}`;
    }
    const [al, bl] = [this.atom(a), this.atom(b)];
    const [ah, bh] = [this.atomHigh(a), this.atomHigh(b)];
    switch (op) {
      case "eq":
        return bl === "0" && bh === "0" ? `(${al} | ${ah}) === 0` : `(${al} ^ ${bl} | ${ah} ^ ${bh}) === 0`;
      case "ne":
        return bl === "0" && bh === "0" ? `(${al} | ${ah}) !== 0` : `(${al} ^ ${bl} | ${ah} ^ ${bh}) !== 0`;
      case "lt":
        if (bl === "0" && bh === "0") return `${ah} < 0`;
        return `(${ah} === ${bh} ? (${al} >>> 0) < (${bl} >>> 0) : ${ah} < ${bh})`;
      case "ge":
        if (bl === "0" && bh === "0") return `${ah} >= 0`;
        return `(${ah} === ${bh} ? (${al} >>> 0) >= (${bl} >>> 0) : ${ah} > ${bh})`;
      case "ltu":
        return `(${ah} === ${bh} ? (${al} >>> 0) < (${bl} >>> 0) : (${ah} >>> 0) < (${bh} >>> 0))`;
      default:
        return `(${ah} === ${bh} ? (${al} >>> 0) >= (${bl} >>> 0) : (${ah} >>> 0) > (${bh} >>> 0))`;
    }
  }

  // -- 64-bit operations

  private emitWide(operation: Operation): void {
    const { op, args } = operation;
    const a = args[0]!;
    const b = args[1]!;
    const high = this.highs[this.current] === 1;
    switch (op) {
      case "sext32":
        return this.pair(this.lo(a), "sign");
      case "zext32":
        return this.pair(this.lo(a), "zero");
      case "sext8":
        return this.pair(`(${this.lo(a)} << 24 >> 24)`, "sign");
      case "sext16":
        return this.pair(`(${this.lo(a)} << 16 >> 16)`, "sign");
      case "zext8":
        return this.pair(`(${this.lo(a)} & 255)`, "zero");
      case "zext16":
        return this.pair(`(${this.lo(a)} & 65535)`, "zero");
      case "add":
        return this.emitWideAdd(a, b, high);
      case "sub":
        return this.emitWideSub(a, b, high);
      case "and":
        if (this.emitSign(a, b, -1, 0x7fffffff)) return;
        return this.pair(`(${this.lo(a)} & ${this.lo(b)})`, high ? this.bitwiseHigh("&", a, b) : "zero");
      case "or":
        return this.pair(`(${this.lo(a)} | ${this.lo(b)})`, high ? this.bitwiseHigh("|", a, b) : "zero");
      case "xor":
        if (this.emitSign(a, b, 0, -0x80000000)) return;
        return this.pair(`(${this.lo(a)} ^ ${this.lo(b)})`, high ? this.bitwiseHigh("^", a, b) : "zero");
      case "mul":
        if (!high) return this.pair(`imul(${this.lo(a)}, ${this.lo(b)})`, "zero");
        return this.emitWideMultiply(a, b);
      case "shl":
      case "shru":
      case "shrs":
        return this.emitWideShift(op, a, b, high);
      case "select":
        return this.emitWideSelect(a, b, args[2]!, high);
      case "rotl":
      case "rotr":
        return this.wideCall(`${op}64`, [this.lo(a), this.hi(a), this.lo(b)]);
      case "clz":
      case "ctz":
      case "popcnt":
        this.pair(`${op}64(${this.lo(a)}, ${this.hi(a)})`, "zero");
        return;
      case "bswap":
        if (high) {
          this.line(`const l${this.id} = bswap32(${this.hi(a)}), h${this.id} = bswap32(${this.lo(a)});`);
          return this.pair(`l${this.id}`, `h${this.id}`);
        }
        return this.pair(`bswap32(${this.hi(a)})`, "zero");
      case "mulh":
      case "mulhu":
      case "mulhsu":
      case "div":
      case "divu":
      case "rem":
      case "remu":
        return this.wideCall(`${op}64`, [this.lo(a), this.hi(a), this.lo(b), this.hi(b)]);
      default:
        throw new Error(`the JavaScript backend does not know ${op}.i64`);
    }
  }

  /** A runtime function of 64 bits: its low half is the result, the high half waits in the header. */
  private wideCall(name: string, args: string[]): void {
    const { current } = this;
    this.line(
      `const l${this.id} = ${name}(${args.join(", ")}), h${this.id} = I[${this.headerWord("resultHigh")}];`,
    );
    this.low[current] = `l${this.id}`;
    this.high[current] = `h${this.id}`;
  }

  private emitWideAdd(a: Value, b: Value, high: boolean): void {
    if (!high) return this.pair(`(${this.lo(a)} + ${this.lo(b)} | 0)`, "zero");
    const [al, bl] = [this.atom(a), this.atom(b)];
    const low = `l${this.id}`;
    this.line(`const ${low} = ${al} + ${bl} | 0;`);
    // The carry out of the low halves: the sum is below either addend.
    const carry = `((${low} >>> 0) < (${bl} >>> 0) | 0)`;
    const highs = [this.hi(a), this.hi(b)].filter((text) => text !== "0");
    this.line(`const h${this.id} = ${[...highs, carry].join(" + ")} | 0;`);
    this.low[this.current] = low;
    this.high[this.current] = `h${this.id}`;
  }

  private emitWideSub(a: Value, b: Value, high: boolean): void {
    if (!high) return this.pair(`(${this.lo(a)} - ${this.lo(b)} | 0)`, "zero");
    const [al, bl] = [this.atom(a), this.atom(b)];
    const low = `l${this.id}`;
    this.line(`const ${low} = ${al} - ${bl} | 0;`);
    const borrow = `((${al} >>> 0) < (${bl} >>> 0) | 0)`;
    this.line(`const h${this.id} = ${this.hi(a)} - ${this.hi(b)} - ${borrow} | 0;`);
    this.low[this.current] = low;
    this.high[this.current] = `h${this.id}`;
  }

  private emitWideMultiply(a: Value, b: Value): void {
    const [al, bl] = [this.atom(a), this.atom(b)];
    const low = `l${this.id}`;
    this.line(`const ${low} = imul(${al}, ${bl});`);
    const cross = [
      `mulhu32(${al}, ${bl})`,
      this.isZeroHigh(b) ? "" : `imul(${al}, ${this.hi(b)})`,
      this.isZeroHigh(a) ? "" : `imul(${this.hi(a)}, ${bl})`,
    ].filter((text) => text !== "");
    this.line(`const h${this.id} = ${cross.join(" + ")} | 0;`);
    this.low[this.current] = low;
    this.high[this.current] = `h${this.id}`;
  }

  private bitwiseHigh(sign: "&" | "|" | "^", a: Value, b: Value): string {
    if (this.isSigned(a) && this.isSigned(b)) return "sign";
    if (this.isSignExtended(a) && this.isSignExtended(b)) return "sign";
    if (sign === "&" && (this.isZeroHigh(a) || this.isZeroHigh(b))) return "zero";
    if (this.isZeroHigh(a) && this.isZeroHigh(b)) return "zero";
    const [x, y] = [this.hi(a), this.hi(b)];
    if (sign === "&" && y === "-1") return x;
    if (sign !== "&" && y === "0") return x;
    return `(${x} ${sign} ${y})`;
  }

  private emitWideShift(op: string, a: Value, amount: Value, high: boolean): void {
    const constant = this.constantOf(amount);
    if (constant !== undefined) return this.emitConstantShift(op, a, constant & 63, high);
    if (op === "shl" && !high) {
      const n = this.atom(amount);
      return this.pair(`((${n} & 32) !== 0 ? 0 : ${this.lo(a)} << ${n})`, "zero");
    }
    const n = this.atom(amount);
    const [lo, hi] = [this.atom(a), this.atomHigh(a)];
    const [l, h] = [`l${this.id}`, `h${this.id}`];
    // `x >>> 1 >>> 31 - n` is `x >>> 32 - n` that also holds for n = 0; JavaScript takes n modulo 32.
    if (op === "shl") {
      this.line(`let ${l}, ${h};`);
      this.line(`if ((${n} & 32) !== 0) { ${l} = 0; ${h} = ${lo} << ${n}; }`);
      this.line(`else { ${l} = ${lo} << ${n}; ${h} = ${hi} << ${n} | ${lo} >>> 1 >>> (31 - (${n} & 31)); }`);
    } else {
      const shift = op === "shrs" ? ">>" : ">>>";
      this.line(`let ${l}, ${h};`);
      this.line(
        `if ((${n} & 32) !== 0) { ${l} = ${hi} ${shift} ${n} | 0; ${h} = ${op === "shrs" ? `${hi} >> 31` : "0"}; }`,
      );
      this.line(
        `else { ${l} = ${lo} >>> ${n} | ${hi} << 1 << (31 - (${n} & 31)); ${h} = ${hi} ${shift} ${n} | 0; }`,
      );
    }
    this.low[this.current] = l;
    this.high[this.current] = h;
  }

  private emitConstantShift(op: string, a: Value, n: number, high: boolean): void {
    if (n === 0) return this.pair(this.lo(a), high ? this.hi(a) : "zero");
    if (op === "shl") {
      if (n >= 32) return this.pair("0", n === 32 ? this.lo(a) : `(${this.lo(a)} << ${n - 32})`);
      if (!high) return this.pair(`(${this.lo(a)} << ${n})`, "zero");
      const low = this.atom(a);
      const carried = `(${low} >>> ${32 - n})`;
      return this.named(
        `${low} << ${n}`,
        this.isZeroHigh(a) ? carried : `${this.hi(a)} << ${n} | ${carried}`,
      );
    }
    if (op === "shru" && this.isZeroHigh(a)) {
      return n >= 32 ? this.pair("0", "zero") : this.pair(`(${this.lo(a)} >>> ${n})`, "zero");
    }
    if (op === "shrs" && this.isSigned(a)) return this.pair(`(${this.lo(a)} >> ${Math.min(n, 31)})`, "sign");
    const shift = op === "shrs" ? ">>" : ">>>";
    if (n >= 32) {
      const low = n === 32 ? this.hi(a) : `(${this.hi(a)} ${shift} ${n - 32})`;
      return this.pair(low, op === "shrs" ? "sign" : "zero");
    }
    const h = this.atomHigh(a);
    const low = `${this.lo(a)} >>> ${n} | ${h} << ${32 - n}`;
    if (!high) return this.pair(`(${low})`, "zero");
    return this.named(low, `${h} ${shift} ${n}${op === "shru" ? " | 0" : ""}`);
  }

  /** Names both halves at once. */
  private named(lo: string, hi: string): void {
    const { current } = this;
    this.line(`const l${this.id} = ${lo}, h${this.id} = ${hi};`);
    this.low[current] = `l${this.id}`;
    this.high[current] = `h${this.id}`;
  }

  private emitWideSelect(condition: Value, yes: Value, no: Value, high: boolean): void {
    if (!high) return this.pair(`(${this.condition(condition)} ? ${this.lo(yes)} : ${this.lo(no)})`, "zero");
    const test = this.condition(condition);
    const [yesLow, yesHigh, noLow, noHigh] = [this.atom(yes), this.hi(yes), this.atom(no), this.hi(no)];
    const { current } = this;
    this.line(`let l${this.id} = ${noLow}, h${this.id} = ${noHigh};`);
    this.line(`if (${test}) { l${this.id} = ${yesLow}; h${this.id} = ${yesHigh}; }`);
    this.low[current] = `l${this.id}`;
    this.high[current] = `h${this.id}`;
  }

  // -- floating point

  private emitFloat(operation: Operation): void {
    const { op, args, type } = operation;
    switch (op) {
      case "bits32":
      case "float32":
        return this.single(this.lo(args[0]!));
      case "bits64":
      case "float64": {
        const [source] = args as [Value];
        if (this.numbers[source] === undefined) return this.pair(this.lo(source), this.high[source]!);
        this.nameNumber(this.numbers[source], ...this.nans[source]!);
        return;
      }
      default: {
        if (this.host.flagsWord !== undefined && this.emitDouble(operation)) return;
        const name = floatFunction(operation, this.typeOf(args[0]!));
        const list = args.flatMap((arg) => this.operand(arg));
        if (type === "i64" || type === "f64") return this.wideCall(name, list);
        this.line(`const v${this.id} = ${name}(${list.join(", ")});`);
        this.low[this.current] = `v${this.id}`;
      }
    }
  }

  // -- doubles

  /** Values that are read as doubles or set in a slot that is kept as one. */
  private wantedNumbers(): Uint8Array {
    const wanted = new Uint8Array(this.block.operations.length);
    if (this.host.flagsWord === undefined) return wanted;
    for (const operation of this.block.operations) {
      const isWanted =
        operation.op === "float64" ||
        (operation.op === "set" && (this.host.slotLocals?.(operation)?.[2] ?? "") !== "");
      if (isWanted) wanted[operation.args[0]!] = 1;
    }
    return wanted;
  }

  /** The current value is the number of this name; if it is a NaN, its bits are these. */
  private nameNumber(number: string, nanLow: string, nanHigh: string): void {
    const { current } = this;
    this.numbers[current] = number;
    this.nans[current] = [nanLow, nanHigh];
    this.low[current] = `lowOf(${number}, ${nanLow})`;
    this.high[current] = `highOf(${number}, ${nanHigh})`;
  }

  /** Name of a value's number, made here if it has only halves so far. */
  private number(value: Value): string {
    const known = this.numbers[value];
    if (known !== undefined) return known;
    const [low, high] = [this.atom(value), this.atomHigh(value)];
    const name = `$${value}${this.suffix}`;
    this.line(`const ${name} = toDouble(${low}, ${high});`);
    this.numbers[value] = name;
    this.nans[value] = [low, high];
    return name;
  }

  /** A double's sign turned over or taken away, if the constant `b` has these halves: whether it was that. */
  private emitSign(a: Value, b: Value, lo: number, hi: number): boolean {
    const constant = this.block.operations[b]!.constant;
    const number = this.numbers[a];
    if (this.wanted[this.current] === 0 || number === undefined || typeof constant !== "object") return false;
    if (constant.lo !== lo || constant.hi !== hi) return false;
    const [nanLow, nanHigh] = this.nans[a]!;
    const isNegation = lo === 0;
    const name = `$${this.id}`;
    this.line(`const ${name} = ${isNegation ? `-${number}` : `abs(${number})`};`);
    this.nameNumber(name, nanLow, `(${nanHigh} ${isNegation ? "^" : "&"} ${hi})`);
    return true;
  }

  /** What is true if rounding is to nearest and sets no flag that isn't set; undefined if it can't be. */
  private quietRounding(mode: Value): string | undefined {
    const known = this.constantOf(mode);
    if (known !== undefined && known !== 0) return undefined;
    const flag = `(I[${this.host.flagsWord}] & 1) !== 0`;
    return known === 0 ? flag : `${this.atom(mode)} === 0 && ${flag}`;
  }

  /** An operation on doubles with numbers: whether there is a way to do so. */
  private emitDouble(operation: Operation): boolean {
    const { op, args, type } = operation;
    const operandType = this.typeOf(args[0]!);
    const name = `$${this.id}`;
    if (type === "f64") {
      const fast = fastDoubles.get(op);
      if (fast === undefined) return false;
      const quiet = fast.rounds ? this.quietRounding(args[args.length - 1]!) : "";
      if (quiet === undefined) return false;
      const operands = args.map((arg) => (this.typeOf(arg) === "f64" ? this.number(arg) : this.atom(arg)));
      this.line(`${fast.before?.(...operands) ?? ""} let ${name} = ${fast.value(...operands)};`.trim());
      if (fast.holds !== undefined) {
        const conditions = [fast.holds(name), quiet].filter((text) => text !== "").join(" && ");
        const exact = `${floatFunction(operation, operandType)}(${this.bitsOf(args)})`;
        this.line(`if (!(${conditions})) ${name} = toDouble(${exact}, I[${this.headerWord("resultHigh")}]);`);
      }
      this.nameNumber(name, ...CANONICAL_NAN);
      return true;
    }
    if (operandType !== "f64") return false;
    const compare = fastComparisons.get(op);
    if (compare !== undefined) {
      const [yes, no] = compare(this.number(args[0]!), this.number(args[1]!));
      const exact = `${op}_f64(${this.bitsOf(args)})`;
      this.line(`const v${this.id} = ${yes} ? 1 : ${no} ? 0 : ${exact};`);
    } else if (op === "ftoi32" && this.constantOf(args[1]!) === TOWARD_ZERO) {
      const number = this.number(args[0]!);
      const quiet = `(I[${this.host.flagsWord}] & 1) !== 0 && abs(${number}) < 2147483648`;
      this.line(`const v${this.id} = ${quiet} ? ${number} | 0 : ftoi32_f64(${this.bitsOf(args)});`);
    } else return false;
    this.low[this.current] = `v${this.id}`;
    return true;
  }

  /** Values as call arguments, separated by commas. */
  private bitsOf(values: readonly Value[]): string {
    return values.flatMap((value) => this.operand(value)).join(", ");
  }

  // -- memory and helpers

  private emitLoad(operation: Operation): void {
    const { current } = this;
    const { width, signed, type } = operation;
    const address = operation.args[0]!;
    const low = this.atom(address);
    const high = this.wideAddresses ? this.atomHigh(address) : "0";
    const wide = type === "i64";
    const name = wide ? `l${this.id}` : `v${this.id}`;
    const slow = `${width === 64 || width === 32 ? `ld${width}` : `ld${width}${signed ? "s" : "u"}`}`;
    const full = width === 64;
    const number = full && this.wanted[current] === 1 ? `$${this.id}` : "";
    const halves = `${name}${full ? `, h${this.id}` : ""}`;
    this.line(number === "" ? `let ${halves};` : `let ${number}, ${name} = 0, h${this.id} = 0;`);
    const fast = this.fastAccess(low, high, "tr", width!);
    const readHalves = `${name} = I[p]; h${this.id} = I[p + 1];`;
    const read =
      number !== ""
        ? `const p = ${fast.place} >>> 2; ${number} = D[p >>> 1]; if (${number} !== ${number}) { ${readHalves} }`
        : full
          ? `const p = ${fast.place} >>> 2; ${readHalves}`
          : `${name} = ${this.element(width!, signed!, fast.place)};`;
    const convert = number === "" ? "" : ` ${number} = toDouble(${name}, h${this.id});`;
    const after = full ? ` h${this.id} = I[${this.headerWord("resultHigh")}];${convert}` : "";
    this.line(
      `{ ${fast.prepare} if (${fast.test}) { ${read} } else { ${this.host.beforeSlowPath()} ${name} = ${slow}(${low}, ${high}, ${this.host.site()}); if (I[${this.headerWord("exit")}] !== 0) { ${this.host.bail()} }${after} } }`,
    );
    if (number !== "") return this.nameNumber(number, name, `h${this.id}`);
    this.low[current] = name;
    if (wide) this.high[current] = full ? `h${this.id}` : signed ? "sign" : "zero";
  }

  private emitStore(operation: Operation): void {
    const { width, args } = operation;
    const low = this.atom(args[0]!);
    const high = this.wideAddresses ? this.atomHigh(args[0]!) : "0";
    const number = width === 64 ? this.numbers[args[1]!] : undefined;
    const value =
      number !== undefined
        ? this.operand(args[1]!)
        : width === 64
          ? [this.atom(args[1]!), this.hi(args[1]!)]
          : [this.atom(args[1]!)];
    const fast = this.fastAccess(low, high, "tw", width!);
    const [nanLow, nanHigh] = this.nans[args[1]!] ?? [];
    const write =
      number !== undefined
        ? `const p = ${fast.place} >>> 2; if (${number} === ${number}) D[p >>> 1] = ${number}; else { I[p] = ${nanLow}; I[p + 1] = ${nanHigh}; }`
        : width === 64
          ? `const p = ${fast.place} >>> 2; I[p] = ${value[0]}; I[p + 1] = ${value[1]};`
          : `${this.element(width!, false, fast.place)} = ${value[0]};`;
    this.line(
      `{ ${fast.prepare} if (${fast.test}) { ${write} } else { ${this.host.beforeSlowPath()} st${width}(${[low, high, ...value, this.host.site()].join(", ")}); if (I[${this.headerWord("exit")}] !== 0) { ${this.host.bail()} } } }`,
    );
  }

  private fastAccess(low: string, high: string, tlb: string, width: number) {
    const mask = -this.pageBytes | (width / 8 - 1);
    const index = `(${low} >>> ${Math.log2(this.pageBytes) - 2} & ${(TLB_ENTRIES - 1) * 4})`;
    return {
      prepare: `const e = ${index} + ${tlb} | 0;`,
      test: `(${low} & ${mask}) === I[e] && ${high} === I[e + 1]`,
      place: `(${low} + I[e + 2])`,
    };
  }

  private element(width: number, signed: boolean, place: string): string {
    if (width === 8) return `${signed ? "B" : "U"}[${place} >>> 0]`;
    if (width === 16) return `${signed ? "S" : "H"}[${place} >>> 1]`;
    return `I[${place} >>> 2]`;
  }

  private slowMemory(name: string, args: string[], type: Operation["type"]): void {
    this.line(this.host.beforeSlowPath());
    this.helperCall(name, args, type);
    this.line(`if (I[${this.headerWord("exit")}] !== 0) { ${this.host.bail()} }`);
  }

  private emitCall(operation: Operation): void {
    const helper = operation.helper!;
    const { reads, writes, exits } = helper.effects;
    const spills = reads || writes;
    if (spills || exits) this.line(this.host.beforeSlowPath());
    if (spills) this.line(this.host.spill?.() ?? "");
    this.helperCall(
      helper.name,
      operation.args.flatMap((arg) => this.operand(arg)),
      operation.type,
    );
    if (exits) {
      const bail = (spills ? this.host.bailSpilled?.() : undefined) ?? this.host.bail();
      this.line(`if (I[${this.headerWord("exit")}] !== 0) { ${bail} }`);
    }
    if (writes) this.line(this.host.afterHelper());
  }

  private helperCall(name: string, args: string[], type: Operation["type"]): void {
    const { current } = this;
    const call = `${name}(${[...args, this.host.site()].join(", ")})`;
    if (type === null) {
      this.line(`${call};`);
    } else if (type === "i64" || type === "f64") {
      this.line(`const l${this.id} = ${call}, h${this.id} = I[${this.headerWord("resultHigh")}];`);
      this.low[current] = `l${this.id}`;
      this.high[current] = `h${this.id}`;
    } else {
      this.line(`const v${this.id} = ${call};`);
      this.low[current] = `v${this.id}`;
    }
  }
}

/** Rounding mode of conversions as C does them: RISC-V unprivileged manual, 20.2. */
const TOWARD_ZERO = 1;

/** The names in an expression. */
const names = (text: string): string[] => text.match(/[A-Za-z_$][\w$]*/g) ?? [];

const comparisons = new Set(["eq", "ne", "lt", "ltu", "ge", "geu"]);

/** Name of the runtime function of a floating-point operation, for instance `fadd_f64`. */
export function floatFunction(operation: Operation, operandType: string): string {
  if (operation.op === "fdemote" || operation.op === "fpromote") return operation.op;
  const double = operation.type === "f64" || operandType === "f64";
  return `${operation.op}_${double ? "f64" : "f32"}`;
}
