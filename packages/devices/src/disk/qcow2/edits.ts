/**
 * Steps of changes to an image that nobody uses meanwhile: tables that get a new place, and the references of a mapping as a
 * whole, counted for one more user or one less.
 */
import { FIELD, viewOf, writeU64 } from "./format.js";
import { COPIED, readL1Entry, readL2Entry } from "./mapping.js";
import type { Metadata } from "./metadata.js";

/** Bytes of a file. */
export async function bytesOf(
  { file }: Pick<Metadata, "file">,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await file.read(offset, [bytes]);
  return bytes;
}

/**
 * Adds to the refcounts of all that an L1 table refers to, by itself and by its L2 tables. They are not written yet.
 * @param at offset of the L1 table, for errors
 * @throws DiskError where an entry or a sum can't be
 */
export async function addReferences(
  metadata: Metadata,
  l1: Uint8Array,
  at: number,
  change: 1 | -1,
): Promise<void> {
  const { refcounts, clusterBytes, mapping } = metadata;
  const { context } = mapping;
  for (let index = 0; index < l1.length / 8; index++) {
    const table = readL1Entry(viewOf(l1), index, at, context);
    if (table === 0) continue;
    const entries = viewOf(await bytesOf(metadata, table, clusterBytes));
    for (let each = 0; each < mapping.perTable; each++) {
      const { kind, offset, length } = readL2Entry(entries, each, table, context);
      if (offset === 0) continue;
      const bytes = kind === "compressed" ? length : clusterBytes;
      const last = Math.floor((offset + bytes - 1) / clusterBytes);
      for (let cluster = Math.floor(offset / clusterBytes); cluster <= last; cluster++)
        await refcounts.add(cluster, change);
    }
    await refcounts.add(table / clusterBytes, change);
  }
}

/** Lets the flags of the active mapping say what the refcounts do. What changes is written, and not flushed. */
export async function refreshFlags(metadata: Metadata): Promise<void> {
  const { file, header, refcounts, clusterBytes, mapping } = metadata;
  const { context } = mapping;
  const { l1Offset, l1Entries } = header;
  /** Sets the flag of an entry; whether it was another. */
  const set = async (view: DataView, index: number, offset: number): Promise<boolean> => {
    const high = view.getUint32(index * 8);
    const wanted = (await refcounts.get(offset / clusterBytes)) === 1 ? high | COPIED : high & ~COPIED;
    view.setUint32(index * 8, wanted >>> 0);
    return wanted >>> 0 !== high;
  };
  const l1 = await bytesOf(metadata, l1Offset, l1Entries * 8);
  let isL1Changed = false;
  for (let index = 0; index < l1Entries; index++) {
    const table = readL1Entry(viewOf(l1), index, l1Offset, context);
    if (table === 0) continue;
    if (await set(viewOf(l1), index, table)) isL1Changed = true;
    const bytes = await bytesOf(metadata, table, clusterBytes);
    let isChanged = false;
    for (let each = 0; each < mapping.perTable; each++) {
      const { kind, offset } = readL2Entry(viewOf(bytes), each, table, context);
      if (offset !== 0 && kind !== "compressed" && (await set(viewOf(bytes), each, offset))) isChanged = true;
    }
    if (isChanged) await file.write(table, [bytes]);
  }
  if (isL1Changed) await file.write(l1Offset, [l1]);
}

/** Clusters for a table; 0 for one of no bytes. */
export async function placeFor({ refcounts, clusterBytes }: Metadata, bytes: number): Promise<number> {
  return bytes === 0 ? 0 : (await refcounts.allocate(Math.ceil(bytes / clusterBytes))) * clusterBytes;
}

/** Writes a table, to whole clusters. */
export async function writeTable(
  { file, clusterBytes }: Metadata,
  place: number,
  table: Uint8Array,
): Promise<void> {
  if (table.length === 0) return;
  const padding = new Uint8Array(Math.ceil(table.length / clusterBytes) * clusterBytes - table.length);
  await file.write(
    place,
    [table, padding].filter(({ length }) => length > 0),
  );
}

/** Counts one reference less of a table's clusters. */
export async function giveUp(
  { refcounts, clusterBytes }: Metadata,
  offset: number,
  bytes: number,
): Promise<void> {
  const first = offset / clusterBytes;
  for (let cluster = first; cluster < first + Math.ceil(bytes / clusterBytes); cluster++)
    await refcounts.add(cluster, -1);
}

/** Writes the size of the disk, and where its L1 table is: fields of one sector. */
export async function writeMappingFields({ file, header }: Metadata): Promise<void> {
  const fields = new Uint8Array(FIELD.l1 + 12 - FIELD.size);
  const view = viewOf(fields);
  writeU64(view, 0, header.size);
  // Between them is the method of encryption: none.
  view.setUint32(FIELD.l1 - FIELD.size, header.l1Entries);
  writeU64(view, FIELD.l1 + 4 - FIELD.size, header.l1Offset);
  await file.write(FIELD.size, [fields]);
}

/** Makes refcounts durable, with those that fall since a table of theirs has moved. */
export async function settle({ refcounts, file }: Metadata): Promise<void> {
  do {
    await refcounts.release();
    await refcounts.write();
    await file.flush();
  } while (refcounts.hasReleased);
}
