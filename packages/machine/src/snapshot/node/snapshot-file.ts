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
import { directoryLength, HEADER_BYTES, sectionPlaces } from "../directory.js";
import { whileDrained } from "../drain.js";
import { SnapshotError } from "../errors.js";
import {
  encodeMachine,
  largestSnapshot,
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
 * Restores a machine from a file. Pages come in as they are used unless `lazy` is false. A file that can be none of this
 * machine is refused before it is read.
 * @throws SnapshotError; see `restoreMachine`
 */
export async function restoreSnapshotFile(
  path: string,
  machine: SnapshotMachine,
  options: { readonly lazy?: boolean } = {},
): Promise<SnapshotReport> {
  const codec = await zstdCodec();
  const bytes = await readWhole(path, largestSnapshot(machine));
  return restoreWithDisks(bytes, machine, codec, { lazy: options.lazy ?? true });
}

const readAt = promisify(read);
/** Bytes that one read takes at most. */
const MOST_AT_ONCE = 2 ** 30;

/**
 * The content of a snapshot's file, which is opened once; of nothing else, so that a FIFO keeps nobody waiting. It is opened and
 * closed in this thread: Node closes what a thread has open when it is ended, but not what another one has opened for it and not
 * yet handed over.
 *
 * A file's length is what anybody wrote, and may be of a disk's holes: memory is given to the rest only once header and
 * directory have said the same of it.
 * @param most bytes that it can have
 */
async function readWhole(path: string, most: number): Promise<Uint8Array> {
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(file);
      if (!stat.isFile()) throw new Error("it is no regular file");
      const { size } = stat;
      if (size > MAXIMUM_BYTES) throw new Error(`it has more than ${MAXIMUM_BYTES / 2 ** 30} GiB`);
      const header = await readPart(file, 0, Math.min(size, HEADER_BYTES));
      const directory = await readPart(file, HEADER_BYTES, directoryLength(header, size));
      sectionPlaces(header, directory, size);
      if (size > most)
        throw new SnapshotError(
          "E_SNAPSHOT_MACHINE",
          `the snapshot is of another machine: it has ${size} bytes, and one of this machine at most ${most}`,
        );
      return await readPart(file, 0, size);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    if (cause instanceof SnapshotError) throw cause;
    throw fileError(`can't read the snapshot ${path}`, cause);
  }
}

/** Bytes of a file; fewer where it ends. */
async function readPart(file: number, from: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const { bytesRead } = await readAt(file, bytes, at, Math.min(length - at, MOST_AT_ONCE), from + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}

function fileError(what: string, cause: unknown): SnapshotError {
  return new SnapshotError("E_SNAPSHOT_FILE", `${what}: ${fileReason(cause)}`, undefined, { cause });
}
