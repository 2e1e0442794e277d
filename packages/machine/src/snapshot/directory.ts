/**
 * The beginning of a snapshot file, which says what else is in it:
 *
 *   0  "HYPERSNP"   8  format version   12  bytes of the directory   16  XXH32 of it   20  XXH32 of bytes 0 to 19
 *   24 directory: a list of records {name, codec, stored, length, sum}, as `values.ts` encodes them
 *   .. the sections in that order: `stored` bytes each, XXH32 `sum`, which decompress to `length`
 *
 * All integers are little-endian. The first 24 bytes keep their meaning in all versions: a file of another version is told
 * from a damaged one.
 *
 * Both are checked against the file's length before anything of the sections is read, so that whoever reads a file learns
 * from few bytes whether the rest is worth its memory.
 */
import { xxh32 } from "@hyperfile/jit/memory";
import { damaged, SnapshotError } from "./errors.js";
import { decodeValue, encodeValue, type PlainRecord, type PlainValue, type ValueLimits } from "./values.js";

/** Version of the format; one that means something else gets another number. */
export const SNAPSHOT_VERSION = 1;

/** Bytes of the header. */
export const HEADER_BYTES = 24;

const MAGIC = new TextEncoder().encode("HYPERSNP");
/** Longest section that any reader may ask for. */
const MAXIMUM_SECTION = 0x10000000;
/** Names of sections, which stand in messages. */
const NAME = /^[\w./:-]{1,64}$/;
/** Largest directory that is read: that of 8 GiB of memory, none of it empty. */
export const DIRECTORY_LIMITS: ValueLimits = { bytes: 0x1000000, values: 0x100000 };

/** What the directory says of a section. */
export interface DirectoryEntry {
  readonly name: string;
  readonly codec: "none" | "zstd";
  /** Bytes in the file, and of the content. */
  readonly stored: number;
  readonly length: number;
  /** XXH32 of the bytes in the file. */
  readonly sum: number;
}

/** A section with its place in the file. */
export interface SectionPlace extends DirectoryEntry {
  readonly at: number;
}

/** The header and the directory of sections. */
export function encodeDirectory(
  entries: readonly DirectoryEntry[],
  version: number,
): [header: Uint8Array, directory: Uint8Array] {
  const directory = encodeValue(entries.map((entry) => ({ ...entry })));
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  header.set(MAGIC);
  view.setUint32(8, version, true);
  view.setUint32(12, directory.length, true);
  view.setUint32(16, xxh32(directory), true);
  view.setUint32(20, xxh32(header.slice(0, 20)), true);
  return [header, directory];
}

/**
 * Bytes of the directory, of which there are no more than may be read.
 * @param header the first bytes of the file, as many as the header has, or all that there are
 * @param fileBytes of the whole file
 * @throws SnapshotError `E_SNAPSHOT_FORMAT`, `E_SNAPSHOT_VERSION` or `E_SNAPSHOT_DAMAGED`
 */
export function directoryLength(header: Uint8Array, fileBytes: number): number {
  if (header.length < MAGIC.length || MAGIC.some((byte, index) => header[index] !== byte)) {
    throw new SnapshotError("E_SNAPSHOT_FORMAT", "this is not a snapshot: it does not begin with HYPERSNP");
  }
  if (header.length < HEADER_BYTES) throw damaged("header", "is cut off");
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  if (view.getUint32(20, true) !== xxh32(header.slice(0, 20))) throw damaged("header", "was altered");
  const version = view.getUint32(8, true);
  if (version !== SNAPSHOT_VERSION) {
    throw new SnapshotError(
      "E_SNAPSHOT_VERSION",
      `the snapshot has format version ${version}, this program reads ${SNAPSHOT_VERSION}: restore it with the version that took it`,
    );
  }
  const length = view.getUint32(12, true);
  if (HEADER_BYTES + length > fileBytes) throw damaged("directory", "is cut off");
  if (length > DIRECTORY_LIMITS.bytes)
    throw damaged(
      "directory",
      `has ${length} bytes, more than the ${DIRECTORY_LIMITS.bytes} that it can have`,
    );
  return length;
}

/**
 * The sections, which fill the file to its end.
 * @param fileBytes of the whole file
 * @throws SnapshotError `E_SNAPSHOT_DAMAGED`, by the name of the first section that can't be there
 */
export function sectionPlaces(header: Uint8Array, directory: Uint8Array, fileBytes: number): SectionPlace[] {
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  if (xxh32(directory) !== view.getUint32(16, true)) throw damaged("directory", "was altered");
  let end = HEADER_BYTES + directory.length;
  const places = entriesOf(directory).map((entry) => {
    const at = end;
    if (at + entry.stored > fileBytes) throw damaged(entry.name, "is cut off");
    end = at + entry.stored;
    return { ...entry, at };
  });
  if (end !== fileBytes) throw damaged("end", `has ${fileBytes - end} bytes after it`);
  return places;
}

function entriesOf(directory: Uint8Array): readonly DirectoryEntry[] {
  const value = readValue("directory", directory, DIRECTORY_LIMITS);
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

/** The value that a section holds. @throws SnapshotError `E_SNAPSHOT_DAMAGED` */
export function readValue(name: string, bytes: Uint8Array, limits: ValueLimits): PlainValue {
  try {
    return decodeValue(bytes, limits);
  } catch (cause) {
    throw damaged(name, "can't be read", cause);
  }
}

/** Whether a value is a record. */
export const isRecord = (value: PlainValue): value is PlainRecord =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
