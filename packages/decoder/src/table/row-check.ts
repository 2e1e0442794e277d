/**
 * Checks that a row means one thing: a front end's rows run once with fields that are not known, for the interpreters,
 * and again for each instruction that is translated. Here they run with a choice of field values, narrow fields with
 * all of theirs, and what they write must be the template with the values put in.
 */
import type { Block, Operation, Target } from "../ir/types.js";
import { type FieldSpec, fieldHolds } from "./row.js";

/** Fields of no more bits are tried with every value. */
const ALL_VALUES_BITS = 5;
/** Values that wider fields are tried with, as far as they hold them. */
const CHOICE = [
  0, 1, -1, 2, 3, 4, 5, 8, -2, -4, -8, 12, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, -128, -256, 1020,
  1024,
];

/** Choices of field values, in which every value of a narrow field comes once at least. */
export function valuesToTry(specs: readonly FieldSpec[]): Readonly<Record<string, number>>[] {
  const lists = specs.map(valuesOf);
  const count = Math.max(1, ...lists.map(({ length }) => length));
  return Array.from({ length: count }, (_, round) =>
    Object.fromEntries(
      specs.map(({ name }, place) => {
        const list = lists[place]!;
        return [name, list[(round + 7 * place) % list.length]!];
      }),
    ),
  );
}

/** Values that a field can hold: all, or some with the least and the largest. */
export function valuesOf(spec: FieldSpec): number[] {
  const { width, bias, signed } = spec;
  const [least, most] = signed ? [-(2 ** (width - 1)), 2 ** (width - 1) - 1] : [bias, 2 ** width - 1 + bias];
  const lowest = 2 ** Math.min(...spec.pieces.map(({ to }) => to));
  const all =
    width <= ALL_VALUES_BITS
      ? Array.from({ length: most - least + 1 }, (_, index) => least + index)
      : [...new Set([least, most - (most % lowest), ...CHOICE.flatMap((value) => [value, value * lowest])])];
  return all.map((value) => (width === 32 ? value | 0 : value)).filter((value) => fieldHolds(spec, value));
}

/**
 * What differs between a template with field values put in and an instruction of a translated block.
 * @param length of the instruction in bytes
 * @param from position of the instruction's mark in `block`
 * @returns undefined if they mean the same
 */
export function differenceOf(
  template: Block,
  values: Readonly<Record<string, number>>,
  length: number,
  block: Block,
  from: number,
): string | undefined {
  const wanted = new Reading(template, { ...values, length }, 0).lines;
  const found = new Reading(block, {}, from).lines;
  const at = wanted.findIndex((line, index) => line !== found[index]);
  if (at >= 0) return `${found[at] ?? "nothing"} in place of ${wanted[at]}`;
  return found.length > wanted.length ? `${found[wanted.length]} besides` : undefined;
}

/** An instruction's operations as text, without those that only name constants. */
class Reading {
  readonly lines: string[] = [];
  private readonly names = new Map<number, string>();
  private readonly offset: number;

  constructor(
    block: Block,
    private readonly values: Readonly<Record<string, number>>,
    from: number,
  ) {
    const { operations } = block;
    this.offset = operations[from]!.at!.offset;
    // Constants are made once a block: an instruction may use those of others.
    for (let position = 0; position < operations.length; position++) {
      const operation = operations[position]!;
      if (position > from && operation.op === "insn") break;
      const constant = this.constantOf(operation);
      if (constant !== undefined) this.names.set(position, constant);
      else if (position >= from) this.take(position, operation);
    }
  }

  /** The text of a constant, an address of the code, or what a field makes one; undefined for anything else. */
  private constantOf({ op, type, args, constant, field }: Operation): string | undefined {
    if (op === "const")
      return typeof constant === "number" ? `#${constant}` : `#${constant!.lo}:${constant!.hi}`;
    if (op === "field") return `#${this.values[field!]}`;
    if (op === "pc") return `pc+${(constant as number) - this.offset}`;
    const [a, b] = args.map((arg) => this.names.get(arg));
    if (op === "sext32" && a?.startsWith("#")) return `#${a.slice(1)}:${Number(a.slice(1)) >> 31}`;
    if (op === "zext32" && a?.startsWith("#")) return `#${a.slice(1)}:0`;
    if (op === "add" && a?.startsWith("pc+") && b?.startsWith("#")) {
      const distance = Number.parseInt(b.slice(1), 10);
      return type === "i32" || b.endsWith(`:${distance >> 31}`)
        ? `pc+${Number(a.slice(3)) + distance}`
        : undefined;
    }
    return undefined;
  }

  private take(position: number, operation: Operation): void {
    const { op, type, args, slot, index, width, signed, amo, helper, cause, targets, at, most, link } =
      operation;
    this.names.set(position, `%${this.lines.length}`);
    const target = (to: Target) => (typeof to === "object" ? this.values[to.field] : to - this.offset);
    const attributes = {
      slot, width, signed, amo, cause, most,
      index: typeof index === "object" ? this.values[index.field] : index,
      helper: helper?.name,
      cost: at === undefined ? undefined : (at.cost ?? 1),
      targets: targets?.map(target).join(),
      link: link === undefined ? undefined : link - this.offset,
    }; // biome-ignore format: one kind of attribute a line
    const texts = Object.entries(attributes).flatMap(([name, value]) =>
      value === undefined ? [] : `${name} ${value}`,
    );
    const operands = args.map((arg) => this.names.get(arg) ?? "a value of another instruction");
    this.lines.push([op, type ?? "", operands.join(", "), ...texts].filter((text) => text !== "").join(" "));
  }
}
