/**
 * Internal snapshots of a qcow2 image, version 3: listed, made, applied and deleted while nobody else has the image.
 *
 * Order of writes, each line durable before the next:
 *
 * 1. the header says that the image is dirty: whoever opens it after a kill counts its references anew,
 * 2. refcounts that rise,
 * 3. new tables, in new clusters,
 * 4. the header, whose one sector lets the new tables stand for the old ones,
 * 5. refcounts that fall, and the flags of the active mapping,
 * 6. the header without the mark.
 *
 * So a kill leaves the old state or the new one, in an image that is mended when it is next opened to be written.
 */
import { DiskError } from "../errors.js";
import type { ImageFile } from "../image-file.js";
import { loadMended } from "./check.js";
import {
  addReferences,
  bytesOf,
  giveUp,
  placeFor,
  refreshFlags,
  settle,
  writeMappingFields,
  writeTable,
} from "./edits.js";
import { FIELD, INCOMPATIBLE, L1_LIMIT, SNAPSHOTS_LIMIT, viewOf, writeU64 } from "./format.js";
import { COPIED } from "./mapping.js";
import { loadHeader, Metadata } from "./metadata.js";
import { encodeSnapshot, readSnapshots, type Snapshot } from "./snapshot-table.js";

/** Bytes of a name. */
const MOST_NAME = 255;

/** An internal snapshot. */
export type InternalSnapshot = Pick<Snapshot, "id" | "name" | "seconds" | "stateBytes" | "size">;

/** The internal snapshots of an image, the oldest first. @throws DiskError */
export async function listSnapshots(file: ImageFile): Promise<readonly InternalSnapshot[]> {
  return readSnapshots(file, await loadHeader(file));
}

/**
 * Keeps the disk as it is now under a name.
 * @param seconds the time that it gets, since 1970
 * @throws DiskError `E_IMAGE_FORMAT` for a name that can't be or that there is already
 */
export async function createSnapshot(
  file: ImageFile,
  name: string,
  seconds: number = Math.floor(Date.now() / 1000),
): Promise<void> {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes === 0 || bytes > MOST_NAME)
    throw new DiskError("E_IMAGE_FORMAT", `${file.name}: a name of a snapshot has 1 to ${MOST_NAME} bytes`);
  await editing(file, async (metadata) => {
    const { header, refcounts, snapshots } = metadata;
    if (snapshots.some((each) => each.name === name))
      throw new DiskError(
        "E_IMAGE_FORMAT",
        `${file.name}: there is a snapshot ${JSON.stringify(name)} already: use another name, or delete it`,
      );
    if (snapshots.length === SNAPSHOTS_LIMIT)
      throw new DiskError("E_IMAGE_LIMIT", `${file.name}: an image has at most ${SNAPSHOTS_LIMIT} snapshots`);
    if (refcounts.most < 2)
      throw new DiskError(
        "E_IMAGE_UNSUPPORTED",
        `${file.name}: refcounts of one bit count no snapshots: convert the image`,
      );
    const ids = snapshots.map(({ id }) => (/^\d{1,9}$/.test(id) ? Number(id) : 0));
    const { l1Entries, l1Offset, size } = header;
    const l1 = await bytesOf(metadata, l1Offset, l1Entries * 8);
    return async () => {
      await addReferences(metadata, l1, l1Offset, 1);
      const copy = await placeFor(metadata, l1.length);
      const entry = encodeSnapshot({
        id: String(Math.max(0, ...ids) + 1),
        name,
        seconds,
        size,
        l1Offset: copy,
        l1Entries,
      });
      await replaceTable(metadata, [...snapshots.map((each) => each.entry), entry], async () => {
        await writeTable(metadata, copy, withoutFlags(l1));
      });
    };
  });
}

/**
 * Lets the disk be what it was when a snapshot was made, its size as well. What it is now is lost, unless another has it.
 * @param which its name, or its id
 * @throws DiskError `E_IMAGE_FORMAT` if there is none
 */
export async function applySnapshot(file: ImageFile, which: string): Promise<void> {
  await editing(file, async (metadata) => {
    const { header, refcounts, clusterBytes, mapping } = metadata;
    const snapshot = find(metadata, which);
    const { size = header.size } = snapshot;
    const needed = Math.ceil(size / (mapping.perTable * clusterBytes));
    const l1Entries = Math.max(snapshot.l1Entries, needed);
    if (l1Entries * 8 > L1_LIMIT)
      throw new DiskError(
        "E_IMAGE_LIMIT",
        `${file.name}: snapshot ${JSON.stringify(which)} has a disk of ${size} bytes, too large for its clusters`,
      );
    const old = {
      offset: header.l1Offset,
      bytes: await bytesOf(metadata, header.l1Offset, header.l1Entries * 8),
    };
    return async () => {
      const l1 = new Uint8Array(l1Entries * 8);
      l1.set(withoutFlags(await bytesOf(metadata, snapshot.l1Offset, snapshot.l1Entries * 8)));
      await addReferences(metadata, l1, snapshot.l1Offset, 1);
      const place = await placeFor(metadata, l1.length);
      await refcounts.write();
      await file.flush();
      await writeTable(metadata, place, l1);
      await file.flush();
      [header.size, header.l1Entries, header.l1Offset] = [size, l1Entries, place];
      await writeMappingFields(metadata);
      await file.flush();
      await addReferences(metadata, old.bytes, old.offset, -1);
      await giveUp(metadata, old.offset, old.bytes.length);
    };
  });
}

