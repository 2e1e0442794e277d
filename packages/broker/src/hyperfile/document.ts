/**
 * A YAML text with the place of every field, so that a mistake can be pointed at.
 *
 * Whatever the text is, the work on it is bounded: its size, the parser's tokens, the depth, the values and the mistakes
 * that are told have limits, and a message is made only for a mistake that is told.
 */
import { Composer, type Document, isMap, isSeq, Lexer, LineCounter, Parser, type YAMLMap } from "yaml";
import { shortened } from "./message-text.js";
import { MOST_DEPTH, nameOf, plainValue, rangeOf, startOf, tooDeep } from "./node-values.js";
import type { HyperfileProblem } from "./types.js";

/** Names of fields and positions in lists, from the top. */
export type FieldPath = readonly (string | number)[];
/** A message, or what makes it if it is wanted. */
export type Message = string | (() => string);

/** Characters of a file. */
const MOST_TEXT = 2 ** 20;
/** Names, values, signs and line ends of a file. */
const MOST_TOKENS = 150_000;
/** Mistakes that are told; of the others only their number. */
const MOST_PROBLEMS = 50;
/** Characters of a message. */
const MOST_MESSAGE = 600;

/** A path as messages show it: `vms.web.after[0]`. */
export function fieldName(path: FieldPath): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    return text === "" ? shortened(part) : `${text}.${shortened(part)}`;
  }, "");
}

/** A parsed text. */
export class HyperfileDocument {
  /** What the text says; undefined if it can't be read. Mappings in it have no prototype. */
  readonly value: unknown;
  /** Mistakes that were found, up to a limit. */
  readonly problems: HyperfileProblem[] = [];
  /** How many more were found. */
  omitted = 0;
  private readonly lines = new LineCounter();
  private readonly document: Document.Parsed | undefined;

  constructor(
    text: string,
    private readonly file: string,
  ) {
    if (text.length > MOST_TEXT) {
      this.addAt(0, [], `the file has ${text.length} characters: at most ${MOST_TEXT} are read`);
      return;
    }
    const [first, second] = this.parse(text);
    if (this.problems.length > 0) return;
    if (first === undefined || first.contents === null) {
      this.addAt(0, [], "the file is empty: declare at least one VM under vms");
      return;
    }
    this.document = first;
    let told = 0;
    for (const error of [...first.errors, ...first.warnings]) {
      // What comes after the first error of a line follows from it.
      const { line } = this.lines.linePos(error.pos[0]);
      if (line !== told) this.addAt(error.pos[0], [], () => yamlMessage(error));
      told = line;
    }
    if (second !== undefined) {
      this.addAt(
        second.range[0],
        [],
        "a second document begins here: a Hyperfile is one document, without ---",
      );
    }
    if (this.problems.length > 0) return;
    this.value = plainValue(first.contents, (offset, message) => this.addAt(offset, [], message));
  }

  /** The first documents of the text, two at most. */
  private parse(text: string): Document.Parsed[] {
    const parser = new Parser(this.lines.addNewLine);
    const tokens: Parameters<Composer["next"]>[0][] = [];
    const nesting = new Nesting();
    this.lines.addNewLine(0);
    let count = 0;
    let offset = 0;
    for (const lexeme of new Lexer().lex(text)) {
      const complaint =
        ++count > MOST_TOKENS
          ? "the file has too many names and values up to here: divide it"
          : nesting.next(lexeme);
      if (complaint !== undefined) {
        this.addAt(offset, [], complaint);
        return [];
      }
      offset += isMark(lexeme) ? 0 : lexeme.length;
      tokens.push(...parser.next(lexeme));
    }
    tokens.push(...parser.end());
    return compose(tokens, text.length);
  }

  /** Notes a mistake at the value of a field, or at its name. */
  add(path: FieldPath, message: Message, at: "value" | "name" = "value"): void {
    if (this.problems.length < MOST_PROBLEMS) this.addAt(this.offsetOf(path, at), path, message);
    else this.omitted++;
  }

  private addAt(offset: number, path: FieldPath, message: Message): void {
    if (this.problems.length >= MOST_PROBLEMS) {
      this.omitted++;
      return;
    }
    const { line, col } = this.lines.linePos(offset);
    this.problems.push({
      file: this.file,
      line: Math.max(1, line),
      column: Math.max(1, col),
      field: fieldName(path),
      message: shortened(typeof message === "string" ? message : message(), MOST_MESSAGE),
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

const pairOf = (map: YAMLMap, name: string | number) =>
  map.items.find((pair) => nameOf(pair) === String(name));

/** The lexer's own marks, which are no part of the text: of a document, the end of a flow, and the text of a value. */
const TEXT_FOLLOWS = "\x1f";
const isMark = (lexeme: string): boolean => lexeme === "\x02" || lexeme === "\x18" || lexeme === TEXT_FOLLOWS;

/** The documents of the parser's tokens, two at most. */
function compose(tokens: Iterable<Parameters<Composer["next"]>[0]>, length: number): Document.Parsed[] {
  const documents: Document.Parsed[] = [];
  const composer = new Composer({ merge: true, uniqueKeys: false });
  const { stackTraceLimit } = Error;
  try {
    // A mistake is an Error, and a text can have one in each character: their stacks would be most of the work.
    Error.stackTraceLimit = 0;
    for (const document of composer.compose(tokens, false, length)) {
      documents.push(document as Document.Parsed);
      if (documents.length === 2) break;
    }
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  return documents;
}

/**
 * Counts what is open at a place of the text: brackets and braces, lines further in than those before, and signs of
 * list items and names in them. The composer calls itself for each of these.
 */
class Nesting {
  private brackets = 0;
  /** The lines further and further in that the present one is part of. */
  private readonly lines: { readonly indent: number; signs: number }[] = [];
  private depth = 0;
  /** Characters before the first word of a line; undefined after it. */
  private indent: number | undefined = 0;
  private isText = false;

  /** What is wrong with the next lexeme. */
  next(lexeme: string): string | undefined {
    const { isText } = this;
    this.isText = lexeme === TEXT_FOLLOWS;
    if (isText) return undefined;
    const [first] = lexeme;
    if (first === "\n" || first === "\r") this.indent = 0;
    else if (this.indent !== undefined && (first === " " || first === "\t")) this.indent += lexeme.length;
    else if (first !== "#") this.word(lexeme);
    if (this.brackets < 0) return "this bracket or brace closes none: remove it";
    return this.depth + this.brackets > MOST_DEPTH ? tooDeep : undefined;
  }

  private word(lexeme: string): void {
    const { lines, indent } = this;
    if (indent !== undefined) {
      this.indent = undefined;
      for (let last = lines.at(-1); last !== undefined && last.indent >= indent; last = lines.at(-1)) {
        lines.pop();
        this.depth -= 1 + last.signs;
      }
      lines.push({ indent, signs: 0 });
      this.depth++;
    }
    if (lexeme === "[" || lexeme === "{") this.brackets++;
    else if (lexeme === "]" || lexeme === "}") this.brackets--;
    else if (lexeme === "-" || lexeme === "?") {
      lines.at(-1)!.signs++;
      this.depth++;
    }
  }
}

/** The parser's errors in this project's words, where its own need YAML's vocabulary. */
function yamlMessage({ code, message }: { readonly code: string; readonly message: string }): string {
  const [first = message] = message.split("\n");
  switch (code) {
    case "TAB_AS_INDENT":
      return "a tab indents this line: use spaces";
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
