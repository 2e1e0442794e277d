/**
 * The counts by which streams of WISP are held. A side has a count of packets that it may still send on a stream; each packet
 * takes one off, and CONTINUE sets it anew. Since a CONTINUE crosses packets that are under way, and replaces the count
 * instead of adding to it, who grants must reckon with all that it has ever let through: here never more than two windows
 * are under way or kept, whatever the other side does, and a side whose count is used up is always told of a new one when
 * its packets were taken.
 */
import { ByteQueue } from "../byte-queue.js";
import { wispData } from "./packet.js";
import { MOST_DATA_BYTES, MOST_WAITING, type WispPort } from "./port.js";

/** What one side lets the other send on a stream. */
export class Grant {
  /** The number of the last packet that may come, in the worst case. */
  private limit: number;
  private came = 0;
  private passed = 0;
  private toldAt = 0;

  /** @param window packets that the other side may send without being told anything */
  constructor(private readonly window: number) {
    this.limit = window;
  }

  /** Says at the beginning that a whole window may follow; gives the count for CONTINUE. */
  open(): number {
    this.limit += this.window;
    return this.window;
  }

  /** A packet came; false if it is one too many. */
  take(): boolean {
    return ++this.came <= this.limit;
  }

  /** A packet was passed on; gives the count for CONTINUE where it is time for one. */
  pass(): number | undefined {
    this.passed++;
    if (this.passed - this.toldAt < this.window / 2) return undefined;
    this.toldAt = this.passed;
    // At least half a window, for as much was passed on since the last time.
    const count = Math.min(this.window, 2 * this.window - (this.limit - this.passed));
    this.limit += count;
    return count;
  }
}

/** What one side sends on a stream: kept until count and port let it go. */
export class StreamSender {
  private readonly queue = new ByteQueue();
  private end: "none" | "wanted" | "sent" = "none";

  /**
   * @param count packets that may go; Infinity where the other side does not count
   * @param hasEnd whether an empty packet tells the other side that nothing follows
   */
  constructor(
    private readonly port: WispPort,
    private readonly stream: number,
    private count: number,
    private readonly hasEnd: boolean,
  ) {}

  /** Bytes that are kept. */
  get bytes(): number {
    return this.queue.length;
  }

  /** Keeps bytes, which stay as they are from then on. */
  push(bytes: Uint8Array): void {
    this.queue.push(bytes);
  }

  /** Nothing follows. */
  finish(): void {
    if (this.end === "none") this.end = "wanted";
  }

  /** The other side lets so many packets follow. */
  allow(count: number): void {
    if (this.count !== Number.POSITIVE_INFINITY) this.count = count;
  }

  /** Sends what may go; whether everything has. */
  flush(): boolean {
    while (this.queue.length > 0) {
      if (!this.mayGo) return false;
      const pieces = this.queue.slice(0, MOST_DATA_BYTES);
      const message = wispData(this.stream, pieces);
      this.queue.drop(pieces.reduce((sum, piece) => sum + piece.length, 0));
      this.count--;
      this.port.send(message);
    }
    if (this.end !== "wanted") return true;
    if (this.hasEnd) {
      if (!this.mayGo) return false;
      this.count--;
      this.port.send(wispData(this.stream, []));
    }
    this.end = "sent";
    return true;
  }

  private get mayGo(): boolean {
    return this.count > 0 && this.port.waiting < MOST_WAITING;
  }
}
