/**
 * The qcow2 header (QEMU, docs/interop/qcow2.rst, "Header"), read with every field checked, and written. Numbers are
 * big-endian. Offsets above 2^53 are beyond every file and are refused as such.
 */
import type { CompressionType } from "../cluster-codec.js";
import { beyondLimit, DiskError, damagedImage, hex } from "../errors.js";

/** "QFI\xfb". */
export const MAGIC = 0x514649fb;
/** Bytes of a version 2 header, the least of a version 3 one, and what is written of it. */
export const [HEADER2_BYTES, HEADER3_BYTES, HEADER_BYTES] = [72, 104, 112];
/** Offsets of fields that change while an image is open. */
export const FIELD = {
  backing: 8,
  size: 24,
  l1: 36,
  refcountTable: 48,
  snapshots: 60,
  incompatible: 72,
  autoclear: 88,
} as const;
/** Bits of incompatible_features. */
export const INCOMPATIBLE = { dirty: 1, corrupt: 2, dataFile: 4, compression: 8, extendedL2: 16 } as const;
/** Bit of autoclear_features that says that bitmaps are consistent. */
export const AUTOCLEAR_BITMAPS = 1;
/** Bit of compatible_features that lets refcounts be written late. */
export const LAZY_REFCOUNTS = 1;
/** Types of header extensions. */
export const EXTENSION = {
  end: 0,
  backingFormat: 0xe2792aca,
  features: 0x6803f857,
  bitmaps: 0x23852875,
  dataFile: 0x44415441,
} as const;
/** Most bytes of an L1 table and of a refcount table, as QEMU has it. */
export const [L1_LIMIT, REFCOUNT_TABLE_LIMIT] = [32 << 20, 8 << 20];
/** Most snapshots of an image, and bytes of a snapshot's extra data. */
export const [SNAPSHOTS_LIMIT, SNAPSHOT_EXTRA_LIMIT] = [65536, 1024];
const BACKING_NAME_LIMIT = 1023;
const [LEAST_CLUSTER_BITS, MOST_CLUSTER_BITS] = [9, 21];

/** A header extension as it stands in the file. */
export interface HeaderExtension {
  readonly type: number;
  readonly data: Uint8Array;
}

/** What a header says. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  /** Bytes of the disk. */
  size: number;
  l1Entries: number;
  l1Offset: number;
  refcountTableOffset: number;
  refcountTableClusters: number;
  snapshotCount: number;
  snapshotsOffset: number;
  incompatible: number;
  readonly isLazy: boolean;
  /** The low and the high half of autoclear_features. */
  autoclear: readonly [low: number, high: number];
  readonly refcountOrder: number;
  readonly headerLength: number;
  readonly compression: CompressionType;
  backingFile: string | undefined;
  backingFormat: string | undefined;
  extensions: readonly HeaderExtension[];
}

/** Big-endian 64 bits as a number; above 2^53 it is not exact, but too large all the same. */
export const readU64 = (view: DataView, at: number): number =>
  view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);

/** Writes a number of at most 53 bits as big-endian 64. */
export function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 2 ** 32));
  view.setUint32(at + 4, value >>> 0);
}

/** A view of bytes. */
export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/** `value` rounded up to a multiple of `unit`. */
export const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

const text = new TextDecoder();

/** The first cluster's use of a feature bit, from the image's own table of names, or a plain number. */
function featureName(extensions: readonly HeaderExtension[], bit: number): string {
  const table = extensions.find(({ type }) => type === EXTENSION.features)?.data ?? new Uint8Array();
  for (let at = 0; at + 48 <= table.length; at += 48) {
    if (table[at] !== 0 || table[at + 1] !== bit) continue;
    const name = text.decode(table.subarray(at + 2, at + 48)).replace(/\0.*$/s, "");
    return `"${name.replace(/[^ -~]/g, "?")}" (bit ${bit})`;
  }
  return `bit ${bit}`;
}

/**
 * Reads a header.
 * @param image what messages call the image
 * @param bytes the file's first bytes: its first cluster, or all of it if it is shorter
 * @param fileSize bytes of the file
 * @throws DiskError `E_IMAGE_FORMAT`, `E_IMAGE_UNSUPPORTED`, `E_IMAGE_DAMAGED` or `E_IMAGE_LIMIT`
 */
