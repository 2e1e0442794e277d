/**
 * Bytes of a stream that nobody reads at the moment. Small pieces are put together: a guest that sends single bytes makes
 * the host keep hardly more than these.
 */

/** Pieces from this size on are kept as they are; so there are few. */
const LARGE_BYTES = 4096;

/** The bytes, in their order. */
export class Backlog {
  private readonly pieces: Uint8Array[] = [];
  /** Where small pieces are put together, and how far it is filled. */
  private tail: Uint8Array | undefined;
  private filled = 0;

  get isEmpty(): boolean {
    return this.pieces.length === 0 && this.filled === 0;
  }

  /** Appends bytes, which stay as they are from then on. */
  push(bytes: Uint8Array): void {
    if (bytes.length >= LARGE_BYTES) {
      this.closeTail();
      this.pieces.push(bytes);
      return;
    }
    for (let from = 0; from < bytes.length; ) {
      this.tail ??= new Uint8Array(LARGE_BYTES);
      const part = bytes.subarray(from, from + LARGE_BYTES - this.filled);
      this.tail.set(part, this.filled);
      this.filled += part.length;
      from += part.length;
      if (this.filled === LARGE_BYTES) this.closeTail();
    }
  }

  /** Takes the next piece; undefined if there is none. */
  take(): Uint8Array | undefined {
    if (this.pieces.length === 0) this.closeTail();
    return this.pieces.shift();
  }

  clear(): void {
    this.pieces.length = 0;
    this.tail = undefined;
    this.filled = 0;
  }

  private closeTail(): void {
    if (this.filled > 0) this.pieces.push(this.tail!.slice(0, this.filled));
    this.tail = undefined;
    this.filled = 0;
  }
}
