/** A file of a view that is open. */
import { constants, fdatasync, fsync, read, write } from "node:fs";
import { FolderError } from "../errors.js";
import type { FolderFile, OpenMode } from "../shared-folder.js";
import type { Handle } from "./handles.js";
import { call } from "./host-calls.js";

/** What a file asks of its view. @typeParam Node the view's nodes */
interface FileOwner<Node> {
  openHandle(node: Node, mode: Pick<OpenMode, "read" | "write">, flags: number): Promise<Handle>;
  confine(fd: number): void;
  closed(file: LinuxFile<Node>, node: Node): void;
}

/** The host's flags for a mode. */
export function openFlags({ read, write, truncate, sync }: OpenMode): number {
  const access = write ? (read ? constants.O_RDWR : constants.O_WRONLY) : constants.O_RDONLY;
  const waits = sync === "all" ? constants.O_SYNC : sync === "data" ? constants.O_DSYNC : 0;
  return access | waits | (truncate ? constants.O_TRUNC : 0);
}

/** An open file. One that was restored is opened when it is first used. */
export class LinuxFile<Node = unknown> implements FolderFile {
  /** For writes at the end: it is the host that knows where that is. */
  private appending: Handle | undefined;
  private isClosed = false;

  constructor(
    private readonly owner: FileOwner<Node>,
    private readonly node: Node,
    readonly mode: OpenMode,
    private handle: Handle | undefined,
  ) {}

  async read(offset: number, buffer: Uint8Array): Promise<number> {
    if (!this.mode.read) throw new FolderError("EBADF");
    return this.use(async (fd) => {
      this.owner.confine(fd);
      let done = 0;
      while (done < buffer.length) {
        const [from, length] = [done, buffer.length - done];
        const count = await call<number>((end) => read(fd, buffer, from, length, offset + from, end));
        if (count === 0) break;
        done += count;
      }
      return done;
    });
  }

  async write(offset: number, bytes: Uint8Array, isAppend: boolean): Promise<void> {
    if (!this.mode.write) throw new FolderError("EBADF");
    const handle = isAppend ? await this.forAppending() : await this.own();
    await handle.use(async (fd) => {
      this.owner.confine(fd);
      for (let done = 0; done < bytes.length; ) {
        const [from, length] = [done, bytes.length - done];
        done += await call<number>((end) => write(fd, bytes, from, length, offset + from, end));
      }
    });
  }

  sync(isDataOnly: boolean): Promise<void> {
    return this.use((fd) => call((done) => (isDataOnly ? fdatasync : fsync)(fd, done as never)));
  }

  /** Does something with its handle. */
  async use<T>(job: (fd: number) => Promise<T>): Promise<T> {
    return (await this.own()).use(job);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.handle?.release();
    this.appending?.release();
    this.owner.closed(this, this.node);
  }

  private async own(): Promise<Handle> {
    return this.handle ?? (this.handle = await this.opened(openFlags(this.mode), () => this.handle));
  }

  private async forAppending(): Promise<Handle> {
    const flags = openFlags({ ...this.mode, read: false, truncate: false }) | constants.O_APPEND;
    return this.appending ?? (this.appending = await this.opened(flags, () => this.appending));
  }

  /** Opens a handle, unless another request has done so meanwhile, or the file was closed. */
  private async opened(flags: number, there: () => Handle | undefined): Promise<Handle> {
    const handle = await this.owner.openHandle(this.node, this.mode, flags);
    const other = there();
    if (other !== undefined || this.isClosed) handle.release();
    if (this.isClosed) throw new FolderError("EBADF");
    return other ?? handle;
  }
}
