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

  /**
   * Builds the table from rows by name. Throws if two rows overlap, or if a compressed row expands to a row that is
   * not there, to a compressed one, or to other fields than that one has: a bad table must not load.
   */
  constructor(rows: Readonly<Record<string, Row<M>>>) {
    this.entries = Object.entries(rows).map(([name, row], index) => ({
      name,
      mnemonic: row.options.as ?? name,
      index,
      row,
    }));
    for (const entry of this.entries) this.byName.set(entry.name, entry);
    for (const [a, b] of overlaps(this.entries)) throw new Error(`rows ${a} and ${b} overlap`);
    for (const entry of this.entries) this.checkExpansion(entry);
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

  private checkExpansion({ name, row }: TableEntry<M>): void {
    if (row.expand === undefined) return;
    const [base, fields] = row.expand(fieldValues(row.encoding, row.encoding.match));
    const target = this.byName.get(base)?.row;
    if (target === undefined) throw new Error(`row ${name} expands to ${base}, which is not in the table`);
    if (target.expand !== undefined)
      throw new Error(`row ${name} expands to ${base}, which is compressed itself`);
    const given = Object.keys(fields).sort().join(", ");
    const wanted = target.encoding.fields
      .map((field) => field.name)
      .sort()
      .join(", ");
    if (given !== wanted) throw new Error(`row ${name} gives ${base} the fields ${given}; it has ${wanted}`);
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
    for (let other = position + 1; other < entries.length; other++) {
      const b = entries[other]!;
      if (overlap(a.row.encoding, b.row.encoding)) found.push([a.name, b.name]);
    }
  });
  return found;
}

/** True if some pattern is an instance of both encodings and neither is strictly more specific. */
function overlap(a: Encoding, b: Encoding): boolean {
  const common = a.mask & b.mask;
  if (a.length !== b.length || ((a.match ^ b.match) & common) !== 0) return false;
  const nested = a.mask !== b.mask && (common === a.mask || common === b.mask);
  return !nested && !excludes(a, b) && !excludes(b, a);
}

/** True if `a` excludes a field value that the fixed bits of `b` demand. */
const excludes = (a: Encoding, b: Encoding): boolean =>
  a.fields.some((field) => {
    if (field.excluded.length === 0) return false;
    const fixed = field.pieces.every(({ at, width }) => {
      const bits = (2 ** width - 1) << at;
      return (b.mask & bits) === bits;
    });
    return fixed && field.excluded.includes(extractField(field, b.match));
  });

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
