/**
 * Checks a front end when it is made, so that a mistake in it is a message and not a tier that computes something
 * else. What is checked: the declaration, every template (its block against the IR's invariants, its fields against the
 * slots that they index), and what `decode` and `translate` give for a sample of byte patterns. The translator relies
 * on all of it without looking again.
 */
import type { FrontEnd, GuestInsn, Template, TemplateField } from "./front-end.js";
import { sizeOf } from "./ir/state.js";
import { type Block, costOf, type Helper, MAXIMUM_CHARGE, mostOf, type Operation } from "./ir/types.js";
import { verifyBlock } from "./ir/verify.js";

/** A front end that can't work, named with the instruction and the field that are wrong. */
export class FrontEndError extends Error {
  override readonly name = "FrontEndError";
  /** Stable code of this error. */
  readonly code = "E_FRONT_END";

  /**
   * @param frontEnd its name
   * @param reason what is wrong, where, and what to do
   */
  constructor(frontEnd: string, reason: string, options?: ErrorOptions) {
    super(`${frontEnd}: ${reason}`, options);
  }
}

/** Longest instruction in bytes. */
export const MAXIMUM_LENGTH = 15;
/** Greatest alignment of instructions in bytes. */
const MAXIMUM_ALIGNMENT = 16;
/** Byte patterns that are decoded, and how many instructions of one template are translated. */
const SAMPLES = 1024;
const SAMPLES_PER_TEMPLATE = 4;
/** The name of the pseudo-field that stands for an instruction's length. */
const LENGTH = "length";

const isName = (name: unknown): boolean => typeof name === "string" && /^[A-Za-z_]\w*$/.test(name);
const isWithin = (value: unknown, from: number, to: number): value is number =>
  Number.isInteger(value) && (value as number) >= from && (value as number) <= to;
const isPowerOfTwo = (value: number): boolean => (value & (value - 1)) === 0;

/** Smallest and largest value of a field. */
export function rangeOf({ width, signed, maximum }: TemplateField): readonly [least: number, most: number] {
  if (signed) return [-(2 ** (width - 1)), maximum ?? 2 ** (width - 1) - 1];
  return [0, maximum ?? 2 ** width - 1];
}

/** Alignment in bytes of a front end's instructions. */
export const alignmentOf = ({ alignment, granularity }: FrontEnd): number => alignment ?? 2 ** granularity;

const checked = new WeakSet<FrontEnd>();

/**
 * Checks a front end; the same one is not checked again.
 * @throws FrontEndError naming the front end, the instruction and the field, and what to do
 */
export function checkFrontEnd(frontEnd: FrontEnd): void {
  if (checked.has(frontEnd)) return;
  const fail = (reason: string): never => {
    throw new FrontEndError(String(frontEnd.name), reason);
  };
  checkDeclaration(frontEnd, fail);
  const names = new Set<string>();
  for (const template of frontEnd.templates) {
    if (names.has(template.name)) fail(`two templates are called ${template.name}`);
    names.add(template.name);
    checkTemplate(frontEnd, template, (reason) => fail(`instruction ${template.name}: ${reason}`));
  }
  helpersOf(frontEnd);
  checkDecoding(frontEnd, fail);
  checked.add(frontEnd);
}

/**
 * The helpers that a front end's instructions call, by name.
 * @throws FrontEndError if two of one name differ
 */
export function helpersOf(frontEnd: FrontEnd): ReadonlyMap<string, Helper> {
  const found = new Map<string, Helper>();
  const text = ({ parameters, result, effects: { reads, writes, exits } }: Helper) =>
    [parameters.join(), result, reads, writes, exits].join(" ");
  for (const { name, block } of frontEnd.templates) {
    for (const { helper } of block.operations) {
      if (helper === undefined) continue;
      const known = found.get(helper.name);
      if (known !== undefined && text(known) !== text(helper)) {
        const reason = `it declares helper ${helper.name} otherwise than another instruction does: share one`;
        throw new FrontEndError(frontEnd.name, `instruction ${name}: ${reason}`);
      }
      found.set(helper.name, helper);
    }
  }
  return found;
}

type Fail = (reason: string) => never;

