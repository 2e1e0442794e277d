/**
 * What the engine gets in place of a front end that somebody else wrote: the same, with every answer checked and its
 * blocks made fit for what guests may do. Front ends of this repository that are as checked by tests go without.
 *
 * - What `decode` gives must fit its template, what `translate` gives is held against the IR's invariants.
 * - A jump to a fixed distance that is no multiple of the alignment, or too far for an interpreter's index, becomes one
 *   to a computed address: those are looked up, and the look-up refuses what is misaligned.
 * - What a `charge` takes is bounded by what it says at most, so that no guest gives itself time.
 * - Helpers get names that no emitted code has.
 */
import {
  alignmentOf,
  type Block,
  checkFrontEnd,
  type FrontEnd,
  FrontEndError,
  type Helper,
  helpersOf,
  type Operation,
  problemOf,
  problemOfBlock,
  rangeOf,
  type Target,
  type TemplateField,
  type Type,
  type Value,
} from "@hyperfile/decoder";

/** Under what name a front end's helper is bound into emitted code. */
export const helperName = (name: string): string => `call_${name}`;

/** Bits of a field that an interpreter can add to an entry's index. */
const NEAR_BITS = 28;

const guarded = new WeakMap<FrontEnd, FrontEnd>();

/**
 * The guarded form of a front end.
 * @throws FrontEndError if it can't work
 */
export function guardedFrontEnd(frontEnd: FrontEnd): FrontEnd {
  let made = guarded.get(frontEnd);
  if (made === undefined) {
    checkFrontEnd(frontEnd);
    made = guard(frontEnd);
    guarded.set(frontEnd, made);
  }
  return made;
}

function guard(frontEnd: FrontEnd): FrontEnd {
  const { name, shape, addressType, granularity, maximumLength, pageBytes, misaligned } = frontEnd;
  const alignment = alignmentOf(frontEnd);
  const helpers = new Map(
    [...helpersOf(frontEnd)].map(([each, helper]) => [each, { ...helper, name: helperName(each) }]),
  );
  const refuse = (problem: string | undefined) => {
    if (problem !== undefined) throw new FrontEndError(name, problem);
  };
  const guardBlock = (block: Block, fields: readonly TemplateField[]): Block =>
    new Guard(block, { name, addressType, alignment, helpers, fields }).run();
  return {
    name,
    shape,
    addressType,
    granularity,
    maximumLength,
    alignment,
    misaligned: misaligned ?? "fault",
    ...(pageBytes === undefined ? {} : { pageBytes }),
    templates: frontEnd.templates.map((template) => ({
      ...template,
      block: guardBlock(template.block, template.fields),
    })),
    decode(bytes, at, available, offset) {
      const insn = frontEnd.decode(bytes, at, available, offset);
      if (insn !== null) refuse(problemOf(frontEnd, insn, available));
      else if (available >= maximumLength)
        refuse(`decode gives null though ${available} bytes are available`);
      return insn;
    },
    endsBlock: (insn) => frontEnd.endsBlock(insn),
    translate(insns) {
      const block = frontEnd.translate(insns);
      refuse(problemOfBlock(frontEnd, insns, block));
      return guardBlock(block, []);
    },
    format: (insn, pcLo, pcHi) => frontEnd.format(insn, pcLo, pcHi),
  };
}

interface GuardOptions {
  readonly name: string;
  readonly addressType: "i32" | "i64";
  readonly alignment: number;
  readonly helpers: ReadonlyMap<string, Helper>;
  readonly fields: readonly TemplateField[];
}

/** Rewrites one block. */
class Guard {
  private readonly operations: Operation[] = [];
  /** New places of values. */
  private readonly values: Value[] = [];

  constructor(
    private readonly block: Block,
    private readonly options: GuardOptions,
  ) {}

  run(): Block {
    const { block } = this;
    block.operations.forEach((old, position) => {
      const operation = { ...old, args: old.args.map((arg) => this.values[arg]!) };
      this.values[position] = this.take(operation, old);
    });
    return { ...block, operations: this.operations };
  }

  private add(op: string, type: Type | null, args: readonly Value[], rest: Partial<Operation> = {}): Value {
    return (this.operations.push({ op, type, args, ...rest }) - 1) as Value;
  }

  private take(operation: Operation, old: Operation): Value {
    const { op, args, helper, targets, link } = operation;
    if (op === "call") {
      const known = this.options.helpers.get(helper!.name);
      if (known === undefined)
        throw new FrontEndError(
          this.options.name,
          `translate calls ${helper!.name}, which no template calls`,
        );
      return this.add(op, operation.type, args, { helper: known });
    }
    if (op === "charge" && !this.isBounded(old.args[0]!, operation.most!)) {
      const most = this.add("const", "i32", [], { constant: operation.most! });
      const isOver = this.add("ltu", "i32", [most, args[0]!]);
      const units = this.add("select", "i32", [isOver, most, args[0]!]);
      return this.add("charge", null, [units], { most: operation.most! });
    }
    if ((op === "jump" || op === "branch") && targets!.some((target) => this.isFar(target))) {
      const [taken, notTaken] = targets!.map((target) => this.addressOf(target)) as [Value, Value];
      const { addressType } = this.options;
      const address = op === "jump" ? taken : this.add("select", addressType, [args[0]!, taken, notTaken]);
      return this.add("jumpr", null, [address], link === undefined ? {} : { link });
    }
    return (this.operations.push(operation) - 1) as Value;
  }

  /** Whether a value is surely from 0 to `most`. */
  private isBounded(value: Value, most: number): boolean {
    const { op, args, constant, field } = this.block.operations[value]!;
    if (op === "const") return typeof constant === "number" && constant >= 0 && constant <= most;
    if (op === "select") return this.isBounded(args[1]!, most) && this.isBounded(args[2]!, most);
    if (op === "and") return args.some((arg) => this.isBounded(arg, most));
    if (["eq", "ne", "lt", "ltu", "ge", "geu"].includes(op)) return most >= 1;
    const known = this.options.fields.find(({ name }) => name === field);
    if (op !== "field" || known === undefined) return false;
    const [least, largest] = rangeOf(known);
    return least >= 0 && largest <= most;
  }

  /** Whether a target may be misaligned, or out of an interpreter's reach. */
  private isFar(target: Target): boolean {
    const { alignment, fields } = this.options;
    if (typeof target === "number") return target % alignment !== 0;
    const field = fields.find(({ name }) => name === target.field);
    // The length of an instruction: what follows is aligned, or is not fetched.
    if (field === undefined) return false;
    return (field.multipleOf ?? 1) % alignment !== 0 || field.width > NEAR_BITS;
  }

  private addressOf(target: Target): Value {
    const { addressType, fields } = this.options;
    if (typeof target === "number") return this.add("pc", addressType, [], { constant: target });
    const pc = this.add("pc", addressType, [], { constant: 0 });
    const distance = this.add("field", "i32", [], { field: target.field });
    if (addressType === "i32") return this.add("add", "i32", [pc, distance]);
    const isSigned = fields.some(({ name, signed }) => name === target.field && signed);
    return this.add("add", "i64", [pc, this.add(isSigned ? "sext32" : "zext32", "i64", [distance])]);
  }
}
