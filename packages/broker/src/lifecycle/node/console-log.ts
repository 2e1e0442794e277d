/**
 * A VM's console log: a file that is renamed to `.1` when it has reached its size, so that a flood fills no disk.
 *
 * Jobs (writing, reading the end, closing) run one after another, away from the daemon's thread: a slow disk holds only
 * the VMs that print to it. What can't be written (the disk is full, a folder is in the way) is lost, counted and told
 * once; writing is tried again from time to time, and told when it works. No error of the file leaves this module but
 * through `tail`.
 */
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { fileErrorReason } from "../../files/file-reason.js";
import { makeFolders, OWNER_ONLY } from "../../files/node/make-folders.js";
import { LifecycleError } from "../errors.js";

/** The file operations of a log; tests replace them. */
export interface LogFiles {
  readonly mkdir: typeof mkdir;
  readonly open: typeof open;
  readonly rename: typeof rename;
}

/** Milliseconds after a failure in which nothing is tried. */
const RETRY_MS = 1000;
/** Milliseconds that closing waits for a disk that does not answer. */
const CLOSE_MS = 2000;
/** Bytes that are read at once. */
const PIECE = 65_536;
/** A fifo or a device in the file's place must not make opening wait. */
const APPEND = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NONBLOCK;
const READ = constants.O_RDONLY | constants.O_NONBLOCK;

/** The end of a log, as it was when it was asked for. */
export interface LogTail {
  readonly bytes: number;
  /** The bytes in pieces; to be read to the end or left, which closes the files. */
  parts(): AsyncGenerator<Uint8Array, void>;
}

interface FilePart {
  readonly file: FileHandle;
  readonly from: number;
  readonly to: number;
}

/** A log. */
export class ConsoleLog {
  private file: FileHandle | undefined;
  private bytes = 0;
  private last: Promise<void> = Promise.resolve();
  private isDiscarded = false;
  /** Bytes that were lost since writing failed; undefined while it works. */
  private lost: number | undefined;
  private retryAt = 0;

  /**
   * @param path of the file; its folder is made when it is needed
   * @param most bytes of one file
   * @param tell takes a line when writing fails, and one when it works again
   */
  constructor(
    readonly path: string,
    private readonly most: number,
    private readonly tell: (message: string) => void = () => {},
    private readonly files: LogFiles = { mkdir, open, rename },
  ) {}

  /** Writes bytes after those before; resolves when they are written or lost. */
  write(bytes: Uint8Array): Promise<void> {
    return this.inTurn(async () => {
      if (this.isDiscarded) return;
      if (this.lost !== undefined && performance.now() < this.retryAt) {
        this.lost += bytes.length;
        return;
      }
      try {
        await this.append(bytes);
      } catch (error) {
        await this.fail(bytes.length, error as Error);
        return;
      }
      if (this.lost === undefined) return;
      this.tell(`its console log is written again: ${this.lost} bytes are missing in it`);
      this.lost = undefined;
    });
  }

  /**
   * The last bytes of what was written before this call, of the file before too if they reach back that far.
   * @throws LifecycleError `E_LOG` (the promise rejects) if there is a log that can't be read
   */
  tail(bytes: number): Promise<LogTail> {
    return this.inTurn(async () => {
      const parts: FilePart[] = [];
      let left = bytes;
      try {
        for (const path of [this.path, `${this.path}.1`]) {
          if (left <= 0) break;
          const file = await this.files.open(path, READ).catch((error) => {
            if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
            throw error;
          });
          if (file === undefined) continue;
          const stats = await file.stat();
          if (!stats.isFile()) {
            await file.close();
            throw new Error("it is no regular file");
          }
          const from = Math.max(0, stats.size - left);
          left -= stats.size - from;
          parts.unshift({ file, from, to: stats.size });
        }
      } catch (error) {
        await closeAll(parts);
        throw new LifecycleError(
          "E_LOG",
          `can't read the console log ${this.path}: ${fileErrorReason(error)}`,
          { cause: error },
        );
      }
      return { bytes: bytes - left, parts: () => readParts(parts) };
    });
  }

  /** Closes the file after what is under way, or when the disk has not answered for two seconds; it may be written again. */
  async close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS);
    });
    await Promise.race([this.inTurn(() => this.closeFile()), late]);
    clearTimeout(timer);
  }

  /** Closes it for good: what is not written yet is for nobody. */
  discard(): void {
    this.isDiscarded = true;
    void this.inTurn(() => this.closeFile());
  }

  private async append(bytes: Uint8Array): Promise<void> {
    if (this.file === undefined) {
      await makeFolders(dirname(this.path), OWNER_ONLY, this.files.mkdir);
      this.file = await this.files.open(this.path, APPEND, 0o600);
      const stats = await this.file.stat();
      if (!stats.isFile()) throw new Error("it is no regular file");
      this.bytes = stats.size;
    }
    if (this.bytes >= this.most) {
      await this.closeFile();
      await this.files.rename(this.path, `${this.path}.1`);
      this.file = await this.files.open(this.path, APPEND, 0o600);
      this.bytes = 0;
    }
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.file.write(bytes, at);
      at += bytesWritten;
      this.bytes += bytesWritten;
    }
  }

  private async fail(bytes: number, error: Error): Promise<void> {
    await this.closeFile();
    this.retryAt = performance.now() + RETRY_MS;
    if (this.lost === undefined)
      this.tell(
        `can't write its console log ${this.path}: ${fileErrorReason(error)}; the VM goes on, and what it prints is not kept`,
      );
    this.lost = (this.lost ?? 0) + bytes;
  }

  private async closeFile(): Promise<void> {
    const { file } = this;
    this.file = undefined;
    await file?.close().catch(() => {});
  }

  private inTurn<Result>(job: () => Promise<Result>): Promise<Result> {
    const result = this.last.then(job);
    this.last = result.then(
      () => {},
      () => {},
    );
    return result;
  }
}

async function* readParts(parts: readonly FilePart[]): AsyncGenerator<Uint8Array, void> {
  try {
    for (const { file, from, to } of parts) {
      for (let at = from; at < to; ) {
        const piece = new Uint8Array(Math.min(PIECE, to - at));
        const { bytesRead } = await file.read(piece, 0, piece.length, at);
        // Somebody has cut the file since.
        if (bytesRead === 0) break;
        at += bytesRead;
        yield piece.subarray(0, bytesRead);
      }
    }
  } finally {
    await closeAll(parts);
  }
}

async function closeAll(parts: readonly FilePart[]): Promise<void> {
  for (const { file } of parts) await file.close().catch(() => {});
}
