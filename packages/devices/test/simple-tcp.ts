/**
 * A TCP end for tests that shares nothing with the stack but the form of segments: it sends again whatever is not
 * acknowledged after a fixed time (go-back-N), and keeps what comes early in a map. Slow and simple, so that it is right.
 */
import { type Segment, tcpFlags } from "../src/net/frames/tcp.js";
import type { Timers } from "../src/net/timers.js";

const { fin, syn, rst, ack } = tcpFlags;
const RETRY_MS = 300;
const MSS = 1000;

export type PlainSegment = Omit<Segment, "sourcePort" | "destinationPort">;

export class SimpleTcp {
  readonly received: Uint8Array[] = [];
  receivedBytes = 0;
  isOpen = false;
  /** Whether it answers a peer that opens, instead of opening itself. */
  isListening = false;
  hasEnded = false;
  wasReset = false;
  /** Bytes that it takes beyond what it has read. */
  window = 60_000;
  private readonly early = new Map<number, Uint8Array>();
  private outgoing = new Uint8Array();
  private sent = 0;
  private highest = 0;
  private acknowledged = 0;
  private isEnding = false;
  private next = 0;
  private finAt: number | undefined;
  private allowed = 0;
  private shift = 0;

  constructor(
    private readonly timers: Timers,
    private readonly transmit: (segment: PlainSegment) => void,
    private readonly initial: number,
    private readonly options: { sack?: boolean; shift?: number } = {},
  ) {}

  get isFinished(): boolean {
    return this.hasEnded && this.acknowledged > this.outgoing.length;
  }

  get unsent(): number {
    return this.outgoing.length - this.acknowledged;
  }

  connect(): void {
    if (this.isOpen || this.wasReset) return;
    const { sack, shift } = this.options;
    this.send(syn, this.initial, new Uint8Array(), {
      mss: MSS,
      ...(sack === true ? { sackPermitted: true } : {}),
      ...(shift === undefined ? {} : { windowShift: shift }),
    });
    this.timers.after(1000, () => this.connect());
  }

  write(bytes: Uint8Array): void {
    this.outgoing = Uint8Array.from(Buffer.concat([this.outgoing, bytes]));
    if (this.isOpen) this.output();
  }

  end(): void {
    this.isEnding = true;
    if (this.isOpen) this.output();
  }

  reset(): void {
    this.send(rst | ack, this.number(this.highest), new Uint8Array());
    this.wasReset = true;
  }

  acknowledge(): void {
    this.send(ack, this.number(this.highest), new Uint8Array());
  }

  receive(segment: PlainSegment): void {
    const { flags, sequence, acknowledgement, data, window, options } = segment;
    if (this.wasReset) return;
    if ((flags & rst) !== 0) {
      this.wasReset = true;
      return;
    }
    if (!this.isOpen && this.isListening) {
      if ((flags & syn) !== 0) {
        this.next = (sequence + 1) >>> 0;
        this.shift = options.windowShift ?? 0;
        const { sack, shift } = this.options;
        this.send(syn | ack, this.initial, new Uint8Array(), {
          mss: MSS,
          ...(sack === true ? { sackPermitted: true } : {}),
          ...(shift === undefined ? {} : { windowShift: shift }),
        });
        return;
      }
      if (acknowledgement !== (this.initial + 1) >>> 0) return;
      this.isOpen = true;
      this.allowed = window << this.shift;
      this.output();
      this.retry(-1);
    }
    if (!this.isOpen) {
      if ((flags & (syn | ack)) !== (syn | ack) || acknowledgement !== (this.initial + 1) >>> 0) return;
      this.isOpen = true;
      this.next = (sequence + 1) >>> 0;
      this.allowed = window;
      this.shift = options.windowShift ?? 0;
      this.acknowledge();
      this.output();
      this.retry(-1);
      return;
    }
    if ((flags & syn) !== 0) {
      this.acknowledge();
      return;
    }
    const count = (acknowledgement - this.initial - 1) | 0;
    if (count > this.acknowledged) this.acknowledged = count;
    if (count >= this.acknowledged) this.allowed = window << this.shift;
    if ((flags & fin) !== 0) this.finAt = (sequence + data.length) >>> 0;
    if (data.length > 0 && (!this.early.has(sequence) || this.early.get(sequence)!.length < data.length))
      this.early.set(sequence, data.slice());
    for (let isMoving = true; isMoving; ) {
      isMoving = false;
      for (const [start, piece] of this.early) {
        const passed = (this.next - start) | 0;
        if (passed < 0) continue;
        this.early.delete(start);
        if (passed >= piece.length) continue;
        this.received.push(piece.subarray(passed));
        this.receivedBytes += piece.length - passed;
        this.next = (this.next + piece.length - passed) >>> 0;
        isMoving = true;
      }
    }
    if (this.finAt === this.next && !this.hasEnded) {
      this.hasEnded = true;
      this.next = (this.next + 1) >>> 0;
    }
    // Also what carries nothing is answered if it is not what comes next: somebody asks whether this end is there.
    const isProbe = data.length === 0 && ((sequence - this.next) | 0) < 0 && (flags & fin) === 0;
    if (data.length > 0 || isProbe || (flags & fin) !== 0) this.acknowledge();
    this.output();
  }

  private number(place: number): number {
    return (this.initial + 1 + place) >>> 0;
  }

  private output(): void {
    while (this.sent < this.outgoing.length) {
      const room = this.acknowledged + this.allowed - this.sent;
      const length = Math.min(
        MSS,
        this.outgoing.length - this.sent,
        room,
        20_000 - (this.sent - this.acknowledged),
      );
      if (length <= 0) return;
      this.sent += length;
      this.send(ack, this.number(this.sent - length), this.outgoing.subarray(this.sent - length, this.sent));
    }
    if (this.isEnding && this.sent === this.outgoing.length) {
      this.sent++;
      this.send(fin | ack, this.number(this.sent - 1), new Uint8Array());
    }
  }

  private retry(before: number): void {
    const mark = this.acknowledged;
    if (before === mark && (mark < this.sent || mark < this.outgoing.length) && !this.wasReset) {
      this.sent = Math.min(mark, this.outgoing.length);
      // A window that is closed is looked at with one byte.
      if (this.allowed === 0 && this.sent < this.outgoing.length)
        this.send(ack, this.number(this.sent), this.outgoing.subarray(this.sent, this.sent + 1));
      this.output();
    }
    if (!this.isFinished && !this.wasReset) this.timers.after(RETRY_MS, () => this.retry(mark));
  }

  private send(
    flags: number,
    sequence: number,
    data: Uint8Array,
    options: PlainSegment["options"] = {},
  ): void {
    this.highest = Math.max(this.highest, this.sent);
    const acknowledgement = (flags & ack) === 0 ? 0 : this.next;
    const shift = (flags & syn) !== 0 || !this.isOpen ? 0 : (this.options.shift ?? 0);
    this.transmit({
      sequence,
      acknowledgement,
      flags,
      window: Math.min(65_535, this.window >> shift),
      options,
      data,
    });
  }
}
