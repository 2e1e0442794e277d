/**
 * Expressions in assembly source: numbers, characters, symbols, references to numeric labels (`1b`, `1f`), `.` for
 * the current address, parentheses, unary `- + ~ !`, and binary operators in GNU's order: `* / % << >>` bind closest,
 * then `& | ^`, then `+ -`, then comparisons (true is -1), then `&&`, then `||`. Values have a sign and 64 bits.
 *
 * An expression is parsed to postfix code, and evaluated by a loop that keeps its own stack of symbols in progress:
 * neither nesting nor chains of symbols can exhaust the host's stack, and each symbol is computed once a round.
 */
import { AssemblyError, type Cursor, type Token } from "./assembly-lexer.js";

/** What a name stands for. References are bound while the source is read, so a name may be set again later. */
export class AssemblySymbol {
  /** Whether there is a label or a definition. */
  defined = false;
  /** What it equals; undefined for labels, whose value the layout sets. */
  definition: Expression | undefined;
  /** Address or value, as far as the current round of layout knows. */
  value = 0n;
  /** The round that `value` is from, if there is a definition. */
  round = -1;
  /** Whether its definition is being evaluated. */
  open = false;

  /** Its value if no label, and nothing below, has a part in it. */
  get constant(): bigint | undefined {
    return this.definition?.constant;
  }
}

/** Binds names while the source is read. */
export interface Symbols {
  /** What a name stands for here. */
  named(name: Token): AssemblySymbol;
  /** The label that `1b` or `1f` means here; throws if there is none before. */
  local(reference: Token): AssemblySymbol;
  /** The address here. */
  here(): AssemblySymbol;
}

/** A parsed expression. */
export interface Expression {
  /** Its first token. */
  readonly token: Token;
  /** Its value if that is known while the source is read. */
  readonly constant: bigint | undefined;
  readonly code: readonly Step[];
}

type Step = bigint | Reference | Operation;

interface Reference {
  readonly symbol: AssemblySymbol;
  readonly token: Token;
}

interface Operation {
  readonly operator: Operator;
  readonly token: Token;
}

/** An operator: the higher its rank, the closer it binds. Unary ones ignore `right`. */
interface Operator {
  readonly rank: number;
  readonly unary: boolean;
  readonly apply: (left: bigint, right: bigint, at: Token) => bigint;
}

const truth = (value: boolean): bigint => (value ? -1n : 0n);
const divisor = (value: bigint, at: Token): bigint => {
  if (value === 0n) throw new AssemblyError("division by zero", at);
  return value;
};
const amount = (value: bigint, at: Token): bigint => {
  if (value < 0n || value > 63n) throw new AssemblyError(`shift by ${value} is out of range`, at);
  return value;
};

type Apply = Operator["apply"];
const ranks: readonly Readonly<Record<string, Apply>>[] = [
  { "||": (a, b) => (a !== 0n || b !== 0n ? 1n : 0n) },
  { "&&": (a, b) => (a !== 0n && b !== 0n ? 1n : 0n) },
  {
    "==": (a, b) => truth(a === b),
    "!=": (a, b) => truth(a !== b),
    "<>": (a, b) => truth(a !== b),
    "<": (a, b) => truth(a < b),
    "<=": (a, b) => truth(a <= b),
    ">": (a, b) => truth(a > b),
    ">=": (a, b) => truth(a >= b),
  },
  { "+": (a, b) => a + b, "-": (a, b) => a - b },
  { "|": (a, b) => a | b, "&": (a, b) => a & b, "^": (a, b) => a ^ b },
  {
    "*": (a, b) => a * b,
    "/": (a, b, at) => a / divisor(b, at),
    "%": (a, b, at) => a % divisor(b, at),
    "<<": (a, b, at) => a << amount(b, at),
    // On the 64 bits without a sign, as GNU's assembler does it.
    ">>": (a, b, at) => BigInt.asUintN(64, a) >> amount(b, at),
  },
];
const binaries = new Map(
  ranks.flatMap((group, rank) =>
    Object.entries(group).map(([name, apply]): [string, Operator] => [name, { rank, unary: false, apply }]),
  ),
);
const unary = (apply: (value: bigint) => bigint): Operator => ({ rank: ranks.length, unary: true, apply });
const unaries = new Map([
  ["-", unary((value) => -value)],
  ["+", unary((value) => value)],
  ["~", unary((value) => ~value)],
  ["!", unary((value) => (value === 0n ? 1n : 0n))],
]);

