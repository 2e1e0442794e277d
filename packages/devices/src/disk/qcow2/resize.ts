/**
 * Another size for a qcow2 image that nobody uses meanwhile. What is new reads as zeros; what is cut off is gone before the
 * size says so, so that it never comes back.
 */
import type { BlockBackend } from "../block-backend.js";
import type { ClusterCodecs } from "../cluster-codec.js";
import { DiskFilter } from "../disk-filter.js";
import { DiskError } from "../errors.js";
import { type ImageFile, keptOpen } from "../image-file.js";
import { loadMended } from "./check.js";
import { bytesOf, giveUp, placeFor, settle, writeMappingFields, writeTable } from "./edits.js";
import { L1_LIMIT, roundUp } from "./format.js";
import { Metadata } from "./metadata.js";
import { Qcow2Image } from "./qcow2-image.js";

/** Bytes of a sector, of which a disk has a whole number. */
const SECTOR = 512;

/** What a change of an image's size needs. */
export interface ResizeOptions {
  readonly codecs?: ClusterCodecs;
  /** The disk below, which stays open. */
  readonly backing?: BlockBackend;
}

/**
 * Changes the size of an image's disk.
 * @param file stays open
 * @param size in bytes; rounded up to whole sectors
 * @throws DiskError `E_IMAGE_FORMAT` for a size that can't be, `E_IMAGE_UNSUPPORTED` where snapshots don't say theirs
 */
export async function resizeQcow2(file: ImageFile, size: number, options: ResizeOptions = {}): Promise<void> {
  if (!Number.isSafeInteger(size) || size < 0)
    throw new DiskError("E_IMAGE_FORMAT", `${file.name}: a disk of ${size} bytes can't be`);
  const header = await loadMended(file);
  const [before, after] = [header.size, roundUp(size, SECTOR)];
  if (after === before) return;
  const metadata = await Metadata.open(file, header, true);
  if (metadata.snapshots.some((each) => each.size === undefined))
    throw new DiskError(
      "E_IMAGE_UNSUPPORTED",
      `${file.name}: the image has snapshots that don't say how large their disk is: delete them, or convert the image`,
    );
  const { clusterBytes, mapping } = metadata;
  const zeroed = async (job: (image: Qcow2Image) => Promise<void>) => {
    const { backing, codecs } = options;
    const image = await Qcow2Image.open(keptOpen(file), {
      ...(codecs && { codecs }),
      ...(backing && { backing: new KeptOpen(backing) }),
    });
    await job(image);
    await image.close();
  };
  if (after < before) {
    const whole = Math.min(before, roundUp(after, clusterBytes));
    await zeroed(async (image) => {
      await image.writeZeroes(after, whole - after);
      await image.discard(whole, before - whole);
    });
    header.size = after;
    await writeMappingFields(await Metadata.open(file, { ...(await loadMended(file)), size: after }, false));
    await file.flush();
    return;
  }
  const l1Entries = Math.ceil(after / (mapping.perTable * clusterBytes));
  if (l1Entries * 8 > L1_LIMIT)
    throw new DiskError(
      "E_IMAGE_LIMIT",
      `${file.name}: a disk of ${after} bytes is too large for clusters of ${clusterBytes} bytes: convert the image to larger ones`,
    );
  await metadata.prepare();
  const old = {
    offset: header.l1Offset,
    bytes: await bytesOf(metadata, header.l1Offset, header.l1Entries * 8),
  };
  header.size = after;
  if (l1Entries > header.l1Entries) {
    const l1 = new Uint8Array(l1Entries * 8);
    l1.set(old.bytes);
    const place = await placeFor(metadata, l1.length);
    await metadata.refcounts.write();
    await file.flush();
    await writeTable(metadata, place, l1);
    await file.flush();
    [header.l1Entries, header.l1Offset] = [l1Entries, place];
    await writeMappingFields(metadata);
    await file.flush();
    await giveUp(metadata, old.offset, old.bytes.length);
    await settle(metadata);
  } else {
    await writeMappingFields(metadata);
    await file.flush();
  }
  // What the last cluster has behind the old end, and what is below.
  const end = Math.max(roundUp(before, clusterBytes), options.backing?.size ?? 0);
  await zeroed((image) => image.writeZeroes(before, Math.min(after, end) - before));
}

/** A disk that its user does not close. */
class KeptOpen extends DiskFilter {
  override async close(): Promise<void> {}
}
