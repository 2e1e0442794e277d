/**
 * The receiving half of a TCP connection: what came in order goes to the user, what came early waits, and the window tells
 * how much more may come (RFC 9293, section 3.8.6; RFC 2018). The window never shrinks: what was promised is taken.
 */

import { ByteQueue } from "../../byte-queue.js";
import type { SackBlock } from "../../frames/tcp.js";
import { OutOfOrder } from "./out-of-order.js";
import { distance, plus } from "./sequence.js";

const MOST_WINDOW = 65_535;

/** What the receiver needs. */
export interface ReceiverHost {
  /** Gives bytes to the user; false if no more should come before `resume`. */
  deliver(bytes: Uint8Array): boolean;
  /** Bytes that may be kept now. */
  capacity(): number;
}

/** What became of some data. */
export interface Arrival {
  /** It is to be acknowledged at once: it was not what was expected next, or filled a gap. */
  readonly isUrgent: boolean;
  /** Bytes that came in order. */
  readonly count: number;
}

/** The half of a connection. */
export class TcpReceiver {
  private readonly early = new OutOfOrder();
  private readonly waiting = new ByteQueue();
  private expected = 0;
  /** Where the window that was told ends. */
  private edge = 0;
  private shift = 0;
  private isPaused = false;
  private finAt: number | undefined;
  private isFinTaken = false;

  constructor(private readonly host: ReceiverHost) {}

  /** The peer's SYN came: `expected` is the number of its first byte. */
  begin(expected: number, shift: number): void {
    this.expected = this.edge = expected;
    this.shift = shift;
  }

  /** The number that is expected next: what is acknowledged. */
  get next(): number {
    return this.expected;
  }

  /** Bytes that are kept. */
  get bytes(): number {
    return this.waiting.length + this.early.bytes;
  }

  /** Whether the peer's end came, and everything before it. */
  get isEnded(): boolean {
    return this.isFinTaken;
  }

  /** Whether the user has got everything. */
  get isEmpty(): boolean {
    return this.waiting.length === 0;
  }

  /** What came early, for the peer to know. */
  blocks(most: number): readonly SackBlock[] {
    return this.early.blocks(most);
  }

  /** Whether a segment has something to do with the window (RFC 9293, section 3.10.7.4). */
  accepts(sequence: number, length: number): boolean {
    const room = Math.max(0, distance(this.edge, this.expected));
    const first = distance(sequence, this.expected);
    if (length === 0) return room === 0 ? first === 0 : first >= 0 && first < room;
    if (room === 0) return false;
    return first < room && first + length > 0;
  }

  /** The window as it stands in a segment; it is told by that. @param isSyn whether it is not shifted */
  tell(isSyn: boolean): number {
    const shift = isSyn ? 0 : this.shift;
    const promised = Math.max(0, distance(this.edge, this.expected));
    const units = Math.min(MOST_WINDOW, Math.max(this.room(), promised) >>> shift);
    const window = units * 2 ** shift;
    // A rest below the unit was promised already, and stays so.
    if (window > promised) this.edge = plus(this.expected, window);
    return promised > window ? Math.min(MOST_WINDOW, Math.ceil(promised / 2 ** shift)) : units;
  }

  /** How much further the window would reach if it were told now. */
  get opening(): number {
    return Math.max(0, this.room() - Math.max(0, distance(this.edge, this.expected)));
  }

  /** Takes what is new of an acceptable segment. */
  take(sequence: number, data: Uint8Array, hasFin: boolean): Arrival {
    const before = this.expected;
    const passed = Math.max(0, distance(this.expected, sequence));
    const room = Math.max(0, distance(this.edge, this.expected));
    const from = plus(sequence, passed);
    const most = room - distance(from, this.expected);
    const fresh = data.subarray(passed, passed + Math.max(0, most));
    const isWhole = passed + fresh.length >= data.length;
    if (hasFin && isWhole && this.finAt === undefined) this.finAt = plus(sequence, data.length);
    const isEarly = distance(from, this.expected) > 0;
    const hadEarly = this.early.bytes > 0;
    if (isEarly && fresh.length > 0) this.early.add(from, fresh);
    else if (fresh.length > 0) {
      this.pass(fresh.slice());
      for (const piece of this.early.take(this.expected)) this.pass(piece);
    }
    const isFin = this.finAt === this.expected && !this.isFinTaken;
    if (isFin) {
      this.isFinTaken = true;
      this.expected = plus(this.expected, 1);
      this.edge = distance(this.edge, this.expected) < 0 ? this.expected : this.edge;
    }
    const count = distance(this.expected, before);
    return { isUrgent: isEarly || hadEarly || isFin || count === 0, count };
  }

  /** The user takes data again; true if it has got everything. */
  resume(): boolean {
    this.isPaused = false;
    while (!this.isPaused && this.waiting.length > 0) {
      const [piece] = this.waiting.slice(0, this.waiting.length);
      this.waiting.drop(piece!.length);
      if (!this.host.deliver(piece!)) this.isPaused = true;
    }
    return this.waiting.length === 0;
  }

  clear(): void {
    this.early.clear();
    this.waiting.clear();
  }

  private room(): number {
    return Math.max(0, this.host.capacity() - this.waiting.length);
  }

  private pass(bytes: Uint8Array): void {
    this.expected = plus(this.expected, bytes.length);
    if (this.isPaused || this.waiting.length > 0) this.waiting.push(bytes);
    else if (!this.host.deliver(bytes)) this.isPaused = true;
  }
}