/**
 * Deletes a snapshot; what nobody else has is free.
 * @param which its name, or its id
 * @throws DiskError `E_IMAGE_FORMAT` if there is none
 */
export async function deleteSnapshot(file: ImageFile, which: string): Promise<void> {
  await editing(file, async (metadata) => {
    const snapshot = find(metadata, which);
    const l1 = await bytesOf(metadata, snapshot.l1Offset, snapshot.l1Entries * 8);
    const others = metadata.snapshots.filter((each) => each !== snapshot);
    return async () => {
      await replaceTable(
        metadata,
        others.map((each) => each.entry),
      );
      await addReferences(metadata, l1, snapshot.l1Offset, -1);
      await giveUp(metadata, snapshot.l1Offset, l1.length);
    };
  });
}

/**
 * Changes an image, under the mark.
 * @param plan looks at it, and gives what is done; what it throws leaves the image as it was
 */
async function editing(
  file: ImageFile,
  plan: (metadata: Metadata) => Promise<() => Promise<void>>,
): Promise<void> {
  const header = await loadMended(file);
  if (header.version !== 3)
    throw new DiskError(
      "E_IMAGE_UNSUPPORTED",
      `${file.name}: snapshots of qcow2 version ${header.version} are only listed: convert the image to version 3`,
    );
  const metadata = await Metadata.open(file, header, true);
  const act = await plan(metadata);
  await metadata.prepare();
  await mark(metadata, true);
  try {
    await act();
    await settle(metadata);
    await refreshFlags(metadata);
    await file.flush();
  } catch (error) {
    // The references that are there are right; counts that rose for nothing fall again.
    await loadMended(file).catch(() => {});
    throw error;
  }
  await mark(metadata, false);
}

async function mark({ file, header }: Metadata, isDirty: boolean): Promise<void> {
  const others = header.incompatible & ~INCOMPATIBLE.dirty;
  header.incompatible = (others | (isDirty ? INCOMPATIBLE.dirty : 0)) >>> 0;
  const field = new Uint8Array(4);
  viewOf(field).setUint32(0, header.incompatible);
  await file.write(FIELD.incompatible + 4, [field]);
  await file.flush();
}

function find({ file, snapshots }: Metadata, which: string): Snapshot {
  const found = snapshots.find(({ name }) => name === which) ?? snapshots.find(({ id }) => id === which);
  if (found !== undefined) return found;
  const there = snapshots.map(({ name }) => JSON.stringify(name)).join(", ");
  throw new DiskError(
    "E_IMAGE_FORMAT",
    `${file.name}: there is no snapshot ${JSON.stringify(which)}; ${there === "" ? "there are none" : `there are ${there}`}`,
  );
}

/**
 * Puts a snapshot table in place of the one that is there.
 * @param beside writes what the entries refer to
 */
async function replaceTable(
  metadata: Metadata,
  entries: readonly Uint8Array[],
  beside: () => Promise<void> = async () => {},
): Promise<void> {
  const { file, header, refcounts } = metadata;
  const [old, oldBytes] = [header.snapshotsOffset, metadata.snapshotTableBytes];
  const table = new Uint8Array(entries.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const entry of entries) {
    table.set(entry, at);
    at += entry.length;
  }
  const place = await placeFor(metadata, table.length);
  await refcounts.write();
  await file.flush();
  await beside();
  await writeTable(metadata, place, table);
  await file.flush();
  [header.snapshotCount, header.snapshotsOffset] = [entries.length, place];
  const fields = new Uint8Array(12);
  viewOf(fields).setUint32(0, entries.length);
  writeU64(viewOf(fields), 4, place);
  await file.write(FIELD.snapshots, [fields]);
  await file.flush();
  if (oldBytes > 0) await giveUp(metadata, old, oldBytes);
}

/** An L1 table whose entries say that all is shared. */
function withoutFlags(l1: Uint8Array): Uint8Array {
  const copy = l1.slice();
  const view = viewOf(copy);
  for (let at = 0; at < copy.length; at += 8) view.setUint32(at, (view.getUint32(at) & ~COPIED) >>> 0);
  return copy;
}
