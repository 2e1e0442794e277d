/**
 * RISC-V assembly in GNU's syntax: the rows of the table, their aliases, and the pseudo-instructions that take more
 * than one instruction.
 *
 * As in GNU's assembler, instructions are compressed where `.option rvc` is on, which it is at first, and where their
 * operands are known when they are read. Jumps and branches take their shortest form that reaches, and a conditional
 * branch that can't reach becomes the opposite branch around a jump. `call`, `tail`, `la` and the like always take two
 * instructions of full length.
 */
import {
  type Assembled,
  type AssemblerTarget,
  assembleFor,
  type Emission,
  fixed,
  numberOf,
  type Place,
} from "../table/assembler.js";
import type { Symbols } from "../table/assembly-expression.js";
import { AssemblyError, type Cursor, type Token } from "../table/assembly-lexer.js";
import type { InstructionTable, TableEntry } from "../table/instruction-table.js";
import { encode, type FieldSpec, fieldHolds } from "../table/row.js";
import { aliasesNamed } from "./aliases.js";
import {
  constant,
  floatRegister,
  highPart,
  integerRegister,
  lowPart,
  type Operand,
  OperandParser,
  type Operands,
} from "./assembly-operands.js";
import { Compressor } from "./compress.js";
import type { RiscvIsa } from "./extension.js";
import { standardIsa } from "./isa.js";
import { loadImmediate } from "./load-immediate.js";
import type { RiscvSemantics } from "./semantics.js";

/** What to assemble for. */
export interface AssembleOptions {
  /** Width of integer registers and addresses in bits. */
  readonly xlen: 32 | 64;
  /** Address of the first byte; 0 unless given. */
  readonly origin?: number | bigint;
  /** What there is to assemble; {@link standardIsa} unless given. */
  readonly isa?: RiscvIsa;
}

/**
 * Assembles RISC-V source; see `table/assembler.ts` for directives and `aliases.ts` for mnemonics. Throws an
 * `AssemblyError` that names line and column for the first fault.
 *
 * @example
 * const { bytes, symbols } = assemble("loop: addi a0, a0, -1\n bnez a0, loop\n ret", { xlen: 64 });
 */
export function assemble(
  source: string,
  { xlen, origin = 0, isa = standardIsa }: AssembleOptions,
): Assembled {
  return assembleFor(new RiscvTarget(xlen, isa), source, BigInt(origin));
}

type Entry = TableEntry<RiscvSemantics>;

/** One instruction: its row and the operands by field. */
interface Instruction {
  readonly entry: Entry;
  readonly operands: Operands;
}

type Attempt = (cursor: Cursor) => Emission;

/** Makes the instructions of one form of a branch. */
type BranchForm = () => readonly Instruction[];

const ZERO = 0;
const RA = 1;
const T1 = 6;
const NOP = [0x13, 0, 0, 0];
const COMPRESSED_NOP = [0x01, 0x00];
const JUMP_LENGTH = 4;
/** Loads that a global access goes through the destination of, and accesses that need a scratch register. */
const globalLoads = new Set(["lb", "lh", "lw", "lbu", "lhu", "lwu", "ld"]);
const globalMoves = new Set(["sb", "sh", "sw", "sd", "flw", "fld", "fsw", "fsd"]);
const opposites = new Map([
  ["beq", "bne"],
  ["bne", "beq"],
  ["blt", "bge"],
  ["bge", "blt"],
  ["bltu", "bgeu"],
  ["bgeu", "bltu"],
]);

/** Rows by mnemonic, CSRs by name, and what compresses rows: made once for a width. */
interface Lookup {
  readonly named: ReadonlyMap<string, readonly Entry[]>;
  readonly csrNumbers: ReadonlyMap<string, number>;
  readonly compressor: Compressor;
}

const lookups = new WeakMap<InstructionTable<RiscvSemantics>, Lookup>();

