/**
 * The name of the image below, as a qcow2 header has it. The new name is written where nothing is yet, and one sector then
 * lets it stand for the old one; only where a header has no room for both, or has no entry for the format, a kill of the
 * computer may leave it in part.
 */
import type { ImageFile } from "../image-file.js";
import { loadMended } from "./check.js";
import { EXTENSION, encodeHeader, FIELD, type Qcow2Header, roundUp, viewOf, writeU64 } from "./format.js";

const SECTOR = 512;
/** Bytes of a format's name in an entry of its own, rounded up. */
const FORMAT_BYTES = 8;

/** What is below an image. */
export interface Backing {
  /** Its name as the image has it: relative names are relative to the image. */
  readonly file: string;
  readonly format: string;
}

/**
 * Lets an image be on another one, or on none. What the disk reads is the caller's.
 * @throws DiskError `E_IMAGE_FORMAT` if the name is too long
 */
export async function setBacking(file: ImageFile, backing: Backing | undefined): Promise<void> {
  const header = await loadMended(file);
  const first = new Uint8Array(2 ** header.clusterBits);
  await file.read(0, [first]);
  const changed: Qcow2Header = { ...header, backingFile: backing?.file, backingFormat: backing?.format };
  // Refuses what does not fit.
  const whole = encodeHeader(file.name, changed, first);
  const place = backing === undefined ? 0 : freePlace(first, header, backing);
  const entry = formatEntry(first, header);
  if (entry === undefined || place === undefined) {
    await file.write(0, [whole]);
    await file.flush();
    return;
  }
  const name = new TextEncoder().encode(backing?.file ?? "");
  if (name.length > 0) {
    await file.write(place, [name]);
    await file.flush();
    // A short name may lie in the first sector itself.
    await file.read(0, [first]);
  }
  const sector = first.slice(0, SECTOR);
  const view = viewOf(sector);
  writeU64(view, FIELD.backing, place);
  view.setUint32(FIELD.backing + 8, name.length);
  if (backing !== undefined) {
    const format = new TextEncoder().encode(backing.format);
    view.setUint32(entry + 4, format.length);
    sector.fill(0, entry + 8, entry + 8 + FORMAT_BYTES);
    sector.set(format, entry + 8);
  }
  await file.write(0, [sector]);
  await file.flush();
}

/** Where the entry for the format begins, if the first sector has one. */
function formatEntry(first: Uint8Array, { headerLength }: Qcow2Header): number | undefined {
  const view = viewOf(first);
  for (let at = headerLength; at + 8 + FORMAT_BYTES <= Math.min(SECTOR, first.length); ) {
    const [type, length] = [view.getUint32(at), view.getUint32(at + 4)];
    if (type === EXTENSION.backingFormat && roundUp(length, 8) === FORMAT_BYTES) return at;
    if (type === EXTENSION.end) return undefined;
    at += 8 + roundUp(length, 8);
  }
  return undefined;
}

/** Room for a name behind the extensions, or behind the name that is there. */
function freePlace(first: Uint8Array, header: Qcow2Header, { file, format }: Backing): number | undefined {
  const view = viewOf(first);
  let end = header.headerLength;
  while (end + 8 <= first.length && view.getUint32(end) !== EXTENSION.end)
    end += 8 + roundUp(view.getUint32(end + 4), 8);
  end += 8;
  const [oldAt, oldBytes] = [view.getUint32(FIELD.backing + 4), view.getUint32(FIELD.backing + 8)];
  const bytes = new TextEncoder().encode(file).length;
  const places = oldAt === 0 ? [end] : [end, roundUp(oldAt + oldBytes, 8)];
  const isFree = (at: number) => oldAt === 0 || at + bytes <= oldAt || at >= oldAt + oldBytes;
  if (format.length > FORMAT_BYTES) return undefined;
  return places.find((at) => at + bytes <= first.length && isFree(at));
}