export function parseHeader(image: string, bytes: Uint8Array, fileSize: number): Qcow2Header {
  const view = viewOf(bytes);
  if (bytes.length < HEADER2_BYTES || view.getUint32(0) !== MAGIC) {
    throw new DiskError("E_IMAGE_FORMAT", `${image}: not a qcow2 image; name its format if it has another`);
  }
  const refuse = (field: string, at: number, how: string) =>
    damagedImage(image, `the header's ${field}`, at, how);
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) {
    throw new DiskError(
      "E_IMAGE_UNSUPPORTED",
      `${image}: qcow2 version ${version}, of which only 2 and 3 are read`,
    );
  }
  const clusterBits = view.getUint32(20);
  if (clusterBits < LEAST_CLUSTER_BITS || clusterBits > MOST_CLUSTER_BITS) {
    throw refuse("cluster_bits", 20, `is ${clusterBits}, not ${LEAST_CLUSTER_BITS} to ${MOST_CLUSTER_BITS}`);
  }
  const clusterBytes = 2 ** clusterBits;
  if (version === 3 && bytes.length < HEADER3_BYTES)
    throw refuse("end", bytes.length, "is missing: the file is cut off");
  const headerLength = version === 2 ? HEADER2_BYTES : view.getUint32(100);
  if (version === 3 && (headerLength < HEADER3_BYTES || headerLength > clusterBytes)) {
    throw refuse("header_length", 100, `is ${headerLength}, not ${HEADER3_BYTES} to ${clusterBytes}`);
  }
  const backingOffset = readU64(view, FIELD.backing);
  const backingLength = view.getUint32(16);
  const extensionsEnd = backingOffset > 0 && backingOffset < clusterBytes ? backingOffset : clusterBytes;
  const extensions = parseExtensions(image, bytes, headerLength, extensionsEnd);

  const features =
    version === 2 ? [0, 0] : [view.getUint32(FIELD.incompatible + 4), view.getUint32(FIELD.incompatible)];
  checkFeatures(image, features as [number, number], extensions);
  const incompatible = features[0]!;
  const crypt = view.getUint32(32);
  if (crypt !== 0) {
    const method = ["", "AES", "LUKS"][crypt] ?? `method ${crypt}`;
    throw new DiskError("E_IMAGE_UNSUPPORTED", `${image}: encrypted with ${method}, which is not supported`);
  }
  const refcountOrder = version === 2 ? 4 : view.getUint32(96);
  if (refcountOrder > 6) throw refuse("refcount_order", 96, `is ${refcountOrder}, and at most 6 is allowed`);
  const type =
    headerLength > HEADER3_BYTES && bytes.length > HEADER3_BYTES ? view.getUint8(HEADER3_BYTES) : 0;
  if (type > 1)
    throw new DiskError("E_IMAGE_UNSUPPORTED", `${image}: compression type ${type} is not supported`);
  if ((type !== 0) !== ((incompatible & INCOMPATIBLE.compression) !== 0)) {
    throw refuse("compression_type", HEADER3_BYTES, `is ${type}, which its incompatible_features contradict`);
  }

  const header: Qcow2Header = {
    version,
    clusterBits,
    size: readU64(view, FIELD.size),
    l1Entries: view.getUint32(FIELD.l1),
    l1Offset: readU64(view, FIELD.l1 + 4),
    refcountTableOffset: readU64(view, FIELD.refcountTable),
    refcountTableClusters: view.getUint32(FIELD.refcountTable + 8),
    snapshotCount: view.getUint32(FIELD.snapshots),
    snapshotsOffset: readU64(view, FIELD.snapshots + 4),
    incompatible,
    isLazy: version === 3 && (view.getUint32(84) & LAZY_REFCOUNTS) !== 0,
    autoclear:
      version === 2 ? [0, 0] : [view.getUint32(FIELD.autoclear + 4), view.getUint32(FIELD.autoclear)],
    refcountOrder,
    headerLength,
    compression: type === 1 ? "zstd" : "zlib",
    backingFile: undefined,
    backingFormat: stringOf(extensions, EXTENSION.backingFormat),
    extensions: extensions.filter((each) => each.type !== EXTENSION.backingFormat),
  };
  if (backingOffset !== 0) {
    if (backingLength > BACKING_NAME_LIMIT) {
      throw refuse(
        "backing_file_size",
        16,
        `is ${backingLength}, and at most ${BACKING_NAME_LIMIT} is allowed`,
      );
    }
    if (
      backingOffset < headerLength ||
      backingOffset + backingLength > Math.min(clusterBytes, bytes.length)
    ) {
      throw refuse(
        "backing_file_offset",
        FIELD.backing,
        `is ${hex(backingOffset)}: the name does not lie in the first cluster`,
      );
    }
    header.backingFile = text.decode(bytes.subarray(backingOffset, backingOffset + backingLength));
    if (header.backingFile.includes("\0"))
      throw refuse("backing file name", backingOffset, "has a zero byte");
  }
  checkTables(image, header, clusterBytes, fileSize);
  return header;
}

