/** A disk in memory, of which only what was written takes room. */
import { type BlockBackend, type Extent, lengthOf } from "./block-backend.js";
import { Requests } from "./requests.js";
import { SparseBytes } from "./sparse-bytes.js";

/** A disk in memory. */
export class MemoryBackend implements BlockBackend {
  readonly isReadOnly = false;
  private readonly requests: Requests;
  private bytes: SparseBytes;

  /**
   * @param size bytes
   * @param options.limitBytes memory that it may take, at most; writes beyond fail with `E_DISK_FULL`
   */
  constructor(
    readonly size: number,
    private readonly options: { readonly name?: string; readonly limitBytes?: number } = {},
  ) {
    this.bytes = new SparseBytes(options.limitBytes);
    this.requests = new Requests(options.name ?? "memory disk", size);
  }

  /** Bytes of memory in use. */
  get allocatedBytes(): number {
    return this.bytes.allocatedBytes;
  }

  async read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    this.requests.check(offset, lengthOf(buffers));
    this.bytes.read(offset, buffers);
  }

  async write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    this.requests.check(offset, lengthOf(buffers));
    this.bytes.write(offset, buffers);
  }

  async flush(): Promise<void> {
    this.requests.check(0, 0);
  }

  async discard(offset: number, length: number): Promise<void> {
    this.requests.check(offset, length);
    this.bytes.clear(offset, length);
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    return this.discard(offset, length);
  }

  async extent(offset: number, length: number): Promise<Extent> {
    this.requests.check(offset, length);
    const { isWritten, left } = this.bytes.chunkAt(offset);
    return { length: Math.min(left, length), kind: isWritten ? "data" : "zero", depth: 0 };
  }

  async close(): Promise<void> {
    await this.requests.close();
  }

  /** A disk that shares what has been written until one of the two writes it again. */
  fork(): MemoryBackend {
    const fork = new MemoryBackend(this.size, this.options);
    fork.bytes = this.bytes.fork();
    return fork;
  }
}