function checkDeclaration(frontEnd: FrontEnd, fail: Fail): void {
  const { name, shape, addressType, granularity, maximumLength, templates } = frontEnd;
  const { pageBytes = 4096, misaligned = "fault" } = frontEnd;
  if (typeof name !== "string" || name === "") fail("a front end needs a name");
  for (const slot of shape.slots.values()) {
    if (!isName(slot.name)) fail(`slot ${JSON.stringify(slot.name)}: a name is letters, digits and _`);
    if (!["i32", "i64", "f32", "f64"].includes(slot.type))
      fail(`slot ${slot.name}: there is no type ${slot.type}`);
    if (!isWithin(slot.length, 1, 2 ** 16)) fail(`slot ${slot.name}: a length of ${slot.length}: 1 or more`);
    if (slot.stride !== sizeOf(slot.type)) fail(`slot ${slot.name}: take its place from stateShape`);
  }
  if (addressType !== "i32" && addressType !== "i64") fail(`addresses of type ${addressType}: i32 or i64`);
  const pc = shape.slots.get("pc");
  if (pc === undefined || pc.type !== addressType || pc.length !== 1)
    fail(`it needs a slot pc of type ${addressType} and length 1`);
  if (granularity !== 0 && granularity !== 1)
    fail(`a granularity of ${granularity}: 0 (bytes) or 1 (half-words)`);
  if (!isWithin(maximumLength, 1, MAXIMUM_LENGTH))
    fail(`a maximumLength of ${maximumLength}: 1 to ${MAXIMUM_LENGTH} bytes`);
  if (!isWithin(pageBytes, 256, 4096) || !isPowerOfTwo(pageBytes))
    fail(`pageBytes of ${pageBytes}: a power of two from 256 to 4096`);
  const alignment = alignmentOf(frontEnd);
  if (!isWithin(alignment, 2 ** granularity, MAXIMUM_ALIGNMENT) || !isPowerOfTwo(alignment))
    fail(
      `an alignment of ${alignment}: a power of two from ${2 ** granularity} to ${MAXIMUM_ALIGNMENT} bytes`,
    );
  if (misaligned !== "fault" && misaligned !== "mask") fail(`misaligned is ${misaligned}: "fault" or "mask"`);
  if (templates.length === 0) fail("it has no templates");
}

function checkTemplate(frontEnd: FrontEnd, template: Template, fail: Fail): void {
  const { fields, lengths, block } = template;
  const { maximumLength } = frontEnd;
  const alignment = alignmentOf(frontEnd);
  if (lengths.length === 0) fail("it has no length");
  for (const length of lengths) {
    if (!isWithin(length, 1, maximumLength)) fail(`a length of ${length}: 1 to ${maximumLength} bytes`);
    if (length % alignment !== 0)
      fail(`a length of ${length}: instructions are aligned to ${alignment} bytes`);
  }
  const byName = new Map<string, TemplateField>();
  for (const field of fields) {
    const { name, width, signed, maximum, zeroBecomes, multipleOf = 1 } = field;
    if (!isName(name) || name === LENGTH) fail(`field ${name}: it can't have that name`);
    if (byName.has(name)) fail(`field ${name} is declared twice`);
    if (!isWithin(width, 1, 32)) fail(`field ${name}: a width of ${width}: 1 to 32 bits`);
    if (typeof signed !== "boolean") fail(`field ${name}: signed is ${signed}: true or false`);
    if (maximum !== undefined && !isWithin(maximum, 0, 2 ** width - 1))
      fail(`field ${name}: a maximum of ${maximum} in ${width} bits`);
    if (zeroBecomes !== undefined && !isWithin(zeroBecomes, 0, 63))
      fail(`field ${name}: zeroBecomes is ${zeroBecomes}: 0 to 63`);
    if (!isWithin(multipleOf, 1, 2 ** 31) || !isPowerOfTwo(multipleOf))
      fail(`field ${name}: multipleOf is ${multipleOf}: a power of two`);
    byName.set(name, field);
  }
  checkBlock(frontEnd, block, fail);
  if (block.instructions !== 1) fail(`its template holds ${block.instructions} instructions: one`);
  for (const operation of block.operations) checkFields(frontEnd, operation, byName, fail);
}

/** What holds for templates and for translated blocks. */
function checkBlock({ shape }: FrontEnd, block: Block, fail: Fail): void {
  const [problem] = verifyBlock(block, shape);
  if (problem !== undefined) fail(problem);
  for (const { op, slot, most } of block.operations) {
    if (slot === "pc")
      fail(`it ${op}s slot pc, which is up to date between instructions only: use here(), link(), and exits`);
    if (op === "charge" && most! > MAXIMUM_CHARGE)
      fail(`it charges up to ${most}: ${MAXIMUM_CHARGE} at most`);
  }
}

function checkFields(
  { shape }: FrontEnd,
  { field, index, slot, targets }: Operation,
  fields: ReadonlyMap<string, TemplateField>,
  fail: Fail,
): void {
  const known = [...fields.keys()].join(", ") || "none";
  const named = [
    field,
    ...(targets ?? []).map((target) => (typeof target === "object" ? target.field : undefined)),
  ];
  for (const name of named)
    if (name !== undefined && name !== LENGTH && !fields.has(name)) fail(`no field ${name}; it has ${known}`);
  if (typeof index !== "object") return;
  const found = fields.get(index.field) ?? fail(`no field ${index.field}; it has ${known}`);
  const { length } = shape.slots.get(slot!)!;
  const [least, most] = rangeOf(found);
  if (least < 0) fail(`field ${found.name} is signed, and numbers an element of slot ${slot}`);
  const largest = Math.max(most, found.zeroBecomes ?? 0);
  if (largest >= length) {
    const remedy = `make it narrower, exclude values (${found.name}!=${largest}), or make the slot longer`;
    fail(`field ${found.name} is up to ${largest}, and slot ${slot} has ${length} elements: ${remedy}`);
  }
}