function lookupOf(table: InstructionTable<RiscvSemantics>, isa: RiscvIsa): Lookup {
  let lookup = lookups.get(table);
  if (lookup === undefined) {
    const named = new Map<string, Entry[]>();
    for (const entry of table.entries)
      named.set(entry.mnemonic, [...(named.get(entry.mnemonic) ?? []), entry]);
    const csrNumbers = new Map([...isa.csrNames].map(([number, name]) => [name, number]));
    lookup = { named, csrNumbers, compressor: new Compressor(table) };
    lookups.set(table, lookup);
  }
  return lookup;
}

class RiscvTarget implements AssemblerTarget {
  readonly addressBits: number;
  private readonly table: InstructionTable<RiscvSemantics>;
  private readonly lookup: Lookup;
  private parser: OperandParser | undefined;
  private compressed = true;
  private readonly compressedStack: boolean[] = [];

  constructor(
    private readonly xlen: 32 | 64,
    isa: RiscvIsa,
  ) {
    this.addressBits = xlen;
    this.table = isa.table(xlen);
    this.lookup = lookupOf(this.table, isa);
  }

  padding(size: number): Uint8Array {
    const bytes = new Uint8Array(size);
    // An odd byte comes first: no instruction can start there.
    let at = size & 1;
    if (((size - at) & 2) !== 0) {
      bytes.set(COMPRESSED_NOP, at);
      at += 2;
    }
    for (; at < size; at += 4) bytes.set(NOP, at);
    return bytes;
  }

  directive(name: Token, cursor: Cursor, symbols: Symbols): Emission | boolean {
    if (name.text === ".insn") return this.rawInstruction(cursor, symbols);
    if (name.text !== ".option") return false;
    const option = cursor.next();
    switch (option.text) {
      case "rvc":
      case "norvc":
        this.compressed = option.text === "rvc";
        break;
      case "push":
        this.compressedStack.push(this.compressed);
        break;
      case "pop": {
        const before = this.compressedStack.pop();
        if (before === undefined) throw new AssemblyError(".option pop without a push", option);
        this.compressed = before;
        break;
      }
      case "relax":
      case "norelax":
      case "pic":
      case "nopic":
        break;
      default:
        throw new AssemblyError(`no option ${option.text.slice(0, 80)}`, option);
    }
    return true;
  }

  /** `.insn value` or `.insn length, value`. */
  private rawInstruction(cursor: Cursor, symbols: Symbols): Emission {
    const parser = this.operandParser(symbols);
    const first = parser.expression(cursor);
    const value = cursor.accept(",") ? parser.expression(cursor) : first;
    const own = value.constant !== undefined && (value.constant & 3n) !== 3n ? 2n : 4n;
    const length = value === first ? own : first.constant;
    if (length !== 2n && length !== 4n)
      throw new AssemblyError("an instruction has 2 or 4 bytes", first.token);
    return numberOf(Number(length), value);
  }

  private operandParser(symbols: Symbols): OperandParser {
    this.parser ??= new OperandParser(this.xlen, symbols, this.lookup.csrNumbers);
    return this.parser;
  }

  instruction(mnemonic: Token, cursor: Cursor, symbols: Symbols): Emission {
    const name = mnemonic.text;
    if (name.startsWith("c.") && !this.compressed) {
      throw new AssemblyError(`${name} needs .option rvc`, mnemonic);
    }
    if (name === "c.unimp" || (name === "unimp" && this.compressed)) return fixed(2, () => {});
    const attempts = this.attempts(name, mnemonic, this.operandParser(symbols));
    if (attempts.length > 0) return firstThatFits(attempts, cursor);
    throw new AssemblyError(`no instruction ${name.slice(0, 80)} in RV${this.xlen}`, mnemonic);
  }

