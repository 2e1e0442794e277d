/**
 * The snapshot file: a header, a directory, and the sections that it names, one after another.
 *
 *   0  "HYPERSNP"   8  format version   12  bytes of the directory   16  XXH32 of it   20  XXH32 of bytes 0 to 19
 *   24 directory: a list of records {name, codec, stored, length, sum}, as `values.ts` encodes them
 *   .. the sections in that order: `stored` bytes each, XXH32 `sum`, which decompress to `length`
 *
 * All integers are little-endian. Opening a snapshot verifies every byte of it, so a file that was cut off or
 * altered is refused, with the name of the section, before anything is restored. The first 24 bytes keep their
 * meaning in all versions: a file of another version is told from a damaged one.
 *
 * Checksums guard against accidents only. A crafted file has them right, so whoever reads a section says how long it may
 * be, and nothing is decompressed or decoded beyond that.
 */
import { xxh32 } from "@hyperfile/jit/memory";
import { frameContentSize, type SnapshotCodec } from "./codec.js";
import { damaged, SnapshotError } from "./errors.js";
import {
  DEFAULT_LIMITS,
  decodeValue,
  encodeValue,
  type PlainRecord,
  type PlainValue,
  type ValueLimits,
} from "./values.js";

/** Version of the format; one that means something else gets another number. */
export const SNAPSHOT_VERSION = 1;

const MAGIC = new TextEncoder().encode("HYPERSNP");
const HEADER_BYTES = 24;
/** Sections below this many bytes are not worth compressing. */
const COMPRESS_FROM = 256;
/** Longest section that any reader may ask for. */
const MAXIMUM_SECTION = 0x10000000;
/** Names of sections, which stand in messages. */
const NAME = /^[\w./:-]{1,64}$/;
/** Largest directory that is read: that of 8 GiB of memory, none of it empty. */
const DIRECTORY_LIMITS: ValueLimits = { bytes: 0x1000000, values: 0x100000 };

/** A named piece of a snapshot. */
export interface SnapshotSection {
  readonly name: string;
  readonly bytes: Uint8Array;
}

interface DirectoryEntry {
  readonly name: string;
  readonly codec: "none" | "zstd";
  readonly stored: number;
  readonly length: number;
  readonly sum: number;
}

/** The bytes of a snapshot, in pieces to be written one after another. Sections are asked for one at a time. */
export function encodeSections(
  sections: Iterable<SnapshotSection>,
  codec: SnapshotCodec,
  version = SNAPSHOT_VERSION,
): Uint8Array[] {
  const bodies: Uint8Array[] = [];
  const entries: PlainRecord[] = [];
  for (const { name, bytes } of sections) {
    const packed = bytes.length < COMPRESS_FROM ? bytes : codec.compress(bytes);
    const smaller = packed.length < bytes.length;
    const stored = smaller ? packed : bytes;
    entries.push({
      name,
      codec: smaller ? "zstd" : "none",
      stored: stored.length,
      length: bytes.length,
      sum: xxh32(stored),
    });
    bodies.push(stored);
  }
  const directory = encodeValue(entries);
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  header.set(MAGIC);
  view.setUint32(8, version, true);
  view.setUint32(12, directory.length, true);
  view.setUint32(16, xxh32(directory), true);
  view.setUint32(20, xxh32(header.slice(0, 20)), true);
  return [header, directory, ...bodies];
}

/** A snapshot whose checksums all hold. */
export class SnapshotFile {
  private readonly bytes: Uint8Array;
  private readonly places = new Map<string, DirectoryEntry & { readonly at: number }>();

  /**
   * @throws SnapshotError `E_SNAPSHOT_FORMAT`, `E_SNAPSHOT_VERSION` or `E_SNAPSHOT_DAMAGED`
   */
  constructor(
    file: Uint8Array,
    private readonly codec: SnapshotCodec,
  ) {
    // A plain view: slices of Node's buffers are no copies.
    this.bytes = new Uint8Array(file.buffer, file.byteOffset, file.length);
    const { bytes } = this;
    const directory = this.directory();
    let at = HEADER_BYTES + directory.length;
    for (const entry of entriesOf(directory)) {
      if (at + entry.stored > bytes.length) throw damaged(entry.name, "is cut off");
      if (xxh32(bytes.subarray(at, at + entry.stored)) !== entry.sum)
        throw damaged(entry.name, "was altered");
      this.places.set(entry.name, { ...entry, at });
      at += entry.stored;
    }
    if (at !== bytes.length) throw damaged("end", `has ${bytes.length - at} bytes after it`);
  }

