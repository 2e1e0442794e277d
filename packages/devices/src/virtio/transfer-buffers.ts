/**
 * Host memory through which the data of a device goes: buffers that are used again, since a fresh one is zeroed by the
 * host page by page, and is the garbage collector's afterwards.
 */

/** Bytes of the largest buffer. */
export const MOST_BUFFER_BYTES = 1 << 20;
/** Bytes of the smallest. */
const LEAST_BYTES = 4096;
/** Bytes that are kept for later, at most. */
const KEPT_BYTES = 8 << 20;

/** Buffers that nobody uses now. */
export class TransferBuffers {
  /** By size, a power of two. */
  private readonly free = new Map<number, Uint8Array<ArrayBuffer>[]>();
  private freeBytes = 0;

  /** A buffer of at least `length` bytes, up to {@link MOST_BUFFER_BYTES}, with any content. */
  take(length: number): Uint8Array<ArrayBuffer> {
    const size = Math.max(LEAST_BYTES, 2 ** Math.ceil(Math.log2(length)));
    const buffer = this.free.get(size)?.pop();
    if (buffer === undefined) return new Uint8Array(size);
    this.freeBytes -= size;
    return buffer;
  }

  /** Gives back a buffer that {@link TransferBuffers.take} gave, and that nobody uses any more. */
  give(buffer: Uint8Array<ArrayBuffer>): void {
    if (this.freeBytes + buffer.length > KEPT_BYTES) return;
    this.freeBytes += buffer.length;
    const list = this.free.get(buffer.length);
    if (list === undefined) this.free.set(buffer.length, [buffer]);
    else list.push(buffer);
  }
}
