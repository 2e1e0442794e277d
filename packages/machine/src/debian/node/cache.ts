/**
 * The user's cache folder and the record of what a finished preparation put there.
 * A folder is prepared under a temporary name and renamed when it is complete, and its manifest is part of
 * it, so that an interrupted start leaves nothing that a later one could take for whole.
 */

import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, isAbsolute, join } from "node:path";
import { fileReason, systemErrorCode } from "../../files/file-reason.js";
import { makeFolders } from "../../files/node/make-folders.js";
import { DebianError } from "../errors.js";

/** A file of a prepared folder. */
export interface CachedFile {
  /** Size in bytes. */
  size: number;
  /** SHA-256, 64 hexadecimal digits. */
  sha256: string;
}

/** What a prepared folder holds; stored in it as `manifest.json`. */
export interface Manifest {
  /** Version of this layout. */
  format: 1;
  /** The kernel's release, as `uname -r` prints it. */
  release: string;
  /** Identifies the text and the list of modules that the initramfs was built from. */
  recipe: string;
  /** Names of the modules that were looked for in the kernel's package; some kernels have one built in. */
  modules?: readonly string[];
  /** Where the packages came from. */
  archive: string;
  /** The packages that the files came from. */
  packages: { name: string; version: string; sha256: string }[];
  /** The files, by their path in the folder. */
  files: Record<string, CachedFile>;
}

const manifestName = "manifest.json";

/** The cache folder of this project's programs: `$XDG_CACHE_HOME/hyperfile`, or `~/.cache/hyperfile` (XDG base directories). */
export function userCacheFolder(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string {
  const base = environment.XDG_CACHE_HOME;
  return join(base && isAbsolute(base) ? base : join(homedir(), ".cache"), "hyperfile");
}

/** The size and digest of `bytes`, for a manifest. */
export function describeFile(bytes: Uint8Array): CachedFile {
  return { size: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

/**
 * The manifest of the prepared folder, or undefined when there is none or a file of it is missing or has another size.
 * @param checked whether the content of a file is checked, too
 */
export async function readPrepared(
  folder: string,
  checked: (path: string) => boolean,
): Promise<Manifest | undefined> {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(await readFile(join(folder, manifestName), "utf8"));
    if (manifest.format !== 1 || typeof manifest.files !== "object") return undefined;
    for (const [path, { size, sha256 }] of Object.entries(manifest.files)) {
      const file = join(folder, path);
      if ((await stat(file)).size !== size) return undefined;
      if (checked(path) && (await fileDigest(file)) !== sha256) return undefined;
    }
  } catch {
    return undefined;
  }
  return manifest;
}

/** SHA-256 of a file, 64 hexadecimal digits. @throws Error (the promise rejects) if it can't be read */
export async function fileDigest(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest("hex");
}

/** Tries to put a folder in a place that others take at the same time. */
const MOST_TRIES = 100;

/** A cache error that names the folder. */
function cacheError(folder: string, error: unknown): DebianError {
  return new DebianError(
    "E_CACHE",
    `can't write the cache folder ${folder}: ${fileReason(error)}; set XDG_CACHE_HOME to a writable folder`,
    { cause: error },
  );
}

/** Writes `files` and their manifest into `folder`. Each file appears whole or not at all; the manifest is last. */
export async function writePrepared(
  folder: string,
  manifest: Omit<Manifest, "files">,
  files: ReadonlyMap<string, Uint8Array>,
  kept: Readonly<Record<string, CachedFile>> = {},
): Promise<Manifest> {
  const complete: Manifest = { ...manifest, files: { ...kept } };
  const write = async (path: string, content: Uint8Array | string) => {
    const target = join(folder, path);
    const temporary = `${target}.${randomUUID()}.part`;
    await makeFolders(dirname(target));
    await writeFile(temporary, content);
    await rename(temporary, target);
  };
  try {
    for (const [path, bytes] of files) {
      await write(path, bytes);
      complete.files[path] = describeFile(bytes);
    }
    await write(manifestName, `${JSON.stringify(complete, undefined, 2)}\n`);
  } catch (error) {
    throw cacheError(folder, error);
  }
  return complete;
}

/**
 * Makes an empty folder beside `folder` for the caller, whose to remove it is: threads of one process have one each.
 * Those of processes that are gone are removed.
 * @throws DebianError `E_CACHE` when it can't be written
 */
export async function temporaryFolder(folder: string): Promise<string> {
  const parent = dirname(folder);
  const name = basename(folder);
  const prefix = `${name}.part-`;
  const temporary = join(parent, `${prefix}${process.pid}-${randomUUID()}`);
  try {
    await makeFolders(parent);
    for (const entry of await readdir(parent)) {
      if (entry.startsWith(prefix) && !isRunning(Number.parseInt(entry.slice(prefix.length), 10)))
        await rm(join(parent, entry), { recursive: true, force: true });
    }
    await mkdir(temporary);
  } catch (error) {
    throw cacheError(parent, error);
  }
  return temporary;
}

/**
 * Fills `folder` through `fill`, which works in a temporary folder beside it; the result takes the place of
 * `folder` only when `fill` succeeds.
 * @throws DebianError `E_CACHE` when the folder can't be written, and whatever `fill` throws
 */
export async function replaceFolder<T>(folder: string, fill: (temporary: string) => Promise<T>): Promise<T> {
  const temporary = await temporaryFolder(folder);
  try {
    const result = await fill(temporary);
    await putInPlace(temporary, folder);
    return result;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Gives a folder the place of another. Of several that do so at once each succeeds, and the last one's stays. */
async function putInPlace(temporary: string, folder: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    const old = `${temporary}-old-${tries}`;
    await rename(folder, old).catch(() => undefined);
    try {
      await rename(temporary, folder);
      return;
    } catch (error) {
      if (tries >= MOST_TRIES || !["ENOTEMPTY", "EEXIST"].includes(systemErrorCode(error) ?? ""))
        throw cacheError(folder, error);
    } finally {
      await rm(old, { recursive: true, force: true });
    }
  }
}

/** Whether a process has the id `pid`. */
function isRunning(pid: number): boolean {
  if (!Number.isInteger(pid)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemErrorCode(error) === "EPERM";
  }
}
