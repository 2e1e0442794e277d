/**
 * A file of the host's as an {@link ImageFile}: positioned reads and writes of vectors, off the thread that asks.
 *
 * A flush that failed once fails for good: the host may have dropped what it could not write, and would call the next
 * flush a success. The first flush of a new file writes its folder as well: till then its name may go with the power.
 */
import { constants, read, readv, write, writev } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { closed, lengthOf, readOnly, sliceOf } from "../block-backend.js";
import { DiskError } from "../errors.js";
import type { ImageFile } from "../image-file.js";

/** How a file is opened. */
export interface NodeFileOptions {
  readonly isReadOnly?: boolean;
  /** Makes the file; one that is there is refused. */
  readonly create?: boolean;
  /** What messages call it, a file of the same folder; its path by default. */
  readonly name?: string;
}

/** What the host's errors mean, in words. */
const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "permission is denied",
  EPERM: "permission is denied",
  EISDIR: "it is a folder",
  EEXIST: "the file is there already",
  ENOSPC: "no space is left on the device",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file would be larger than is allowed",
  EROFS: "the file system is read-only",
  EIO: "the device reports an error",
  ENOTDIR: "a part of the path is not a folder",
  ELOOP: "its links go in a circle",
  EMFILE: "too many files are open",
};

/** Buffers that hosts take in one call (IOV_MAX), and bytes. */
const [MOST_BUFFERS, MOST_BYTES] = [1024, 1 << 30];

/** The error of a host's call on a file. */
export function fileError(name: string, what: string, error: unknown): DiskError {
  if (error instanceof DiskError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? "";
  const reason = reasons[code] ?? (error instanceof Error ? error.message : String(error));
  const isFull = code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
  return new DiskError(
    isFull ? "E_DISK_FULL" : "E_DISK_IO",
    `${name}: can't ${what} the file: ${reason}`,
    {},
    {
      cause: error,
    },
  );
}

/** The error for what is no regular file: pipes and devices may never answer, and have no bytes at places. */
export const notRegular = (path: string): DiskError =>
  new DiskError("E_DISK_IO", `${path}: an image has to be a regular file, which this is not`);

/** A file of the host's. */
export class NodeFile implements ImageFile {
  private failedFlush: DiskError | undefined;
  private isClosed = false;
  /** Reads and writes under way, and who waits for their end. */
  private transfers = 0;
  private idle: (() => void)[] = [];

  private constructor(
    readonly name: string,
    readonly isReadOnly: boolean,
    private readonly handle: FileHandle,
    private length: number,
    /** Whether the folder does not surely have the file's name yet. */
    private isNew: boolean,
  ) {}

  /**
   * Opens or makes a file.
   * @throws DiskError `E_DISK_IO` with the host's error as its cause
   */
  static async open(path: string, options: NodeFileOptions = {}): Promise<NodeFile> {
    const { isReadOnly = false, create = false, name = path } = options;
    // Without O_NONBLOCK the open of a pipe that nobody writes waits for ever.
    let flags = constants.O_NONBLOCK | (isReadOnly ? constants.O_RDONLY : constants.O_RDWR);
    if (create) flags |= constants.O_CREAT | constants.O_EXCL;
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, flags, 0o644);
      const stat = await handle.stat();
      if (!stat.isFile()) throw notRegular(name);
      return new NodeFile(name, isReadOnly, handle, stat.size, create);
    } catch (error) {
      await handle?.close();
      throw fileError(name, create ? "make" : "open", error);
    }
  }

  get size(): number {
    return this.length;
  }

  async read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const length = lengthOf(buffers);
    for (let done = 0; done < length; ) {
      const part = sliceOf(buffers, done, Math.min(length - done, MOST_BYTES)).slice(0, MOST_BUFFERS);
      const at = offset + done;
      const bytesRead = await this.transfer("read", (fd, end) => {
        if (part.length === 1) read(fd, part[0]!, 0, part[0]!.length, at, end);
        else readv(fd, part, at, end);
      });
      if (bytesRead === 0) {
        for (const rest of sliceOf(buffers, done, length - done)) rest.fill(0);
        return;
      }
      done += bytesRead;
    }
  }

  async write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    if (this.isReadOnly) throw readOnly(this.name);
    if (this.failedFlush !== undefined) throw this.failedFlush;
    const length = lengthOf(buffers);
    for (let done = 0; done < length; ) {
      const part = sliceOf(buffers, done, Math.min(length - done, MOST_BYTES)).slice(0, MOST_BUFFERS);
      const at = offset + done;
      done += await this.transfer("write", (fd, end) => {
        if (part.length === 1) write(fd, part[0]!, 0, part[0]!.length, at, end);
        else writev(fd, part, at, end);
      });
      this.length = Math.max(this.length, offset + done);
    }
  }

  async flush(): Promise<void> {
    if (this.isReadOnly) return;
    if (this.failedFlush !== undefined) throw this.failedFlush;
    try {
      await this.call("flush", () => this.handle.datasync());
      if (this.isNew) await this.call("flush the folder of", () => syncFolder(dirname(this.name)));
      this.isNew = false;
    } catch (error) {
      throw (this.failedFlush = error as DiskError);
    }
  }

  async truncate(size: number): Promise<void> {
    if (this.isReadOnly) throw readOnly(this.name);
    await this.call("resize", () => this.handle.truncate(size));
    this.length = size;
  }

  async isHole(): Promise<boolean> {
    const { blocks } = await this.call("look at", () => this.handle.stat());
    return blocks === 0;
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    if (this.transfers > 0) await new Promise<void>((resolve) => this.idle.push(resolve));
    await this.call("close", () => this.handle.close());
  }

  /**
   * Reads or writes by the file's number: the methods of a `FileHandle` take up to twice the time of the thread that asks,
   * which is the guest's. So the number must not be another file's meanwhile: `close` waits.
   */
  private async transfer(
    what: string,
    start: (fd: number, end: (error: Error | null, count: number) => void) => void,
  ): Promise<number> {
    if (this.isClosed) throw closed(this.name);
    this.transfers++;
    try {
      return await this.call(
        what,
        () =>
          new Promise<number>((resolve, reject) =>
            start(this.handle.fd, (error, count) => (error === null ? resolve(count) : reject(error))),
          ),
      );
    } finally {
      if (--this.transfers === 0) for (const resolve of this.idle.splice(0)) resolve();
    }
  }

  private async call<T>(what: string, job: () => Promise<T>): Promise<T> {
    try {
      return await job();
    } catch (error) {
      throw fileError(this.name, what, error);
    }
  }
}

/** Makes the names in a folder durable. Windows opens no folder, and keeps names by itself. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
