/** The disk that brings packages into the machine that builds an image: one behind the other, each from a block on. */
import { open } from "node:fs/promises";
import { fileReason } from "../../../files/file-reason.js";
import { DebianError } from "../../errors.js";
import { PACKAGE_BLOCK, type PlacedPackage } from "../../image/build-script.js";
import type { Progress } from "../../progress.js";
import type { PackageRecord } from "../apt.js";
import { writeUncompressed } from "../deb.js";

/**
 * Writes the packages to a new file, uncompressed: the host is the faster one at that.
 * @param files the path of each package
 * @throws DebianError `E_CACHE` when the file can't be written, `E_PACKAGE_FORMAT` for a damaged package
 */
export async function writePackageDisk(
  path: string,
  packages: readonly PackageRecord[],
  files: readonly string[],
  progress: Progress,
): Promise<PlacedPackage[]> {
  const placed: PlacedPackage[] = [];
  const disk = await open(path, "wx").catch((error: unknown) => {
    throw new DebianError("E_CACHE", `can't write ${path}: ${fileReason(error)}`, { cause: error });
  });
  const total = packages.reduce((sum, { size }) => sum + size, 0);
  let end = 0;
  let done = 0;
  try {
    progress.begin("decompressing the packages", total);
    for (const [index, { name, preDepends, size }] of packages.entries()) {
      const bytes = await writeUncompressed(files[index]!, disk, end);
      placed.push({ name, preDepends, offset: end, bytes });
      end = Math.ceil((end + bytes) / PACKAGE_BLOCK) * PACKAGE_BLOCK;
      done += size;
      progress.update(done / total);
    }
    await disk.truncate(end);
    progress.end();
  } finally {
    await disk.close();
  }
  return placed;
}
