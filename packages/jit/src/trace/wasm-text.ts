/**
 * WebAssembly as text for people. The stack is folded into expressions, locals have the names of the guest registers
 * that they hold, labels tell loops from blocks:
 *
 *   00c4  loop L3 {
 *   00c6    if (budget <s 12) {  ; unlikely
 *   00cf      i64.store[pc] = page + 0x10  ; 0x80000010
 *   00dd      break L2
 *   00e0    }
 *   00e1    a0 = a0 + 8
 *
 * Operators are those of the operands' type; `<s` and `>>u` tell signed from unsigned. What has no operator is
 * written like a call of the instruction. A value that can't be moved to where it is used, because something in
 * between may change it, gets a name of its own (`$1`), so the text can be read from top to bottom.
 *
 * Only the instructions that are emitted are known; others are an error (`E_WASM_TEXT`).
 */
import { Op, Saturating, ValueType } from "../backend/wasm/encoder.js";
import { ByteReader, opcodeNames, type WasmFunction, type WasmScope, WasmTextError } from "./wasm-reader.js";

/** Names that the text uses where they are known. */
export interface WasmNames {
  /** A local's name. */
  local?(index: number): string | undefined;
  /** The name of a fixed place in linear memory. */
  memory?(offset: number): string | undefined;
  /** Local that holds a guest address; additions of constants to it are noted as the address that they give. */
  readonly base?: { readonly local: number; readonly address: bigint };
}

/** A line of text. */
export interface WasmLine {
  /** Offset in the function's instructions at which its code begins. */
  readonly offset: number;
  /** Structured instructions that it stands in. */
  readonly depth: number;
  readonly text: string;
}

/** Operators by the part of the instruction's name after its type. */
const operators: ReadonlyMap<string, string> = new Map(
  Object.entries({
    add: "+",
    sub: "-",
    mul: "*",
    div: "/",
    div_s: "/s",
    div_u: "/u",
    rem_s: "%s",
    rem_u: "%u",
    and: "&",
    or: "|",
    xor: "^",
    shl: "<<",
    shr_s: ">>s",
    shr_u: ">>u",
    eq: "==",
    ne: "!=",
    lt: "<",
    gt: ">",
    le: "<=",
    ge: ">=",
    lt_s: "<s",
    lt_u: "<u",
    gt_s: ">s",
    gt_u: ">u",
    le_s: "<=s",
    le_u: "<=u",
    ge_s: ">=s",
    ge_u: ">=u",
  }),
);

const saturatingNames: ReadonlyMap<number, string> = new Map(
  Object.entries(Saturating).map(([name, code]) => [code, name.replace("_", ".")]),
);

const typeNames: Readonly<Record<number, string>> = {
  [ValueType.i32]: "i32",
  [ValueType.i64]: "i64",
  [ValueType.f32]: "f32",
  [ValueType.f64]: "f64",
};

/** Name of a value type. */
export const typeName = (type: number): string => typeNames[type] ?? `type_0x${type.toString(16)}`;

const isUnary = (opcode: number): boolean =>
  opcode === Op.i32_eqz ||
  opcode === Op.i64_eqz ||
  (opcode >= Op.i32_clz && opcode <= Op.i32_popcnt) ||
  (opcode >= Op.i64_clz && opcode <= Op.i64_popcnt) ||
  (opcode >= Op.f32_abs && opcode <= Op.f32_sqrt) ||
  (opcode >= Op.f64_abs && opcode <= Op.f64_sqrt) ||
  opcode >= Op.i32_wrap_i64;

/** Constants beyond this are written in hexadecimal. */
const DECIMAL_LIMIT = 4096n;

/** Start of a value whose code stands in a line of its own, before the line that uses it. */
const AFTER = Number.MAX_SAFE_INTEGER;

/** A value on the stack. */
interface Expression {
  readonly text: string;
  /** Whether it needs parentheses as an operand. */
  readonly compound: boolean;
  /** Whether it may stand anywhere: it depends on nothing that changes. */
  readonly fixed: boolean;
  /** Offset of its first instruction. */
  readonly start: number;
  /** Its value, if it is a constant integer. */
  readonly constant?: bigint;
  readonly local?: number;
  /** Guest addresses that it names. */
  readonly addresses: readonly bigint[];
}

/** An open structured instruction. */
interface Frame {
  readonly kind: "block" | "loop" | "if";
  readonly label: string;
  /** Name of the value that it leaves. */
  readonly result: string | undefined;
  /** Height of the stack when it was opened. */
  readonly height: number;
}

