/** Operands of RISC-V assembly: registers, modes, sets and immediates, as fields of an instruction. */
import type { Place } from "../table/assembler.js";
import {
  type AssemblySymbol,
  type Expression,
  evaluate,
  parseExpression,
  type Symbols,
} from "../table/assembly-expression.js";
import { AssemblyError, type Cursor, type Token } from "../table/assembly-lexer.js";
import { type OperandForm, operandForms } from "./operands.js";
import { floatNames, integerNames, roundingNames } from "./registers.js";

/** A field's value, and the operand that gives it. */
export interface Operand {
  readonly token: Token;
  /** The value if it is known while the source is read. */
  readonly constant: bigint | undefined;
  /** The value for a statement at `place`. */
  readonly value: (place: Place) => bigint;
}

/** Operands by field. */
export type Operands = ReadonlyMap<string, Operand>;

/** An operand whose value the text fixes. */
export const constant = (value: number | bigint, token: Token): Operand => {
  const constant = BigInt(value);
  return { token, constant, value: () => constant };
};

/** Low 12 bits with their sign. */
export const lowPart = (value: bigint): bigint => BigInt.asIntN(12, value);
/** The upper 20 of 32 bits, which with {@link lowPart} make up the number. */
export const highPart = (value: bigint): bigint => BigInt.asUintN(20, (value + 0x800n) >> 12n);

const registerNumbers = new Map<string, number>([
  ...integerNames.map((name, number): [string, number] => [name, number]),
  ...integerNames.map((_, number): [string, number] => [`x${number}`, number]),
  ["fp", 8],
]);
const floatNumbers = new Map<string, number>([
  ...floatNames.map((name, number): [string, number] => [name, number]),
  ...floatNames.map((_, number): [string, number] => [`f${number}`, number]),
]);
const RM_DYNAMIC = 7;
const RM_NEAREST_EVEN = 0;

/** Takes an integer register. */
export function integerRegister(cursor: Cursor): Operand {
  const number = cursor.token.kind === "name" ? registerNumbers.get(cursor.token.text) : undefined;
  return number === undefined ? cursor.fail("an integer register") : constant(number, cursor.next());
}

/** Takes a floating-point register. */
export function floatRegister(cursor: Cursor): Operand {
  const number = cursor.token.kind === "name" ? floatNumbers.get(cursor.token.text) : undefined;
  return number === undefined ? cursor.fail("a floating-point register") : constant(number, cursor.next());
}

function fixedRegister(name: string, cursor: Cursor): void {
  if (registerNumbers.get(cursor.token.text) !== registerNumbers.get(name)) cursor.fail(name);
  cursor.next();
}

function roundingMode(cursor: Cursor): Operand {
  const number = roundingNames.indexOf(cursor.token.text);
  if (number < 0 || cursor.token.text === "unknown") cursor.fail("a rounding mode");
  return constant(number, cursor.next());
}

/** A fence's set of accesses: letters of `iorw`, or a number. */
function accessSet(cursor: Cursor): Operand {
  const { token } = cursor;
  if (token.kind === "number" && token.value < 16n) return constant(token.value, cursor.next());
  if (token.kind !== "name" || !/^(?=.)i?o?r?w?$/.test(token.text)) cursor.fail("a set of iorw");
  const value = [..."iorw"].reduce((set, letter) => (set << 1) | (token.text.includes(letter) ? 1 : 0), 0);
  return constant(value, cursor.next());
}

/** Reads operands, for one source. */
export class OperandParser {
  /** What each `%pcrel_hi` refers to, with the address of its instruction. */
  private readonly pcRelative: (readonly [AssemblySymbol, Expression])[] = [];
  /** The same by address, once the layout has settled. */
  private pcRelativeAt: Map<bigint, Expression> | undefined;

  constructor(
    private readonly xlen: 32 | 64,
    private readonly symbols: Symbols,
    private readonly csrNumbers: ReadonlyMap<string, number>,
  ) {}

  /** The operands that an operand string (see `operands.ts`) asks for. */
  list(text: string, cursor: Cursor): [string, Operand][] {
    return operandForms(text).flatMap((form, index): [string, Operand][] => {
      if (form.kind === "rounding" || form.kind === "exactRounding") {
        const absent = form.kind === "rounding" ? RM_DYNAMIC : RM_NEAREST_EVEN;
        return [[form.field, cursor.accept(",") ? roundingMode(cursor) : constant(absent, cursor.token)]];
      }
      if (index > 0) cursor.expect(",");
      return this.operand(form, cursor);
    });
  }

  /** An expression. */
  expression(cursor: Cursor): Expression {
    return parseExpression(cursor, this.symbols);
  }

  /** An expression as an operand. */
  number(cursor: Cursor): Operand {
    const expression = this.expression(cursor);
    const { token, constant } = expression;
    return { token, constant, value: ({ round }) => evaluate(expression, round) };
  }

