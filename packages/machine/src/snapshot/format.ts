/**
 * The snapshot file: a header, a directory (`directory.ts`), and the sections that it names, one after another.
 *
 * Opening a snapshot verifies every byte of it, so a file that was cut off or altered is refused, with the name of the
 * section, before anything is restored.
 *
 * Checksums guard against accidents only. A crafted file has them right, so whoever reads a section says how long it may
 * be, and nothing is decompressed or decoded beyond that.
 */
import { xxh32 } from "@hyperfile/jit/memory";
import { frameContentSize, type SnapshotCodec } from "./codec.js";
import {
  type DirectoryEntry,
  directoryLength,
  encodeDirectory,
  HEADER_BYTES,
  isRecord,
  readValue,
  type SectionPlace,
  SNAPSHOT_VERSION,
  sectionPlaces,
} from "./directory.js";
import { damaged } from "./errors.js";
import { DEFAULT_LIMITS, type PlainRecord, type ValueLimits } from "./values.js";

/** Sections below this many bytes are not worth compressing. */
const COMPRESS_FROM = 256;

/** A named piece of a snapshot. */
export interface SnapshotSection {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The bytes of a snapshot, in pieces to be written one after another. Sections are asked for one at a time. */
export function encodeSections(
  sections: Iterable<SnapshotSection>,
  codec: SnapshotCodec,
  version = SNAPSHOT_VERSION,
): Uint8Array[] {
  const bodies: Uint8Array[] = [];
  const entries: DirectoryEntry[] = [];
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
  return [...encodeDirectory(entries, version), ...bodies];
}

/** A snapshot whose checksums all hold. */
export class SnapshotFile {
  private readonly bytes: Uint8Array;
  private readonly places = new Map<string, SectionPlace>();

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
    const header = bytes.subarray(0, HEADER_BYTES);
    const directory = bytes.subarray(HEADER_BYTES, HEADER_BYTES + directoryLength(header, bytes.length));
    for (const place of sectionPlaces(header, directory, bytes.length)) {
      if (xxh32(bytes.subarray(place.at, place.at + place.stored)) !== place.sum)
        throw damaged(place.name, "was altered");
      this.places.set(place.name, place);
    }
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
    const value = readValue(name, this.section(name, limits.bytes), limits);
    if (!isRecord(value)) throw damaged(name, "holds no record");
    return value;
  }
}