/**
 * Prints a function.
 * @throws WasmTextError for instructions that are not emitted
 */
export function printWasm(body: WasmFunction, scope: WasmScope, names: WasmNames = {}): WasmLine[] {
  return new Printer(body, scope, names).print();
}

class Printer {
  private readonly lines: WasmLine[] = [];
  private readonly reader: ByteReader;
  private stack: Expression[] = [];
  private readonly frames: Frame[] = [];
  private labels = 0;
  private values = 0;
  /** Nothing runs until the structured instruction ends: the stack is whatever the code pretends. */
  private dead = false;

  constructor(
    private readonly body: WasmFunction,
    private readonly scope: WasmScope,
    private readonly names: WasmNames,
  ) {
    this.reader = new ByteReader(body.code);
  }

  print(): WasmLine[] {
    while (!this.reader.done) this.instruction();
    const result = this.dead ? undefined : this.stack.pop();
    if (result !== undefined) this.line(result.start, `return ${result.text}`, result);
    return this.lines;
  }

  private instruction(): void {
    const start = this.reader.at;
    const opcode = this.reader.byte();
    const name = opcodeNames.get(opcode);
    if (name === undefined)
      throw new WasmTextError(`opcode 0x${opcode.toString(16)} is not one that is emitted`, start);
    if (opcode < Op.drop) this.control(opcode, start);
    else if (opcode < Op.i32_load) this.variable(opcode, start);
    else if (opcode < Op.i32_store) this.load(name, start);
    else if (opcode < Op.i32_const) this.store(name, start);
    else if (opcode <= Op.f64_const) this.constant(opcode, start);
    else if (opcode === Op.saturating) this.saturating(start);
    else this.numeric(opcode, name);
  }

  // -- the stack

  private pop(): Expression {
    const floor = this.frames[this.frames.length - 1]?.height ?? 0;
    if (this.stack.length > floor) return this.stack.pop()!;
    if (this.dead) return { text: "?", compound: false, fixed: true, start: AFTER, addresses: [] };
    throw new WasmTextError("the stack is empty", this.reader.at);
  }

  private push(expression: Omit<Expression, "addresses"> & { addresses?: readonly bigint[] }): void {
    this.stack.push({ addresses: [], ...expression });
  }

  /** Gives names to the values on the stack: the statement that follows may change what they depend on. */
  private settle(): void {
    this.stack = this.stack.map((value) => {
      if (value.fixed) return value;
      const text = this.fresh();
      this.line(value.start, `${text} = ${value.text}`, value);
      return { text, compound: false, fixed: true, start: AFTER, addresses: [] };
    });
  }

  private fresh(): string {
    return `$${++this.values}`;
  }

  private line(offset: number, text: string, ...values: readonly Expression[]): void {
    const addresses = [...new Set(values.flatMap((value) => value.addresses))];
    const notes = addresses.map((address) => `0x${address.toString(16)}`).join(", ");
    this.lines.push({
      offset,
      depth: this.frames.length,
      text: notes === "" ? text : `${text}  ; ${notes}`,
    });
  }

  private statement(start: number, text: string, ...values: readonly Expression[]): void {
    this.settle();
    this.line(Math.min(start, ...values.map((value) => value.start)), text, ...values);
  }

  private localName(index: number): string {
    return this.names.local?.(index) ?? `v${index}`;
  }

  // -- control

  private control(opcode: number, start: number): void {
    switch (opcode) {
      case Op.block:
      case Op.loop:
      case Op.if:
        return this.open(opcode, start);
      case Op.else:
        return this.turn(start);
      case Op.end:
        return this.close(start);
      case Op.br:
        this.statement(start, this.branch(this.reader.unsigned()));
        return this.die();
      case Op.br_if: {
        const target = this.branch(this.reader.unsigned());
        const condition = this.pop();
        return this.statement(start, `if (${condition.text}) ${target}${this.hint(start)}`, condition);
      }
      case Op.br_table:
        return this.table(start);
      case Op.return: {
        const values = this.body.signature.results.map(() => this.pop()).reverse();
        const list = values.map(({ text }) => ` ${text}`).join(",");
        this.statement(start, `return${list}`, ...values);
        return this.die();
      }
      case Op.unreachable:
        this.statement(start, "unreachable");
        return this.die();
      case Op.call: {
        const { name, signature } = this.scope.function(this.reader.unsigned());
        return this.call(name, signature, start);
      }
      default:
        return this.callIndirect(opcode, start);
    }
  }

