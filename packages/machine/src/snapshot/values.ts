/**
 * Plain data as bytes: what parts of a machine save, kept exactly (numbers as IEEE 754 doubles, byte arrays as they
 * are). A value is a tag byte and its content; lengths are 32-bit, little-endian.
 *
 *   0 null   1 false   2 true   3 number: f64   4 string: length, UTF-8   5 bytes: length, bytes
 *   6 list: length, values   7 record: length, then a string without its tag and a value each
 *
 * Reading is bounded before anything is reserved: a byte can stand for a value that takes a hundred in the host's
 * memory, so whoever expects a value says how many values at most it is made of.
 */

/** Plain data; it has the shape of devices' saved states. */
export type PlainValue =
  | number
  | string
  | boolean
  | null
  | Uint8Array
  | readonly PlainValue[]
  | { readonly [name: string]: PlainValue };

/** A record of plain data. */
export type PlainRecord = { readonly [name: string]: PlainValue };

const Tag = { null: 0, false: 1, true: 2, number: 3, string: 4, bytes: 5, list: 6, record: 7 } as const;
/** Deepest nesting that is read: a snapshot is not to exhaust the stack. */
const MAXIMUM_DEPTH = 64;
/** Longest name of a field that is read, in bytes. */
const MAXIMUM_NAME = 256;

/** How large a value may be to be read. */
export interface ValueLimits {
  /** Bytes that it is encoded in. */
  readonly bytes: number;
  /** Values that it is made of, itself and those in its lists and records together. */
  readonly values: number;
}

/** What is read unless its owner says otherwise. */
export const DEFAULT_LIMITS: ValueLimits = { bytes: 0x100000, values: 0x10000 };

/**
 * Bytes of a value.
 * @throws RangeError if they, or the values in it, are more than `limits` allow: nobody would read them back
 */
export function encodeValue(value: PlainValue, limits?: ValueLimits): Uint8Array {
  const writer = new Writer();
  writer.value(value);
  const bytes = writer.bytes();
  if (limits !== undefined && bytes.length > limits.bytes)
    throw new RangeError(`${bytes.length} bytes are more than the ${limits.bytes} that are read`);
  if (limits !== undefined && writer.values > limits.values)
    throw new RangeError(`${writer.values} values are more than the ${limits.values} that are read`);
  return bytes;
}

/**
 * The value that bytes stand for.
 * @throws RangeError if they are not one value, whole, or more than `limits` allow
 */
export function decodeValue(bytes: Uint8Array, limits: ValueLimits = DEFAULT_LIMITS): PlainValue {
  if (bytes.length > limits.bytes)
    throw new RangeError(`${bytes.length} bytes are more than the ${limits.bytes} that are read`);
  const reader = new Reader(bytes, limits.values);
  const value = reader.value(0);
  if (!reader.atEnd) throw new RangeError("bytes are left over");
  return value;
}

class Writer {
  private buffer = new Uint8Array(1024);
  private view = new DataView(this.buffer.buffer);
  private at = 0;
  /** How many were written, those in lists and records among them. */
  values = 0;

  bytes(): Uint8Array {
    return this.buffer.slice(0, this.at);
  }

  value(value: PlainValue): void {
    this.values++;
    if (value === null) this.tag(Tag.null);
    else if (typeof value === "boolean") this.tag(value ? Tag.true : Tag.false);
    else if (typeof value === "number") {
      this.tag(Tag.number);
      this.reserve(8);
      this.view.setFloat64(this.at, value, true);
      this.at += 8;
    } else if (typeof value === "string") {
      this.tag(Tag.string);
      this.text(value);
    } else if (value instanceof Uint8Array) {
      this.tag(Tag.bytes);
      this.raw(value);
    } else if (Array.isArray(value)) {
      this.tag(Tag.list);
      this.length(value.length);
      for (const item of value) this.value(item);
    } else {
      const entries = Object.entries(value);
      this.tag(Tag.record);
      this.length(entries.length);
      for (const [name, item] of entries) {
        this.text(name);
        this.value(item);
      }
    }
  }

  private tag(tag: number): void {
    this.reserve(1);
    this.buffer[this.at++] = tag;
  }

  private length(length: number): void {
    this.reserve(4);
    this.view.setUint32(this.at, length, true);
    this.at += 4;
  }

  private text(text: string): void {
    this.raw(new TextEncoder().encode(text));
  }

  private raw(bytes: Uint8Array): void {
    this.length(bytes.length);
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.at);
    this.at += bytes.length;
  }

  private reserve(bytes: number): void {
    if (this.at + bytes <= this.buffer.length) return;
    const larger = new Uint8Array(Math.max(this.buffer.length * 2, this.at + bytes));
    larger.set(this.buffer);
    this.buffer = larger;
    this.view = new DataView(larger.buffer);
  }
}

class Reader {
  private readonly view: DataView;
  private at = 0;

  /** @param left values that may still be read */
  constructor(
    private readonly bytes: Uint8Array,
    private left: number,
  ) {
    this.left--;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get atEnd(): boolean {
    return this.at === this.bytes.length;
  }

  value(depth: number): PlainValue {
    if (depth > MAXIMUM_DEPTH) throw new RangeError("values are nested too deeply");
    const tag = this.view.getUint8(this.at++);
    switch (tag) {
      case Tag.null:
        return null;
      case Tag.false:
        return false;
      case Tag.true:
        return true;
      case Tag.number:
        this.at += 8;
        return this.view.getFloat64(this.at - 8, true);
      case Tag.string:
        return this.text();
      case Tag.bytes:
        return this.raw().slice();
      case Tag.list:
        return Array.from({ length: this.count() }, () => this.value(depth + 1));
      case Tag.record: {
        const entries = new Map<string, PlainValue>();
        for (let left = this.count(); left > 0; left--) {
          const name = this.name();
          if (entries.has(name)) throw new RangeError(`there are two fields named ${name}`);
          entries.set(name, this.value(depth + 1));
        }
        return Object.fromEntries(entries);
      }
      default:
        throw new RangeError(`there is no value with tag ${tag}`);
    }
  }

  /** A length of a list, which has at least a byte an item. */
  private count(): number {
    const count = this.length();
    if (count > this.bytes.length - this.at) throw new RangeError("a list is longer than the data");
    if (count > this.left) throw new RangeError("there are more values than can be");
    this.left -= count;
    return count;
  }

  private name(): string {
    const start = this.at;
    if (this.length() > MAXIMUM_NAME) throw new RangeError("a name is too long");
    this.at = start;
    return this.text();
  }

  private length(): number {
    this.at += 4;
    return this.view.getUint32(this.at - 4, true);
  }

  private text(): string {
    return new TextDecoder("utf-8", { fatal: true }).decode(this.raw());
  }

  private raw(): Uint8Array {
    const length = this.length();
    if (length > this.bytes.length - this.at) throw new RangeError("data is longer than the section");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}
