/**
 * Finds where the members of a tar archive end and the zeros behind them begin, in a stream (tar(5): blocks of 512 bytes,
 * a header a member, its size in octal digits or, where the first bit is set, in binary).
 */
const BLOCK = 512;
const [SIZE_AT, SIZE_BYTES] = [124, 12];

/** The end of one archive. */
export class TarEnd {
  private readonly header = new Uint8Array(BLOCK);
  /** Bytes of the header that have come, and of its member that have not. */
  private have = 0;
  private body = 0;
  private isOver = false;
  private members = 0;

  /** Bytes from the start of the archive to the end of the last member that has come. */
  get bytes(): number {
    return this.members;
  }

  /** Takes the next bytes of the archive. */
  take(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && !this.isOver; ) {
      const step = Math.min(this.body > 0 ? this.body : BLOCK - this.have, bytes.length - at);
      if (this.body > 0) this.body -= step;
      else {
        this.header.set(bytes.subarray(at, at + step), this.have);
        this.have += step;
        if (this.have === BLOCK) this.readHeader();
      }
      at += step;
    }
  }

  private readHeader(): void {
    this.have = 0;
    this.isOver = this.header.every((byte) => byte === 0);
    if (this.isOver) return;
    this.body = Math.ceil(this.sizeInHeader() / BLOCK) * BLOCK;
    this.members += BLOCK + this.body;
  }

  private sizeInHeader(): number {
    const field = this.header.subarray(SIZE_AT, SIZE_AT + SIZE_BYTES);
    if ((field[0]! & 0x80) === 0) return Number.parseInt(new TextDecoder("latin1").decode(field), 8) || 0;
    return field.subarray(1).reduce((size, byte) => size * 256 + byte, field[0]! & 0x7f);
  }
}
