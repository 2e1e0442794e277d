/**
 * Reading flattened device trees (Devicetree specification 0.4, chapter 5), from files or from a guest: nothing in
 * the bytes is believed. Every offset and length is checked against its block before it is used, nesting is bounded,
 * and a tree that passes writes back through `flattenTree` to the same nodes.
 */
import { FdtError } from "./errors.js";
import {
  FDT_HEADER_BYTES,
  FDT_MAGIC,
  FDT_NAME_MAXIMUM,
  FDT_TOKEN,
  FDT_VERSION,
  type FdtReservation,
  isFdtName,
} from "./format.js";

/** A node as read: every property is its raw bytes. It fits `FdtNode`. */
export interface ParsedNode {
  readonly name: string;
  readonly properties: Readonly<Record<string, Uint8Array>>;
  readonly children: readonly ParsedNode[];
}

/** A tree as read. */
export interface ParsedTree {
  readonly root: ParsedNode;
  readonly reservations: readonly FdtReservation[];
  /** Physical id of the CPU that boots. */
  readonly bootHart: number;
}

/** Deepest nesting of nodes that is read: far more than real trees have. */
const DEEPEST = 64;
const CELL = 4;

/**
 * Reads a tree. Bytes after its total size are ignored.
 * @throws FdtError `E_FDT_TRUNCATED`, `E_FDT_MAGIC`, `E_FDT_VERSION` or `E_FDT_MALFORMED`
 */
