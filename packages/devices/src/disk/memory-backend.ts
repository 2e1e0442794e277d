/** A disk in memory, of which only what was written takes room. */
import { type BlockBackend, checkRange, closed, type Extent, lengthOf } from "./block-backend.js";
import { SparseBytes } from "./sparse-bytes.js";

/** A disk in memory. */
export class MemoryBackend implements BlockBackend {
  readonly isReadOnly = false;
  private isClosed = false;
  private readonly bytes: SparseBytes;

  /**
   * @param size bytes
   * @param options.limitBytes memory that it may take, at most; writes beyond fail with `E_DISK_FULL`
   */
  constructor(
    readonly size: number,
    private readonly options: { readonly name?: string; readonly limitBytes?: number } = {},
  ) {
    this.bytes = new SparseBytes(options.limitBytes);
  }

  /** Bytes of memory in use. */
  get allocatedBytes(): number {
    return this.bytes.allocatedBytes;
  }

  async read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    this.check(offset, lengthOf(buffers));
    this.bytes.read(offset, buffers);
  }

  async write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    this.check(offset, lengthOf(buffers));
    this.bytes.write(offset, buffers);
  }

  async flush(): Promise<void> {
    this.check(0, 0);
  }

  async discard(offset: number, length: number): Promise<void> {
    this.check(offset, length);
    this.bytes.clear(offset, length);
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    return this.discard(offset, length);
  }

  async extent(offset: number, length: number): Promise<Extent> {
    this.check(offset, length);
    const { isWritten, left } = this.bytes.chunkAt(offset);
    return { length: Math.min(left, length), kind: isWritten ? "data" : "zero", depth: 0 };
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }

  private check(offset: number, length: number): void {
    const { name = "memory disk" } = this.options;
    if (this.isClosed) throw closed(name);
    checkRange(name, this.size, offset, length);
  }
}