/** Unknown features, and known ones that are not supported, are refused by name. */
function checkFeatures(
  image: string,
  [low, high]: [number, number],
  extensions: readonly HeaderExtension[],
): void {
  const unsupported = (what: string) =>
    new DiskError("E_IMAGE_UNSUPPORTED", `${image}: the image needs ${what}, which is not supported`);
  if ((low & INCOMPATIBLE.dataFile) !== 0) throw unsupported("an external data file");
  if ((low & INCOMPATIBLE.extendedL2) !== 0) throw unsupported("extended L2 entries (subclusters)");
  for (let bit = 5; bit < 64; bit++) {
    if ((((bit < 32 ? low : high) >>> (bit % 32)) & 1) === 1) {
      throw unsupported(`the incompatible feature ${featureName(extensions, bit)}`);
    }
  }
  if (extensions.some(({ type }) => type === EXTENSION.dataFile)) throw unsupported("an external data file");
}

function stringOf(extensions: readonly HeaderExtension[], type: number): string | undefined {
  const found = extensions.find((each) => each.type === type);
  return found === undefined ? undefined : text.decode(found.data).replace(/\0+$/, "");
}

function parseExtensions(image: string, bytes: Uint8Array, start: number, end: number): HeaderExtension[] {
  const view = viewOf(bytes);
  const extensions: HeaderExtension[] = [];
  for (let at = start; at + 8 <= Math.min(end, bytes.length); ) {
    const type = view.getUint32(at);
    if (type === EXTENSION.end) break;
    const length = view.getUint32(at + 4);
    if (length > end - at - 8 || at + 8 + length > bytes.length) {
      throw damagedImage(
        image,
        `the header extension ${hex(type)}`,
        at,
        `has ${length} bytes, more than there is room for`,
      );
    }
    extensions.push({ type, data: bytes.slice(at + 8, at + 8 + length) });
    at += 8 + roundUp(length, 8);
  }
  return extensions;
}

/** Places and sizes of the tables that the header points to. */
function checkTables(image: string, header: Qcow2Header, clusterBytes: number, fileSize: number): void {
  const end = roundUp(fileSize, clusterBytes);
  const check = (structure: string, at: number, offset: number, length: number, limit: number) => {
    const named = `the header's ${structure}`;
    if (length > limit) {
      throw beyondLimit(image, named, at, `would have ${length} bytes, and at most ${limit} are allowed`);
    }
    if (length === 0) return;
    if (offset % clusterBytes !== 0)
      throw damagedImage(image, named, at, `is at ${hex(offset)}, which is no start of a cluster`);
    if (offset < clusterBytes)
      throw damagedImage(image, named, at, `is at ${hex(offset)}, where the header is`);
    if (offset + length > end) {
      throw damagedImage(image, named, at, `is ${length} bytes at ${hex(offset)}, behind the file's end`);
    }
  };
  const { size } = header;
  if (size >= 2 ** 53) throw damagedImage(image, "the header's size", FIELD.size, "is larger than any disk");
  check("L1 table", FIELD.l1, header.l1Offset, header.l1Entries * 8, L1_LIMIT);
  const covered = (clusterBytes / 8) * clusterBytes;
  if (header.l1Entries < Math.ceil(size / covered)) {
    throw damagedImage(
      image,
      "the header's L1 table",
      FIELD.l1,
      `has ${header.l1Entries} entries, too few for a disk of ${size} bytes`,
    );
  }
  check(
    "refcount table",
    FIELD.refcountTable,
    header.refcountTableOffset,
    header.refcountTableClusters * clusterBytes,
    REFCOUNT_TABLE_LIMIT,
  );
  if (header.refcountTableClusters === 0) {
    throw damagedImage(image, "the header's refcount table", FIELD.refcountTable, "has no clusters");
  }
  if (header.snapshotCount > SNAPSHOTS_LIMIT) {
    throw beyondLimit(
      image,
      "the header's nb_snapshots",
      FIELD.snapshots,
      `is ${header.snapshotCount}, and at most ${SNAPSHOTS_LIMIT} are allowed`,
    );
  }
  check("snapshot table", FIELD.snapshots + 4, header.snapshotsOffset, header.snapshotCount * 40, Infinity);
  const regions = [
    { name: "L1 table", at: FIELD.l1, offset: header.l1Offset, length: header.l1Entries * 8 },
    {
      name: "refcount table",
      at: FIELD.refcountTable,
      offset: header.refcountTableOffset,
      length: header.refcountTableClusters * clusterBytes,
    },
    {
      name: "snapshot table",
      at: FIELD.snapshots,
      offset: header.snapshotsOffset,
      length: header.snapshotCount * 40,
    },
  ].filter(({ length }) => length > 0);
  for (const [index, one] of regions.entries()) {
    for (const other of regions.slice(index + 1)) {
      const apart =
        roundUp(one.offset + one.length, clusterBytes) <= other.offset ||
        roundUp(other.offset + other.length, clusterBytes) <= one.offset;
      if (!apart)
        throw damagedImage(image, `the header's ${other.name}`, other.at, `overlaps the ${one.name}`);
    }
  }
}

