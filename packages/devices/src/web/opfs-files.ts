/** Whole files of the browser's private file system by name, such as snapshots: read, written, listed and removed. */
import { DiskError } from "../disk/errors.js";
import {
  browserError,
  findFile,
  folderIn,
  isMissing,
  type PrivateFolder,
  partsOf,
  privateRoot,
  readFile,
} from "./browser-files.js";
import { makeWhole, removeLeftovers } from "./whole-files.js";

/** A file as a list shows it. */
export interface OpfsEntry {
  /** With its folders, as the other calls take it. */
  readonly name: string;
  readonly bytes: number;
  /** When it was last written, in milliseconds since 1970. */
  readonly at: number;
}

/**
 * The bytes of a file.
 * @throws DiskError `E_DISK_IO` if there is none, or more than the browser gives at once; `E_IMAGE_FORMAT`
 */
export async function readOpfs(name: string): Promise<Uint8Array> {
  const parts = partsOf(name);
  const leaf = parts.pop()!;
  try {
    const folder = await folderIn(await privateRoot(), parts, false);
    const bytes = await readFile(folder, leaf);
    if (bytes !== undefined) return bytes;
  } catch (error) {
    if (!isMissing(error)) throw browserError(name, "read", error);
  }
  throw new DiskError("E_DISK_IO", `${name}: can't read the file: there is no such file in this browser`);
}

/**
 * Makes a file of `pieces`, one after another, or puts it in the place of the one that has the name; in a worker. Whatever
 * ends it, the file is the old one or the new one, whole. What writers that were killed left in the folder is removed.
 * @throws DiskError `E_DISK_FULL`; `E_IMAGE_LOCKED` if it is a disk that is open; `E_IMAGE_FORMAT`, `E_DISK_IO`
 */
export async function writeOpfs(name: string, pieces: readonly Uint8Array[]): Promise<void> {
  const parts = partsOf(name);
  const leaf = parts.pop()!;
  try {
    const folder = await folderIn(await privateRoot(), parts, true);
    await removeLeftovers(folder);
    await makeWhole({ name, folder, leaf }, folder, (file) => file.write(0, pieces), { replaces: true });
  } catch (error) {
    throw browserError(name, "write", error);
  }
}

/**
 * The files of a folder, by name; not those in folders below it. One that is not there has none.
 * @param folder the origin's first one by default
 * @throws DiskError `E_IMAGE_FORMAT`, `E_DISK_IO`
 */
export async function listOpfs(folder = ""): Promise<readonly OpfsEntry[]> {
  const parts = folder === "" ? [] : partsOf(folder);
  const found: OpfsEntry[] = [];
  try {
    for await (const [leaf, entry] of (await folderIn(await privateRoot(), parts, false)).entries()) {
      if (leaf.startsWith(".") || entry.kind !== "file") continue;
      const { size, lastModified } = await entry.getFile();
      found.push({ name: [...parts, leaf].join("/"), bytes: size, at: lastModified });
    }
  } catch (error) {
    if (!isMissing(error)) throw browserError(folder, "list", error);
  }
  return found.sort((one, other) => (one.name < other.name ? -1 : 1));
}

/**
 * Removes a file.
 * @returns whether there was one
 * @throws DiskError `E_IMAGE_LOCKED` if it is a disk that is open; `E_IMAGE_FORMAT`, `E_DISK_IO`
 */
export async function removeOpfs(name: string): Promise<boolean> {
  const parts = partsOf(name);
  const leaf = parts.pop()!;
  try {
    const folder: PrivateFolder = await folderIn(await privateRoot(), parts, false);
    if ((await findFile(folder, leaf)) === undefined) return false;
    await folder.removeEntry(leaf);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw browserError(name, "remove", error);
  }
}
