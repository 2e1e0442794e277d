/**
 * Console input on its way to a guest, on the daemon's side: a bounded number of bytes is under way to the guest's
 * thread, and what is more waits here with its sender, who is told when it has gone on. A sender that waits for that
 * before it sends more, or reads more from its client, needs a fixed amount of memory, however slowly the guest reads.
 */

/** Bytes under way to the thread that the guest has not taken. */
const WINDOW = 65_536;

/** Input of one VM. */
export class ConsoleInput {
  private readonly waiting: { bytes: Uint8Array; readonly sent: () => void }[] = [];
  private underWay = 0;
  private all = 0;

  /** @param send hands bytes to the guest's thread, which is to call {@link taken} for them */
  constructor(private readonly send: (bytes: Uint8Array) => void) {}

  /** Sends bytes after those that wait; resolves when the last of them is on its way, or nobody is there for them. */
  write(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return Promise.resolve();
    return new Promise((sent) => {
      this.waiting.push({ bytes, sent });
      this.pump();
    });
  }

  /** Bytes that guests have taken so far. */
  get total(): number {
    return this.all;
  }

  /** The guest has taken so many bytes more. */
  taken(bytes: number): void {
    this.all += bytes;
    this.underWay = Math.max(0, this.underWay - bytes);
    this.pump();
  }

  /** The guest is gone: what waits is for nobody. */
  clear(): void {
    this.underWay = 0;
    for (const { sent } of this.waiting.splice(0)) sent();
  }

  private pump(): void {
    for (let first = this.waiting[0]; first !== undefined; first = this.waiting[0]) {
      const room = WINDOW - this.underWay;
      if (room <= 0) return;
      const part = first.bytes.subarray(0, room);
      first.bytes = first.bytes.subarray(part.length);
      this.underWay += part.length;
      this.send(part.slice());
      if (first.bytes.length > 0) return;
      this.waiting.shift();
      first.sent();
    }
  }
}