/**
 * The first cluster of an image with this header: fields, extensions and backing name.
 * @param previous the first cluster as it was, whose unknown fields are kept
 * @throws DiskError `E_IMAGE_FORMAT` if it does not fit
 */
export function encodeHeader(image: string, header: Qcow2Header, previous?: Uint8Array): Uint8Array {
  const clusterBytes = 2 ** header.clusterBits;
  const bytes = new Uint8Array(clusterBytes);
  const view = viewOf(bytes);
  if (previous !== undefined) bytes.set(previous.subarray(0, header.headerLength));
  view.setUint32(0, MAGIC);
  view.setUint32(4, header.version);
  view.setUint32(20, header.clusterBits);
  writeU64(view, FIELD.size, header.size);
  view.setUint32(FIELD.l1, header.l1Entries);
  writeU64(view, FIELD.l1 + 4, header.l1Offset);
  writeU64(view, FIELD.refcountTable, header.refcountTableOffset);
  view.setUint32(FIELD.refcountTable + 8, header.refcountTableClusters);
  view.setUint32(FIELD.snapshots, header.snapshotCount);
  writeU64(view, FIELD.snapshots + 4, header.snapshotsOffset);
  if (header.version === 3) {
    view.setUint32(FIELD.incompatible + 4, header.incompatible);
    view.setUint32(
      84,
      ((previous ? view.getUint32(84) : 0) & ~LAZY_REFCOUNTS) | (header.isLazy ? LAZY_REFCOUNTS : 0),
    );
    view.setUint32(FIELD.autoclear, header.autoclear[1]);
    view.setUint32(FIELD.autoclear + 4, header.autoclear[0]);
    view.setUint32(96, header.refcountOrder);
    view.setUint32(100, header.headerLength);
    if (header.headerLength > HEADER3_BYTES)
      view.setUint8(HEADER3_BYTES, header.compression === "zstd" ? 1 : 0);
  }
  const encoder = new TextEncoder();
  const name = encoder.encode(header.backingFile ?? "");
  const extensions = [...header.extensions];
  if (header.backingFormat !== undefined) {
    extensions.unshift({ type: EXTENSION.backingFormat, data: encoder.encode(header.backingFormat) });
  }
  const room = extensions.reduce(
    (sum, { data }) => sum + 8 + roundUp(data.length, 8),
    header.headerLength + 8,
  );
  if (name.length > BACKING_NAME_LIMIT || room + name.length > clusterBytes) {
    throw new DiskError(
      "E_IMAGE_FORMAT",
      `${image}: the name of the backing file is too long for clusters of ${clusterBytes} bytes`,
    );
  }
  let at = header.headerLength;
  for (const { type, data } of extensions) {
    view.setUint32(at, type);
    view.setUint32(at + 4, data.length);
    bytes.set(data, at + 8);
    at += 8 + roundUp(data.length, 8);
  }
  at += 8;
  writeU64(view, FIELD.backing, name.length > 0 ? at : 0);
  view.setUint32(16, name.length);
  bytes.set(name, at);
  return bytes;
}
