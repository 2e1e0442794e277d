/**
 * Makes crafted snapshots out of a real one: takes it apart, changes one thing where an attacker would, and puts it
 * together again with right checksums. Repeats for the same seed.
 */
import { xxh32 } from "@hyperfile/jit/memory";
import {
  decodeValue,
  encodeSections,
  encodeValue,
  type PlainRecord,
  type PlainValue,
  type SnapshotCodec,
  SnapshotFile,
  type SnapshotSection,
} from "../src/snapshot/index.js";

const HEADER_BYTES = 24;
/** Bytes of a zstd frame up to its first block's header, at most. */
const FRAME_HEADER = 9;
/** Sections that are pieces of memory or of a disk, and no records. */
const CHUNKS = /^(memory|disk\/\d+)\//;
/** Numbers at and beyond the edges of what fields hold. */
const numbers = [
  0,
  -0,
  1,
  -1,
  0.5,
  2,
  3,
  7,
  16,
  255,
  256,
  4095,
  4096,
  0xffff,
  0x10000,
  0x7fffffff,
  0x80000000,
  0xffffffff,
  2 ** 32,
  2 ** 52,
  2 ** 53,
  2 ** 64,
  -(2 ** 31),
  -(2 ** 53),
  1e300,
  Number.NaN,
  Infinity,
  -Infinity,
];
const strings = [
  "",
  "0",
  "-1",
  "999999999999999999999999",
  "__proto__",
  "constructor",
  "uart0",
  "x".repeat(5000),
];

/** A crafted file and what was done to it. */
export interface CraftedSnapshot {
  readonly bytes: Uint8Array;
  readonly change: string;
}

/** Makes one crafted snapshot after the other. */
export class SnapshotMutator {
  private readonly sections: readonly SnapshotSection[];
  private readonly records: readonly string[];
  private state: number;

  /** @param changed sections whose records are changed, where they are records */
  constructor(
    file: Uint8Array,
    private readonly codec: SnapshotCodec,
    seed: number,
    changed = /^/,
  ) {
    this.state = seed | 1;
    const snapshot = new SnapshotFile(file, codec);
    this.sections = snapshot.names.map((name) => ({
      name,
      bytes: snapshot.section(name, snapshot.lengthOf(name)).slice(),
    }));
    this.records = snapshot.names.filter((name) => !CHUNKS.test(name) && changed.test(name));
  }

  /** The next one. */
  next(): CraftedSnapshot {
    return this.random(10) < 8 ? this.changedValue() : this.changedFile();
  }

  /** The file with one section replaced. */
  with(name: string, bytes: Uint8Array): Uint8Array {
    return this.assemble(this.sections.map((each) => (each.name === name ? { name, bytes } : each)));
  }

  /** The file with pages whose sections have the right lengths and checksums, and can't be decompressed. */
  chunksThatAreNone(): Uint8Array {
    return this.corrupted(/^memory\//);
  }

  /** A number from 0 to below `limit`: xorshift32. */
  private random(limit: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>> 0) % limit;
  }

  private pick<T>(from: readonly T[]): T {
    return from[this.random(from.length)]!;
  }

  private assemble(sections: readonly SnapshotSection[]): Uint8Array {
    return joined(encodeSections(sections, this.codec));
  }

  /** A section's record with one or several values in it changed. */
  private changedValue(): CraftedSnapshot {
    const name = this.pick(this.records);
    const changes: string[] = [];
    let value = decodeValue(this.sections.find((each) => each.name === name)!.bytes);
    for (let count = this.random(4) === 0 ? 1 + this.random(4) : 1; count > 0; count--)
      value = this.change(value, "", changes);
    return { bytes: this.with(name, encodeValue(value)), change: `${name}: ${changes.join(", ")}` };
  }

  /** The value with something in it changed, at any depth. */
  private change(value: PlainValue, path: string, changes: string[]): PlainValue {
    const inside = this.random(8) > 0;
    if (Array.isArray(value) && value.length > 0 && inside) {
      const at = this.random(value.length);
      return value.map((item: PlainValue, index) =>
        index === at ? this.change(item, `${path}[${at}]`, changes) : item,
      );
    }
    if (isRecord(value) && inside && Object.keys(value).length > 0) {
      const field = this.pick(Object.keys(value));
      return { ...value, [field]: this.change(value[field]!, `${path}.${field}`, changes) };
    }
    const other = this.replace(value);
    changes.push(`${path} = ${describe(other)}`);
    return other;
  }

  /** Something in the place of a value: mostly of its type. */
  private replace(value: PlainValue): PlainValue {
    if (this.random(6) === 0) return this.foreign();
    if (typeof value === "number") {
      if (this.random(2) === 0) return this.pick(numbers);
      return this.random(2) === 0 ? value ^ (1 << this.random(32)) : value + this.pick([1, -1, 4, 4096]);
    }
    if (typeof value === "boolean") return !value;
    if (typeof value === "string") return this.random(2) === 0 ? this.pick(strings) : `${value}1`;
    if (value instanceof Uint8Array) return this.bytesLike(value);
    if (Array.isArray(value)) return this.listLike(value);
    if (isRecord(value)) return this.recordLike(value);
    return this.foreign();
  }

  private bytesLike(value: Uint8Array): Uint8Array {
    const length = this.pick([0, 1, value.length - 1, value.length + 1, value.length + 4, 100_000]);
    const bytes = new Uint8Array(Math.max(0, this.random(2) === 0 ? value.length : length));
    bytes.set(value.subarray(0, bytes.length));
    if (bytes.length > 0) bytes[this.random(bytes.length)] = this.random(256);
    return bytes;
  }

