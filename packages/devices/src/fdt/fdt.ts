/**
 * Flattened device trees (Devicetree specification 0.4, chapter 5): a tree of nodes with properties, written in
 * the format of version 17. Layout: header, memory reservations, structure, strings; each string is stored once.
 */
import { FdtError } from "./errors.js";
import {
  FDT_HEADER_BYTES,
  FDT_LAST_COMPATIBLE,
  FDT_MAGIC,
  FDT_TOKEN,
  FDT_VERSION,
  type FdtReservation,
  isFdtName,
} from "./format.js";

/**
 * A property's value: a number is a cell of 32 bits, a bigint two cells with the high one first, a string is text
 * with its terminating zero, an array is a list of those, bytes stand for themselves, and `true` is an empty value.
 */
export type FdtValue =
  | number
  | bigint
  | readonly (number | bigint)[]
  | string
  | readonly string[]
  | Uint8Array
  | true;

/** A node. The order of properties and children is kept. */
export interface FdtNode {
  /** With its unit address, for instance `serial@10000000`; empty for the root. */
  readonly name: string;
  readonly properties: Readonly<Record<string, FdtValue>>;
  readonly children?: readonly FdtNode[];
}

/** What a tree holds beside its nodes. */
export interface FlattenOptions {
  readonly reservations?: readonly FdtReservation[];
  /** Physical id of the CPU that boots; 0 unless given. */
  readonly bootHart?: number;
}

const RESERVATION_BYTES = 16;
const CELL_MAXIMUM = 0xffffffff;
const CELLS = 0x100000000;

/** A guest-physical address or size as two cells. */
export const cells64 = (value: number): [number, number] => [Math.floor(value / CELLS), value >>> 0];

/**
 * Writes the tree.
 * @throws FdtError (`E_FDT_VALUE`) on a name or number that the format can't hold, or a name used twice in a node
 */
export function flattenTree(root: FdtNode, options: FlattenOptions = {}): Uint8Array {
  const { reservations = [], bootHart = 0 } = options;
  if (root.name !== "") throw invalid(root.name, "the root's name must be empty");
  const reserved = new ByteWriter();
  for (const { gpa, size } of [...reservations, { gpa: 0, size: 0 }]) {
    for (const value of [gpa, size]) {
      if (!Number.isSafeInteger(value) || value < 0)
        throw invalid("/memreserve/", `${value} is not an address`);
      for (const cell of cells64(value)) reserved.cell(cell);
    }
  }
  const structure = new ByteWriter();
  const strings = new StringBlock();
  writeNode(structure, strings, root, "");
  structure.cell(FDT_TOKEN.end);

  const structureAt = FDT_HEADER_BYTES + RESERVATION_BYTES * (reservations.length + 1);
  const stringsAt = structureAt + structure.length;
  const total = stringsAt + strings.writer.length;
  const out = new ByteWriter();
  const header = [
    FDT_MAGIC,
    total,
    structureAt,
    stringsAt,
    FDT_HEADER_BYTES,
    FDT_VERSION,
    FDT_LAST_COMPATIBLE,
    bootHart,
    strings.writer.length,
    structure.length,
  ];
  for (const cell of header) out.cell(cell);
  for (const block of [reserved, structure, strings.writer]) out.bytes(block.take());
  return out.take();
}

function writeNode(structure: ByteWriter, strings: StringBlock, node: FdtNode, path: string): void {
  structure.cell(FDT_TOKEN.beginNode);
  structure.text(node.name);
  structure.align();
  for (const [name, value] of Object.entries(node.properties)) {
    if (!isFdtName(name)) throw invalid(path, `"${name}" is not a property name`);
    const bytes = encode(value, `${path}/${name}`);
    structure.cell(FDT_TOKEN.property);
    structure.cell(bytes.length);
    structure.cell(strings.offset(name));
    structure.bytes(bytes);
    structure.align();
  }
  const seen = new Set<string>();
  for (const child of node.children ?? []) {
    if (!isFdtName(child.name)) throw invalid(path, `"${child.name}" is not a node name`);
    if (seen.has(child.name)) throw invalid(path, `two nodes are named ${child.name}`);
    seen.add(child.name);
    writeNode(structure, strings, child, `${path}/${child.name}`);
  }
  structure.cell(FDT_TOKEN.endNode);
}

function invalid(path: string, problem: string): FdtError {
  return new FdtError("E_FDT_VALUE", `device tree, ${path === "" ? "/" : path}: ${problem}`);
}

function encode(value: FdtValue, path: string): Uint8Array {
  if (value === true) return new Uint8Array(0);
  if (value instanceof Uint8Array) return value;
  const writer = new ByteWriter();
  const list = (Array.isArray(value) ? value : [value]) as readonly (number | bigint | string)[];
  for (const item of list) {
    if (typeof item === "string") {
      if (item.includes("\0")) throw invalid(path, "text can't hold a zero byte: give bytes");
      writer.text(item);
    } else if (typeof item === "bigint") {
      if (BigInt.asUintN(64, item) !== item) throw invalid(path, `${item} does not fit two cells`);
      writer.cell(Number(item >> 32n));
      writer.cell(Number(item & BigInt(CELL_MAXIMUM)));
    } else {
      if (!Number.isInteger(item) || item < 0 || item > CELL_MAXIMUM) {
        throw invalid(path, `${item} does not fit a cell of 32 bits`);
      }
      writer.cell(item);
    }
  }
  return writer.take();
}

/** Property names, each stored once. */
class StringBlock {
  readonly writer = new ByteWriter();
  private readonly offsets = new Map<string, number>();

  offset(name: string): number {
    const known = this.offsets.get(name);
    if (known !== undefined) return known;
    const offset = this.writer.length;
    this.offsets.set(name, offset);
    this.writer.text(name);
    return offset;
  }
}

/** A growing big-endian buffer. */
class ByteWriter {
  length = 0;
  private buffer = new Uint8Array(256);
  private readonly encoder = new TextEncoder();

  bytes(bytes: Uint8Array): void {
    if (this.length + bytes.length > this.buffer.length) {
      const larger = new Uint8Array(2 * (this.length + bytes.length));
      larger.set(this.take());
      this.buffer = larger;
    }
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  cell(value: number): void {
    this.bytes(Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value));
  }

  /** Text with its terminating zero. */
  text(text: string): void {
    this.bytes(this.encoder.encode(`${text}\0`));
  }

  align(): void {
    while ((this.length & 3) !== 0) this.bytes(Uint8Array.of(0));
  }

  take(): Uint8Array {
    return this.buffer.slice(0, this.length);
  }
}
