/** A YAML text with the place of every field, so that a mistake can be pointed at. */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  visit,
  type YAMLMap,
} from "yaml";
import { hint } from "./suggest.js";
import type { HyperfileProblem } from "./types.js";

/** Names of fields and positions in lists, from the top. */
export type FieldPath = readonly (string | number)[];

/** A path as messages show it: `vms.web.after[0]`. */
export function fieldName(path: FieldPath): string {
  return path.reduce<string>(
    (text, part) => (typeof part === "number" ? `${text}[${part}]` : text === "" ? part : `${text}.${part}`),
    "",
  );
}

/** A parsed text. */
export class HyperfileDocument {
  /** What the text says; undefined if it can't be read. */
  readonly value: unknown;
  /** Mistakes of form. */
  readonly problems: HyperfileProblem[] = [];
  private readonly lines = new LineCounter();
  private readonly document: Document.Parsed | undefined;

  constructor(
    text: string,
    private readonly file: string,
  ) {
    const documents = parseAllDocuments(text, { lineCounter: this.lines, merge: true, prettyErrors: false });
    const [first, second] = Array.isArray(documents) ? (documents as Document.Parsed[]) : [];
    if (first === undefined || first.contents === null) {
      this.addAt(0, [], "the file is empty: declare at least one VM under vms");
      return;
    }
    this.document = first;
    for (const error of [...first.errors, ...first.warnings]) {
      // What comes after the first error of a line follows from it.
      const { line } = this.lines.linePos(error.pos[0]);
      if (!this.problems.some((problem) => problem.line === line))
        this.addAt(error.pos[0], [], yamlMessage(error));
    }
    if (second !== undefined) {
      this.addAt(
        second.range[0],
        [],
        "a second document begins here: a Hyperfile is one document, without ---",
      );
    }
    this.checkAliases(first);
    if (this.problems.length > 0) return;
    try {
      this.value = first.toJS();
    } catch (error) {
      // The parser refuses aliases that multiply without end.
      this.addAt(0, [], `the file can't be read: ${(error as Error).message}`);
    }
  }

  /** Aliases name anchors that stand before them, and what is merged is a mapping. */
  private checkAliases(document: Document.Parsed): void {
    const anchors = new Map<string, unknown>();
    visit(document, {
      Node: (_, node) => {
        if (!isAlias(node)) {
          if (node.anchor !== undefined) anchors.set(node.anchor, node);
          return;
        }
        const { source } = node;
        if (!anchors.has(source))
          this.addAt(
            startOf(node),
            [],
            `there is no anchor &${source} before this; ${hint(source, [...anchors.keys()], "anchors")}`,
          );
      },
      Pair: (_, { key, value }) => {
        if (!isScalar(key) || key.source !== "<<" || isMap(value) || isAlias(value) || isSeq(value)) return;
        this.addAt(startOf(value), [], "only a mapping can be merged: name an anchor, such as *base");
      },
    });
  }

  /** Notes a mistake at the value of a field, or at its name. */
  add(path: FieldPath, message: string, at: "value" | "name" = "value"): void {
    this.addAt(this.offsetOf(path, at), path, message);
  }

  private addAt(offset: number, path: FieldPath, message: string): void {
    const { line, col } = this.lines.linePos(offset);
    this.problems.push({
      file: this.file,
      line: Math.max(1, line),
      column: Math.max(1, col),
      field: fieldName(path),
      message,
    });
  }

  /** Where a field is in the text; where its parent is, if it is missing. */
  private offsetOf(path: FieldPath, at: "value" | "name"): number {
    let node: unknown = this.document?.contents;
    let offset = startOf(node);
    for (const [depth, part] of path.entries()) {
      const pair = isMap(node) ? pairOf(node, part) : undefined;
      if (pair !== undefined) {
        const wantsName = at === "name" && depth === path.length - 1;
        offset =
          wantsName || pair.value === null ? startOf(pair.key) : (rangeOf(pair.value) ?? startOf(pair.key));
        node = pair.value;
      } else if (isSeq(node)) {
        node = node.items[Number(part)];
        offset = rangeOf(node) ?? offset;
      } else {
        break;
      }
    }
    return offset;
  }
}

function pairOf(map: YAMLMap, name: string | number) {
  return map.items.find(({ key }) => String(isNode(key) ? key.toJSON() : key) === String(name));
}

const rangeOf = (node: unknown): number | undefined => (isNode(node) ? (node as Node).range?.[0] : undefined);
const startOf = (node: unknown): number => rangeOf(node) ?? 0;

/** The parser's errors in this project's words, where its own need YAML's vocabulary. */
function yamlMessage({ code, message }: { readonly code: string; readonly message: string }): string {
  const [first = message] = message.split("\n");
  switch (code) {
    case "TAB_AS_INDENT":
      return "a tab indents this line: use spaces";
    case "DUPLICATE_KEY":
      return "this name is there already in the same mapping: remove one of the two";
    case "BAD_INDENT":
      if (first.startsWith("Flow"))
        return "a brace or bracket above is not closed, or its end is not indented";
      return "the indentation fits no line above it";
    case "MISSING_CHAR":
      return `something is not closed: ${lowerFirst(first)}`;
    case "BLOCK_AS_IMPLICIT_KEY":
    case "MULTILINE_IMPLICIT_KEY":
      return "this is no name and value: check for a missing space after a colon, and the indentation";
    default:
      return lowerFirst(first);
  }
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);