/** Parses the expression at the cursor; throws if there is none. */
export function parseExpression(cursor: Cursor, symbols: Symbols): Expression {
  const { token } = cursor;
  const code: Step[] = [];
  /** Operators that wait for their operand; undefined is an open parenthesis. */
  const waiting: (Operation | undefined)[] = [];
  let depth = 0;
  const settle = (rank: number) => {
    for (let top = waiting.at(-1); top !== undefined && top.operator.rank >= rank; top = waiting.at(-1)) {
      code.push(top);
      waiting.pop();
    }
  };
  for (;;) {
    const prefix = cursor.token.kind === "mark" ? unaries.get(cursor.token.text) : undefined;
    if (prefix !== undefined) {
      waiting.push({ operator: prefix, token: cursor.next() });
      continue;
    }
    if (cursor.accept("(")) {
      waiting.push(undefined);
      depth += 1;
      continue;
    }
    code.push(parseOperand(cursor, symbols));
    for (; depth > 0 && cursor.accept(")"); depth--) {
      settle(0);
      waiting.pop();
    }
    const operator = cursor.token.kind === "mark" ? binaries.get(cursor.token.text) : undefined;
    if (operator === undefined) break;
    settle(operator.rank);
    waiting.push({ operator, token: cursor.next() });
  }
  if (depth > 0) cursor.fail('")"');
  settle(0);
  const isConstant = code.every(
    (step) => typeof step === "bigint" || "operator" in step || step.symbol.constant !== undefined,
  );
  const expression = { token, constant: undefined, code };
  if (!isConstant) return expression;
  return { token, constant: evaluate(expression, 0), code: [] };
}

function parseOperand(cursor: Cursor, symbols: Symbols): Step {
  const { token } = cursor;
  switch (token.kind) {
    case "number":
      return cursor.next().value;
    case "local":
      return { symbol: symbols.local(cursor.next()), token };
    case "name":
      cursor.next();
      return { symbol: token.text === "." ? symbols.here() : symbols.named(token), token };
    default:
      return cursor.fail("an expression");
  }
}

interface Frame {
  /** Whose definition this is; undefined for the expression that was asked for. */
  readonly symbol: AssemblySymbol | undefined;
  readonly code: readonly Step[];
  readonly values: bigint[];
  at: number;
}

/**
 * The value of an expression in a round of layout. Throws if a symbol has none, or its value does not fit 64 bits.
 */
export function evaluate({ constant, code }: Expression, round: number): bigint {
  if (constant !== undefined) return constant;
  const frames: Frame[] = [{ symbol: undefined, code, values: [], at: 0 }];
  try {
    for (;;) {
      const frame = frames.at(-1)!;
      const step = frame.code[frame.at];
      if (step === undefined) {
        const value = frame.values[0]!;
        if (frame.symbol === undefined) return value;
        frame.symbol.value = value;
        frame.symbol.round = round;
        frame.symbol.open = false;
        frames.pop();
      } else if (typeof step === "bigint") {
        frame.values.push(step);
        frame.at += 1;
      } else if ("operator" in step) {
        operate(frame.values, step);
        frame.at += 1;
      } else if (isSettled(step.symbol, round)) {
        frame.values.push(step.symbol.constant ?? step.symbol.value);
        frame.at += 1;
      } else frames.push(opened(step));
    }
  } finally {
    for (const { symbol } of frames) if (symbol !== undefined) symbol.open = false;
  }
}

const isSettled = ({ defined, definition, round }: AssemblySymbol, now: number): boolean =>
  defined && (definition === undefined || definition.constant !== undefined || round === now);

function opened({ symbol, token }: Reference): Frame {
  const { definition } = symbol;
  if (definition === undefined) throw new AssemblyError(`${token.text} is not defined`, token);
  if (symbol.open) throw new AssemblyError(`${token.text} is defined by itself`, token);
  symbol.open = true;
  return { symbol, code: definition.code, values: [], at: 0 };
}

function operate(values: bigint[], { operator, token }: Operation): void {
  const right = operator.unary ? 0n : values.pop()!;
  const value = operator.apply(values.pop()!, right, token);
  if (BigInt.asIntN(65, value) !== value) {
    throw new AssemblyError(`the result of ${token.text} has more than 64 bits`, token);
  }
  values.push(value);
}