  /** All ways to read the operands of `name`. */
  private attempts(name: string, mnemonic: Token, parser: OperandParser): Attempt[] {
    const pseudo = this.pseudoInstruction(name, parser);
    if (pseudo !== undefined) return [pseudo];
    const [, plain = name, aq, rl] = /^(.+\.[wd])\.(?=.)(aq)?(rl)?$/.exec(name) ?? [];
    const rows = (this.lookup.named.get(plain) ?? []).filter(
      ({ row }) => plain === name || row.encoding.fields.some((field) => field.name === "aq"),
    );
    const order: [string, Operand][] = [
      ["aq", constant(aq === undefined ? 0 : 1, mnemonic)],
      ["rl", constant(rl === undefined ? 0 : 1, mnemonic)],
    ];
    return [
      ...rows.map(
        (entry): Attempt =>
          (cursor) =>
            this.single(
              mnemonic,
              entry.row.operands,
              entry,
              new Map([...order, ...parser.list(entry.row.operands, cursor)]),
            ),
      ),
      ...aliasesNamed(name).flatMap(({ base, operands, fixed }): Attempt[] => {
        const entry = this.table.find(base);
        if (entry === undefined) return [];
        return [
          (cursor) => {
            const given = new Map(parser.list(operands, cursor));
            for (const [field, value] of Object.entries(fixed)) {
              given.set(field, typeof value === "number" ? constant(value, mnemonic) : given.get(value)!);
            }
            return this.single(mnemonic, operands, entry, given);
          },
        ];
      }),
      ...this.globalAccess(name, parser),
    ];
  }

  private pseudoInstruction(name: string, parser: OperandParser): Attempt | undefined {
    switch (name) {
      case "li":
        return (cursor) => this.loadImmediate(cursor, parser);
      case "la":
      case "lla":
        return (cursor) => {
          const rd = integerRegister(cursor);
          cursor.expect(",");
          return this.pcRelativePair(parser.target(cursor), rd, "addi", rd);
        };
      case "call":
        return (cursor) => {
          const link = cursor.peek(1).text === "," ? integerRegister(cursor) : undefined;
          if (link !== undefined) cursor.expect(",");
          const rd = link ?? constant(RA, cursor.token);
          return this.pcRelativePair(parser.target(cursor), rd, "jalr", rd);
        };
      case "tail":
      case "jump":
        return (cursor) => {
          const target = parser.target(cursor);
          if (name === "jump") cursor.expect(",");
          const scratch = name === "jump" ? integerRegister(cursor) : constant(T1, target.token);
          return this.pcRelativePair(target, scratch, "jalr", constant(ZERO, target.token));
        };
      default:
        return undefined;
    }
  }