  /** Names of all sections, in order. */
  get names(): readonly string[] {
    return [...this.places.keys()];
  }

  /** Whether there is a section of this name. */
  has(name: string): boolean {
    return this.places.has(name);
  }

  /**
   * Bytes of a section's content, without reading it.
   * @throws SnapshotError `E_SNAPSHOT_DAMAGED` if it is missing, or can't have that length
   */
  lengthOf(name: string): number {
    const place = this.places.get(name);
    if (place === undefined) throw damaged(name, "is missing");
    const { codec, length, at, stored } = place;
    if (codec === "zstd" && frameContentSize(this.bytes.subarray(at, at + stored)) !== length)
      throw damaged(name, "has another length");
    return length;
  }

  /**
   * The content of a section of at most `most` bytes.
   * @throws SnapshotError `E_SNAPSHOT_DAMAGED` if it is missing, longer, or is not what its entry says
   */
  section(name: string, most: number): Uint8Array {
    const place = this.places.get(name);
    if (place === undefined) throw damaged(name, "is missing");
    if (place.length > most)
      throw damaged(name, `has ${place.length} bytes, more than the ${most} that it can have`);
    const stored = this.bytes.subarray(place.at, place.at + place.stored);
    if (place.codec === "none") return stored;
    try {
      return this.codec.decompress(stored, place.length);
    } catch (cause) {
      throw damaged(name, "can't be decompressed", cause);
    }
  }

  /**
   * The record that a section holds.
   * @throws SnapshotError `E_SNAPSHOT_DAMAGED` if it holds none, or a larger one than `limits` allow
   */
  record(name: string, limits: ValueLimits = DEFAULT_LIMITS): PlainRecord {
    const value = read(name, this.section(name, limits.bytes), limits);
    if (!isRecord(value)) throw damaged(name, "holds no record");
    return value;
  }

  private directory(): Uint8Array {
    const { bytes } = this;
    if (bytes.length < MAGIC.length || MAGIC.some((byte, index) => bytes[index] !== byte)) {
      throw new SnapshotError("E_SNAPSHOT_FORMAT", "this is not a snapshot: it does not begin with HYPERSNP");
    }
    if (bytes.length < HEADER_BYTES) throw damaged("header", "is cut off");
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (view.getUint32(20, true) !== xxh32(bytes.slice(0, 20))) throw damaged("header", "was altered");
    const version = view.getUint32(8, true);
    if (version !== SNAPSHOT_VERSION) {
      throw new SnapshotError(
        "E_SNAPSHOT_VERSION",
        `the snapshot has format version ${version}, this program reads ${SNAPSHOT_VERSION}: restore it with the version that took it`,
      );
    }
    const end = HEADER_BYTES + view.getUint32(12, true);
    if (end > bytes.length) throw damaged("directory", "is cut off");
    const directory = bytes.subarray(HEADER_BYTES, end);
    if (xxh32(directory) !== view.getUint32(16, true)) throw damaged("directory", "was altered");
    return directory;
  }
}

function entriesOf(directory: Uint8Array): readonly DirectoryEntry[] {
  const value = read("directory", directory, DIRECTORY_LIMITS);
  if (!Array.isArray(value)) throw damaged("directory", "holds no list");
  const names = new Set<string>();
  return value.map((entry: PlainValue) => {
    if (!isRecord(entry)) throw damaged("directory", "holds something else than sections");
    const { name, codec, stored, length, sum } = entry;
    const count = (number: PlainValue | undefined): number => {
      if (typeof number === "number" && Number.isInteger(number) && number >= 0) return number;
      throw damaged("directory", "has an impossible length");
    };
    if (
      typeof name !== "string" ||
      !NAME.test(name) ||
      names.has(name) ||
      (codec !== "none" && codec !== "zstd")
    ) {
      throw damaged("directory", "has an impossible entry");
    }
    names.add(name);
    const found = { name, codec, stored: count(stored), length: count(length), sum: count(sum) } as const;
    if (found.length > MAXIMUM_SECTION || (codec === "none" && found.length !== found.stored))
      throw damaged("directory", "has an impossible length");
    return found;
  });
}

function read(name: string, bytes: Uint8Array, limits: ValueLimits): PlainValue {
  try {
    return decodeValue(bytes, limits);
  } catch (cause) {
    throw damaged(name, "can't be read", cause);
  }
}

const isRecord = (value: PlainValue): value is PlainRecord =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
