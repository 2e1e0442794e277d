/**
 * New files that are there whole or not at all: written beside their place under a name with the writer's identity, which
 * their own replaces when they are done. What a killed writer left is removed by the next one of the same file.
 */
import { link, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileError, NodeFile, syncFolder } from "./node-file.js";
import { lifeOf, newIdentity } from "./process-identity.js";

/** Errors of file systems that have no hard links. */
const NO_LINKS: readonly (string | undefined)[] = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"];

/**
 * Makes a file of what `job` writes; where that fails nothing is left.
 * @param job flushes what it writes, and may close the file
 * @param onName told where the file will be until it is whole, before it is made
 * @throws DiskError `E_DISK_IO` if there is a file already, also one that has come meanwhile; what `job` throws
 */
export async function makeFile(
  path: string,
  job: (file: NodeFile) => Promise<void>,
  onName?: (unfinished: string) => void,
): Promise<void> {
  const prefix = `.${basename(path)}.unfinished-`;
  await removeDead(dirname(path), prefix);
  const unfinished = join(dirname(path), prefix + newIdentity());
  onName?.(unfinished);
  try {
    const file = await NodeFile.open(unfinished, { create: true, name: path });
    try {
      await job(file);
    } finally {
      await file.close();
    }
    await giveName(unfinished, path).catch((error) => {
      throw fileError(path, "make", error);
    });
  } finally {
    await rm(unfinished, { force: true }).catch(() => {});
  }
}

/** Removes files of a folder whose names are a prefix and the identity of a process that has ended. */
export async function removeDead(folder: string, prefix: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    if (!name.startsWith(prefix) || lifeOf(name.slice(prefix.length)) !== "gone") continue;
    await rm(join(folder, name), { force: true }).catch(() => {});
  }
}

/** Never in place of another file, where the file system can say so. */
async function giveName(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (!NO_LINKS.includes((error as NodeJS.ErrnoException).code)) throw error;
    await rename(from, to);
  }
  await syncFolder(dirname(to));
}