  private listLike(value: readonly PlainValue[]): PlainValue {
    switch (this.random(5)) {
      case 0:
        return [];
      case 1:
        return value.slice(1);
      case 2:
        return [...value, this.foreign()];
      case 3:
        return Array.from({ length: 20_000 }, () => value[0] ?? 0);
      default:
        return value.toReversed();
    }
  }

  private recordLike(value: PlainRecord): PlainRecord {
    const [first, ...rest] = Object.entries(value);
    switch (this.random(4)) {
      case 0:
        return Object.fromEntries(rest);
      case 1:
        return { ...value, [this.pick(["other", "__proto__", "x".repeat(300)])]: this.foreign() };
      case 2:
        return Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`key${index}`, index]));
      default:
        return first === undefined ? {} : Object.fromEntries([...rest, [`${first[0]}2`, first[1]]]);
    }
  }

  private foreign(): PlainValue {
    return this.pick<() => PlainValue>([
      () => null,
      () => true,
      () => this.pick(numbers),
      () => this.pick(strings),
      () => new Uint8Array(this.random(64)),
      () => [],
      () => ({}),
      () => Array.from({ length: this.random(8) }, () => this.pick(numbers)),
      () => nested(this.random(200)),
    ])();
  }

  /** The file with its sections or their bytes changed. */
  private changedFile(): CraftedSnapshot {
    const { sections } = this;
    const at = this.random(sections.length);
    const { name, bytes } = sections[at]!;
    const others = sections.filter((_, index) => index !== at);
    const chunk = this.pick(sections.filter((each) => CHUNKS.test(each.name)));
    switch (this.random(7)) {
      case 0:
        return { bytes: this.assemble(others), change: `without ${name}` };
      case 1:
        return {
          bytes: this.assemble([...others, { name: this.pick(["memory/9999", "extra", "state/x"]), bytes }]),
          change: `${name} renamed`,
        };
      case 2: {
        const other = this.pick(sections);
        return { bytes: this.with(name, other.bytes), change: `${name} as ${other.name}` };
      }
      case 3: {
        const scribbled = bytes.slice();
        for (let count = 1 + this.random(8); count > 0 && scribbled.length > 0; count--)
          scribbled[this.random(scribbled.length)] = this.random(256);
        return { bytes: this.with(name, scribbled), change: `${name} scribbled on` };
      }
      case 4: {
        const length = this.pick([0, 1, bytes.length >> 1, bytes.length - 1, bytes.length + 1]);
        const cut = new Uint8Array(Math.max(0, length));
        cut.set(bytes.subarray(0, cut.length));
        return { bytes: this.with(name, cut), change: `${name} of ${cut.length} bytes` };
      }
      case 5:
        return { bytes: this.corrupted(new RegExp(`^${chunk.name}$`)), change: `${chunk.name} is no frame` };
      default:
        return this.changedDirectory();
    }
  }

  /** The file with some stored bytes of sections scribbled on, after their headers, and the checksums of that. */
  private corrupted(name: RegExp): Uint8Array {
    const file = this.assemble(this.sections);
    return rewritten(file, (entries, start) => {
      let at = start;
      for (const entry of entries) {
        const stored = entry.stored as number;
        const body = file.subarray(at, at + stored);
        if (name.test(String(entry.name)) && entry.codec === "zstd") {
          for (let count = 0; count < 64; count++)
            body[FRAME_HEADER + this.random(stored - FRAME_HEADER)] = this.random(256);
          entry.sum = xxh32(body);
        }
        at += stored;
      }
    });
  }

  private changedDirectory(): CraftedSnapshot {
    const changes: string[] = [];
    const bytes = rewritten(this.assemble(this.sections), (entries) => {
      const entry = this.pick(entries);
      const field = this.pick(Object.keys(entry));
      const other = this.replace(entry[field]!);
      changes.push(`directory: ${String(entry.name).slice(0, 20)}.${field} = ${describe(other)}`);
      entry[field] = other;
    });
    return { bytes, change: changes.join() };
  }
}

/** A file with its directory's entries changed. */
function rewritten(
  file: Uint8Array,
  change: (entries: Record<string, PlainValue>[], start: number) => void,
): Uint8Array {
  const view = new DataView(file.buffer, file.byteOffset);
  const start = HEADER_BYTES + view.getUint32(12, true);
  const entries = decodeValue(file.subarray(HEADER_BYTES, start)) as unknown as Record<string, PlainValue>[];
  change(entries, start);
  return withDirectory(file.subarray(start), encodeValue(entries));
}

/** A file of a directory and the bytes after it. */
export function withDirectory(bodies: Uint8Array, directory: Uint8Array): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  header.set(new TextEncoder().encode("HYPERSNP"));
  view.setUint32(8, 1, true);
  view.setUint32(12, directory.length, true);
  view.setUint32(16, xxh32(directory), true);
  view.setUint32(20, xxh32(header.slice(0, 20)), true);
  return joined([header, directory, bodies]);
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

const nested = (depth: number): PlainValue => {
  let value: PlainValue = 0;
  for (let level = 0; level < depth; level++) value = [value];
  return value;
};

const isRecord = (value: PlainValue): value is PlainRecord =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

const describe = (value: PlainValue): string => {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === "number") return String(value);
  return (JSON.stringify(value) ?? "nothing").slice(0, 60);
};
