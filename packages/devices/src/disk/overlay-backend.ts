/**
 * Copy on write over any disk: reads go to the disk below until a chunk is written, which is then kept in memory. The disk
 * below is never written, so that many overlays share one; what was written goes with the overlay.
 *
 * Invariant: a chunk in `changed` has all of its bytes. Chunks are filled under an exclusive lock of their range.
 */
import { type BlockBackend, type Extent, lengthOf, sliceOf } from "./block-backend.js";
import { Requests } from "./requests.js";
import { CHUNK_BYTES, SparseBytes } from "./sparse-bytes.js";
import { RangeLocks } from "./turns.js";

/** Bytes of a chunk that is kept whole once a part of it has been written. */
export const OVERLAY_CHUNK_BYTES = CHUNK_BYTES;

/** A disk whose changes are its own. */
export class OverlayBackend implements BlockBackend {
  readonly isReadOnly = false;
  private readonly requests: Requests;
  private readonly locks = new RangeLocks();
  private changed: SparseBytes;
  /** Chunks that read as zeros whatever is below. */
  private zeroed = new Set<number>();

  /**
   * @param base what is below; it stays the caller's to close
   * @param options.limitBytes memory that changes may take, at most; writes beyond fail with `E_DISK_FULL`
   */
  constructor(
    private readonly base: BlockBackend,
    private readonly options: { readonly name?: string; readonly limitBytes?: number } = {},
  ) {
    this.changed = new SparseBytes(options.limitBytes);
    this.requests = new Requests(options.name ?? "overlay", base.size);
  }

  get size(): number {
    return this.base.size;
  }

  /** Bytes of memory that the changes take. */
  get allocatedBytes(): number {
    return this.changed.allocatedBytes;
  }

  read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.request(offset, lengthOf(buffers), false, async () => {
      let done = 0;
      for (const { index, start, length } of this.pieces(offset, lengthOf(buffers))) {
        const part = sliceOf(buffers, done, length);
        if (this.isOwn(index)) this.changed.read(start, part);
        else await this.base.read(start, part);
        done += length;
      }
    });
  }

  write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.request(offset, lengthOf(buffers), true, async () => {
      let done = 0;
      for (const { index, start, length } of this.pieces(offset, lengthOf(buffers))) {
        const part = sliceOf(buffers, done, length);
        if (!this.isOwn(index) && length < this.bytesOf(index)) await this.fill(index, start, part);
        else this.changed.write(start, part);
        this.zeroed.delete(index);
        done += length;
      }
    });
  }

  async flush(): Promise<void> {
    this.requests.check(0, 0);
  }

  discard(offset: number, length: number): Promise<void> {
    return this.request(offset, length, true, async () => {
      for (const { index, length: covered } of this.pieces(offset, length))
        if (covered === this.bytesOf(index)) this.zero(index);
    });
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.request(offset, length, true, async () => {
      for (const { index, start, length: covered } of this.pieces(offset, length)) {
        if (covered === this.bytesOf(index)) this.zero(index);
        else if (this.isOwn(index)) this.changed.clear(start, covered);
        else await this.fill(index, start, [new Uint8Array(covered)]);
      }
    });
  }

  extent(offset: number, length: number): Promise<Extent> {
    return this.request(offset, length, false, async () => {
      const index = Math.floor(offset / CHUNK_BYTES);
      const { isWritten, left } = this.changed.chunkAt(offset);
      const here = Math.min(left, length);
      if (isWritten) return { length: here, kind: "data", depth: 0 };
      if (this.zeroed.has(index)) return { length: here, kind: "zero", depth: 0 };
      const below = await this.base.extent(offset, here);
      return { ...below, depth: below.depth + 1 };
    });
  }

  async close(): Promise<void> {
    await this.requests.close();
  }

  /**
   * Another overlay of the same disk that has the same bytes now; both share what has been written until one of them
   * writes it again. The caller has waited for the writes that the fork is to have.
   */
  fork(): OverlayBackend {
    const fork = new OverlayBackend(this.base, this.options);
    fork.changed = this.changed.fork();
    fork.zeroed = new Set(this.zeroed);
    return fork;
  }

  /**
   * What has been written, by chunks of {@link OVERLAY_CHUNK_BYTES}, in the order of their numbers: their bytes, which are
   * not to be changed, or undefined for zeros. The caller has waited for the writes that he wants.
   */
  *changes(): Iterable<{ readonly index: number; readonly bytes: Uint8Array | undefined }> {
    const all = new Map<number, Uint8Array | undefined>(this.changed.written());
    for (const index of this.zeroed) all.set(index, undefined);
    const indices = [...all.keys()].sort((one, other) => one - other);
    for (const index of indices) yield { index, bytes: all.get(index) };
  }

  /**
   * Takes chunks as {@link OverlayBackend.changes} gave them, in place of what has been written. No request is in flight.
   * @throws DiskError `E_DISK_FULL` beyond the limit, `E_DISK_RANGE` for a chunk that is not there
   */
  adopt(changes: Iterable<{ readonly index: number; readonly bytes: Uint8Array | undefined }>): void {
    const changed = new SparseBytes(this.options.limitBytes);
    const zeroed = new Set<number>();
    for (const { index, bytes } of changes) {
      this.requests.check(index * CHUNK_BYTES, 1);
      if (bytes === undefined) zeroed.add(index);
      else changed.write(index * CHUNK_BYTES, [bytes.subarray(0, CHUNK_BYTES)]);
    }
    this.changed = changed;
    this.zeroed = zeroed;
  }

  private isOwn(index: number): boolean {
    return this.zeroed.has(index) || this.changed.chunkAt(index * CHUNK_BYTES).isWritten;
  }

  private bytesOf(index: number): number {
    return Math.min(CHUNK_BYTES, this.size - index * CHUNK_BYTES);
  }

  /** Takes a chunk from below, changes `part` of it, and keeps it. */
  private async fill(index: number, start: number, part: readonly Uint8Array[]): Promise<void> {
    const chunk = new Uint8Array(this.bytesOf(index));
    const at = index * CHUNK_BYTES;
    await this.base.read(at, [chunk]);
    let to = start - at;
    for (const bytes of part) {
      chunk.set(bytes, to);
      to += bytes.length;
    }
    this.changed.write(at, [chunk]);
  }

  private zero(index: number): void {
    this.changed.clear(index * CHUNK_BYTES, CHUNK_BYTES);
    this.zeroed.add(index);
  }

  private *pieces(offset: number, length: number) {
    for (let start = offset; start < offset + length; ) {
      const index = Math.floor(start / CHUNK_BYTES);
      const end = Math.min((index + 1) * CHUNK_BYTES, offset + length);
      yield { index, start, length: end - start };
      start = end;
    }
  }

  private request<T>(
    offset: number,
    length: number,
    isExclusive: boolean,
    job: () => Promise<T>,
  ): Promise<T> {
    const first = Math.floor(offset / CHUNK_BYTES);
    const end = Math.ceil((offset + length) / CHUNK_BYTES);
    return this.requests.run(offset, length, () => this.locks.run(first, end, isExclusive, job));
  }
}
