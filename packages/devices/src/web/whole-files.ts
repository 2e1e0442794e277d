/**
 * Files that are there whole or not at all: written and flushed under a name that begins with a dot and says whose they
 * are, and moved to their own name, which a browser does at once.
 *
 * A writer is a worker. It has a lock of the origin by its identity for as long as it lives, so that what a killed one has
 * left can be told from what is being written, and is removed by the next writer in the same folder.
 */
import { DiskError } from "../disk/errors.js";
import {
  browserError,
  findFile,
  originLocks,
  type PrivateFile,
  type PrivateFolder,
} from "./browser-files.js";
import { type OpfsFile, openHandle } from "./opfs-file.js";

const WRITER_LOCK = "hyperfile writer ";
const FILE_LOCK = "hyperfile file ";
/** What the name of a file that is being written ends in; it begins with a dot and the writer's identity. */
const IN_PROGRESS = ".in-progress";
const IDENTITY_LENGTH = 36;

let identity: Promise<string> | undefined;
let files = 0;

/** Where a file gets its name. */
export interface FilePlace {
  /** What messages and locks call it: unique in the origin. */
  readonly name: string;
  readonly folder: PrivateFolder;
  /** Its name in the folder. */
  readonly leaf: string;
}

/** Does a job that nobody else of the origin does with a file of that name at the same time. */
export async function exclusively<T>(name: string, job: () => Promise<T>): Promise<T> {
  return (await originLocks().request(FILE_LOCK + name, job)) as T;
}

/**
 * Makes a file of what `job` writes; where that fails nothing is left, and what had the name still has it.
 * @param unfinished the folder in which it is written
 * @param options.replaces whether it takes the place of another file
 * @returns false if there is one that it may not replace
 * @throws DiskError what `job` throws; `E_IMAGE_LOCKED` if somebody has the file that it would replace
 */
export async function makeWhole(
  place: FilePlace,
  unfinished: PrivateFolder,
  job: (file: OpfsFile) => Promise<void>,
  options: { readonly replaces: boolean },
): Promise<boolean> {
  const { name, folder, leaf } = place;
  return whileUnfinished(name, unfinished, job, (handle) =>
    exclusively(name, async () => {
      if (!options.replaces && (await findFile(folder, leaf)) !== undefined) return false;
      if (handle.move === undefined)
        throw new DiskError(
          "E_DISK_IO",
          `${name}: this browser can't move private files, which keeps them whole; use a newer one`,
        );
      await handle.move(folder, leaf);
      return true;
    }),
  );
}

/** Makes sure that a file can be written. @throws DiskError `E_DISK_FULL`, `E_DISK_IO` */
export async function tryWriting(name: string, unfinished: PrivateFolder): Promise<void> {
  const write = (file: OpfsFile) => file.write(0, [new Uint8Array(1)]);
  await whileUnfinished(name, unfinished, write, async () => false);
}

/**
 * Removes what writers that have ended left in a folder.
 * @param notAfter only what was written then or before, in milliseconds since 1970
 * @returns how many files
 */
export async function removeLeftovers(folder: PrivateFolder, notAfter = Infinity): Promise<number> {
  const left: string[] = [];
  for await (const [name] of folder.entries())
    if (name.startsWith(".") && name.endsWith(IN_PROGRESS)) left.push(name);
  if (left.length === 0) return 0;
  // Later than the list: a writer has its lock before it makes a file.
  const { held = [] } = await originLocks().query();
  const living = new Set(held.map((lock) => lock.name));
  let removed = 0;
  for (const name of left) {
    if (living.has(WRITER_LOCK + name.slice(1, 1 + IDENTITY_LENGTH))) continue;
    try {
      const handle = await findFile(folder, name);
      if (handle === undefined || (await handle.getFile()).lastModified > notAfter) continue;
      await folder.removeEntry(name);
      removed++;
    } catch {
      // Somebody else removes it, or the browser has not yet ended its writer.
    }
  }
  return removed;
}

/** Writes a file under a name for now, and removes it unless `nameIt` has given it another. */
async function whileUnfinished(
  name: string,
  folder: PrivateFolder,
  job: (file: OpfsFile) => Promise<void>,
  nameIt: (handle: PrivateFile) => Promise<boolean>,
): Promise<boolean> {
  const unfinished = `.${await ownIdentity()}-${files++}${IN_PROGRESS}`;
  let isNamed = false;
  try {
    const handle = await folder.getFileHandle(unfinished, { create: true });
    const file = await openHandle(name, handle, false);
    try {
      await job(file);
      await file.flush();
    } finally {
      await file.close();
    }
    isNamed = await nameIt(handle);
    return isNamed;
  } catch (error) {
    throw browserError(name, "write", error);
  } finally {
    if (!isNamed) await folder.removeEntry(unfinished).catch(() => {});
  }
}

/** This worker's, whose lock it has from now on. */
function ownIdentity(): Promise<string> {
  identity ??= takeIdentity().catch((error) => {
    identity = undefined;
    throw error;
  });
  return identity;
}

async function takeIdentity(): Promise<string> {
  const own = crypto.randomUUID();
  await new Promise<void>((resolve, reject) => {
    const untilTheEnd = () => {
      resolve();
      return new Promise<never>(() => {});
    };
    originLocks()
      .request(WRITER_LOCK + own, untilTheEnd)
      .catch(reject);
  });
  return own;
}
