/**
 * The host's calls on files, off the thread that asks, with their errors as the guest's. By callback: the promises of
 * `node:fs` take up to twice the time of the thread that asks, which is the guest's.
 */
import { type BigIntStats, constants, fstat, open, readlinkSync, stat } from "node:fs";
import { FolderError, type LinuxErrorName, linuxErrors } from "../errors.js";
import type { FileIdentity } from "../node-table.js";
import type { FolderAttributes, NodeKind } from "../shared-folder.js";

/** Opens no file, only its place (open(2)): nothing is read, and devices and pipes are left alone. */
const O_PATH = 0o10000000;

/** Where the host has the handles of this process. */
const PROC = "/proc/self/fd";

type Done<T> = (error: NodeJS.ErrnoException | null, value: T) => void;

/** Errors of the host that have another name in Linux. */
const otherNames: Readonly<Record<string, LinuxErrorName>> = { ENOTSUP: "EOPNOTSUPP", EAI_MEMORY: "ENOMEM" };

/** The error for the guest; undefined for one that says nothing to it. */
export function guestError(error: unknown): FolderError | undefined {
  if (error instanceof FolderError) return error;
  const code = (error as NodeJS.ErrnoException | null)?.code ?? "";
  const name = Object.hasOwn(linuxErrors, code) ? (code as LinuxErrorName) : otherNames[code];
  return name === undefined ? undefined : new FolderError(name);
}

/** A call of the host's. */
export function call<T = void>(start: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) =>
    start((error, value) => (error === null ? resolve(value) : reject(guestError(error) ?? error))),
  );
}

/** Where the host has the file of a handle, as a path: it leads there, wherever that is by now. */
export const pathOf = (fd: number): string => `${PROC}/${fd}`;

/** A name in the folder of a handle. Only the last step can be a link, and whoever uses the path must not follow it. */
export function nameIn(fd: number, name: string): Buffer {
  return Buffer.from(`${pathOf(fd)}/${name}`, "latin1");
}

/** Where the file of a handle is now, as the host names it, a character a byte. */
export const whereabouts = (fd: number): string => readlinkSync(pathOf(fd), "latin1");

/** Opens a name in a folder without opening what it stands for, and without following it. */
export const openPlace = (fd: number, name: string): Promise<number> =>
  call<number>((done) => open(nameIn(fd, name), O_PATH | constants.O_NOFOLLOW, done));

/** Opens the place of what a handle has open. */
export const placeOf = (fd: number): Promise<number> =>
  call<number>((done) => open(pathOf(fd), O_PATH, done));

/** What the host says of a file. */
export const statOf = (fd: number): Promise<BigIntStats> =>
  call<BigIntStats>((done) => fstat(fd, { bigint: true }, done));

/** What kind of file it is. */
export function kindOf(file: {
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
  isBlockDevice(): boolean;
  isCharacterDevice(): boolean;
}): NodeKind | undefined {
  if (file.isFile()) return "file";
  if (file.isDirectory()) return "folder";
  if (file.isSymbolicLink()) return "link";
  if (file.isFIFO()) return "fifo";
  if (file.isSocket()) return "socket";
  if (file.isBlockDevice()) return "block";
  return file.isCharacterDevice() ? "character" : undefined;
}

/**
 * Whether the host tells times of birth. Where its kernel lets nobody ask (statx(2)), Node gives the time of the last change,
 * also for files without a birth, such as those of /proc.
 */
export async function tellsBirth(): Promise<boolean> {
  const { birthtimeNs, ctimeNs } = await call<BigIntStats>((done) => stat(PROC, { bigint: true }, done));
  return birthtimeNs !== ctimeNs;
}

/** What a file is known by. @param hasBirth whether its time of birth is one */
export function identityOf(stat: BigIntStats, hasBirth: boolean): FileIdentity {
  return {
    kind: kindOf(stat) ?? "file",
    device: BigInt.asUintN(64, stat.dev),
    inode: BigInt.asUintN(64, stat.ino),
    born: hasBirth ? BigInt.asIntN(64, stat.birthtimeNs) : 0n,
  };
}

/** What the guest is told of a file. @param inode its number among all files of the view */
export function attributesOf(stat: BigIntStats, inode: bigint): FolderAttributes {
  return {
    kind: kindOf(stat) ?? "file",
    inode,
    size: stat.size,
    blocks: stat.blocks,
    accessed: stat.atimeNs,
    modified: stat.mtimeNs,
    changed: stat.ctimeNs,
    mode: Number(stat.mode) & 0o7777,
    links: Number(stat.nlink),
    blockBytes: Number(stat.blksize),
  };
}
