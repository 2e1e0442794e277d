/**
 * Checks that a block is well formed. The invariants, by the numbers that the tests refer to:
 *
 *  1. The first operation is an `insn` mark, the last one is an exit, and no other is an exit.
 *  2. Every operation is in the opcode table and takes as many operands as its row (a `call`: its helper) says.
 *  3. Every operand points backwards, at an operation that makes a value.
 *  4. Operands and results have the types of the row: `T` is one integer type, `F` one float type, throughout.
 *  5. A constant is an int32, or for i64 two int32 halves; there are no float constants.
 *  6. A `pc` has the address type, and an int32 distance. Addresses of memory operations, `jumpr` and values of
 *     `trap` and `trapif` have the address type, which is the type of the slot `pc`.
 *  7. A field has a name; as a value it is an i32.
 *  8. A slot exists, the index is inside it, and the value's type is the slot's.
 *  9. A `load` fits its type; a `store` is no wider than its value; `amo`, `lr` and `sc` are exactly as wide as
 *     their values, 32 or 64 bits. Memory moves integers only.
 * 10. A call agrees with its helper's parameters and result.
 * 11. An exception number is not negative.
 * 12. A jump has one target and a branch two; a target is an int32 distance or a field.
 * 13. Instruction marks count from 0 upwards and have lengths that are not negative; the block's counts of
 *     instructions and of bytes are those of its marks.
 * 14. An operation has no attributes but those of its opcode.
 * 15. An instruction costs 1 to 31 budget units; what is charged before it, the block's cost, and the most that it
 *     takes with its `charge` operations are the sums. Where a call returns to is an int32 distance.
 */
import { type Opcode, opcodes, type TypeRule } from "./opcodes.js";
import type { StateShape } from "./state.js";
import {
  type Block,
  costOf,
  type InsnMark,
  MAXIMUM_COST,
  mostOf,
  type Operation,
  type Target,
  type Type,
} from "./types.js";

/** A block that breaks the IR's invariants: a defect of a front end or a pass. */
export class IrError extends Error {
  override readonly name = "IrError";
  /** Stable code of this error. */
  readonly code = "E_IR";

  /**
   * @param what names the block
   * @param problems what {@link verifyBlock} found, not empty
   */
  constructor(
    what: string,
    readonly problems: readonly string[],
  ) {
    super(`${what}: ${problems[0]}${problems.length > 1 ? ` (and ${problems.length - 1} more)` : ""}`);
  }
}

/** Throws an {@link IrError} that names `what` if `block` is not well formed. */
export function assertBlock(block: Block, shape: StateShape, what: string): void {
  const problems = verifyBlock(block, shape);
  if (problems.length > 0) throw new IrError(what, problems);
}

/**
 * What is wrong with `block`, one line a problem, each beginning with the operation's value name; empty if it is
 * well formed. Never throws on a malformed block.
 */
export function verifyBlock(block: Block, shape: StateShape): string[] {
  return new Verification(block, shape).run();
}

const attributes: Readonly<Record<string, readonly (keyof Operation)[]>> = {
  const: ["constant"],
  field: ["field"],
  pc: ["constant"],
  get: ["slot", "index"],
  set: ["slot", "index"],
  load: ["width", "signed"],
  store: ["width"],
  amo: ["width", "amo"],
  lr: ["width"],
  sc: ["width"],
  call: ["helper"],
  insn: ["at"],
  charge: ["most"],
  trapif: ["cause"],
  trap: ["cause"],
  jump: ["targets", "link"],
  jumpr: ["link"],
  branch: ["targets"],
};
const common: readonly string[] = ["op", "type", "args"];
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

const isInt32 = (value: unknown): value is number => typeof value === "number" && value === (value | 0);
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isName = (value: unknown): boolean => typeof value === "string" && /^[A-Za-z_]\w*$/.test(value);
const isFieldName = (value: unknown): boolean =>
  typeof value === "object" && value !== null && isName((value as { field?: unknown }).field);
const bitsOf = (type: Type): number => (type === "i64" || type === "f64" ? 64 : 32);
const isInteger = (type: Type | undefined): type is "i32" | "i64" => type === "i32" || type === "i64";

class Verification {
  private readonly problems: string[] = [];
  private readonly addressType: Type | undefined;
  private position = 0;
  private marks = 0;
  private bytes = 0;
  private cost = 0;
  private extra = 0;

  constructor(
    private readonly block: Block,
    private readonly shape: StateShape,
  ) {
    this.addressType = shape.slots.get("pc")?.type;
  }

