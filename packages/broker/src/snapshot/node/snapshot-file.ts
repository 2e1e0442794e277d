/**
 * Snapshots as files. A snapshot is written beside its place, made durable, and renamed: whatever goes wrong on the
 * way (a full disk, a crash), the file of that name is the old one or the new one, whole.
 */
import { open, readFile, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { zstdCodec } from "../codec.js";
import { SnapshotError } from "../errors.js";
import { encodeMachine, restoreMachine, type SnapshotMachine, type SnapshotReport } from "../machine.js";

/** The file operations that a snapshot is written with; tests replace them. */
export interface SnapshotFiles {
  readonly open: typeof open;
  readonly rename: typeof rename;
  readonly unlink: typeof unlink;
}

let written = 0;

/**
 * Saves a machine that stands still.
 * @throws SnapshotError `E_SNAPSHOT_FILE`: the file of that name, if there was one, is as it was
 */
export async function saveSnapshotFile(
  path: string,
  machine: SnapshotMachine,
  files: SnapshotFiles = { open, rename, unlink },
): Promise<SnapshotReport> {
  const { pieces, report } = encodeMachine(machine, await zstdCodec());
  const beside = join(dirname(path), `.${process.pid}-${written++}.snapshot-in-progress`);
  try {
    const file = await files.open(beside, "wx");
    try {
      for (const piece of pieces) await file.writeFile(piece);
      await file.sync();
    } finally {
      await file.close();
    }
    await files.rename(beside, path);
  } catch (cause) {
    await files.unlink(beside).catch(() => {});
    throw fileError(`can't write the snapshot ${path}`, cause);
  }
  return report;
}

/**
 * Restores a machine from a file. Pages come in as they are used unless `lazy` is false.
 * @throws SnapshotError; see `restoreMachine`
 */
export async function restoreSnapshotFile(
  path: string,
  machine: SnapshotMachine,
  options: { readonly lazy?: boolean } = {},
): Promise<SnapshotReport> {
  const codec = await zstdCodec();
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw fileError(`can't read the snapshot ${path}`, cause);
  }
  return restoreMachine(bytes, machine, codec, { lazy: options.lazy ?? true });
}

const reasons: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full: make room and try again",
  EDQUOT: "the disk quota is used up: make room and try again",
  ENOENT: "there is no such file or folder",
  EACCES: "access is denied",
  EROFS: "the file system is read-only",
};

function fileError(what: string, cause: unknown): SnapshotError {
  const { code = "", message = "" } = cause as { code?: string; message?: string };
  return new SnapshotError("E_SNAPSHOT_FILE", `${what}: ${reasons[code] ?? message}`, undefined, { cause });
}
