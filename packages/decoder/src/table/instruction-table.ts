/**
 * An instruction set as a table of rows with a decode tree over it.
 *
 * The tree tests, at every node, all bits that every remaining row fixes and that no node above has tested; a
 * leaf holds the few rows that are still possible, the most specific first. Two rows may overlap only if one is
 * strictly more specific (its fixed bits include the other's), or if field exclusions part them: `overlaps`
 * finds the others, and a test keeps the list empty.
 */
import { type Encoding, extractField, type FieldValues, matches, type Row } from "./row.js";

/** A row with its place in a table. */
export interface TableEntry<M> {
  /** Key of the row: unique in the table. */
  readonly name: string;
  /** What an assembler writes: the key, unless the row says otherwise. */
  readonly mnemonic: string;
  /** Position in the table. */
  readonly index: number;
  readonly row: Row<M>;
}

/** A decoded instruction. Compressed instructions appear as the base instruction that they stand for. */
export interface Decoded<M> {
  /** The base instruction. */
  readonly entry: TableEntry<M>;
  /** The row that matched: the compressed one, or `entry` itself. */
  readonly source: TableEntry<M>;
  /** Fields of `entry`. */
  readonly fields: FieldValues;
  /** Length in bytes. */
  readonly length: number;
}

type Node<M> =
  | { readonly mask: number; readonly children: ReadonlyMap<number, Node<M>> }
  | { readonly entries: readonly TableEntry<M>[] };

/** An instruction set. */
export class InstructionTable<M> {
  readonly entries: readonly TableEntry<M>[];
  private readonly byName = new Map<string, TableEntry<M>>();
  private readonly trees: ReadonlyMap<number, Node<M>>;

  /** Builds the table from rows by name; throws if a compressed row expands to a name that is not there. */
  constructor(rows: Readonly<Record<string, Row<M>>>) {
    this.entries = Object.entries(rows).map(([name, row], index) => ({
      name,
      mnemonic: row.options.as ?? name,
      index,
      row,
    }));
    for (const entry of this.entries) this.byName.set(entry.name, entry);
    const lengths = new Set(this.entries.map((entry) => entry.row.encoding.length));
    this.trees = new Map(
      [...lengths].map((length) => [
        length,
        buildTree(
          this.entries.filter((entry) => entry.row.encoding.length === length),
          0,
        ),
      ]),
    );
  }

  /** The row called `name`, or undefined. */
  find(name: string): TableEntry<M> | undefined {
    return this.byName.get(name);
  }

  /** The row called `name`; throws if there is none. */
  entry(name: string): TableEntry<M> {
    const entry = this.byName.get(name);
    if (entry === undefined) throw new Error(`no instruction ${name} in the table`);
    return entry;
  }

  /** The row that `bits` of `length` bytes are an instance of, or undefined. */
  match(bits: number, length: number): TableEntry<M> | undefined {
    let node = this.trees.get(length);
    while (node !== undefined && "children" in node) node = node.children.get((bits & node.mask) | 0);
    return node?.entries.find((entry) => matches(entry.row.encoding, bits));
  }

  /** Decodes `bits` of `length` bytes; undefined for an illegal instruction. */
  decode(bits: number, length: number): Decoded<M> | undefined {
    const source = this.match(bits, length);
    if (source === undefined) return undefined;
    const own = fieldValues(source.row.encoding, bits);
    if (source.row.expand === undefined) return { entry: source, source, fields: own, length };
    const [name, fields] = source.row.expand(own);
    return { entry: this.entry(name), source, fields, length };
  }
}

/** All field values of an instruction. */
export function fieldValues(encoding: Encoding, bits: number): FieldValues {
  const values: Record<string, number> = {};
  for (const field of encoding.fields) values[field.name] = extractField(field, bits);
  return values;
}

/** Pairs of rows that some bit pattern matches equally well: a table with any is ambiguous. */
export function overlaps<M>(entries: readonly TableEntry<M>[]): readonly [string, string][] {
  const found: [string, string][] = [];
  entries.forEach((a, position) => {
    for (const b of entries.slice(position + 1)) {
      const left = a.row.encoding;
      const right = b.row.encoding;
      if (left.length !== right.length) continue;
      const common = left.mask & right.mask;
      if (((left.match ^ right.match) & common) !== 0) continue;
      const nested = common === left.mask || common === right.mask;
      const same = left.mask === right.mask;
      const parted = [...left.fields, ...right.fields].some((field) => field.excluded.length > 0);
      if ((!nested || same) && !parted) found.push([a.name, b.name]);
    }
  });
  return found;
}

function buildTree<M>(entries: readonly TableEntry<M>[], tested: number): Node<M> {
  const common = entries.reduce((mask, entry) => mask & entry.row.encoding.mask, -1) & ~tested;
  if (common === 0 || entries.length < 2) {
    return { entries: [...entries].sort((a, b) => fixedBits(b) - fixedBits(a)) };
  }
  const groups = new Map<number, TableEntry<M>[]>();
  for (const entry of entries) {
    const key = (entry.row.encoding.match & common) | 0;
    groups.set(key, [...(groups.get(key) ?? []), entry]);
  }
  return {
    mask: common,
    children: new Map([...groups].map(([key, group]) => [key, buildTree(group, tested | common)])),
  };
}

function fixedBits<M>(entry: TableEntry<M>): number {
  let count = 0;
  for (let mask = entry.row.encoding.mask; mask !== 0; mask &= mask - 1) count++;
  return count;
}
