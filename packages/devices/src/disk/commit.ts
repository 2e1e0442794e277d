/** What lies in an image over another: brought into the one below, or kept where what is below changes. */
import { type BlockBackend, isZero } from "./block-backend.js";

/** Bytes that are looked at in one step, and compared as one. */
const [STEP_BYTES, UNIT_BYTES] = [2 << 20, 64 << 10];

/** Told the share that is done, from 0 to 1. */
export type Progress = (share: number) => void;

/**
 * Writes to the disk below what the one above has itself, and makes it durable. A kill leaves what the upper disk reads as
 * it is: this can be done again.
 * @param to at least as large as `from`
 * @throws DiskError
 */
export async function commitDisk(from: BlockBackend, to: BlockBackend, onProgress?: Progress): Promise<void> {
  const buffer = new Uint8Array(STEP_BYTES);
  for (let at = 0; at < from.size; ) {
    const { length, kind, depth } = await from.extent(at, from.size - at);
    if (depth === 0 && kind === "zero") await to.writeZeroes(at, length);
    else if (depth === 0)
      for (let done = 0; done < length; done += STEP_BYTES) {
        const part = buffer.subarray(0, Math.min(STEP_BYTES, length - done));
        await from.read(at + done, [part]);
        await to.write(at + done, [part]);
      }
    at += length;
    onProgress?.(at / from.size);
  }
  await to.flush();
}

/**
 * Copies into a disk what it reads from below and would not read any more with another disk there, and makes it durable.
 * @param disk over what is below it now
 * @param below what will be there; undefined if nothing will
 * @throws DiskError
 */
export async function keepOverAnother(
  disk: BlockBackend,
  below: BlockBackend | undefined,
  onProgress?: Progress,
): Promise<void> {
  const [now, then] = [new Uint8Array(UNIT_BYTES), new Uint8Array(UNIT_BYTES)];
  for (let at = 0; at < disk.size; ) {
    const { length, kind, depth } = await disk.extent(at, disk.size - at);
    // A unit is looked at as a whole, so that what is copied fills clusters.
    const isOwn = depth === 0 && kind === "data";
    const end = isOwn
      ? at + length
      : Math.min(disk.size, (Math.floor(at / UNIT_BYTES) + 1) * UNIT_BYTES, at + length);
    if (!isOwn) {
      const [old, other] = [now.subarray(0, end - at), then.subarray(0, end - at)];
      await disk.read(at, [old]);
      await readOrZeros(below, at, other);
      if (old.some((byte, index) => byte !== other[index])) {
        if (isZero(old)) await disk.writeZeroes(at, old.length);
        else await disk.write(at, [old]);
      }
    }
    at = end;
    onProgress?.(at / disk.size);
  }
  await disk.flush();
}

/** What a disk has at a place; zeros behind its end. */
async function readOrZeros(disk: BlockBackend | undefined, offset: number, bytes: Uint8Array): Promise<void> {
  const inside = Math.max(0, Math.min(bytes.length, (disk?.size ?? 0) - offset));
  if (inside > 0) await disk!.read(offset, [bytes.subarray(0, inside)]);
  bytes.fill(0, inside);
}
