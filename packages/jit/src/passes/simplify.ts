/**
 * Rewrites pure operations by rules, in one forward walk over the block. A rule gets an operation whose operands have
 * been simplified already and gives the value that it is, making operations where it needs them; these go through the
 * rules in turn. What no rule knows is looked up among the block's operations so far (`common-subexpressions.ts`).
 *
 * The rules are in files of their own (`fold-constants.ts`, `extensions.ts`, `strength.ts`, `conditions.ts`) but share
 * this walk: most of a pass's cost is in building the block anew, and a rule often makes what another one waits for.
 */
import { type Block, type Operation, opcodes, type Type, type Value } from "@hyperfile/decoder";
import { CommonSubexpressions } from "./common-subexpressions.js";
import { SlotValues } from "./forward-slots.js";
import { type Halves, halvesOf } from "./halves.js";
import { Rewriter } from "./rewriter.js";
import { Widths } from "./widths.js";

/**
 * The value that an operation of `type` on `args` is; undefined where the rule says nothing about it.
 * The rules of operations that are not pure name another value for the first operand instead.
 */
export type Rule = (to: Simplifier, type: Type, args: readonly Value[]) => Value | undefined;

/** Rules by the opcode that they are about. */
export type Rules = Readonly<Record<string, Rule>>;

/** Rules in the order in which they are tried, by opcode. */
export type RuleSet = ReadonlyMap<string, readonly Rule[]>;

/** All rules of several tables, those of earlier ones first. */
export function ruleSet(...tables: readonly Rules[]): RuleSet {
  const set = new Map<string, Rule[]>();
  for (const table of tables) {
    for (const [op, rule] of Object.entries(table)) set.set(op, [...(set.get(op) ?? []), rule]);
  }
  return set;
}

const none: readonly Rule[] = [];

/** The block that rules write to. */
export class Simplifier extends Rewriter {
  private readonly slots = new SlotValues();
  private readonly common = new CommonSubexpressions();
  private readonly widths = new Widths(this.operations);

  constructor(
    source: Block,
    private readonly rules: RuleSet,
  ) {
    super(source);
  }

  /** The value of a pure operation on new values: simplified, found, or made. */
  make(op: string, type: Type, args: readonly Value[]): Value {
    return this.apply(op, type, args) ?? this.unique({ op, type, args });
  }

  /** The constant that a value is, if it is one. */
  constantAt(value: Value): Halves | undefined {
    const definition = this.definition(value);
    return definition.op === "const" ? halvesOf(definition) : undefined;
  }

  /** Bits that hold a value if its sign is extended from there. */
  signedBits(value: Value): number {
    return this.widths.signed(value);
  }

  /** Bits that hold a value if zeros follow. */
  unsignedBits(value: Value): number {
    return this.widths.unsigned(value);
  }

  /** Simplifies the whole block. */
  run(): Block {
    const { operations } = this.source;
    for (let old = 0; old < operations.length; old++) this.step(old, operations[old]!);
    return this.finish();
  }

  private step(old: number, operation: Operation): void {
    const { op } = operation;
    switch (op) {
      case "const": {
        const { lo, hi } = halvesOf(operation);
        return this.replace(old, this.constant(operation.type!, lo, hi));
      }
      case "get": {
        const value = this.slots.read(operation);
        if (value !== undefined) this.replace(old, value);
        else this.slots.keep(operation, this.keep(old, operation));
        return;
      }
      case "set":
        this.keep(old, operation);
        return this.slots.keep(operation, this.value(operation.args[0]!));
      case "call":
        this.slots.forgetWhatWrites(operation);
        this.keep(old, operation);
        return;
      case "branch":
      case "trapif":
        return this.keepTested(old, operation);
      default:
        if (operation.args.length > 0 && opcodes.get(op)!.kind === "pure")
          this.replace(old, this.simplified(operation));
        else this.keep(old, operation);
    }
  }

  private apply(op: string, type: Type | null, args: readonly Value[]): Value | undefined {
    for (const rule of this.rules.get(op) ?? none) {
      const value = rule(this, type!, args);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  private simplified(operation: Operation): Value {
    const { op, type } = operation;
    const args = this.renamedArgs(operation);
    const value = this.apply(op, type, args);
    if (value !== undefined) return value;
    return this.unique(args === operation.args ? operation : { op, type, args });
  }

  private unique(operation: Operation): Value {
    const next = this.operations.length as Value;
    const value = this.common.find(operation, next);
    return value === next ? this.emit(operation) : value;
  }

  /** Keeps an operation that is not pure; of a condition that it only tests, the rules may know a simpler one. */
  private keepTested(old: number, operation: Operation): void {
    const { op, type } = operation;
    const args = this.renamedArgs(operation);
    const tested = this.apply(op, type, args);
    if (tested === undefined) this.keep(old, operation);
    else this.replace(old, this.emit({ ...operation, args: [tested, ...args.slice(1)] }));
  }
}

/** The block as rules leave it; what is no longer used stays for `eliminate-dead.ts`. */
export const simplify = (block: Block, rules: RuleSet): Block => new Simplifier(block, rules).run();
