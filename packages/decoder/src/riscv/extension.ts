/**
 * Extensions of the instruction set, each described once: what it is called, what it builds on, and the instructions,
 * register slots and CSRs that it brings. A set of them is an ISA; decoder, front end, assembler and disassembler are
 * made from it, and a hart, its machine and its device tree take from it what they have to know.
 */
import type { SlotDeclaration, StateShape } from "../ir/state.js";
import { InstructionTable } from "../table/instruction-table.js";
import type { Row } from "../table/row.js";
import { type CsrName, csrNames } from "./csr-names.js";
import type { RiscvSemantics } from "./semantics.js";
import { riscvShape } from "./state.js";

/** An extension. */
export interface RiscvExtension {
  /** As ISA strings have it: one letter, or more that begin with `z`, `s` or `x`. */
  readonly name: string;
  /** Major and minor version. */
  readonly version: readonly [major: number, minor: number];
  /** Whether ISA strings name it; true unless given. The privileged architecture itself is in none. */
  readonly isListed?: boolean;
  /** Names of those that it implies or depends on: they must be there as well. */
  readonly requires?: readonly string[];
  /** Instructions by name; those of one register width say so themselves. */
  readonly instructions?: Readonly<Record<string, Row<RiscvSemantics>>>;
  /** State that its instructions touch directly. */
  readonly slots?: (xlen: 32 | 64) => readonly SlotDeclaration[];
  /** CSRs that it brings. What a hart does with them stands with the hart. */
  readonly csrs?: readonly CsrName[];
}

/** A set of extensions that don't go together, or one that is described wrongly. */
export class ExtensionError extends Error {
  override readonly name = "ExtensionError";
  readonly code = "E_EXTENSION";
}

/** Order of single letters in ISA strings, and of the categories of `z` (unprivileged manual, "Subset Naming Convention"). */
const LETTERS = "imafdqlcbkjtpvnh";
const NAME = /^(?:[a-wy]|[zsx][a-z][a-z0-9]*)$/;
const CSRS = 4096;

/** An instruction set: extensions in the order of ISA strings. */
export class RiscvIsa<E extends RiscvExtension = RiscvExtension> {
  readonly extensions: readonly E[];
  /** Names of CSRs by number: the manuals', and those that its extensions bring. */
  readonly csrNames: ReadonlyMap<number, string>;
  private readonly tables = new Map<number, InstructionTable<RiscvSemantics>>();
  private readonly shapes = new Map<number, StateShape>();

  /** @throws ExtensionError naming the extension that does not fit, and why */
  constructor(extensions: readonly E[]) {
    this.extensions = extensions.toSorted((a, b) => compare(a.name, b.name));
    this.checkNames();
    this.csrNames = this.nameCsrs();
    this.checkInstructions();
  }

  /** Whether an extension of this name is there. */
  has(name: string): boolean {
    return this.extensions.some((extension) => extension.name === name);
  }

  /** The ISA string, for instance `rv64imafdc_zicntr_zicsr`; `versions` writes `rv64i2p1_m2p0` and so on. */
  string(xlen: 32 | 64, versions = false): string {
    const listed = this.extensions.filter(({ isListed = true }) => isListed);
    if (versions)
      return `rv${xlen}${listed.map(({ name, version: [major, minor] }) => `${name}${major}p${minor}`).join("_")}`;
    const letters = listed.filter(({ name }) => name.length === 1).map(({ name }) => name);
    const words = listed.filter(({ name }) => name.length > 1).map(({ name }) => `_${name}`);
    return `rv${xlen}${letters.join("")}${words.join("")}`;
  }

  /** The instructions of harts whose integer registers have `xlen` bits. */
  table(xlen: 32 | 64): InstructionTable<RiscvSemantics> {
    return known(this.tables, xlen, () => {
      const rows = this.extensions.flatMap(({ instructions = {} }) => Object.entries(instructions));
      return new InstructionTable(
        Object.fromEntries(rows.filter(([, { options }]) => (options.width ?? xlen) === xlen)),
      );
    });
  }

  /** The state that instructions touch directly. */
  shape(xlen: 32 | 64): StateShape {
    return known(this.shapes, xlen, () =>
      riscvShape(this.extensions.flatMap(({ slots }) => slots?.(xlen) ?? [])),
    );
  }

  private checkNames(): void {
    const seen = new Set<string>();
    for (const { name } of this.extensions) {
      if (!NAME.test(name))
        throw new ExtensionError(
          `"${name}" is no name of an extension: take one letter, or z, s or x and more in lower case`,
        );
      if (seen.has(name)) throw new ExtensionError(`the extension ${name} is described twice`);
      seen.add(name);
    }
    for (const { name, requires = [] } of this.extensions)
      for (const needed of requires)
        if (!seen.has(needed))
          throw new ExtensionError(`the extension ${name} needs ${needed}, which is not there`);
  }

  private nameCsrs(): ReadonlyMap<number, string> {
    const names = new Map(csrNames);
    const numbers = new Map([...csrNames].map(([number, name]) => [name, number]));
    const described = new Set<string>();
    for (const { name: extension, csrs = [] } of this.extensions)
      for (const { name, number } of csrs) {
        const bad = (why: string) =>
          new ExtensionError(`the CSR ${name} of the extension ${extension} ${why}`);
        if (described.has(name)) throw bad("is described twice");
        if (!Number.isInteger(number) || number < 0 || number >= CSRS)
          throw bad(`has the number ${number}: it must be 0 to ${CSRS - 1}`);
        const holder = names.get(number);
        if (holder !== undefined && holder !== name)
          throw bad(`has the number 0x${number.toString(16)}, which is that of ${holder}`);
        const other = numbers.get(name);
        if (other !== undefined && other !== number)
          throw bad(`has the number 0x${other.toString(16)} already`);
        described.add(name);
        names.set(number, name);
        numbers.set(name, number);
      }
    return names;
  }

  private checkInstructions(): void {
    const owners = new Map<string, string>();
    for (const { name: extension, instructions = {} } of this.extensions)
      for (const name of Object.keys(instructions)) {
        const owner = owners.get(name);
        if (owner !== undefined)
          throw new ExtensionError(`the instruction ${name} is in the extensions ${owner} and ${extension}`);
        owners.set(name, extension);
      }
  }
}

function known<T>(made: Map<number, T>, xlen: number, make: () => T): T {
  let value = made.get(xlen);
  if (value === undefined) {
    value = make();
    made.set(xlen, value);
  }
  return value;
}

/** Canonical order: letters, then `z` by category and name, then `s`, then `x`. */
function compare(a: string, b: string): number {
  return rank(a) - rank(b) || (a < b ? -1 : a > b ? 1 : 0);
}

function rank(name: string): number {
  const letter = (at: number): number =>
    (LETTERS.indexOf(name[at]!) + LETTERS.length + 1) % (LETTERS.length + 1);
  if (name.length === 1) return letter(0);
  const group = { z: 100 + letter(1), s: 200, x: 300 }[name[0]!];
  return group ?? 400;
}