  /** An instruction of one row: compressed if it can be, and of the length that reaches if it is a branch. */
  private single(mnemonic: Token, written: string, entry: Entry, operands: Operands): Emission {
    const { operands: syntax, expand } = entry.row;
    const compressible =
      this.compressed && expand === undefined && !staysFull(mnemonic, written, entry, operands);
    if (/\btarget\(/.test(syntax) && expand === undefined) return this.branch(entry, operands, compressible);
    const short = compressible ? this.compress(entry, operands, mnemonic) : undefined;
    return sequence([short ?? { entry, operands }]);
  }

  /** The compressed form of an instruction whose operands are known. */
  private compress({ name, row }: Entry, operands: Operands, token: Token): Instruction | undefined {
    const fields: Record<string, number> = {};
    for (const field of row.encoding.fields) {
      const operand = operands.get(field.name);
      const value = operand === undefined ? 0n : operand.constant;
      if (value === undefined || !fits(field, value)) return undefined;
      fields[field.name] = Number(value);
    }
    const found = this.lookup.compressor.find(name, fields);
    return (
      found && {
        entry: found.entry,
        operands: new Map(Object.entries(found.fields).map(([key, value]) => [key, constant(value, token)])),
      }
    );
  }

  private branch(entry: Entry, operands: Operands, compressible: boolean): Emission {
    const target = operands.get("imm")!;
    const forms: BranchForm[] = [() => [{ entry, operands }]];
    // Which row compresses it does not depend on the distance.
    const here = new Map([...operands, ["imm", constant(0, target.token)] as const]);
    const short = compressible ? this.compress(entry, here, target.token) : undefined;
    if (short !== undefined) forms.unshift(() => [{ entry: short.entry, operands }]);
    const opposite = opposites.get(entry.name);
    if (opposite !== undefined) {
      forms.push(() => {
        const around = this.table.entry(opposite);
        const skip = short === undefined ? around : this.compress(around, here, target.token)!.entry;
        const size = skip.row.encoding.length;
        const jump: Operand = { ...target, value: (place) => target.value(place) - BigInt(size) };
        return [
          {
            entry: skip,
            operands: new Map([...operands, ["imm", constant(size + JUMP_LENGTH, target.token)]]),
          },
          { entry: this.table.entry("jal"), operands: new Map([["imm", jump]]) },
        ];
      });
    }
    return new Branch(forms, target);
  }

  private loadImmediate(cursor: Cursor, parser: OperandParser): Emission {
    const rd = integerRegister(cursor);
    cursor.expect(",");
    const number = parser.number(cursor);
    const { compressed } = this;
    const stepsAt = (value: bigint): Emission => {
      if (BigInt.asIntN(this.xlen, value) !== value && BigInt.asUintN(this.xlen, value) !== value) {
        throw new AssemblyError(`${value} does not fit ${this.xlen} bits`, number.token);
      }
      const instructions = loadImmediate(value, this.xlen).map(({ name, value: imm }, index): Instruction => {
        const operands: Operands = new Map([
          ["rd", rd],
          ["rs1", index === 0 ? constant(ZERO, number.token) : rd],
          [name.startsWith("slli") ? "shamt" : "imm", constant(imm, number.token)],
        ]);
        const entry = this.table.entry(name);
        const short = compressed ? this.compress(entry, operands, number.token) : undefined;
        return short ?? { entry, operands };
      });
      return sequence(instructions);
    };
    if (number.constant !== undefined) return stepsAt(number.constant);
    return {
      size: (place) => stepsAt(number.value(place)).size(place),
      emit: (place, bytes) => stepsAt(number.value(place)).emit(place, bytes),
    };
  }

  /** `auipc` into `scratch` and `second`, which adds the low part of the distance to it. */
  private pcRelativePair(target: Operand, scratch: Operand, second: string, rd: Operand): Emission {
    const { token } = target;
    const entry = this.table.entry(second);
    const destination = entry.row.encoding.fields.some(({ name }) => name === "rd") ? "rd" : "rs2";
    const part = (value: (distance: bigint) => bigint): Operand => ({
      token,
      constant: undefined,
      value: (place) => value(target.value(place)),
    });
    return sequence([
      {
        entry: this.table.entry("auipc"),
        operands: new Map([
          ["rd", scratch],
          ["imm", part((distance) => BigInt.asIntN(32, highPart(distance) << 12n))],
        ]),
      },
      {
        entry,
        operands: new Map([
          [destination, rd],
          ["rs1", scratch],
          ["imm", part(lowPart)],
        ]),
      },
    ]);
  }

  /** `lw a0, symbol`; `sw a0, symbol, t0` and `flw fa0, symbol, t0` with a scratch register. */
  private globalAccess(name: string, parser: OperandParser): Attempt[] {
    const isLoad = globalLoads.has(name);
    if ((!isLoad && !globalMoves.has(name)) || this.table.find(name) === undefined) return [];
    return [
      (cursor) => {
        const register = name.startsWith("f") ? floatRegister(cursor) : integerRegister(cursor);
        cursor.expect(",");
        const target = parser.target(cursor);
        if (!isLoad) cursor.expect(",");
        return this.pcRelativePair(target, isLoad ? register : integerRegister(cursor), name, register);
      },
    ];
  }
}

/** A jump or branch: of its forms, shortest first, the first that reaches. It never goes back to a shorter one. */
class Branch implements Emission {
  private form = 0;
  private instructions: readonly Instruction[];

  constructor(
    private readonly forms: readonly BranchForm[],
    private readonly target: Operand,
  ) {
    this.instructions = forms[0]!();
  }

  size(place: Place): number {
    const last = this.forms.length - 1;
    if (place.longest) this.take(last);
    if (this.form < last && !place.provisional) {
      const distance = this.target.value(place);
      while (this.form < last && !reaches(this.instructions[0]!, distance)) this.take(this.form + 1);
    }
    return lengthOf(this.instructions);
  }

  emit(place: Place, bytes: Uint8Array): void {
    emitAll(this.instructions, place, bytes);
  }

