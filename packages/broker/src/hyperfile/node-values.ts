/**
 * Plain values of a YAML document's nodes. One walk over the document makes them and finds what is wrong with its
 * names, aliases and merges.
 *
 * Invariants: mappings have no prototype, so that a name such as `constructor` is there only if the file has it; an
 * alias stands for the same object as its anchor; and the values, each alias counted with all that it stands for, are
 * no more than {@link MOST_VALUES}, whatever the file says: work on them is bounded.
 */
import { isAlias, isMap, isNode, isScalar, isSeq, type Node, type Pair, type YAMLMap } from "yaml";
import { shortened } from "./message-text.js";
import { hint } from "./suggest.js";

/** Values that a file may have. */
export const MOST_VALUES = 100_000;
/** How deep mappings and lists may be in each other; a Hyperfile needs six. */
export const MOST_DEPTH = 32;
/** The mistake of more. */
export const tooDeep = `more than ${MOST_DEPTH} mappings and lists are in each other here`;

/** Notes a mistake at an offset of the text; the message is made only if it is wanted. */
export type NoteMistake = (offset: number, message: () => string) => void;

/** A mapping without a prototype. */
export type Mapping = Record<string, unknown>;

/** Where a node begins in the text; 0 for what is no node. */
export const startOf = (node: unknown): number => rangeOf(node) ?? 0;
/** Where a node begins in the text, if it says so. */
export const rangeOf = (node: unknown): number | undefined =>
  isNode(node) ? (node as Node).range?.[0] : undefined;
/** The name of a pair as the value has it. */
export const nameOf = ({ key }: Pair): string =>
  isScalar(key) ? (key.value === null ? "" : typeof key.value === "symbol" ? "<<" : String(key.value)) : "";

/** The value of a document's contents; undefined where it is too large or too deep to have one. */
export function plainValue(contents: unknown, note: NoteMistake): unknown {
  const walk = new Walk(note);
  try {
    return walk.value(contents, 0);
  } catch (error) {
    if (!(error instanceof Unbounded)) throw error;
    note(error.offset, () => error.message);
    return undefined;
  }
}

/** The walk can't go on. */
class Unbounded extends Error {
  constructor(
    readonly offset: number,
    message: string,
  ) {
    super(message);
  }
}

/** What an anchor stands for, once all of it is known. */
interface Anchored {
  readonly value: unknown;
  readonly size: number;
  readonly height: number;
}

class Walk {
  private readonly anchors = new Map<string, Anchored | undefined>();
  private size = 0;
  /** The greatest depth that was reached since it was last reset. */
  private deepest = 0;

  constructor(private readonly note: NoteMistake) {}

  value(node: unknown, depth: number): unknown {
    this.count(1, depth, node);
    if (isAlias(node)) return this.alias(node.source, depth, node);
    const anchor = isNode(node) ? (node as { anchor?: string }).anchor : undefined;
    if (anchor === undefined) return this.plain(node, depth);
    const [sizeBefore, deepestBefore] = [this.size, this.deepest];
    this.anchors.set(anchor, undefined);
    this.deepest = depth;
    const value = this.plain(node, depth);
    this.anchors.set(anchor, { value, size: this.size - sizeBefore, height: this.deepest - depth });
    this.deepest = Math.max(this.deepest, deepestBefore);
    return value;
  }

  private plain(node: unknown, depth: number): unknown {
    if (isMap(node)) return this.mapping(node, depth);
    if (isSeq(node)) return node.items.map((item) => this.value(item, depth + 1));
    return isScalar(node) ? node.value : null;
  }

  private mapping(map: YAMLMap, depth: number): Mapping {
    const fields: Mapping = Object.create(null);
    const merged: Mapping[] = [];
    const names = new Set<string>();
    for (const pair of map.items) {
      if (!isScalar(pair.key)) {
        this.note(
          startOf(pair.key ?? pair.value),
          () => "a name is a text: this is a list, a mapping or an alias",
        );
        continue;
      }
      if (isMerge(pair)) {
        merged.push(...this.merged(pair.value, depth));
        continue;
      }
      const name = nameOf(pair);
      if (names.has(name)) {
        this.note(
          startOf(pair.key),
          () => "this name is there already in the same mapping: remove one of the two",
        );
      }
      names.add(name);
      fields[name] = this.value(pair.value, depth + 1);
    }
    // What the mapping says itself goes before what is merged, and earlier mappings go before later ones.
    for (const source of merged) {
      for (const [name, value] of Object.entries(source)) {
        if (!(name in fields)) fields[name] = value;
      }
    }
    return fields;
  }

  private merged(node: unknown, depth: number): Mapping[] {
    const value = this.value(node, depth);
    const sources = Array.isArray(value) ? value : [value];
    if (!sources.every(isMapping)) {
      // An alias that stands for nothing has been told of.
      if (value !== undefined)
        this.note(startOf(node), () => "only a mapping can be merged: name an anchor, such as *base");
      return [];
    }
    return sources;
  }

  private alias(source: string, depth: number, node: unknown): unknown {
    const known = this.anchors.get(source);
    if (known !== undefined) {
      this.count(known.size, depth + known.height, node);
      return known.value;
    }
    if (this.anchors.has(source)) {
      this.note(startOf(node), () => `*${shortened(source)} stands inside its own anchor`);
    } else {
      this.note(
        startOf(node),
        () =>
          `there is no anchor &${shortened(source)} before this; ${hint(source, [...this.anchors.keys()], "anchors")}`,
      );
    }
    return undefined;
  }

  private count(values: number, depth: number, node: unknown): void {
    this.size += values;
    this.deepest = Math.max(this.deepest, depth);
    if (depth > MOST_DEPTH) throw new Unbounded(startOf(node), tooDeep);
    if (this.size > MOST_VALUES)
      throw new Unbounded(
        startOf(node),
        `the file has more than ${MOST_VALUES} values up to here, counting what aliases stand for: divide it`,
      );
  }
}

/** A plain `<<`, as YAML 1.1's merge key type has it. */
const isMerge = ({ key }: Pair): boolean =>
  isScalar(key) && (key.type === undefined || key.type === "PLAIN") && nameOf({ key } as Pair) === "<<";

const isMapping = (value: unknown): value is Mapping =>
  typeof value === "object" && value !== null && !Array.isArray(value);
