/**
 * The reference evaluator of the IR: it says what a block means, exactly and slowly. Passes and backends are
 * tested against it, so it is written for being obviously right: every value is a BigInt that holds the bit
 * pattern, unsigned, and every operation is the line of arithmetic that defines it.
 */
import type { FloatUnit } from "./float/float-unit.js";
import { opcodes } from "./opcodes.js";
import type { AmoKind, Block, Helper, InsnMark, Operation, Target, Type, Width } from "./types.js";

/**
 * What a block runs in. Values are bit patterns, unsigned, of the width of their type; addresses are
 * guest-virtual. A memory operation that raises an exception returns null (a store: false).
 */
export interface EvaluationEnvironment {
  /** Address of the block's first instruction. */
  readonly pc: bigint;
  /** Arithmetic and accrued flags of floating-point operations. */
  readonly float: FloatUnit;
  /** Value of an instruction field, an int32. Asked in templates only. */
  field(name: string): number;
  get(slot: string, index: number): bigint;
  set(slot: string, index: number, value: bigint): void;
  /** Reads `width` bits. */
  load(width: Width, address: bigint): bigint | null;
  /** Writes `width` bits. */
  store(width: Width, address: bigint, value: bigint): boolean;
  /** Replaces `width` bits by what {@link combine} gives, in one step; gives the old ones. */
  amo(kind: AmoKind, width: Width, address: bigint, value: bigint): bigint | null;
  loadReserved(width: Width, address: bigint): bigint | null;
  /** 0 where it stored, else 1. */
  storeConditional(width: Width, address: bigint, value: bigint): bigint | null;
  /** Takes budget units beside the costs of instructions. */
  charge?(units: bigint): void;
  /** Calls a helper; `exit` says that the block is left after it. */
  call(helper: Helper, args: readonly bigint[]): { readonly result?: bigint; readonly exit?: boolean };
}

/** How a block was left, and at which instruction where it stopped inside. */
export type BlockExit =
  /** By `jump` or `branch`, to `distance` bytes from the block's first instruction. */
  | { readonly kind: "jump"; readonly distance: number }
  /** By `jumpr`. */
  | { readonly kind: "indirect"; readonly address: bigint }
  /** By `leave`. */
  | { readonly kind: "leave" }
  /** By `trap` or `trapif`. */
  | { readonly kind: "trap"; readonly cause: number; readonly value: bigint; readonly at: InsnMark }
  /** By a memory operation that the environment refused. */
  | { readonly kind: "fault"; readonly at: InsnMark }
  /** By a helper that asked for it. */
  | { readonly kind: "helper"; readonly at: InsnMark };

const bitsOf = (type: Type): 32 | 64 => (type === "i64" || type === "f64" ? 64 : 32);
const unsigned = (bits: number, value: bigint): bigint => BigInt.asUintN(bits, value);
const signed = (bits: number, value: bigint): bigint => BigInt.asIntN(bits, value);

/**
 * Runs `block`, which must be well formed, in `environment`.
 * @throws Error if the opcode table has an operation that this module does not define
 */
export function evaluateBlock(block: Block, environment: EvaluationEnvironment): BlockExit {
  return new Evaluation(block, environment).run();
}

/** The value that a read-modify-write stores, from the old value and its operand. */
export function combine(kind: AmoKind, width: Width, old: bigint, operand: bigint): bigint {
  const [a, b] = [signed(width, old), signed(width, operand)];
  switch (kind) {
    case "swap":
      return operand;
    case "add":
      return unsigned(width, old + operand);
    case "xor":
      return old ^ operand;
    case "and":
      return old & operand;
    case "or":
      return old | operand;
    case "min":
      return a < b ? old : operand;
    case "max":
      return a > b ? old : operand;
    case "minu":
      return old < operand ? old : operand;
    case "maxu":
      return old > operand ? old : operand;
  }
}

class Evaluation {
  private readonly values: bigint[] = [];
  private at: InsnMark = { offset: 0, length: 0, ordinal: 0 };

  constructor(
    private readonly block: Block,
    private readonly environment: EvaluationEnvironment,
  ) {}

  run(): BlockExit {
    for (const operation of this.block.operations) {
      const outcome = this.step(operation);
      if (typeof outcome === "object") return outcome;
      this.values.push(outcome);
    }
    throw new Error("block without an exit");
  }

