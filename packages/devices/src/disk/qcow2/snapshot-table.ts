/** The directory of internal snapshots (QEMU, docs/interop/qcow2.rst, "Snapshots"). */
import { beyondLimit, damagedImage, hex } from "../errors.js";
import type { ImageFile } from "../image-file.js";
import {
  L1_LIMIT,
  type Qcow2Header,
  readU64,
  roundUp,
  SNAPSHOT_EXTRA_LIMIT,
  viewOf,
  writeU64,
} from "./format.js";

/** An internal snapshot, as its entry in the snapshot table has it. */
export interface Snapshot {
  /** What it can be named by beside its name: a number, in images of QEMU's and ours. */
  readonly id: string;
  readonly name: string;
  /** When it was made, in seconds since 1970. */
  readonly seconds: number;
  /** Bytes of a machine's state that it has beside the disk. */
  readonly stateBytes: number;
  /** Bytes of the disk; undefined where the entry does not say. */
  readonly size: number | undefined;
  readonly l1Offset: number;
  readonly l1Entries: number;
  /** Bytes of its entry, padding included. */
  readonly entryBytes: number;
  /** The entry itself. */
  readonly entry: Uint8Array;
}

/** What a new entry says. */
export interface NewSnapshot {
  readonly id: string;
  readonly name: string;
  readonly seconds: number;
  readonly size: number;
  readonly l1Offset: number;
  readonly l1Entries: number;
}

/** Bytes of an entry without its variable parts, and of the extra data of new ones: state, disk, instructions. */
const [ENTRY_BYTES, EXTRA_BYTES] = [40, 24];
/** Bytes that are read of the table in one step. */
const STEP = 1 << 16;
/** Bytes of a table, at most, and entries of L1 tables in all snapshots together. */
const [TABLE_LIMIT, ALL_L1_LIMIT] = [64 << 20, 1 << 26];

/** Reads the snapshot table. @throws DiskError `E_IMAGE_DAMAGED` or `E_IMAGE_LIMIT` */
export async function readSnapshots(file: ImageFile, header: Qcow2Header): Promise<Snapshot[]> {
  const snapshots: Snapshot[] = [];
  const clusterBytes = 2 ** header.clusterBits;
  const end = roundUp(file.size, clusterBytes);
  let at = header.snapshotsOffset;
  let entries = 0;
  let buffer = new Uint8Array();
  let bufferAt = 0;
  /** Bytes of the table from `at`. */
  const bytesAt = async (length: number, structure: string): Promise<Uint8Array> => {
    if (at + length > end) throw damagedImage(file.name, structure, at, "reaches behind the file's end");
    if (at + length - header.snapshotsOffset > TABLE_LIMIT) {
      throw beyondLimit(
        file.name,
        structure,
        at,
        `makes the snapshot table larger than ${TABLE_LIMIT} bytes`,
      );
    }
    if (at < bufferAt || at + length > bufferAt + buffer.length) {
      buffer = new Uint8Array(Math.max(STEP, length));
      bufferAt = at;
      await file.read(at, [buffer]);
    }
    return buffer.subarray(at - bufferAt, at - bufferAt + length);
  };
  for (let index = 0; index < header.snapshotCount; index++) {
    const structure = `snapshot ${index}`;
    const view = viewOf(await bytesAt(ENTRY_BYTES, structure));
    const [idLength, nameLength, extra] = [view.getUint16(12), view.getUint16(14), view.getUint32(36)];
    if (extra > SNAPSHOT_EXTRA_LIMIT) {
      throw beyondLimit(
        file.name,
        structure,
        at,
        `has ${extra} bytes of extra data, and at most ${SNAPSHOT_EXTRA_LIMIT} are allowed`,
      );
    }
    const entryBytes = roundUp(ENTRY_BYTES + extra + idLength + nameLength, 8);
    const entry = (await bytesAt(entryBytes, structure)).slice();
    const snapshot = parseEntry(entry);
    checkL1(file.name, structure, at, snapshot, clusterBytes, end);
    entries += snapshot.l1Entries;
    if (entries > ALL_L1_LIMIT) {
      throw beyondLimit(file.name, structure, at, `makes more than ${ALL_L1_LIMIT} L1 entries in snapshots`);
    }
    snapshots.push(snapshot);
    at += entryBytes;
  }
  return snapshots;
}

/** What an entry says that is there as a whole. */
function parseEntry(entry: Uint8Array): Snapshot {
  const view = viewOf(entry);
  const [idLength, nameLength, extra] = [view.getUint16(12), view.getUint16(14), view.getUint32(36)];
  const idAt = ENTRY_BYTES + extra;
  const text = (at: number, length: number) => new TextDecoder().decode(entry.subarray(at, at + length));
  return {
    id: text(idAt, idLength),
    name: text(idAt + idLength, nameLength),
    seconds: view.getUint32(16),
    stateBytes: extra >= 8 ? readU64(view, ENTRY_BYTES) : view.getUint32(32),
    size: extra >= 16 ? readU64(view, ENTRY_BYTES + 8) : undefined,
    l1Offset: readU64(view, 0),
    l1Entries: view.getUint32(8),
    entryBytes: entry.length,
    entry,
  };
}

/** The entry of a new snapshot. */
export function encodeSnapshot({ id, name, seconds, size, l1Offset, l1Entries }: NewSnapshot): Uint8Array {
  const [idBytes, nameBytes] = [new TextEncoder().encode(id), new TextEncoder().encode(name)];
  const idAt = ENTRY_BYTES + EXTRA_BYTES;
  const entry = new Uint8Array(roundUp(idAt + idBytes.length + nameBytes.length, 8));
  const view = viewOf(entry);
  writeU64(view, 0, l1Offset);
  view.setUint32(8, l1Entries);
  view.setUint16(12, idBytes.length);
  view.setUint16(14, nameBytes.length);
  view.setUint32(16, seconds);
  view.setUint32(36, EXTRA_BYTES);
  writeU64(view, ENTRY_BYTES + 8, size);
  // There is no count of instructions.
  entry.fill(0xff, ENTRY_BYTES + 16, ENTRY_BYTES + EXTRA_BYTES);
  entry.set(idBytes, idAt);
  entry.set(nameBytes, idAt + idBytes.length);
  return entry;
}

function checkL1(
  image: string,
  structure: string,
  at: number,
  snapshot: Snapshot,
  clusterBytes: number,
  end: number,
): void {
  const { l1Offset, l1Entries } = snapshot;
  if (l1Entries * 8 > L1_LIMIT) {
    throw beyondLimit(
      image,
      `${structure}'s L1 table`,
      at,
      `would have ${l1Entries * 8} bytes, and at most ${L1_LIMIT} are allowed`,
    );
  }
  if (l1Entries === 0) return;
  if (l1Offset % clusterBytes !== 0 || l1Offset < clusterBytes || l1Offset + l1Entries * 8 > end) {
    throw damagedImage(
      image,
      `${structure}'s L1 table`,
      at,
      `is ${l1Entries * 8} bytes at ${hex(l1Offset)}, which is no place for it`,
    );
  }
}
