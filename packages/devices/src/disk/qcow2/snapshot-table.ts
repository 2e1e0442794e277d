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

/** An internal snapshot. */
export interface Snapshot {
  readonly id: string;
  readonly name: string;
  /** Seconds since 1970. */
  readonly seconds: number;
  /** Bytes of the disk when it was taken. */
  readonly diskSize: number;
  /** Bytes of machine state in it. */
  readonly stateBytes: number;
  readonly l1Offset: number;
  readonly l1Entries: number;
  /** Its entry as it stands in the table, padding included. */
  readonly bytes: Uint8Array;
}

/** Bytes of an entry without its variable parts, and of extra data that is written. */
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
    const length = roundUp(ENTRY_BYTES + extra + idLength + nameLength, 8);
    const bytes = (await bytesAt(length, structure)).slice();
    const snapshot = parseEntry(bytes, header.size);
    checkL1(file.name, structure, at, snapshot, clusterBytes, end);
    entries += snapshot.l1Entries;
    if (entries > ALL_L1_LIMIT) {
      throw beyondLimit(file.name, structure, at, `makes more than ${ALL_L1_LIMIT} L1 entries in snapshots`);
    }
    snapshots.push(snapshot);
    at += length;
  }
  return snapshots;
}

function parseEntry(bytes: Uint8Array, diskSize: number): Snapshot {
  const view = viewOf(bytes);
  const [idLength, nameLength, extra] = [view.getUint16(12), view.getUint16(14), view.getUint32(36)];
  const text = new TextDecoder();
  const idAt = ENTRY_BYTES + extra;
  return {
    id: text.decode(bytes.subarray(idAt, idAt + idLength)),
    name: text.decode(bytes.subarray(idAt + idLength, idAt + idLength + nameLength)),
    seconds: view.getUint32(16),
    stateBytes: extra >= 8 ? readU64(view, 40) : view.getUint32(32),
    diskSize: extra >= 16 ? readU64(view, 48) : diskSize,
    l1Offset: readU64(view, 0),
    l1Entries: view.getUint32(8),
    bytes,
  };
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

/** An entry for a new snapshot. */
export function newSnapshot(values: Omit<Snapshot, "bytes" | "stateBytes">): Snapshot {
  const encoder = new TextEncoder();
  const [id, name] = [encoder.encode(values.id), encoder.encode(values.name)];
  const bytes = new Uint8Array(roundUp(ENTRY_BYTES + EXTRA_BYTES + id.length + name.length, 8));
  const view = viewOf(bytes);
  writeU64(view, 0, values.l1Offset);
  view.setUint32(8, values.l1Entries);
  view.setUint16(12, id.length);
  view.setUint16(14, name.length);
  view.setUint32(16, values.seconds);
  view.setUint32(36, EXTRA_BYTES);
  writeU64(view, 48, values.diskSize);
  // No instruction count (icount) was recorded.
  bytes.fill(0xff, 56, 64);
  bytes.set(id, ENTRY_BYTES + EXTRA_BYTES);
  bytes.set(name, ENTRY_BYTES + EXTRA_BYTES + id.length);
  return { ...values, stateBytes: 0, bytes };
}