  run(): string[] {
    const { operations, instructions, bytes } = this.block;
    if (operations.length === 0) return ["the block is empty"];
    if (operations[0]!.op !== "insn") this.problem("the block does not begin with an insn mark");
    operations.forEach((operation, position) => {
      this.position = position;
      this.operation(operation);
    });
    if (instructions !== this.marks)
      this.problems.push(`the block counts ${instructions} insns, has ${this.marks}`);
    if (bytes !== this.bytes)
      this.problems.push(`the block counts ${bytes} bytes, its insns take ${this.bytes}`);
    const [cost, most] = [costOf(this.block), mostOf(this.block)];
    if (cost !== this.cost) this.problems.push(`the block costs ${cost}, its insns ${this.cost}`);
    if (most !== this.cost + this.extra)
      this.problems.push(`the block takes ${most} at most, its insns ${this.cost + this.extra}`);
    return this.problems;
  }

  private problem(reason: string): void {
    const { op } = this.block.operations[this.position]!;
    this.problems.push(`%${this.position} ${op}: ${reason}`);
  }

  private operation(operation: Operation): void {
    const row = opcodes.get(operation.op);
    if (row === undefined) {
      this.problem("no such operation");
      return;
    }
    const isLast = this.position === this.block.operations.length - 1;
    if (row.kind === "exit" && !isLast) this.problem("an exit before the end of the block");
    if (row.kind !== "exit" && isLast) this.problem("the block ends without an exit");
    this.attributes(operation);
    const expected = operation.op === "call" ? operation.helper?.parameters.length : row.args.length;
    if (operation.args.length !== expected) {
      this.problem(`${operation.args.length} operands instead of ${expected ?? "a helper's"}`);
      return;
    }
    const argumentTypes = operation.args.map((arg) => this.typeOf(arg));
    if (argumentTypes.some((type) => type === undefined)) return;
    const known = argumentTypes as Type[];
    this.types(operation, row, known);
    this.details(operation, known);
  }

  /** Type of an operand; undefined, and a problem, if it is none. */
  private typeOf(value: number): Type | undefined {
    if (!Number.isInteger(value) || value < 0 || value >= this.position) {
      this.problem(`operand %${value} is not defined before`);
      return undefined;
    }
    const { type } = this.block.operations[value]!;
    if (type === null) this.problem(`operand %${value} makes no value`);
    return type ?? undefined;
  }

  private attributes(operation: Operation): void {
    const own: readonly string[] = attributes[operation.op] ?? [];
    for (const name of own) {
      const needed = name !== "index" && name !== "link";
      if (needed && operation[name as keyof Operation] === undefined) this.problem(`${name} is missing`);
    }
    for (const [name, value] of Object.entries(operation)) {
      if (value !== undefined && !common.includes(name) && !own.includes(name))
        this.problem(`it has no ${name}`);
    }
  }

  /** Invariant 4: what the row says, with `T` and `F` bound by the result or by the first operand of that rule. */
  private types(operation: Operation, row: Opcode, args: readonly Type[]): void {
    const bound = new Map<TypeRule, Type>();
    const fits = (rule: TypeRule, actual: Type): boolean => {
      if (rule === "none" || rule === actual) return true;
      if (rule !== "T" && rule !== "F") return false;
      if (isInteger(actual) !== (rule === "T")) return false;
      if (!bound.has(rule)) bound.set(rule, actual);
      return bound.get(rule) === actual;
    };
    if (row.result !== "none") {
      if (operation.type === null) {
        this.problem("it makes a value and has no type");
        return;
      }
      if (!fits(row.result, operation.type)) this.problem(`the result is ${operation.type}`);
    }
    row.args.forEach((rule, index) => {
      if (!fits(rule, args[index]!)) this.problem(`operand ${index} is ${args[index]}`);
    });
  }

  private details(operation: Operation, args: readonly Type[]): void {
    switch (operation.op) {
      case "insn":
        this.mark(operation);
        return;
      case "const":
        this.constant(operation);
        return;
      case "field":
        if (!isName(operation.field)) this.problem(`${operation.field} is no field name`);
        return;
      case "pc":
        if (!isInt32(operation.constant)) this.problem("the distance is no int32");
        if (!this.isAddress(operation.type)) this.problem(`the result is ${operation.type}, not an address`);
        return;
      case "get":
      case "set":
        this.slot(operation, args);
        return;
      case "load":
      case "store":
      case "amo":
      case "lr":
      case "sc":
        this.memory(operation, args);
        return;
      case "call":
        this.call(operation, args);
        return;
      case "trapif":
      case "trap":
        this.noResult(operation);
        if (!isCount(operation.cause)) this.problem(`${operation.cause} is no exception number`);
        this.address(args[args.length - 1]!, "the trap value");
        return;
      case "charge":
        this.noResult(operation);
        if (!isCount(operation.most)) this.problem(`${operation.most} is no most`);
        else this.extra += operation.most;
        return;
      case "jumpr":
        this.noResult(operation);
        this.link(operation);
        this.address(args[0]!, "the target");
        return;
      case "jump":
      case "branch":
        this.noResult(operation);
        this.targets(operation.targets ?? [], operation.op === "jump" ? 1 : 2);
        this.link(operation);
        return;
      case "leave":
        this.noResult(operation);
        return;
    }
  }

