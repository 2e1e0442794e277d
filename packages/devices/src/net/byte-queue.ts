/** Bytes in the pieces in which they came, to be read from any place and given up from the front. */

/** The queue. */
export class ByteQueue {
  private pieces: Uint8Array[] = [];
  /** Pieces before it were given up. */
  private first = 0;
  /** Bytes of the first piece that were given up. */
  private offset = 0;
  private held = 0;

  get length(): number {
    return this.held;
  }

  /** Appends bytes, which stay as they are from then on. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.pieces.push(bytes);
    this.held += bytes.length;
  }

  /** So many bytes from a place on, fewer at the end; not copied. */
  slice(from: number, length: number): Uint8Array[] {
    const found: Uint8Array[] = [];
    let skip = from + this.offset;
    let left = Math.min(length, this.held - from);
    for (let index = this.first; left > 0; index++) {
      const piece = this.pieces[index]!;
      if (skip >= piece.length) {
        skip -= piece.length;
        continue;
      }
      const part = piece.subarray(skip, skip + left);
      found.push(part);
      left -= part.length;
      skip = 0;
    }
    return found;
  }

  /** A copy of so many bytes from a place on, fewer at the end. */
  bytes(from: number, length: number): Uint8Array {
    const pieces = this.slice(from, length);
    const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  /** Gives up so many bytes from the front. */
  drop(count: number): void {
    let left = Math.min(count, this.held);
    this.held -= left;
    while (left > 0) {
      const rest = this.pieces[this.first]!.length - this.offset;
      if (left < rest) {
        this.offset += left;
        break;
      }
      left -= rest;
      this.offset = 0;
      // What was given up is not kept by the array either.
      this.pieces[this.first] = none;
      this.first++;
    }
    if (this.first > 64 && this.first * 2 > this.pieces.length) {
      this.pieces = this.pieces.slice(this.first);
      this.first = 0;
    }
    if (this.held === 0) this.clear();
  }

  clear(): void {
    this.pieces = [];
    this.first = this.offset = this.held = 0;
  }
}

const none = new Uint8Array();