  /** The value of an operation (0 where it makes none), or the exit that it takes. */
  private step(operation: Operation): bigint | BlockExit {
    const { environment, at } = this;
    const args = operation.args.map((arg) => this.values[arg]!);
    const fault: BlockExit = { kind: "fault", at };
    switch (operation.op) {
      case "insn":
        this.at = operation.at!;
        return 0n;
      case "charge":
        environment.charge?.(args[0]!);
        return 0n;
      case "get":
        return environment.get(operation.slot!, this.index(operation));
      case "set":
        environment.set(operation.slot!, this.index(operation), args[0]!);
        return 0n;
      case "load": {
        const loaded = environment.load(operation.width!, args[0]!);
        if (loaded === null) return fault;
        return operation.signed
          ? unsigned(bitsOf(operation.type!), signed(operation.width!, loaded))
          : loaded;
      }
      case "store":
        return environment.store(operation.width!, args[0]!, unsigned(operation.width!, args[1]!))
          ? 0n
          : fault;
      case "amo":
        return environment.amo(operation.amo!, operation.width!, args[0]!, args[1]!) ?? fault;
      case "lr":
        return environment.loadReserved(operation.width!, args[0]!) ?? fault;
      case "sc":
        return environment.storeConditional(operation.width!, args[0]!, args[1]!) ?? fault;
      case "call": {
        const { result = 0n, exit = false } = environment.call(operation.helper!, args);
        return exit ? { kind: "helper", at } : result;
      }
      case "trapif":
        return args[0] === 0n ? 0n : { kind: "trap", cause: operation.cause!, value: args[1]!, at };
      case "trap":
        return { kind: "trap", cause: operation.cause!, value: args[0]!, at };
      case "jump":
        return { kind: "jump", distance: this.target(operation.targets![0]!) };
      case "branch":
        return { kind: "jump", distance: this.target(operation.targets![args[0] !== 0n ? 0 : 1]!) };
      case "jumpr":
        return { kind: "indirect", address: args[0]! };
      case "leave":
        return { kind: "leave" };
      default:
        return this.arithmetic(operation, args);
    }
  }

  private index({ index = 0 }: Operation): number {
    return typeof index === "object" ? this.environment.field(index.field) : index;
  }

  private target(target: Target): number {
    return typeof target === "object" ? this.environment.field(target.field) : target;
  }

  private arithmetic(operation: Operation, args: readonly bigint[]): bigint {
    const bits = bitsOf(operation.type!);
    const { constant } = operation;
    switch (operation.op) {
      case "const":
        if (typeof constant === "object")
          return unsigned(64, (BigInt(constant.hi) << 32n) | BigInt(constant.lo >>> 0));
        return unsigned(32, BigInt(constant!));
      case "field":
        return unsigned(32, BigInt(this.environment.field(operation.field!)));
      case "pc":
        return unsigned(bits, this.environment.pc + BigInt(constant as number));
    }
    if (opcodes.get(operation.op)!.kind === "float" || operation.op === "fclass") {
      const operandType =
        operation.args.length > 0 ? this.block.operations[operation.args[0]!]!.type! : "f32";
      return evaluateFloat(this.environment.float, operation, operandType, args);
    }
    const operandBits =
      operation.args.length > 0 ? bitsOf(this.block.operations[operation.args[0]!]!.type!) : bits;
    return unsigned(
      bits,
      evaluateInteger(operation.op, operation.op === "select" ? bits : operandBits, args),
    );
  }
}

