/**
 * Flattened device trees (Devicetree specification 0.4, chapter 5): a tree of nodes with properties, written in
 * the format of version 17.
 */

/** A property's value: cells of 32 bits, text, a list of texts, bytes, or nothing. */
export type FdtValue = number | readonly number[] | string | readonly string[] | Uint8Array | true;

/** A node. */
export interface FdtNode {
  readonly name: string;
  readonly properties: Readonly<Record<string, FdtValue>>;
  readonly children?: readonly FdtNode[];
}

const MAGIC = 0xd00dfeed;
const VERSION = 17;
const LAST_COMPATIBLE = 16;
const HEADER_BYTES = 40;
const BEGIN_NODE = 1;
const END_NODE = 2;
const PROPERTY = 3;
const END = 9;

/** A guest-physical address or size as two cells. */
export const cells64 = (value: number): [number, number] => [Math.floor(value / 0x100000000), value >>> 0];

/** Writes the tree. The root's name is empty. */
export function flattenTree(root: FdtNode): Uint8Array {
  const structure = new ByteWriter();
  const strings = new ByteWriter();
  const stringOffsets = new Map<string, number>();
  const nameOffset = (name: string): number => {
    const known = stringOffsets.get(name);
    if (known !== undefined) return known;
    const offset = strings.length;
    stringOffsets.set(name, offset);
    strings.text(name);
    return offset;
  };
  const writeNode = (node: FdtNode): void => {
    structure.cell(BEGIN_NODE);
    structure.text(node.name);
    structure.align();
    for (const [name, value] of Object.entries(node.properties)) {
      const bytes = encode(value);
      structure.cell(PROPERTY);
      structure.cell(bytes.length);
      structure.cell(nameOffset(name));
      structure.bytes(bytes);
      structure.align();
    }
    node.children?.forEach(writeNode);
    structure.cell(END_NODE);
  };
  writeNode(root);
  structure.cell(END);

  const reservations = 16;
  const structureAt = HEADER_BYTES + reservations;
  const stringsAt = structureAt + structure.length;
  const total = stringsAt + strings.length;
  const header = new ByteWriter();
  for (const cell of [
    MAGIC, total, structureAt, stringsAt, HEADER_BYTES, VERSION, LAST_COMPATIBLE, 0, strings.length, structure.length,
  ]) {
    header.cell(cell);
  }
  const out = new Uint8Array(total);
  out.set(header.take(), 0);
  out.set(structure.take(), structureAt);
  out.set(strings.take(), stringsAt);
  return out;
}

function encode(value: FdtValue): Uint8Array {
  if (value === true) return new Uint8Array(0);
  if (value instanceof Uint8Array) return value;
  const writer = new ByteWriter();
  const list = Array.isArray(value) ? (value as readonly (number | string)[]) : [value as number | string];
  for (const item of list) {
    if (typeof item === "number") writer.cell(item);
    else writer.text(item);
  }
  return writer.take();
}

/** A growing big-endian buffer. */
class ByteWriter {
  length = 0;
  private buffer = new Uint8Array(256);

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
    this.bytes(new TextEncoder().encode(`${text}\0`));
  }

  align(): void {
    while ((this.length & 3) !== 0) this.bytes(Uint8Array.of(0));
  }

  take(): Uint8Array {
    return this.buffer.slice(0, this.length);
  }
}
