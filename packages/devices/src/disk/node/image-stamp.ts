/**
 * What an image is known by at a moment, so that a later one can be told from it: of a file its identity, size and times,
 * and of an image of a store the digest of its manifest, which names all of its chunks by theirs.
 *
 * A file's times are as coarse as the host's ticks, so a stamp is taken only of a file that has not been written for
 * longer than that: each later write then changes its time.
 */
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { DiskError } from "../errors.js";
import { isAddress } from "../http/http-source.js";
import { MOST_MANIFEST } from "../store/manifest.js";
import type { ImageLink } from "./image-chain.js";
import { fileError, NodeFile } from "./node-file.js";

/** Milliseconds for which a file has not been written: more than any tick, or more than the two seconds that some file systems count. */
const [QUIET_MS, COARSE_QUIET_MS] = [50, 2100];
const NANOSECONDS = 1_000_000n;

/** A stamp: equal texts, equal bytes. */
export type ImageStamp = string;

/**
 * The stamp of an image, without those below it, that nobody writes meanwhile. It may wait until the last write is long enough ago.
 * @throws DiskError `E_IMAGE_UNSUPPORTED` for what lies behind a web server, `E_DISK_IO`
 */
export async function stampOf({ path: file, format }: ImageLink): Promise<ImageStamp> {
  if (isAddress(file))
    throw new DiskError(
      "E_IMAGE_UNSUPPORTED",
      `${file}: what lies behind a web server may be another image tomorrow; pull it to a store of your own first`,
    );
  try {
    for (;;) {
      const { ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
      const isCoarse = mtimeNs % (1000n * NANOSECONDS) === 0n;
      const last = Math.max(Number(mtimeNs / NANOSECONDS), Number(ctimeNs / NANOSECONDS));
      const quiet = isCoarse ? COARSE_QUIET_MS : QUIET_MS;
      const wait = last + quiet - Date.now();
      if (wait > 0) {
        // A time in the future says nothing of how long ago the last write is.
        await new Promise((resolve) => setTimeout(resolve, Math.min(wait, quiet)));
        if (wait <= quiet) continue;
      }
      return format === "store"
        ? `manifest ${await manifestDigest(file)}`
        : `file ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
    }
  } catch (error) {
    throw fileError(file, "look at", error);
  }
}

/** SHA-256 of a manifest. Others may write in its store, so that it may have become anything since the image was opened. */
async function manifestDigest(path: string): Promise<string> {
  const file = await NodeFile.open(path, { isReadOnly: true });
  try {
    if (file.size > MOST_MANIFEST)
      throw new DiskError("E_IMAGE_LIMIT", `${path}: a manifest has at most ${MOST_MANIFEST} bytes`);
    const bytes = new Uint8Array(file.size);
    await file.read(0, [bytes]);
    return createHash("sha256").update(bytes).digest("hex");
  } finally {
    await file.close();
  }
}