  private open(opcode: number, start: number): void {
    const type = this.reader.byte();
    const kind = opcode === Op.if ? "if" : opcode === Op.loop ? "loop" : "block";
    const condition = kind === "if" ? this.pop() : undefined;
    const result = typeNames[type] === undefined ? undefined : this.fresh();
    const label = `L${++this.labels}`;
    const head = condition === undefined ? `${kind} ${label}` : `if (${condition.text}) ${label}`;
    const values = condition === undefined ? [] : [condition];
    this.statement(
      start,
      `${head}${result === undefined ? "" : ` -> ${result}`} {${this.hint(start)}`,
      ...values,
    );
    this.frames.push({ kind, label, result, height: this.stack.length });
  }

  private hint(offset: number): string {
    const likely = this.body.hints.get(offset);
    return likely === undefined ? "" : likely === 1 ? "  ; likely" : "  ; unlikely";
  }

  /** The end of an arm, which may leave a value. */
  private leaveArm(start: number): Frame {
    const frame = this.frames[this.frames.length - 1];
    if (frame === undefined) throw new WasmTextError("an end without a beginning", start);
    if (frame.result !== undefined && !this.dead) {
      const value = this.pop();
      this.line(value.start, `${frame.result} = ${value.text}`, value);
    }
    this.stack.length = Math.min(this.stack.length, frame.height);
    this.dead = false;
    return frame;
  }

  private turn(start: number): void {
    const frame = this.leaveArm(start);
    this.frames.pop();
    this.line(start, "} else {");
    this.frames.push(frame);
  }

  private close(start: number): void {
    const { result } = this.leaveArm(start);
    this.frames.pop();
    this.line(start, "}");
    if (result !== undefined) this.push({ text: result, compound: false, fixed: true, start });
  }

  private die(): void {
    this.dead = true;
    this.stack.length = Math.min(this.stack.length, this.frames[this.frames.length - 1]?.height ?? 0);
  }

  /** What a branch to this depth does. */
  private branch(depth: number): string {
    const frame = this.frames[this.frames.length - 1 - depth];
    if (frame === undefined) return "return";
    return `${frame.kind === "loop" ? "continue" : "break"} ${frame.label}`;
  }

  private table(start: number): void {
    const targets: string[] = [];
    for (let left = this.reader.unsigned(); left > 0; left--)
      targets.push(this.branch(this.reader.unsigned()));
    const fallback = this.branch(this.reader.unsigned());
    const selector = this.pop();
    const arms = targets.map((target, index) => `${index}: ${target}`).join(", ");
    this.statement(start, `switch (${selector.text}) { ${arms}, else: ${fallback} }`, selector);
    this.die();
  }

  private call(
    name: string,
    signature: WasmFunction["signature"],
    start: number,
    through?: Expression,
  ): void {
    const values = signature.parameters.map(() => this.pop()).reverse();
    const text = `${name}(${values.map((value) => value.text).join(", ")})`;
    const addresses = values.flatMap((value) => value.addresses);
    const first = Math.min(start, ...values.map((value) => value.start), through?.start ?? start);
    if (signature.results.length === 1) {
      // What is below was computed before the call, which may change what it depends on.
      this.settle();
      this.push({ text, compound: false, fixed: false, start: first, addresses });
      return;
    }
    const results = signature.results.map(() => this.fresh());
    const left = results.length === 0 ? "" : `${results.join(", ")} = `;
    this.statement(first, `${left}${text}`, ...values);
    for (const result of results) this.push({ text: result, compound: false, fixed: true, start: first });
  }

  private callIndirect(opcode: number, start: number): void {
    const tail = opcode === Op.return_call_indirect;
    if (!tail && opcode !== Op.call_indirect) {
      throw new WasmTextError(`${opcodeNames.get(opcode)} has no text`, start);
    }
    const signature = this.scope.signature(this.reader.unsigned());
    this.reader.unsigned();
    const element = this.pop();
    this.call(
      `${tail ? "return " : ""}table[${element.text}]`,
      tail ? { ...signature, results: [] } : signature,
      start,
      element,
    );
    if (tail) this.die();
  }

  // -- values