export function parseTree(bytes: Uint8Array): ParsedTree {
  if (bytes.length < FDT_HEADER_BYTES) {
    throw new FdtError(
      "E_FDT_TRUNCATED",
      `a device tree has a header of ${FDT_HEADER_BYTES} bytes, these are ${bytes.length}: the file is cut short`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (index: number): number => view.getUint32(CELL * index);
  if (word(0) !== FDT_MAGIC) {
    throw new FdtError(
      "E_FDT_MAGIC",
      `not a device tree blob: it starts with 0x${word(0).toString(16)}; compile source with dtc`,
    );
  }
  const total = word(1);
  if (total < FDT_HEADER_BYTES || total > bytes.length) {
    throw new FdtError(
      "E_FDT_TRUNCATED",
      `the device tree says that it has ${total} bytes, there are ${bytes.length}: the file is cut short`,
    );
  }
  const version = word(5);
  const oldest = word(6);
  if (version < FDT_VERSION || oldest > FDT_VERSION) {
    throw new FdtError(
      "E_FDT_VERSION",
      `device tree of version ${version} (readable from ${oldest}): convert it with dtc -V ${FDT_VERSION}`,
    );
  }
  const structure = block(total, "structure", word(2), word(9), CELL);
  const strings = block(total, "strings", word(3), word(8), 1);
  const reserved = block(total, "memory reservation", word(4), total - Math.min(total, word(4)), 8);
  return {
    root: new StructureReader(bytes, view, structure, strings).tree(),
    reservations: readReservations(view, reserved),
    bootHart: word(7),
  };
}

/** The node at a path such as `/soc/serial@10000000`; undefined if there is none. */
export function findNode(root: ParsedNode, path: string): ParsedNode | undefined {
  let node: ParsedNode | undefined = root;
  for (const name of path.split("/")) {
    if (name !== "") node = node?.children.find((child) => child.name === name);
  }
  return node;
}

/**
 * A property's bytes as cells of 32 bits.
 * @throws FdtError (`E_FDT_MALFORMED`) if they are not a whole number of cells
 */
export function readCells(value: Uint8Array): number[] {
  if (value.length % CELL !== 0)
    throw malformed(`a property of ${value.length} bytes has no whole number of cells`);
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  return Array.from({ length: value.length / CELL }, (_, index) => view.getUint32(CELL * index));
}

/**
 * A property's bytes as texts.
 * @throws FdtError (`E_FDT_MALFORMED`) if the last one does not end with a zero byte
 */
export function readStrings(value: Uint8Array): string[] {
  if (value.length === 0 || value.at(-1) !== 0)
    throw malformed("a text property does not end with a zero byte");
  return new TextDecoder().decode(value.subarray(0, -1)).split("\0");
}

interface Block {
  readonly start: number;
  readonly end: number;
}

function malformed(problem: string): FdtError {
  return new FdtError("E_FDT_MALFORMED", `malformed device tree: ${problem}; build it again from its source`);
}

function block(total: number, what: string, start: number, size: number, alignment: number): Block {
  if (start < FDT_HEADER_BYTES || start + size > total || start % alignment !== 0) {
    throw malformed(
      `its ${what} block, ${size} bytes from ${start}, is misaligned or outside its ${total} bytes`,
    );
  }
  return { start, end: start + size };
}

function readReservations(view: DataView, reserved: Block): FdtReservation[] {
  const found: FdtReservation[] = [];
  const read = (at: number): number => {
    const value = view.getBigUint64(at);
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw malformed(`it reserves memory at or of 0x${value.toString(16)} bytes`);
    return Number(value);
  };
  for (let at = reserved.start; at + 16 <= reserved.end; at += 16) {
    const entry = { gpa: read(at), size: read(at + 8) };
    if (entry.gpa === 0 && entry.size === 0) return found;
    found.push(entry);
  }
  throw malformed("its list of memory reservations has no end");
}

/** Walks the structure block. Invariant: `at` is a multiple of four from the block's start and inside the bytes. */
class StructureReader {
  private at: number;
  private readonly decoder = new TextDecoder();

  constructor(
    private readonly bytes: Uint8Array,
    private readonly view: DataView,
    private readonly structure: Block,
    private readonly strings: Block,
  ) {
    this.at = structure.start;
  }

  tree(): ParsedNode {
    if (this.token() !== FDT_TOKEN.beginNode) throw malformed("it does not start with a node");
    const root = this.node(0);
    if (root.name !== "") throw malformed(`its root is named "${root.name}"`);
    if (this.token() !== FDT_TOKEN.end) throw malformed("something follows its root");
    return root;
  }

  /** The rest of a node whose start has been read. */
  private node(depth: number): ParsedNode {
    if (depth >= DEEPEST) throw malformed(`its nodes nest deeper than ${DEEPEST}`);
    const name = this.text(this.at, this.structure.end, "a node's name");
    this.skip(name.length + 1);
    const label = this.decoder.decode(name);
    // Without a prototype, so that a property may have any name.
    const properties = Object.create(null) as Record<string, Uint8Array>;
    const children: ParsedNode[] = [];
    const names = new Set<string>();
    for (;;) {
      const token = this.token();
      if (token === FDT_TOKEN.endNode) return { name: label, properties, children };
      if (token === FDT_TOKEN.property) {
        if (children.length > 0) throw malformed(`node "${label}" has a property after a node`);
        const [property, value] = this.property();
        if (property in properties) throw malformed(`node "${label}" has two properties named ${property}`);
        properties[property] = value;
      } else if (token === FDT_TOKEN.beginNode) {
        const child = this.node(depth + 1);
        if (!isFdtName(child.name)) throw malformed(`node "${label}" has a node named "${child.name}"`);
        if (names.has(child.name)) throw malformed(`node "${label}" has two nodes named ${child.name}`);
        names.add(child.name);
        children.push(child);
      } else throw malformed(`node "${label}" has the token ${token}`);
    }
  }

  private property(): [string, Uint8Array] {
    const length = this.cell();
    const nameAt = this.strings.start + this.cell();
    const name = this.decoder.decode(this.text(nameAt, this.strings.end, "a property's name"));
    const start = this.at;
    if (!isFdtName(name)) throw malformed(`a property is named "${name}"`);
    this.skip(length);
    return [name, this.bytes.slice(start, start + length)];
  }

  /** The next token that means something. */
  private token(): number {
    let token = this.cell();
    while (token === FDT_TOKEN.nop) token = this.cell();
    return token;
  }

  private cell(): number {
    if (this.at + CELL > this.structure.end) throw malformed("its structure ends in the middle of a node");
    const value = this.view.getUint32(this.at);
    this.at += CELL;
    return value;
  }

  /** Goes past `length` bytes and their padding. */
  private skip(length: number): void {
    const next = this.at + length;
    if (next > this.structure.end) throw malformed(`a value of ${length} bytes reaches past its structure`);
    this.at = this.structure.start + Math.ceil((next - this.structure.start) / CELL) * CELL;
  }

  /** Bytes from `start` up to a zero byte before `end`. */
  private text(start: number, end: number, what: string): Uint8Array {
    // Names that many properties share must not make reading slow: none is looked at beyond the longest.
    const limit = Math.min(end, start + FDT_NAME_MAXIMUM + 1);
    const zero = start < limit ? this.bytes.subarray(start, limit).indexOf(0) : -1;
    if (zero < 0)
      throw malformed(`${what} does not end inside its block, or has more than ${FDT_NAME_MAXIMUM} bytes`);
    return this.bytes.subarray(start, start + zero);
  }
}