  /** An address, as its distance from the statement. */
  target(cursor: Cursor): Operand {
    const { token, value } = this.number(cursor);
    if (cursor.accept("@") && cursor.name("plt").text !== "plt") {
      throw new AssemblyError("no relocation but @plt", token);
    }
    return {
      token,
      constant: undefined,
      value: (place) => this.distance(value(place), place.address, token),
    };
  }

  private operand({ kind, field, base }: OperandForm, cursor: Cursor): [string, Operand][] {
    const { token } = cursor;
    switch (kind) {
      case "x":
        return [[field, integerRegister(cursor)]];
      case "f":
        return [[field, floatRegister(cursor)]];
      case "fixed":
        fixedRegister(field, cursor);
        return [];
      case "number":
      case "hex":
        return [[field, this.immediate(cursor)]];
      case "hi":
        return [[field, upperImmediate(this.immediate(cursor))]];
      case "target":
        return [[field, this.target(cursor)]];
      case "csr": {
        const number = token.kind === "name" ? this.csrNumbers.get(token.text) : undefined;
        return [[field, number === undefined ? this.number(cursor) : constant(number, cursor.next())]];
      }
      case "order":
        return [[field, accessSet(cursor)]];
      default:
        return this.memoryOperand(field, base, cursor);
    }
  }

  private memoryOperand(field: string, base: string, cursor: Cursor): [string, Operand][] {
    const { token } = cursor;
    const bare = cursor.isMark("(") && registerNumbers.has(cursor.peek(1).text);
    const distance = bare ? constant(0, token) : this.immediate(cursor);
    cursor.expect("(");
    const operands: [string, Operand][] = [];
    if (registerNumbers.has(base)) fixedRegister(base, cursor);
    else operands.push([base, integerRegister(cursor)]);
    cursor.expect(")");
    if (field !== "") return [...operands, [field, distance]];
    // Atomic accesses have no distance, but "0(a0)" is a customary way to write them.
    if (distance.constant !== 0n) {
      throw new AssemblyError("this address takes no distance", token, ["no distance"]);
    }
    return operands;
  }

  /** An expression, or a part of one: `%hi(x)`, `%lo(x)`, `%pcrel_hi(x)`, `%pcrel_lo(label)`. */
  private immediate(cursor: Cursor): Operand {
    const { token } = cursor;
    if (!cursor.accept("%")) return this.number(cursor);
    const { text } = cursor.name("hi, lo, pcrel_hi or pcrel_lo");
    cursor.expect("(");
    const inner = this.expression(cursor);
    cursor.expect(")");
    const made = (value: (inner: bigint, place: Place) => bigint): Operand => ({
      token,
      constant: undefined,
      value: (place) => value(evaluate(inner, place.round), place),
    });
    switch (text) {
      case "hi":
        return made((value) => highPart(this.absolute(value, token)));
      case "lo":
        return made((value) => lowPart(this.absolute(value, token)));
      case "pcrel_hi":
        this.pcRelative.push([this.symbols.here(), inner]);
        return made((value, { address }) => highPart(this.distance(value, address, token)));
      case "pcrel_lo":
        return made((label, { round }) => lowPart(this.distanceFrom(label, round, token)));
      default:
        throw new AssemblyError(`no function %${text.slice(0, 80)}`, token);
    }
  }

  /** The distance that the `%pcrel_hi` at `address` tells of. Asked only when all addresses are known. */
  private distanceFrom(address: bigint, round: number, token: Token): bigint {
    this.pcRelativeAt ??= new Map(this.pcRelative.map(([here, target]) => [here.value, target]));
    const target = this.pcRelativeAt.get(address);
    if (target === undefined) {
      throw new AssemblyError("no %pcrel_hi at the address that %pcrel_lo names", token);
    }
    return this.distance(evaluate(target, round), address, token);
  }

  /** An address that `lui` and 12 bits can make. */
  private absolute(value: bigint, token: Token): bigint {
    const rounded = value + 0x800n;
    const reached =
      this.xlen === 32
        ? BigInt.asUintN(32, value) === value || BigInt.asIntN(32, value) === value
        : BigInt.asIntN(32, rounded) === rounded;
    if (reached) return value;
    throw new AssemblyError(`0x${value.toString(16)} is out of the reach of lui: use la`, token);
  }

  /** The way from `here` to `target`, around the end of the address space where that is shorter. */
  distance(target: bigint, here: bigint, token: Token): bigint {
    const distance = BigInt.asIntN(this.xlen, target - here);
    if (BigInt.asIntN(32, distance) === distance) return distance;
    throw new AssemblyError(`0x${target.toString(16)} is more than 2 GiB away`, token);
  }
}

/** `lui a0, 0xfffff` names the upper 20 bits; the field holds all 32. */
function upperImmediate({ token, constant, value }: Operand): Operand {
  const upper = (number: bigint): bigint => {
    if (number < 0n || number > 0xfffffn) throw new AssemblyError(`${number} is no 20-bit number`, token);
    return BigInt.asIntN(32, number << 12n);
  };
  return {
    token,
    constant: constant === undefined ? undefined : upper(constant),
    value: (place) => upper(value(place)),
  };
}
