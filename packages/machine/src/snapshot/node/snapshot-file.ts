/**
 * Snapshots as files. A snapshot is written beside its place, under a name that begins with a dot, made durable, and
 * renamed: whatever goes wrong on the way (a full disk, a crash), the file of that name is the old one or the new one,
 * whole. It holds all that a guest knows, so only its owner may read it, whatever the umask says.
 */
import { randomUUID } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, read } from "node:fs";
import { open, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { fileReason } from "../../files/file-reason.js";
import { zstdCodec } from "../codec.js";
import { whileDrained } from "../drain.js";
import { SnapshotError } from "../errors.js";
import {
  encodeMachine,
  restoreWithDisks,
  type SnapshotMachine,
  type SnapshotReport,
  settleMachine,
} from "../machine.js";

/** The file operations that a snapshot is written with; tests replace them. */
export interface SnapshotFiles {
  readonly open: typeof open;
  readonly rename: typeof rename;
  readonly unlink: typeof unlink;
}

/** Whose they are: read and written by the owner. */
const OWNER_ONLY = 0o600;
const IN_PROGRESS = ".snapshot-in-progress";
/** Largest file that is read. */
const MAXIMUM_BYTES = 0x200000000;

/**
 * Saves a machine that stands still, once its devices have nothing in hand.
 * @throws SnapshotError `E_SNAPSHOT_FILE`, MachineError `E_DEVICES_BUSY` if they do not answer in time: the file of that
 *   name, if there was one, is as it was
 */
export async function saveSnapshotFile(
  path: string,
  machine: SnapshotMachine,
  files: SnapshotFiles = { open, rename, unlink },
): Promise<SnapshotReport> {
  const codec = await zstdCodec();
  const { pieces, report } = await whileDrained(machine, async () =>
    encodeMachine(machine, codec, await settleMachine(machine)),
  );
  // Of a name that nobody has had: a thread that was ended in the middle of a snapshot has left its file.
  const beside = join(dirname(path), `.${randomUUID()}${IN_PROGRESS}`);
  try {
    const file = await files.open(beside, "wx", OWNER_ONLY);
    try {
      // A umask may have taken more away than anybody wanted.
      await file.chmod(OWNER_ONLY);
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
  return restoreWithDisks(await readWhole(path), machine, codec, { lazy: options.lazy ?? true });
}

const readAt = promisify(read);
/** Bytes that one read takes at most. */
const MOST_AT_ONCE = 2 ** 30;

/**
 * The content of a file, which is opened once; of nothing else, so that a FIFO keeps nobody waiting. It is opened and closed in
 * this thread: Node closes what a thread has open when it is ended, but not what another one has opened for it and not yet
 * handed over.
 */
async function readWhole(path: string): Promise<Uint8Array> {
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(file);
      if (!stat.isFile()) throw new Error("it is no regular file");
      if (stat.size > MAXIMUM_BYTES) throw new Error(`it has more than ${MAXIMUM_BYTES / 2 ** 30} GiB`);
      const bytes = new Uint8Array(stat.size);
      let at = 0;
      while (at < bytes.length) {
        const { bytesRead } = await readAt(file, bytes, at, Math.min(bytes.length - at, MOST_AT_ONCE), at);
        if (bytesRead === 0) break;
        at += bytesRead;
      }
      return bytes.subarray(0, at);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    throw fileError(`can't read the snapshot ${path}`, cause);
  }
}

function fileError(what: string, cause: unknown): SnapshotError {
  return new SnapshotError("E_SNAPSHOT_FILE", `${what}: ${fileReason(cause)}`, undefined, { cause });
}
