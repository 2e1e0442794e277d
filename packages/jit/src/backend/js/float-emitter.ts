/**
 * Floating-point operations as JavaScript: calls of the functions of `float-runtime.ts` on bits or, in regions, host
 * arithmetic on numbers with those calls behind it; see `doubles.ts`.
 */
import type { Block, Operation, Value } from "@hyperfile/decoder";
import { CANONICAL_NAN, fastComparisons, fastDoubles } from "./doubles.js";
import type { Values } from "./values.js";

/** Rounding mode of conversions as C does them: RISC-V unprivileged manual, 20.2. */
const TOWARD_ZERO = 1;

/** Name of the runtime function of a floating-point operation, for instance `fadd_f64`. */
export function floatFunction(operation: Operation, operandType: string): string {
  if (operation.op === "fdemote" || operation.op === "fpromote") return operation.op;
  const double = operation.type === "f64" || operandType === "f64";
  return `${operation.op}_${double ? "f64" : "f32"}`;
}

/**
 * Names the value of an operation.
 * @param flagsWord word of the accrued flags, where doubles are kept as numbers
 */
export function emitFloat(v: Values, operation: Operation, flagsWord: number | undefined): void {
  const { op, args, type } = operation;
  switch (op) {
    case "bits32":
    case "float32":
      return v.single(v.lo(args[0]!));
    case "bits64":
    case "float64": {
      const [source] = args as [Value];
      const number = v.numbers[source];
      if (number === undefined) return v.pair(v.lo(source), v.high[source]!);
      return v.nameNumber(number, ...v.nans[source]!);
    }
    default: {
      if (flagsWord !== undefined && emitDouble(v, operation, flagsWord)) return;
      const name = floatFunction(operation, v.typeOf(args[0]!));
      const list = args.flatMap((arg) => v.operand(arg));
      if (type === "i64" || type === "f64") return v.wideCall(name, list);
      v.line(`const v${v.id} = ${name}(${list.join(", ")});`);
      v.low[v.current] = `v${v.id}`;
    }
  }
}

/** 1 for values that are read as doubles, or set in a slot that is kept as a number. */
export function wantedNumbers(block: Block, isKeptAsNumber: (set: Operation) => boolean): Uint8Array {
  const wanted = new Uint8Array(block.operations.length);
  for (const operation of block.operations) {
    const isWanted = operation.op === "float64" || (operation.op === "set" && isKeptAsNumber(operation));
    if (isWanted) wanted[operation.args[0]!] = 1;
  }
  return wanted;
}

/** An operation on doubles with numbers: whether there is a way to do so. */
function emitDouble(v: Values, operation: Operation, flagsWord: number): boolean {
  const { op, args, type } = operation;
  const operandType = v.typeOf(args[0]!);
  const name = `$${v.id}`;
  if (type === "f64") {
    const fast = fastDoubles.get(op);
    if (fast === undefined) return false;
    const quiet = fast.rounds ? quietRounding(v, args[args.length - 1]!, flagsWord) : "";
    if (quiet === undefined) return false;
    const operands = args.map((arg) => (v.typeOf(arg) === "f64" ? v.number(arg) : v.atom(arg)));
    v.line(`${fast.before?.(...operands) ?? ""} let ${name} = ${fast.value(...operands)};`.trim());
    if (fast.holds !== undefined) {
      const conditions = [fast.holds(name), quiet].filter((text) => text !== "").join(" && ");
      const exact = `${floatFunction(operation, operandType)}(${v.bitsOf(args)})`;
      v.line(`if (!(${conditions})) ${name} = toDouble(${exact}, I[${v.resultHighWord}]);`);
    }
    v.nameNumber(name, ...CANONICAL_NAN);
    return true;
  }
  if (operandType !== "f64") return false;
  const compare = fastComparisons.get(op);
  if (compare !== undefined) {
    const [yes, no] = compare(v.number(args[0]!), v.number(args[1]!));
    const exact = `${op}_f64(${v.bitsOf(args)})`;
    v.line(`const v${v.id} = ${yes} ? 1 : ${no} ? 0 : ${exact};`);
  } else if (op === "ftoi32" && v.constantOf(args[1]!) === TOWARD_ZERO) {
    const number = v.number(args[0]!);
    const quiet = `(I[${flagsWord}] & 1) !== 0 && abs(${number}) < 2147483648`;
    v.line(`const v${v.id} = ${quiet} ? ${number} | 0 : ftoi32_f64(${v.bitsOf(args)});`);
  } else return false;
  v.low[v.current] = `v${v.id}`;
  return true;
}

/** What is true if rounding is to nearest and sets no flag that isn't set; undefined if it can't be. */
function quietRounding(v: Values, mode: Value, flagsWord: number): string | undefined {
  const known = v.constantOf(mode);
  if (known !== undefined && known !== 0) return undefined;
  const flag = `(I[${flagsWord}] & 1) !== 0`;
  return known === 0 ? flag : `${v.atom(mode)} === 0 && ${flag}`;
}

/** A double's sign turned over or taken away, if the constant `b` has these halves: whether it was that. */
export function emitSign(v: Values, a: Value, b: Value, lo: number, hi: number): boolean {
  const constant = v.block.operations[b]!.constant;
  const number = v.numbers[a];
  if (v.wanted[v.current] === 0 || number === undefined || typeof constant !== "object") return false;
  if (constant.lo !== lo || constant.hi !== hi) return false;
  const [nanLow, nanHigh] = v.nans[a]!;
  const isNegation = lo === 0;
  const name = `$${v.id}`;
  v.line(`const ${name} = ${isNegation ? `-${number}` : `abs(${number})`};`);
  v.nameNumber(name, nanLow, `(${nanHigh} ${isNegation ? "^" : "&"} ${hi})`);
  return true;
}
