/**
 * The disk of `hyperfile start debian`: the user's own, which keeps what the system writes. It is a qcow2 image over the
 * one that was built, of which a store beside it has the chunks, so that neither a cleared cache nor a newer build takes
 * away what is below.
 */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileErrorReason, makeFolders, OWNER_ONLY } from "@hyperfile/broker/host";
import { ImageLock, openStore } from "@hyperfile/devices/node";
import type { Progress } from "@hyperfile/machine/debian";
import type { BuildImage } from "./commands/image-build.js";
import { CliError } from "./errors.js";
import { makeEmptyImage } from "./new-image.js";

/** Name of the built image in the store beside the disk. */
const BASE = "base";

/** Where a disk comes from. */
export interface SystemDiskOptions {
  /** The folder that has the disk and what is below it; made when missing. */
  readonly folder: string;
  readonly progress: Progress;
  /** Throw away what the system has written. */
  readonly reset?: boolean;
  /** Builds the image, where none is below yet. */
  readonly build: BuildImage;
}

/**
 * The path of the disk, in qcow2.
 * @throws CliError `E_FILE` for a folder that can't be written, DiskError `E_IMAGE_LOCKED` for the reset of a disk that is
 *   in use, and what the build throws
 */
export async function systemDisk({ folder, progress, reset, build }: SystemDiskOptions): Promise<string> {
  const disk = join(folder, "disk.qcow2");
  if (reset && existsSync(disk)) {
    const lock = await ImageLock.take(disk);
    try {
      rmSync(disk);
    } finally {
      lock.release();
    }
  }
  if (existsSync(disk)) return disk;
  const place = join(folder, "store");
  try {
    await makeFolders(place, OWNER_ONLY);
  } catch (error) {
    throw new CliError("E_FILE", `can't write the folder ${place}: ${fileErrorReason(error)}`, {
      cause: error,
    });
  }
  const store = openStore(place);
  if (!(await store.has(BASE))) {
    const image = await build({ progress });
    progress.begin(`copying Debian to ${folder}`);
    try {
      await store.pull(openStore(image.store, { isReadOnly: true }), image.name, {
        as: BASE,
        onProgress: (share) => progress.update(share),
      });
    } finally {
      await store.close();
    }
    progress.end();
  }
  const { size } = await store.manifest(BASE);
  await makeEmptyImage(disk, {
    format: "qcow2",
    size,
    backingFile: `store/images/${BASE}`,
    backingFormat: "store",
  });
  return disk;
}
