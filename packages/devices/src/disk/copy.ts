/** Copies a disk to another, without what reads as zeros. */
import { type BlockBackend, isZero } from "./block-backend.js";
import type { Qcow2Image } from "./qcow2/qcow2-image.js";

/** Bytes that are copied in one step. */
const STEP_BYTES = 2 << 20;

/** How a disk is copied. */
export interface CopyOptions {
  /** The target, if its clusters are to be compressed. */
  readonly compressed?: Qcow2Image;
  /** Told the share that is done, from 0 to 1. */
  readonly onProgress?: (share: number) => void;
}

/**
 * Copies all of `from` to `to`, which reads as zeros so far and is at least as large. Nothing is flushed.
 * @throws DiskError
 */
export async function copyDisk(
  from: BlockBackend,
  to: BlockBackend,
  options: CopyOptions = {},
): Promise<void> {
  const { compressed, onProgress } = options;
  const cluster = compressed === undefined ? 4096 : 2 ** compressed.header.clusterBits;
  const buffer = new Uint8Array(Math.max(STEP_BYTES, cluster));
  for (let at = 0; at < from.size; ) {
    const extent = await from.extent(at, from.size - at);
    // What is not zeros is copied in steps that end where clusters do.
    const step = Math.min(buffer.length - (at % buffer.length), from.size - at);
    const length = extent.kind === "zero" ? Math.min(extent.length, from.size - at) : step;
    if (extent.kind === "zero" && (compressed === undefined || at % cluster === 0)) {
      const whole = at + length === from.size ? length : length - ((at + length) % cluster);
      if (whole > 0) {
        at += whole;
        onProgress?.(at / from.size);
        continue;
      }
    }
    const bytes = buffer.subarray(0, step);
    await from.read(at, [bytes]);
    for (let done = 0; done < step; done += cluster) {
      const part = bytes.subarray(done, Math.min(done + cluster, step));
      if (isZero(part)) continue;
      if (compressed === undefined) await to.write(at + done, [part]);
      else await compressed.writeCompressed(at + done, part);
    }
    at += step;
    onProgress?.(at / from.size);
  }
}
