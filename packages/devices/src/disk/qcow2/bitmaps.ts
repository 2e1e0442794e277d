/**
 * Persistent dirty bitmaps (QEMU, docs/interop/qcow2.rst, "Bitmaps"). They are not kept up here: before the first write
 * each is marked as in use, which says that it may be inconsistent, and its clusters stay its own.
 */
import { beyondLimit, damagedImage } from "../errors.js";
import type { ImageFile } from "../image-file.js";
import { AUTOCLEAR_BITMAPS, EXTENSION, type Qcow2Header, readU64, roundUp, viewOf } from "./format.js";

const ENTRY_BYTES = 24;
/** Bit of a bitmap's flags. */
const IN_USE = 1;
/** Bitmaps of an image, bytes of their directory and of all their tables, at most. */
const [MOST_BITMAPS, DIRECTORY_LIMIT, TABLES_LIMIT] = [65535, 64 << 20, 128 << 20];

/** A bitmap as its directory has it. */
export interface Bitmap {
  readonly name: string;
  readonly isInUse: boolean;
  readonly tableOffset: number;
  readonly tableEntries: number;
  /** Offset of its entry in the file. */
  readonly entryOffset: number;
}

/** Where the directory is; undefined if there is none, or it must not be believed. */
export function bitmapDirectory(
  image: string,
  header: Qcow2Header,
  fileSize: number,
): { readonly offset: number; readonly bytes: number; readonly count: number } | undefined {
  const data = header.extensions.find(({ type }) => type === EXTENSION.bitmaps)?.data;
  if (data === undefined || (header.autoclear[0] & AUTOCLEAR_BITMAPS) === 0) return undefined;
  const structure = "the bitmaps extension";
  if (data.length !== 24)
    throw damagedImage(image, structure, header.headerLength, `has ${data.length} bytes, not 24`);
  const view = viewOf(data);
  const [count, bytes, offset] = [view.getUint32(0), readU64(view, 8), readU64(view, 16)];
  if (count > MOST_BITMAPS || bytes > DIRECTORY_LIMIT) {
    throw beyondLimit(
      image,
      structure,
      header.headerLength,
      `has ${count} bitmaps in ${bytes} bytes, more than are allowed`,
    );
  }
  const clusterBytes = 2 ** header.clusterBits;
  if (
    count === 0 ||
    offset % clusterBytes !== 0 ||
    offset === 0 ||
    offset + bytes > roundUp(fileSize, clusterBytes)
  ) {
    throw damagedImage(
      image,
      structure,
      header.headerLength,
      "has no bitmaps, or its directory is not in the file",
    );
  }
  return { offset, bytes, count };
}

/** The bitmaps of an image. @throws DiskError */
export async function readBitmaps(file: ImageFile, header: Qcow2Header): Promise<Bitmap[]> {
  const directory = bitmapDirectory(file.name, header, file.size);
  if (directory === undefined) return [];
  const bytes = new Uint8Array(directory.bytes);
  await file.read(directory.offset, [bytes]);
  const view = viewOf(bytes);
  const clusterBytes = 2 ** header.clusterBits;
  const end = roundUp(file.size, clusterBytes);
  const bitmaps: Bitmap[] = [];
  let [at, tables] = [0, 0];
  for (let index = 0; index < directory.count; index++) {
    const refuse = (how: string) => damagedImage(file.name, `bitmap ${index}`, directory.offset + at, how);
    if (at + ENTRY_BYTES > bytes.length) throw refuse("is not in the directory");
    const [nameLength, extra] = [view.getUint16(at + 18), view.getUint32(at + 20)];
    const length = roundUp(ENTRY_BYTES + extra + nameLength, 8);
    if (at + length > bytes.length) throw refuse("reaches behind the directory's end");
    const [tableOffset, tableEntries, flags] = [
      readU64(view, at),
      view.getUint32(at + 8),
      view.getUint32(at + 12),
    ];
    if (
      tableEntries > 0 &&
      (tableOffset % clusterBytes !== 0 || tableOffset === 0 || tableOffset + tableEntries * 8 > end)
    ) {
      throw refuse("has a table that is not in the file");
    }
    tables += tableEntries * 8;
    if (tables > TABLES_LIMIT) {
      throw beyondLimit(
        file.name,
        `bitmap ${index}`,
        directory.offset + at,
        `makes tables of more than ${TABLES_LIMIT} bytes`,
      );
    }
    const nameAt = at + ENTRY_BYTES + extra;
    bitmaps.push({
      name: new TextDecoder().decode(bytes.subarray(nameAt, nameAt + nameLength)),
      isInUse: (flags & IN_USE) !== 0,
      tableOffset,
      tableEntries,
      entryOffset: directory.offset + at,
    });
    at += length;
  }
  return bitmaps;
}

/**
 * Marks the bitmaps as in use.
 * @returns the low half of autoclear_features that holds then: bits of which nothing is known are cleared
 */
export async function markBitmapsInUse(file: ImageFile, header: Qcow2Header): Promise<number> {
  for (const { entryOffset, isInUse } of await readBitmaps(file, header)) {
    if (isInUse) continue;
    const flags = new Uint8Array(4);
    await file.read(entryOffset + 12, [flags]);
    flags[3] = flags[3]! | IN_USE;
    await file.write(entryOffset + 12, [flags]);
  }
  return header.autoclear[0] & AUTOCLEAR_BITMAPS;
}
