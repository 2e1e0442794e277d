/**
 * A file of the browser's private file system as an {@link ImageFile}. Who has it open has it for himself: the browser's
 * access handle is its lock, and ends with its worker, so a tab that was killed locks nobody out.
 *
 * All calls take the worker's thread until they are done. A write has a fixed price, so that small buffers are written
 * together. A flush that failed once fails for good, since nobody knows what the browser has kept.
 */
import { closed, lengthOf, readOnly } from "../disk/block-backend.js";
import { DiskError } from "../disk/errors.js";
import type { ImageFile } from "../disk/image-file.js";
import {
  browserError,
  findFile,
  folderIn,
  full,
  inUse,
  type PrivateFile,
  partsOf,
  privateRoot,
  type SyncAccess,
} from "./browser-files.js";

/** How a file is opened. */
export interface OpfsFileOptions {
  /** Any number of readers may have a file that nobody writes, in browsers that let them. */
  readonly isReadOnly?: boolean;
  /** Makes the file and its folders; one that is there is refused. */
  readonly create?: boolean;
}

/** Buffers that are shorter are written together, as many bytes at once. */
const [SMALL_BYTES, TOGETHER_BYTES] = [64 << 10, 1 << 20];
/** Milliseconds for which a file that is in use is waited for: browsers end a page's workers some time after it is left. */
const [IN_USE_MS, LOOK_AGAIN_MS] = [1000, 50];

/** A file of the private file system, in a worker. */
export class OpfsFile implements ImageFile {
  readonly isReadOnly: boolean;
  private length: number;
  private failedFlush: DiskError | undefined;
  private isClosed = false;

  /**
   * @param name what messages call it
   * @param access it is closed with the file
   */
  constructor(
    readonly name: string,
    private readonly access: SyncAccess,
    options: { readonly isReadOnly?: boolean } = {},
  ) {
    this.isReadOnly = options.isReadOnly ?? false;
    this.length = access.getSize();
  }

  /**
   * Opens or makes a file by its name, with slashes between folders.
   * @throws DiskError `E_IMAGE_LOCKED` if another tab or VM has it; `E_IMAGE_FORMAT` for a name that can't be;
   *   `E_DISK_FULL`, `E_DISK_IO`
   */
  static async open(name: string, options: OpfsFileOptions = {}): Promise<OpfsFile> {
    const { isReadOnly = false, create = false } = options;
    const parts = partsOf(name);
    const leaf = parts.pop()!;
    try {
      const folder = await folderIn(await privateRoot(), parts, create);
      if (create && (await findFile(folder, leaf)) !== undefined) throw isThere(name);
      const handle = await folder.getFileHandle(leaf, { create });
      const file = await openHandle(name, handle, isReadOnly);
      if (!create || file.size === 0) return file;
      // Another tab has made it meanwhile.
      await file.close();
      throw isThere(name);
    } catch (error) {
      throw browserError(name, create ? "make" : "open", error);
    }
  }

  get size(): number {
    return this.length;
  }

  async read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    this.checkOpen();
    let at = offset;
    for (const buffer of buffers) {
      for (let done = 0; done < buffer.length; ) {
        const rest = buffer.subarray(done);
        const count = this.call("read", () => this.access.read(rest, { at: at + done }));
        if (count === 0) rest.fill(0);
        done += count === 0 ? rest.length : count;
      }
      at += buffer.length;
    }
  }

  async write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    this.checkWritable();
    let at = offset;
    try {
      for (const buffer of together(buffers)) {
        for (let done = 0; done < buffer.length; ) {
          const rest = done === 0 ? buffer : buffer.subarray(done);
          const count = this.call("write", () => this.access.write(rest, { at }));
          if (count === 0) throw full(this.name);
          done += count;
          at += count;
        }
      }
    } finally {
      this.length = Math.max(this.length, at);
    }
  }

  async flush(): Promise<void> {
    this.checkOpen();
    if (this.isReadOnly) return;
    if (this.failedFlush !== undefined) throw this.failedFlush;
    try {
      this.call("flush", () => this.access.flush());
    } catch (error) {
      throw (this.failedFlush = error as DiskError);
    }
  }

  async truncate(size: number): Promise<void> {
    this.checkWritable();
    this.call("resize", () => this.access.truncate(size));
    this.length = size;
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.call("close", () => this.access.close());
  }

  private checkOpen(): void {
    if (this.isClosed) throw closed(this.name);
  }

  private checkWritable(): void {
    if (this.isReadOnly) throw readOnly(this.name);
    this.checkOpen();
    if (this.failedFlush !== undefined) throw this.failedFlush;
  }

  private call<T>(what: string, job: () => T): T {
    try {
      return job();
    } catch (error) {
      throw browserError(this.name, what, error);
    }
  }
}

const isThere = (name: string): DiskError =>
  new DiskError(
    "E_DISK_IO",
    `${name}: can't make the file: the file is there already; remove it, or use another name`,
  );

/** Opens a file by its handle; as {@link accessTo}. */
export async function openHandle(name: string, handle: PrivateFile, isReadOnly: boolean): Promise<OpfsFile> {
  const access = await accessTo(name, handle, isReadOnly);
  try {
    return new OpfsFile(name, access, { isReadOnly });
  } catch (error) {
    access.close();
    throw error;
  }
}

/**
 * Access to a file, which nobody else has until it is closed.
 * @throws DiskError `E_IMAGE_LOCKED` if somebody still has it after a second; `E_DISK_IO` outside workers
 */
export async function accessTo(name: string, file: PrivateFile, isReadOnly: boolean): Promise<SyncAccess> {
  if (file.createSyncAccessHandle === undefined)
    throw new DiskError(
      "E_DISK_IO",
      `${name}: only workers write the browser's private files; open it in the worker that runs the VM`,
    );
  for (let waited = 0; ; waited += LOOK_AGAIN_MS) {
    try {
      return await file.createSyncAccessHandle({ mode: isReadOnly ? "read-only" : "readwrite" });
    } catch (error) {
      const refused = browserError(name, "open", error);
      if (refused.code !== "E_IMAGE_LOCKED") throw refused;
      if (waited >= IN_USE_MS) throw inUse(name, error);
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }
}

/** The same bytes in fewer buffers. */
function* together(buffers: readonly Uint8Array[]): Iterable<Uint8Array> {
  let small: Uint8Array[] = [];
  let bytes = 0;
  for (const buffer of buffers) {
    const isSmall = buffer.length < SMALL_BYTES;
    if (small.length > 0 && (!isSmall || bytes + buffer.length > TOGETHER_BYTES)) {
      yield joined(small);
      [small, bytes] = [[], 0];
    }
    if (isSmall) {
      small.push(buffer);
      bytes += buffer.length;
    } else yield buffer;
  }
  if (small.length > 0) yield joined(small);
}

function joined(buffers: readonly Uint8Array[]): Uint8Array {
  if (buffers.length === 1) return buffers[0]!;
  const whole = new Uint8Array(lengthOf(buffers));
  let at = 0;
  for (const buffer of buffers) {
    whole.set(buffer, at);
    at += buffer.length;
  }
  return whole;
}
