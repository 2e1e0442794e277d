/**
 * Images that are changed as a whole, by path: committed to the one below, put on another one, resized. Nobody else has them
 * meanwhile, and what else they are made of is held for reading.
 */
import { realpathSync } from "node:fs";
import type { BlockBackend } from "../block-backend.js";
import { commitDisk, keepOverAnother, type Progress } from "../commit.js";
import { DiskError } from "../errors.js";
import type { ImageFormat } from "../image-formats.js";
import { MemoryBackend } from "../memory-backend.js";
import { setBacking } from "../qcow2/backing-name.js";
import { loadHeader } from "../qcow2/metadata.js";
import { Qcow2Image } from "../qcow2/qcow2-image.js";
import { resizeQcow2 } from "../qcow2/resize.js";
import { nodeCodecs } from "./codecs.js";
import { type ImageChain, type ImageLink, lockChain, pathBelow } from "./image-chain.js";
import { ImageLock } from "./image-lock.js";
import { NodeFile } from "./node-file.js";
import { openLinks } from "./open-image.js";

const codecs = nodeCodecs;

/**
 * Writes to the image below what a qcow2 image has itself, and empties it then, unless it is to stay as it is. A kill leaves
 * what it reads as it is.
 * @throws DiskError `E_IMAGE_CHAIN` if there is none below, `E_IMAGE_UNSUPPORTED`, `E_IMAGE_LOCKED`
 */
export async function commitImage(
  path: string,
  options: { readonly keep?: boolean; readonly onProgress?: Progress } = {},
): Promise<void> {
  const chain = await lockChain(path, { format: "qcow2", lock: "write", locked: 2 });
  try {
    const [, base] = chain.links;
    if (base === undefined)
      throw new DiskError("E_IMAGE_CHAIN", `${path}: there is no image below to commit it to`);
    await refuseSnapshots(path, "it can't be committed");
    const top = await openAlone(path, true);
    try {
      if ((await sizeOf(base)) < top.size) await resizeLinks(chain.links.slice(1), top.size);
      const below = await openLinks(chain.links.slice(1), true);
      try {
        await commitDisk(top, below, options.onProgress);
      } finally {
        await below.close();
      }
    } finally {
      await top.close();
    }
    if (!options.keep) await empty(path);
  } finally {
    chain.release();
  }
}

/**
 * Puts a qcow2 image on another one, or on none. It reads the same as before, unless that is given up; then what it reads
 * where it has nothing itself is what the other one has.
 * @param below its name as the image will have it; undefined for none
 * @throws DiskError `E_IMAGE_CHAIN` for one that lies on the image itself, `E_IMAGE_UNSUPPORTED`, `E_IMAGE_LOCKED`
 */
export async function rebaseImage(
  path: string,
  below: { readonly file: string; readonly format?: ImageFormat | undefined } | undefined,
  options: { readonly isUnsafe?: boolean; readonly onProgress?: Progress } = {},
): Promise<void> {
  const { isUnsafe = false, onProgress } = options;
  // What was below may be gone where nobody asks what it has.
  const held: { release(): void }[] = [];
  try {
    let now: ImageChain | undefined;
    if (isUnsafe) held.push(await ImageLock.take(path));
    else {
      now = await lockChain(path, { format: "qcow2", lock: "write" });
      held.push(now);
      await refuseSnapshots(path, "it is only rebased as unsafe");
    }
    const then = below && (await chainBelow(path, below));
    if (then !== undefined) held.push(then);
    if (now !== undefined) {
      const disk = await openLinks(now.links, true);
      try {
        const other = then && (await openLinks(then.links));
        try {
          await keepOverAnother(disk, other, onProgress);
        } finally {
          await other?.close();
        }
      } finally {
        await disk.close();
      }
    }
    const file = await NodeFile.open(path);
    try {
      await setBacking(file, below && { file: below.file, format: then!.links[0]!.format });
    } finally {
      await file.close();
    }
  } finally {
    for (const each of held.reverse()) each.release();
  }
}

/**
 * Changes the size of a raw or qcow2 image.
 * @param sizeFrom gives the new size in bytes, from the one that it has
 * @throws DiskError `E_IMAGE_UNSUPPORTED` for an image of a store, `E_IMAGE_LOCKED`, and what {@link sizeFrom} throws
 */
export async function resizeImage(
  path: string,
  format: ImageFormat | undefined,
  sizeFrom: (size: number) => number,
): Promise<void> {
  const chain = await lockChain(path, { format, lock: "write" });
  try {
    await resizeLinks(chain.links, sizeFrom(await sizeOf(chain.links[0]!)));
  } finally {
    chain.release();
  }
}

/** A qcow2 image over nothing that anybody would read: what it does not have itself is below it. */
async function openAlone(path: string, isReadOnly: boolean): Promise<Qcow2Image> {
  const file = await NodeFile.open(path, { isReadOnly });
  const backing = new MemoryBackend((await loadHeader(file)).size);
  return Qcow2Image.open(file, { codecs, backing });
}

/** Lets a qcow2 image have nothing itself. */
async function empty(path: string): Promise<void> {
  const image = await Qcow2Image.open(await NodeFile.open(path), { codecs });
  try {
    await image.discard(0, image.size);
  } finally {
    await image.close();
  }
}

async function refuseSnapshots(path: string, what: string): Promise<void> {
  const file = await NodeFile.open(path, { isReadOnly: true });
  try {
    if ((await loadHeader(file)).snapshotCount === 0) return;
    throw new DiskError(
      "E_IMAGE_UNSUPPORTED",
      `${path}: the image has internal snapshots, which lie on the image below as it is: ${what}; delete them first`,
    );
  } finally {
    await file.close();
  }
}

async function chainBelow(
  path: string,
  { file, format }: { readonly file: string; readonly format?: ImageFormat | undefined },
): Promise<ImageChain> {
  try {
    return await lockChain(pathBelow(path, file), { format, lock: "read" });
  } catch (error) {
    const { image, pid } = error instanceof DiskError ? error.details : {};
    if (pid !== process.pid || image !== realpathSync(path)) throw error;
    throw new DiskError("E_IMAGE_CHAIN", `${path}: ${file} lies on the image itself`, {}, { cause: error });
  }
}

async function sizeOf(link: ImageLink): Promise<number> {
  const disk: BlockBackend =
    link.format === "qcow2" ? await openAlone(link.path, true) : await openLinks([link]);
  const { size } = disk;
  await disk.close();
  return size;
}

/** Changes the size of the first image of a chain. */
async function resizeLinks([link, ...below]: readonly ImageLink[], size: number): Promise<void> {
  const { path, format } = link!;
  if (format === "store")
    throw new DiskError(
      "E_IMAGE_UNSUPPORTED",
      `${path}: an image of a store keeps its size: convert it to another format first`,
    );
  const file = await NodeFile.open(path);
  try {
    if (format === "raw") {
      if (!Number.isSafeInteger(size) || size < 0)
        throw new DiskError("E_IMAGE_FORMAT", `${path}: a disk of ${size} bytes can't be`);
      await file.truncate(size);
      await file.flush();
      return;
    }
    const backing = below.length > 0 ? await openLinks(below) : undefined;
    try {
      await resizeQcow2(file, size, { codecs, ...(backing && { backing }) });
    } finally {
      await backing?.close();
    }
  } finally {
    await file.close();
  }
}