  private take(form: number): void {
    if (form === this.form) return;
    this.form = form;
    this.instructions = this.forms[form]!();
  }
}

const reaches = ({ entry }: Instruction, distance: bigint): boolean =>
  fits(entry.row.encoding.fields.find(({ name }) => name === "imm")!, distance);

/**
 * What GNU's assembler does not compress, though it could: jumps other than `j label`, `jr rs`, `jalr rs` and `ret`,
 * and `mv` of x0. `written` is the operand string of the form that was written.
 */
function staysFull({ text }: Token, written: string, { name }: Entry, operands: Operands): boolean {
  if (name === "jal") return text !== "j";
  if (name === "jalr") return written !== "rs1" && written !== "";
  return text === "mv" && operands.get("rs1")?.constant === BigInt(ZERO);
}

/** The reading of the operands that reaches the end; else what the furthest ones missed. */
function firstThatFits(attempts: readonly Attempt[], cursor: Cursor): Emission {
  let failures: AssemblyError[] = [];
  for (const attempt of attempts) {
    const own = cursor.fork();
    try {
      const emission = attempt(own);
      own.expectEnd();
      cursor.skipRest();
      return emission;
    } catch (error) {
      if (!(error instanceof AssemblyError)) throw error;
      const furthest = failures[0];
      const further =
        furthest === undefined ? 1 : error.column - furthest.column || error.line - furthest.line;
      if (further > 0) failures = [error];
      else if (further === 0) failures.push(error);
    }
  }
  const [first] = failures as [AssemblyError];
  const expected = [...new Set(failures.flatMap((failure) => failure.expected))];
  if (expected.length < 2 || failures.some((failure) => failure.expected.length === 0)) throw first;
  const found = first.problem.slice(first.problem.lastIndexOf(", ") + 2);
  throw new AssemblyError(`expected ${expected.join(" or ")}, ${found}`, first.token, expected);
}

const sequence = (instructions: readonly Instruction[]): Emission =>
  fixed(lengthOf(instructions), (place, bytes) => emitAll(instructions, place, bytes));

const lengthOf = (instructions: readonly Instruction[]): number =>
  instructions.reduce((sum, { entry }) => sum + entry.row.encoding.length, 0);

/** Writes instructions one after the other. Operands take the address of the first. */
function emitAll(instructions: readonly Instruction[], place: Place, bytes: Uint8Array): void {
  let at = 0;
  for (const instruction of instructions) {
    const { length } = instruction.entry.row.encoding;
    write(bitsOf(instruction, place), length, bytes, at);
    at += length;
  }
}

function write(bits: number, length: number, bytes: Uint8Array, at: number): void {
  for (let byte = 0; byte < length; byte++) bytes[at + byte] = bits >>> (8 * byte);
}

function bitsOf({ entry, operands }: Instruction, place: Place): number {
  const { encoding } = entry.row;
  const values: Record<string, number> = {};
  for (const field of encoding.fields) {
    const operand = operands.get(field.name);
    if (operand === undefined) continue;
    const value = operand.value(place);
    if (!fits(field, value)) throw new AssemblyError(misfit(entry, field, value), operand.token);
    values[field.name] = Number(value);
  }
  return encode(encoding, values);
}

const fits = (field: FieldSpec, value: bigint): boolean =>
  BigInt.asIntN(33, value) === value && fieldHolds(field, Number(value));

/** Says what a field takes, from its encoding. */
function misfit({ mnemonic }: Entry, field: FieldSpec, value: bigint): string {
  const { name, bias, width, signed, excluded } = field;
  const step = 2 ** Math.min(...field.pieces.map((piece) => piece.to));
  const isRegister = /^r[sd]\d?$/.test(name);
  const text = (number: number | bigint) => (isRegister ? `x${number}` : String(number));
  const lowest = signed ? -(2 ** (width - 1)) : bias;
  const highest = signed ? 2 ** (width - 1) - step : bias + 2 ** (isRegister && bias > 0 ? 3 : width) - step;
  const multiples = step > 1 ? ` in steps of ${step}` : "";
  const exceptions = excluded.length > 0 ? ` but not ${excluded.map(text).join(", ")}` : "";
  return `${text(value)} does not fit ${mnemonic}: expected ${text(lowest)} to ${text(highest)}${multiples}${exceptions}`;
}