  private link({ link }: Operation): void {
    if (link !== undefined && !isInt32(link)) this.problem("where the call returns to is no int32 distance");
  }

  private isAddress(type: Type | null): boolean {
    return this.addressType === undefined ? isInteger(type ?? undefined) : type === this.addressType;
  }

  private address(type: Type, what: string): void {
    if (!this.isAddress(type)) this.problem(`${what} is ${type}, not an address`);
  }

  private noResult(operation: Operation): void {
    if (operation.type !== null) this.problem(`it makes no value and has type ${operation.type}`);
  }

  private mark(operation: Operation): void {
    this.noResult(operation);
    const at: Partial<InsnMark> = operation.at ?? {};
    if (!isInt32(at.offset)) this.problem("the offset is no int32");
    if (!isCount(at.length)) this.problem("the length is not a count of bytes");
    if (at.ordinal !== this.marks) this.problem(`ordinal ${at.ordinal} instead of ${this.marks}`);
    const cost = at.cost ?? 1;
    if (!isCount(cost) || cost < 1 || cost > MAXIMUM_COST) this.problem(`a cost of ${cost}`);
    if ((at.charged ?? at.ordinal) !== this.cost)
      this.problem(`${at.charged} charged instead of ${this.cost}`);
    this.marks += 1;
    this.cost += cost;
    this.bytes = Math.max(this.bytes, (at.offset ?? 0) + (at.length ?? 0));
  }

  private constant({ type, constant }: Operation): void {
    const fits =
      type === "i64"
        ? typeof constant === "object" && isInt32(constant.lo) && isInt32(constant.hi)
        : isInt32(constant);
    if (!fits) this.problem(`the constant is no ${type}`);
  }

  private slot(operation: Operation, args: readonly Type[]): void {
    const slot = this.shape.slots.get(operation.slot!);
    if (slot === undefined) {
      this.problem(`no slot ${operation.slot}`);
      return;
    }
    const index = operation.index ?? 0;
    if (typeof index === "object" ? !isFieldName(index) : !isCount(index) || index >= slot.length) {
      this.problem(`no element ${typeof index === "object" ? index.field : index} in slot ${slot.name}`);
    }
    const type = operation.op === "get" ? operation.type : args[0]!;
    if (type !== slot.type) this.problem(`slot ${slot.name} is ${slot.type}, not ${type}`);
    if (operation.op === "set") this.noResult(operation);
  }

  private memory(operation: Operation, args: readonly Type[]): void {
    const { op, type, width } = operation;
    this.address(args[0]!, "the address");
    const value = op === "load" || op === "lr" ? type : args[1]!;
    if (!isInteger(value ?? undefined)) {
      this.problem(`the value is ${value}, not an integer`);
      return;
    }
    const bits = bitsOf(value!);
    if (op === "load" || op === "store") {
      if (width !== 8 && width !== 16 && width !== 32 && width !== 64) this.problem(`${width} bits`);
      else if (width > bits) this.problem(`${width} bits of an ${value}`);
    } else if (width !== bits) this.problem(`${width} bits of an ${value}`);
    if (op === "load" && typeof operation.signed !== "boolean") this.problem("signed is not a boolean");
    if (op === "amo") {
      if (!amoKinds.has(operation.amo!)) this.problem(`no read-modify-write ${operation.amo}`);
      if (type !== value) this.problem(`the result is ${type}, the operand ${value}`);
    }
    if (op === "sc" && type !== "i32") this.problem(`the result is ${type}`);
    if (op === "store") this.noResult(operation);
  }

  private call(operation: Operation, args: readonly Type[]): void {
    const { helper } = operation;
    if (helper === undefined) return;
    if (!isName(helper.name)) this.problem(`${helper.name} is no helper's name`);
    if (operation.type !== helper.result)
      this.problem(`${helper.name} gives ${helper.result}, not ${operation.type}`);
    helper.parameters.forEach((parameter, index) => {
      if (args[index] !== parameter) this.problem(`argument ${index} of ${helper.name} is ${args[index]}`);
    });
  }

  private targets(targets: readonly Target[], count: number): void {
    if (targets.length !== count) this.problem(`${targets.length} targets instead of ${count}`);
    for (const target of targets) {
      if (!isInt32(target) && !isFieldName(target))
        this.problem("a target is neither an int32 distance nor a field");
    }
  }
}
