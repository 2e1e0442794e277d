/**
 * Prints IR operations as JavaScript over int32: the part that translations and the interpreter share.
 *
 * - Values have the forms that `values.ts` describes.
 * - Guest memory goes through the software TLB inline: one masked compare checks page and alignment together;
 *   a miss calls a slow path by name, and `header.exit` tells afterwards whether to leave.
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
import { type header, PAGE_SIZE, STATE_OFFSET } from "../../memory/layout.js";
import { amoKinds, lateName } from "../../mmu/ports.js";
import { tagMask } from "../../mmu/tlb-layout.js";
import { type LateExits, lateExits } from "../../passes/late-exits.js";
import { staleReads } from "../../passes/stale-reads.js";
import { atomicStatements } from "./atomics.js";
import { emitFloat, wantedNumbers } from "./float-emitter.js";
import { headerWord } from "./header-word.js";
import { emitNarrow } from "./narrow-integers.js";
import { tlbEntry, tlbWord } from "./tlb.js";
import { Values } from "./values.js";
import { emitWide } from "./wide-integers.js";

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
  /**
   * Statements for the block's exit.
   * @param isLate whether the last instruction may have left a note in `header.late`: it leaves then
   */
  exit(operation: Operation, values: Values, isLate: boolean): void;
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
  private readonly values: Values;
  /** Reads of slots in locals that must be copied, since the slot changes before their last use. */
  private readonly stale: Uint8Array | undefined;
  private readonly late: LateExits;
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
    const isNumber = (set: Operation) => (host.slotLocals?.(set)?.[2] ?? "") !== "";
    const wanted =
      host.flagsWord === undefined ? new Uint8Array(block.operations.length) : wantedNumbers(block, isNumber);
    this.values = new Values(block, this.headerWord("resultHigh"), host.suffix ?? "", wanted, (line) =>
      this.print(line),
    );
    this.late = lateExits(block);
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
      this.values.current = position;
      this.emit(operation);
    });
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

  private headerWord(field: keyof typeof header): number {
    return headerWord(this.hartOffset, field);
  }

  private emit(operation: Operation): void {
    const { op, args } = operation;
    switch (op) {
      case "insn":
        if (this.late.ends.has(this.values.current)) this.settle();
        return this.host.mark(operation.at!);
      case "charge":
        return this.values.line(this.host.charge(this.values.lo(args[0]!)));
      case "const":
        return this.emitConstant(operation);
      case "field":
        return this.values.single(this.host.field(operation.field!));
      case "pc": {
        const [lo, hi] = this.host.pc(operation.constant as number);
        return operation.type === "i64" ? this.values.pair(lo, hi) : this.values.single(lo);
      }
      case "get":
        return this.emitGet(operation);
      case "set": {
        const locals = this.host.slotLocals?.(operation);
        if (locals !== undefined) return this.setLocals(locals, args[0]!);
        const word = this.slotWord(operation);
        const wide = this.shape.slots.get(operation.slot!)!.stride === 8;
        this.values.line(`I[${word}] = ${this.values.lo(args[0]!)};`);
        if (wide)
          this.values.line(
            `I[${word} + 1] = ${this.values.hi(args[0]!)};`.replace(
              /\[(\d+) \+ 1\]/,
              (_, n) => `[${+n + 1}]`,
            ),
          );
        return;
      }
      case "load":
        return this.emitLoad(operation);
      case "store":
        return this.emitStore(operation);
      case "amo":
      case "lr":
      case "sc":
        return this.emitAtomic(operation);
      case "call":
        return this.emitCall(operation);
      case "trapif":
      case "trap": {
        const raise = `${this.host.beforeSlowPath()} raise(${[operation.cause, ...this.values.operand(args[args.length - 1]!), this.host.site()].join(", ")}); ${this.host.bail()}`;
        if (op === "trapif") this.values.line(`if (${this.values.condition(args[0]!)}) { ${raise} }`);
        else this.values.line(raise);
        return;
      }
      case "jump":
      case "branch":
      case "jumpr":
      case "leave":
        return this.host.exit(operation, this.values, this.late.ends.has(this.values.current));
      default:
        if (/^(f[a-z]|bits|[iu](32|64)tof)/.test(op))
          return emitFloat(this.values, operation, this.host.flagsWord);
        return operation.type === "i64"
          ? emitWide(this.values, operation)
          : emitNarrow(this.values, operation);
    }
  }

  private emitConstant(operation: Operation): void {
    const { constant } = operation;
    if (typeof constant === "number") {
      this.values.low[this.values.current] = String(constant);
      return;
    }
    this.values.low[this.values.current] = String(constant!.lo);
    this.values.high[this.values.current] = String(constant!.hi);
  }

  private emitGet(operation: Operation): void {
    const { current } = this.values;
    const locals = this.host.slotLocals?.(operation);
    if (locals !== undefined) {
      const isStale = this.stale![current] === 1;
      const [low, high] = isStale ? [`l${this.values.id}`, `h${this.values.id}`] : locals;
      if (locals[2] !== "") {
        const number = isStale ? `$${this.values.id}` : locals[2];
        if (isStale)
          this.values.line(`const ${number} = ${locals[2]}, ${low} = ${locals[0]}, ${high} = ${locals[1]};`);
        return this.values.nameNumber(number, low, high);
      }
      this.values.low[current] = low;
      if (locals[1] !== "") this.values.high[current] = high;
      const needed = locals[1] !== "" && this.values.highs[current] === 1;
      if (isStale)
        this.values.line(`const ${low} = ${locals[0]}${needed ? `, ${high} = ${locals[1]}` : ""};`);
      return;
    }
    const word = this.slotWord(operation);
    if (this.shape.slots.get(operation.slot!)!.stride === 4) {
      this.values.line(`const v${this.values.id} = I[${word}];`);
      this.values.low[current] = `v${this.values.id}`;
      return;
    }
    this.values.line(`const l${this.values.id} = I[${word}];`);
    this.values.low[current] = `l${this.values.id}`;
    this.values.high[current] = `h${this.values.id}`;
    if (this.values.highs[current] === 1) {
      const next = /^\d+$/.test(word) ? String(+word + 1) : `${word} + 1`;
      this.values.line(`const h${this.values.id} = I[${next}];`);
    }
  }

  private setLocals(locals: readonly [lo: string, hi: string, number: string], value: Value): void {
    const [low, high, number] = locals;
    const known = number === "" ? undefined : this.values.numbers[value];
    if (known !== undefined) {
      const [nanLow, nanHigh] = this.values.nans[value]!;
      // A NaN's high half may be computed from the slot's own locals.
      return this.values.line(`${high} = ${nanHigh}; ${low} = ${nanLow}; ${number} = ${known};`);
    }
    this.setHalves(low, high, value);
    if (number !== "") this.values.line(`${number} = toDouble(${low}, ${high});`);
  }

  private setHalves(low: string, high: string, value: Value): void {
    const text = this.values.lo(value);
    if (high === "") return this.values.line(`${low} = ${text};`);
    // The high half's text may name the slot's own locals, or the low half's text, which is dear to print twice.
    const highText = this.values.high[value] === "sign" ? `${low} >> 31` : this.values.hi(value);
    if (this.values.high[value] !== "sign" && names(highText).includes(low)) {
      const name = this.values.temporary("t");
      this.values.line(`const ${name} = ${highText};`);
      this.values.line(`${low} = ${text}; ${high} = ${name};`);
    } else this.values.line(`${low} = ${text}; ${high} = ${highText};`);
  }

  // -- memory and helpers

  /** The current instruction ends: leaves if a late store or call wants it. */
  private settle(): void {
    const { host } = this;
    this.values.line(
      `if (I[${this.headerWord("late")}] !== 0) { ${host.beforeSlowPath()} settle(${host.site()}); ${host.bail()} }`,
    );
  }

  /** The name of a slow path or helper, as the current operation calls it. */
  private callee(name: string): string {
    return this.late.operations.has(this.values.current) ? lateName(name) : name;
  }

  private emitLoad(operation: Operation): void {
    const { current } = this.values;
    const { width, signed, type } = operation;
    const address = operation.args[0]!;
    const low = this.values.atom(address);
    const high = this.wideAddresses ? this.values.atomHigh(address) : "0";
    const wide = type === "i64";
    const name = wide ? `l${this.values.id}` : `v${this.values.id}`;
    const slow = `${width === 64 || width === 32 ? `ld${width}` : `ld${width}${signed ? "s" : "u"}`}`;
    const full = width === 64;
    const number = full && this.values.wanted[current] === 1 ? `$${this.values.id}` : "";
    const halves = `${name}${full ? `, h${this.values.id}` : ""}`;
    this.values.line(
      number === "" ? `let ${halves};` : `let ${number}, ${name} = 0, h${this.values.id} = 0;`,
    );
    const fast = this.fastAccess(low, high, "tr", width!);
    const readHalves = `${name} = I[p]; h${this.values.id} = I[p + 1];`;
    const read =
      number !== ""
        ? `const p = ${fast.place} >>> 2; ${number} = D[p >>> 1]; if (${number} !== ${number}) { ${readHalves} }`
        : full
          ? `const p = ${fast.place} >>> 2; ${readHalves}`
          : `${name} = ${this.element(width!, signed!, fast.place)};`;
    const convert = number === "" ? "" : ` ${number} = toDouble(${name}, h${this.values.id});`;
    const after = full ? ` h${this.values.id} = I[${this.headerWord("resultHigh")}];${convert}` : "";
    this.values.line(
      `{ ${fast.prepare} if (${fast.test}) { ${read} } else { ${this.host.beforeSlowPath()} ${name} = ${slow}(${low}, ${high}, ${this.host.site()}); if (I[${this.headerWord("exit")}] !== 0) { ${this.host.bail()} }${after} } }`,
    );
    if (number !== "") return this.values.nameNumber(number, name, `h${this.values.id}`);
    this.values.low[current] = name;
    if (wide) this.values.high[current] = full ? `h${this.values.id}` : signed ? "sign" : "zero";
  }

  private emitStore(operation: Operation): void {
    const { width, args } = operation;
    const low = this.values.atom(args[0]!);
    const high = this.wideAddresses ? this.values.atomHigh(args[0]!) : "0";
    const number = width === 64 ? this.values.numbers[args[1]!] : undefined;
    const value =
      number !== undefined
        ? this.values.operand(args[1]!)
        : width === 64
          ? [this.values.atom(args[1]!), this.values.hi(args[1]!)]
          : [this.values.atom(args[1]!)];
    const fast = this.fastAccess(low, high, "tw", width!);
    const [nanLow, nanHigh] = this.values.nans[args[1]!] ?? [];
    const write =
      number !== undefined
        ? `const p = ${fast.place} >>> 2; if (${number} === ${number}) D[p >>> 1] = ${number}; else { I[p] = ${nanLow}; I[p + 1] = ${nanHigh}; }`
        : width === 64
          ? `const p = ${fast.place} >>> 2; I[p] = ${value[0]}; I[p + 1] = ${value[1]};`
          : `${this.element(width!, false, fast.place)} = ${value[0]};`;
    this.values.line(
      `{ ${fast.prepare} if (${fast.test}) { ${write} } else { ${this.host.beforeSlowPath()} ${this.callee(`st${width}`)}(${[low, high, ...value, this.host.site()].join(", ")}); if (I[${this.headerWord("exit")}] !== 0) { ${this.host.bail()} } } }`,
    );
  }

  private fastAccess(low: string, high: string, tlb: string, width: number) {
    const { pageBytes } = this;
    return {
      prepare: `const e = ${tlbEntry(low, tlb, pageBytes)};`,
      test: `(${low} & ${tagMask(pageBytes, width / 8)}) === ${tlbWord("e", "page")} && ${high} === ${tlbWord("e", "pageHigh")}`,
      place: `(${low} + ${tlbWord("e", "addend")})`,
    };
  }

  private element(width: number, signed: boolean, place: string): string {
    if (width === 8) return `${signed ? "B" : "U"}[${place} >>> 0]`;
    if (width === 16) return `${signed ? "S" : "H"}[${place} >>> 1]`;
    return `I[${place} >>> 2]`;
  }

  private emitAtomic(operation: Operation): void {
    const { current } = this.values;
    const { op, width, type } = operation;
    const [address, value] = operation.args as readonly [Value, Value?];
    const at = [this.values.atom(address), this.wideAddresses ? this.values.atomHigh(address) : "0"] as const;
    const operand =
      value === undefined
        ? []
        : [this.values.atom(value), ...(width === 64 ? [this.values.atomHigh(value)] : [])];
    const wide = type === "i64";
    const low = `${wide ? "l" : "v"}${this.values.id}`;
    const high = wide ? `h${this.values.id}` : "";
    this.values.line(`let ${low} = 0${wide ? `, ${high} = 0` : ""};`);
    const fast = this.fastAccess(...at, "tw", width!);
    const inline = atomicStatements(operation, { place: "p", low, high, operand }, this.hartOffset);
    const kind = op === "amo" ? [String(amoKinds.indexOf(operation.amo!))] : [];
    const call = `${op}${width}(${[...kind, ...at, ...operand, this.host.site()].join(", ")})`;
    const after = wide ? ` ${high} = I[${this.headerWord("resultHigh")}];` : "";
    this.values.line(
      `{ ${fast.prepare} if (${fast.test}) { const p = ${fast.place} >>> 2; ${inline} } else { ${this.host.beforeSlowPath()} ${low} = ${call}; if (I[${this.headerWord("exit")}] !== 0) { ${this.host.bail()} }${after} } }`,
    );
    this.values.low[current] = low;
    if (wide) this.values.high[current] = high;
  }

  private emitCall(operation: Operation): void {
    const helper = operation.helper!;
    const { reads, writes, exits } = helper.effects;
    const spills = reads || writes;
    if (spills || exits) this.values.line(this.host.beforeSlowPath());
    if (spills) this.values.line(this.host.spill?.() ?? "");
    this.helperCall(
      this.callee(helper.name),
      operation.args.flatMap((arg) => this.values.operand(arg)),
      operation.type,
    );
    if (exits) {
      const bail = (spills ? this.host.bailSpilled?.() : undefined) ?? this.host.bail();
      this.values.line(`if (I[${this.headerWord("exit")}] !== 0) { ${bail} }`);
    }
    if (writes) this.values.line(this.host.afterHelper());
  }

  private helperCall(name: string, args: string[], type: Operation["type"]): void {
    const { current } = this.values;
    const call = `${name}(${[...args, this.host.site()].join(", ")})`;
    if (type === null) {
      this.values.line(`${call};`);
    } else if (type === "i64" || type === "f64") {
      this.values.line(
        `const l${this.values.id} = ${call}, h${this.values.id} = I[${this.headerWord("resultHigh")}];`,
      );
      this.values.low[current] = `l${this.values.id}`;
      this.values.high[current] = `h${this.values.id}`;
    } else {
      this.values.line(`const v${this.values.id} = ${call};`);
      this.values.low[current] = `v${this.values.id}`;
    }
  }
}

/** Statements that turn a note of a late store or call into an exit. */
export const takeLate = (hartOffset: number): string => {
  const late = `I[${headerWord(hartOffset, "late")}]`;
  return `I[${headerWord(hartOffset, "exit")}] = ${late}; ${late} = 0;`;
};

/** The names in an expression. */
const names = (text: string): string[] => text.match(/[A-Za-z_$][\w$]*/g) ?? [];