/** A pure operation on bit patterns; `bits` is the width of its operands. The result may need to be wrapped. */
export function evaluateInteger(op: string, bits: number, args: readonly bigint[]): bigint {
  const [a = 0n, b = 0n, c = 0n] = args;
  const [sa, sb] = [signed(bits, a), signed(bits, b)];
  const width = BigInt(bits);
  const amount = b & (width - 1n);
  const ones = unsigned(bits, -1n);
  const truth = (holds: boolean): bigint => (holds ? 1n : 0n);
  switch (op) {
    case "add":
      return a + b;
    case "sub":
      return a - b;
    case "mul":
      return a * b;
    case "and":
      return a & b;
    case "or":
      return a | b;
    case "xor":
      return a ^ b;
    case "mulh":
      return (sa * sb) >> width;
    case "mulhu":
      return (a * b) >> width;
    case "mulhsu":
      return (sa * b) >> width;
    case "div":
      return b === 0n ? ones : sa / sb;
    case "divu":
      return b === 0n ? ones : a / b;
    case "rem":
      return b === 0n ? a : sa % sb;
    case "remu":
      return b === 0n ? a : a % b;
    case "shl":
      return a << amount;
    case "shru":
      return a >> amount;
    case "shrs":
      return sa >> amount;
    case "rotl":
      return (a << amount) | (a >> (width - amount));
    case "rotr":
      return (a >> amount) | (a << (width - amount));
    case "clz":
      return width - BigInt(a === 0n ? 0 : a.toString(2).length);
    case "ctz":
      return a === 0n ? width : BigInt((a & -a).toString(2).length - 1);
    case "popcnt":
      return BigInt(a.toString(2).replaceAll("0", "").length);
    case "bswap":
      return BigInt(
        `0x${a
          .toString(16)
          .padStart(bits / 4, "0")
          .match(/../g)!
          .reverse()
          .join("")}`,
      );
    case "eq":
      return truth(a === b);
    case "ne":
      return truth(a !== b);
    case "lt":
      return truth(sa < sb);
    case "ltu":
      return truth(a < b);
    case "ge":
      return truth(sa >= sb);
    case "geu":
      return truth(a >= b);
    case "select":
      return a !== 0n ? b : c;
    case "sext8":
      return signed(8, a);
    case "sext16":
      return signed(16, a);
    case "sext32":
      return signed(32, a);
    case "zext8":
      return unsigned(8, a);
    case "zext16":
      return unsigned(16, a);
    case "zext32":
    case "wrap":
    case "bits32":
    case "bits64":
    case "float32":
    case "float64":
      return a;
    default:
      throw new Error(`the evaluator does not know ${op}`);
  }
}

/** The methods of the float unit by operation, for operands or results of f32 and of f64. */
const floatMethods: Readonly<Record<string, readonly [f32: keyof FloatUnit, f64: keyof FloatUnit]>> = {
  fadd: ["add32", "add64"],
  fsub: ["sub32", "sub64"],
  fmul: ["mul32", "mul64"],
  fdiv: ["div32", "div64"],
  fsqrt: ["sqrt32", "sqrt64"],
  fma: ["fma32", "fma64"],
  fmin: ["min32", "min64"],
  fmax: ["max32", "max64"],
  feq: ["eq32", "eq64"],
  flt: ["lt32", "lt64"],
  fle: ["le32", "le64"],
  fclass: ["class32", "class64"],
  fdemote: ["f64ToF32", "f64ToF32"],
  fpromote: ["f32ToF64", "f32ToF64"],
  ftoi32: ["f32ToI32", "f64ToI32"],
  ftou32: ["f32ToU32", "f64ToU32"],
  ftoi64: ["f32ToI64", "f64ToI64"],
  ftou64: ["f32ToU64", "f64ToU64"],
  i32tof: ["i32ToF32", "i32ToF64"],
  u32tof: ["u32ToF32", "u32ToF64"],
  i64tof: ["i64ToF32", "i64ToF64"],
  u64tof: ["u64ToF32", "u64ToF64"],
};

function evaluateFloat(
  unit: FloatUnit,
  operation: Operation,
  operandType: Type,
  args: readonly bigint[],
): bigint {
  const { op, type } = operation;
  const methods = floatMethods[op];
  if (methods === undefined) throw new Error(`the evaluator does not know ${op}`);
  const double = type === "f64" || operandType === "f64";
  const method = unit[methods[double ? 1 : 0]] as (...words: number[]) => number;
  const rule = opcodes.get(op)!.args;
  // A 64-bit operand is passed as two words; the rounding mode and 32-bit ones as one.
  const words = args.flatMap((arg, index) => {
    const wide = rule[index] === "F" ? operandType === "f64" : rule[index] === "i64" || rule[index] === "f64";
    const low = Number(BigInt.asIntN(32, arg));
    return wide ? [low, Number(BigInt.asIntN(32, arg >> 32n))] : [low];
  });
  const low = method.call(unit, ...words);
  if (type !== "i64" && type !== "f64") return unsigned(32, BigInt(low));
  return unsigned(64, (BigInt(unit.hi) << 32n) | BigInt(low >>> 0));
}