/**
 * What is wrong with a decoded instruction; undefined if nothing is.
 * @param available bytes that `decode` was told of
 */
export function problemOf(frontEnd: FrontEnd, insn: GuestInsn, available: number): string | undefined {
  const template = frontEnd.templates[insn.opcode];
  if (template === undefined)
    return `decode gives opcode ${insn.opcode}; there are ${frontEnd.templates.length}`;
  const where = `instruction ${template.name}`;
  if (!template.lengths.includes(insn.length))
    return `${where}: decode gives a length of ${insn.length}; its template has ${template.lengths.join(", ")}`;
  if (insn.length > available)
    return `${where}: decode takes ${insn.length} bytes where ${available} are available`;
  for (const field of template.fields) {
    const value = insn.fields[field.name];
    const [least, most] = rangeOf(field);
    if (!isWithin(value, least, most) && !(field.width === 32 && value === (value! | 0)))
      return `${where}: decode gives field ${field.name} the value ${value}: ${least} to ${most}`;
    if (value! % (field.multipleOf ?? 1) !== 0)
      return `${where}: decode gives field ${field.name} the value ${value}: a multiple of ${field.multipleOf}`;
  }
  return undefined;
}

/** Holds a translated block against the templates of its instructions; gives what is wrong, or undefined. */
export function problemOfBlock(
  frontEnd: FrontEnd,
  insns: readonly GuestInsn[],
  block: Block,
): string | undefined {
  const names = () => insns.map(({ opcode }) => frontEnd.templates[opcode]!.name).join(", ");
  try {
    checkBlock(frontEnd, block, (reason) => {
      throw new FrontEndError("", reason);
    });
  } catch (error) {
    if (!(error instanceof FrontEndError)) throw error;
    return `translate(${names()})${error.message}`;
  }
  const marks = block.operations.flatMap(({ at }) => (at === undefined ? [] : [at]));
  let offset = 0;
  for (const [position, { opcode, length }] of insns.entries()) {
    const mark = marks[position];
    const { name, block: template } = frontEnd.templates[opcode]!;
    if (mark?.offset !== offset || mark.length !== length || marks.length !== insns.length)
      return `translate(${names()}): instruction ${position}, ${name}, needs a mark at offset ${offset}, ${length} bytes long`;
    if ((mark.cost ?? 1) !== costOf(template))
      return `instruction ${name} costs ${mark.cost ?? 1} where it is translated, ${costOf(template)} in its template`;
    offset += length;
  }
  const [first] = insns;
  const template = frontEnd.templates[first!.opcode]!;
  if (insns.length === 1 && mostOf(block) > mostOf(template.block))
    return `instruction ${template.name} charges more where it is translated than its template says`;
  const unresolved = block.operations.find(
    ({ op, index, targets }) =>
      op === "field" || typeof index === "object" || targets?.some((target) => typeof target === "object"),
  );
  if (unresolved !== undefined) return `translate(${names()}): ${unresolved.op} has a field without a value`;
  return undefined;
}

/** Decodes and translates what a sample of byte patterns is. */
function checkDecoding(frontEnd: FrontEnd, fail: Fail): void {
  const { maximumLength } = frontEnd;
  const translated = new Map<number, number>();
  let seed = 1;
  const bytes = new Uint8Array(maximumLength);
  for (let sample = 0; sample < SAMPLES; sample++) {
    for (let at = 0; at < maximumLength; at++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
      bytes[at] = seed >>> 24;
    }
    // Every first byte comes as often as any other.
    bytes[0] = sample;
    const insn = frontEnd.decode(bytes, 0, maximumLength, 0);
    if (insn === null) return fail(`decode gives null for [${bytes}], though maximumLength bytes are there`);
    const problem = problemOf(frontEnd, insn, maximumLength);
    if (problem !== undefined) fail(problem);
    const count = translated.get(insn.opcode) ?? 0;
    translated.set(insn.opcode, count + 1);
    if (count >= SAMPLES_PER_TEMPLATE) continue;
    const template = frontEnd.templates[insn.opcode]!;
    const { name } = template;
    if (insn.length > 1) {
      const cut = frontEnd.decode(bytes, 0, insn.length - 1, 0);
      if (cut !== null && cut.length > insn.length - 1)
        fail(
          `instruction ${name}: decode gives ${cut.length} bytes where ${insn.length - 1} are available: null`,
        );
    }
    const block = frontEnd.translate([insn]);
    const found = problemOfBlock(frontEnd, [insn], block);
    if (found !== undefined) fail(found);
    const falls = !fallsThrough(template);
    if (frontEnd.endsBlock(insn) !== falls)
      fail(
        `instruction ${name}: endsBlock says ${!falls}, and its template ${falls ? "does not go on" : "goes on"} with the next`,
      );
  }
}

/** Whether a template goes on with the instruction after it, whatever happens. */
export function fallsThrough({ block }: Template): boolean {
  const { op, targets } = block.operations[block.operations.length - 1]!;
  const target = targets?.[0];
  return op === "jump" && typeof target === "object" && target.field === LENGTH;
}