  private variable(opcode: number, start: number): void {
    switch (opcode) {
      case Op.drop: {
        const value = this.pop();
        return this.statement(start, `drop ${value.text}`, value);
      }
      case Op.select: {
        const condition = this.pop();
        const other = this.pop();
        const value = this.pop();
        const parts = [condition, value, other];
        return this.push({
          text: `${operand(condition)} ? ${operand(value)} : ${operand(other)}`,
          compound: true,
          ...merged(parts),
        });
      }
      case Op.local_get: {
        const local = this.reader.unsigned();
        return this.push({ text: this.localName(local), compound: false, fixed: false, start, local });
      }
      case Op.local_set: {
        const local = this.reader.unsigned();
        const value = this.pop();
        return this.statement(start, `${this.localName(local)} = ${value.text}`, value);
      }
      default: {
        const local = this.reader.unsigned();
        const value = this.pop();
        const text = this.localName(local);
        this.statement(start, `${text} = ${value.text}`, value);
        this.push({ text, compound: false, fixed: false, start: AFTER, local });
      }
    }
  }

  /** The place that a load or store names. */
  private place(address: Expression): string {
    this.reader.unsigned();
    const offset = this.reader.unsigned();
    if (address.constant !== undefined) {
      const at = Number(BigInt.asUintN(32, address.constant)) + offset;
      return `[${this.names.memory?.(at) ?? `0x${at.toString(16)}`}]`;
    }
    return offset === 0 ? `[${address.text}]` : `[${operand(address)} + ${offset}]`;
  }

  private load(name: string, start: number): void {
    const address = this.pop();
    const text = `${name}${this.place(address)}`;
    this.push({
      text,
      compound: false,
      fixed: false,
      start: Math.min(start, address.start),
      addresses: address.addresses,
    });
  }

  private store(name: string, start: number): void {
    const value = this.pop();
    const address = this.pop();
    this.statement(start, `${name}${this.place(address)} = ${value.text}`, address, value);
  }

  private constant(opcode: number, start: number): void {
    if (opcode === Op.f32_const || opcode === Op.f64_const) {
      const value = opcode === Op.f32_const ? this.reader.f32() : this.reader.f64();
      const text = Object.is(value, -0) ? "-0" : String(value);
      return this.push({ text, compound: false, fixed: true, start });
    }
    const constant = this.reader.signed();
    this.push({ text: integer(constant), compound: false, fixed: true, start, constant });
  }

  private saturating(start: number): void {
    const code = this.reader.unsigned();
    const name = saturatingNames.get(code);
    if (name === undefined) throw new WasmTextError(`opcode 0xfc ${code} is not one that is emitted`, start);
    const value = this.pop();
    this.push({ text: `${name}(${value.text})`, compound: false, ...merged([value]) });
  }

  private numeric(opcode: number, name: string): void {
    if (isUnary(opcode)) {
      const value = this.pop();
      const isZero = opcode === Op.i32_eqz || opcode === Op.i64_eqz;
      const text = isZero ? `!${operand(value)}` : `${name}(${value.text})`;
      return this.push({ text, compound: false, ...merged([value]) });
    }
    const right = this.pop();
    const left = this.pop();
    const parts = [left, right];
    const operator = operators.get(name.slice(4));
    if (operator === undefined) {
      return this.push({ text: `${name}(${left.text}, ${right.text})`, compound: false, ...merged(parts) });
    }
    const { base } = this.names;
    const isAddress = name.endsWith(".add") && left.local !== undefined && left.local === base?.local;
    if (isAddress && right.constant !== undefined) {
      const bits = name.startsWith("i64") ? 64 : 32;
      const address = BigInt.asUintN(bits, base!.address + right.constant);
      const sign = right.constant < 0n ? "-" : "+";
      const distance = right.constant < 0n ? -right.constant : right.constant;
      return this.push({
        text: `${left.text} ${sign} 0x${distance.toString(16)}`,
        compound: true,
        fixed: false,
        start: left.start,
        addresses: [address],
      });
    }
    const text = `${operand(left)} ${operator} ${operand(right)}`;
    this.push({ text, compound: true, ...merged(parts) });
  }
}

const operand = ({ text, compound }: Expression): string => (compound ? `(${text})` : text);

const integer = (value: bigint): string => {
  const magnitude = value < 0n ? -value : value;
  const text = magnitude < DECIMAL_LIMIT ? magnitude.toString() : `0x${magnitude.toString(16)}`;
  return value < 0n ? `-${text}` : text;
};

function merged(parts: readonly Expression[]): Pick<Expression, "fixed" | "start" | "addresses"> {
  return {
    fixed: parts.every((part) => part.fixed),
    start: Math.min(...parts.map((part) => part.start)),
    addresses: parts.flatMap((part) => part.addresses),
  };
}
