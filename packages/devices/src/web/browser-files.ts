/**
 * The private file system of a page's origin (OPFS) as it is used here: its calls, names in it, and what its errors mean.
 *
 * A browser gives every origin files that nothing else sees. Only workers write them in place, through an access handle
 * that a file has one of at a time, whichever tab has it; the browser takes it back when its worker ends, however that was.
 */
import { DiskError } from "../disk/errors.js";

/** Access to a file in place: the calls of a `FileSystemSyncAccessHandle`, which take the thread that asks. */
export interface SyncAccess {
  /** Bytes read; fewer than there is room for only at the end. */
  read(buffer: Uint8Array, options: { readonly at: number }): number;
  write(buffer: Uint8Array, options: { readonly at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

/** A file (`FileSystemFileHandle`). */
export interface PrivateFile {
  readonly kind: "file";
  getFile(): Promise<File>;
  /** In workers only. Browsers that don't know `mode` give access to one at a time, also for reading. */
  createSyncAccessHandle?(options?: { readonly mode: "readwrite" | "read-only" }): Promise<SyncAccess>;
  /** Gives the file another name, in the place of the file that has it, at once. */
  move?(folder: PrivateFolder, name: string): Promise<void>;
}

/** A folder (`FileSystemDirectoryHandle`). */
export interface PrivateFolder {
  readonly kind: "directory";
  getFileHandle(name: string, options?: { readonly create?: boolean }): Promise<PrivateFile>;
  getDirectoryHandle(name: string, options?: { readonly create?: boolean }): Promise<PrivateFolder>;
  removeEntry(name: string): Promise<void>;
  entries(): AsyncIterable<[string, PrivateFile | PrivateFolder]>;
}

/** Bytes of a part of a name, and characters of a name, at most: what the file systems below browsers take. */
const [MOST_PART_BYTES, MOST_NAME] = [255, 1024];
/** Characters of a name that can't be that a message shows. */
const SHOWN = 80;
/** Times that a file is looked at again that is being replaced or renewed while it is read. */
const MOST_LOOKS = 20;

/** What errors of the browser mean, in words. */
const reasons: Readonly<Record<string, string>> = {
  NotFoundError: "there is no such file",
  TypeMismatchError: "a folder has its name, or a file that of one of its folders",
  NotReadableError: "the browser can't read it",
  InvalidStateError: "the browser has closed it; load the page again",
};

/** The name of an error of the browser's. */
const errorName = (error: unknown): string => (error instanceof Error ? error.name : "");

/** Whether an error of the browser's says that there is no such file or folder. */
export const isMissing = (error: unknown): boolean => errorName(error) === "NotFoundError";

/** The error for a file that somebody else has. */
export const inUse = (name: string, cause?: unknown): DiskError =>
  new DiskError(
    "E_IMAGE_LOCKED",
    `${name}: the disk is in use by another tab or VM of this browser; close that tab or stop that VM, or use another disk`,
    { image: name },
    { cause },
  );

/** The error of a browser's call on a file. */
export function browserError(name: string, what: string, error: unknown): DiskError {
  if (error instanceof DiskError) return error;
  const kind = errorName(error);
  if (kind === "NoModificationAllowedError") return inUse(name, error);
  if (kind === "QuotaExceededError") return full(name, error);
  if (kind === "SecurityError" || kind === "NotAllowedError") return forbidden(error);
  const reason = reasons[kind] ?? (error instanceof Error ? error.message : String(error));
  return new DiskError("E_DISK_IO", `${name}: can't ${what} the file: ${reason}`, {}, { cause: error });
}

/** The error for bytes that the browser has no room for. */
export const full = (name: string, cause?: unknown): DiskError =>
  new DiskError(
    "E_DISK_FULL",
    `${name}: the browser gives this page no more room; remove disks or snapshots that are not needed, or make room on the computer`,
    {},
    { cause },
  );

const forbidden = (cause: unknown): DiskError =>
  new DiskError(
    "E_DISK_IO",
    "the browser lets this page keep no files; let it store data in the browser's settings, or leave the private window",
    {},
    { cause },
  );

/**
 * The parts of a file's name, the folders first.
 * @throws DiskError `E_IMAGE_FORMAT` if it can't be a name
 */
export function partsOf(name: string): string[] {
  const refuse = (how: string) => {
    const shown = name.length > SHOWN ? `${name.slice(0, SHOWN)}…` : name;
    return new DiskError(
      "E_IMAGE_FORMAT",
      `${JSON.stringify(shown)} can't be the name of a file in the browser: ${how}; use one such as "disks/home.qcow2"`,
    );
  };
  const parts = name.split("/");
  if (parts.includes("")) throw refuse(name === "" ? "it is empty" : "a part of it is empty");
  if (parts.some((part) => part.startsWith("."))) throw refuse("a part of it begins with a dot");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\\\u0000-\u001f\u007f]/.test(name)) throw refuse("it has a backslash or a control character");
  const isLong = parts.some((part) => new TextEncoder().encode(part).length > MOST_PART_BYTES);
  if (isLong || name.length > MOST_NAME)
    throw refuse(
      `it is too long (at most ${MOST_NAME} characters, and ${MOST_PART_BYTES} bytes between slashes)`,
    );
  return parts;
}

/** The origin's first folder. @throws DiskError `E_DISK_IO` where the browser has none for the page */
export async function privateRoot(): Promise<PrivateFolder> {
  const storage = globalThis.navigator?.storage;
  if (typeof storage?.getDirectory !== "function")
    throw new DiskError(
      "E_DISK_IO",
      "this page has no private file system: open it by https: or at localhost, in a current browser",
    );
  try {
    return (await storage.getDirectory()) as unknown as PrivateFolder;
  } catch (error) {
    throw browserError("the private file system", "open", error);
  }
}

/** The origin's locks, which end with who has them. @throws DiskError `E_DISK_IO` where the browser has none */
export function originLocks(): LockManager {
  const locks = globalThis.navigator?.locks;
  if (locks !== undefined) return locks;
  throw new DiskError(
    "E_DISK_IO",
    "this page has no locks (Web Locks): open it by https: or at localhost, in a current browser",
  );
}

/** A folder below another. @param create makes it and those on the way */
export async function folderIn(
  from: PrivateFolder,
  parts: readonly string[],
  create: boolean,
): Promise<PrivateFolder> {
  let folder = from;
  for (const part of parts) folder = await folder.getDirectoryHandle(part, { create });
  return folder;
}

/** A file of a folder; undefined if there is none. */
export async function findFile(folder: PrivateFolder, name: string): Promise<PrivateFile | undefined> {
  try {
    return await folder.getFileHandle(name);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/**
 * The bytes of a file; undefined if there is none.
 * @param check told their number before they are read
 */
export async function readFile(
  folder: PrivateFolder,
  name: string,
  check: (bytes: number) => void = () => {},
): Promise<Uint8Array | undefined> {
  for (let looks = 1; ; looks++) {
    const handle = await findFile(folder, name);
    if (handle === undefined) return undefined;
    try {
      const file = await handle.getFile();
      check(file.size);
      return new Uint8Array(await file.arrayBuffer());
    } catch (error) {
      // A browser gives no bytes of a file that has changed since it was looked at.
      const isChanged = errorName(error) === "NotReadableError" || isMissing(error);
      if (!isChanged || looks === MOST_LOOKS) throw error;
    }
  }
}
