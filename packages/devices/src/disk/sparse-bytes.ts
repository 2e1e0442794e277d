/**
 * Bytes at any offset, of which only the chunks that were written take memory. Forks share chunks until one of them
 * writes, so that a fork costs one entry of a map a chunk.
 */
import { DiskError } from "./errors.js";

/** Bytes of a chunk. */
export const CHUNK_BYTES = 65536;

interface Chunk {
  readonly bytes: Uint8Array;
  /** Who may write it: another owner's chunk is copied first. */
  readonly owner: object;
}

/** Memory with holes, which read as zeros. */
export class SparseBytes {
  private chunks = new Map<number, Chunk>();
  /** Changes with every fork, so that neither side owns what they share. */
  private owner = {};

  /** @param limitBytes what the chunks may take, at most */
  constructor(private readonly limitBytes: number = Infinity) {}

  /** What the chunks take, those shared with forks included. */
  get allocatedBytes(): number {
    return this.chunks.size * CHUNK_BYTES;
  }

  read(offset: number, buffers: readonly Uint8Array[]): void {
    this.visit(offset, buffers, (index, from, part) => {
      const chunk = this.chunks.get(index);
      if (chunk === undefined) part.fill(0);
      else part.set(chunk.bytes.subarray(from, from + part.length));
    });
  }

  /** @throws DiskError `E_DISK_FULL` beyond the limit */
  write(offset: number, buffers: readonly Uint8Array[]): void {
    this.visit(offset, buffers, (index, from, part) => this.own(index).set(part, from));
  }

  /** Lets a range read as zeros; whole chunks take no memory any more. */
  clear(offset: number, length: number): void {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / CHUNK_BYTES);
      const from = at - index * CHUNK_BYTES;
      const to = Math.min(CHUNK_BYTES, end - index * CHUNK_BYTES);
      if (from === 0 && to === CHUNK_BYTES) this.chunks.delete(index);
      else if (this.chunks.has(index)) this.own(index).fill(0, from, to);
      at += to - from;
    }
  }

  /** Whether the chunk at `offset` has been written, and the bytes from there to the end of the chunk. */
  chunkAt(offset: number): { readonly isWritten: boolean; readonly left: number } {
    const index = Math.floor(offset / CHUNK_BYTES);
    return { isWritten: this.chunks.has(index), left: (index + 1) * CHUNK_BYTES - offset };
  }

  /** The chunks that have been written, by number, in no order. Their bytes are not to be changed. */
  *written(): Iterable<readonly [index: number, bytes: Uint8Array]> {
    for (const [index, { bytes }] of this.chunks) yield [index, bytes];
  }

  /** The same bytes, for another owner. */
  fork(): SparseBytes {
    const fork = new SparseBytes(this.limitBytes);
    fork.chunks = new Map(this.chunks);
    this.owner = {};
    return fork;
  }

  /** A chunk's bytes for writing. */
  private own(index: number): Uint8Array {
    const chunk = this.chunks.get(index);
    if (chunk?.owner === this.owner) return chunk.bytes;
    if (chunk === undefined && this.allocatedBytes + CHUNK_BYTES > this.limitBytes) {
      throw new DiskError(
        "E_DISK_FULL",
        `the disk's memory of ${this.limitBytes} bytes is used up; give it more, or write to a file`,
      );
    }
    const bytes = chunk === undefined ? new Uint8Array(CHUNK_BYTES) : chunk.bytes.slice();
    this.chunks.set(index, { bytes, owner: this.owner });
    return bytes;
  }

  private visit(
    offset: number,
    buffers: readonly Uint8Array[],
    each: (index: number, from: number, part: Uint8Array) => void,
  ): void {
    let at = offset;
    for (const buffer of buffers) {
      for (let done = 0; done < buffer.length; ) {
        const index = Math.floor(at / CHUNK_BYTES);
        const from = at - index * CHUNK_BYTES;
        const length = Math.min(CHUNK_BYTES - from, buffer.length - done);
        each(index, from, buffer.subarray(done, done + length));
        done += length;
        at += length;
      }
    }
  }
}
