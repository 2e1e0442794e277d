/**
 * The sending half of a TCP connection: what is kept until it is acknowledged, how much may be under way, and what is sent
 * again (RFC 9293, section 3.8; RFC 5681; RFC 6298; RFC 6675 with selective acknowledgements, RFC 6582 without).
 *
 * Numbers as in the RFCs: `una` the oldest that is not acknowledged, `nxt` the next to be sent, `max` behind everything that
 * was ever sent; `una <= nxt <= max`. The FIN has the number behind the last byte.
 */

import { ByteQueue } from "../../byte-queue.js";
import type { SackBlock, Segment } from "../../frames/tcp.js";
import type { Timers } from "../../timers.js";
import { RoundTrip } from "./round-trip.js";
import { clipped, Scoreboard } from "./scoreboard.js";
import { distance, plus } from "./sequence.js";

/** Largest part of a segment that others cut. */
const MOST_CUT_BYTES = 61_440;
const INITIAL_SEGMENTS = 10;
const DUPLICATES = 3;
/** Times that something is sent again, or a closed window is looked at, without any answer. */
const MOST_RETRIES = 15;

/** What the sender needs. */
export interface SenderHost {
  readonly timers: Timers;
  /** Sends data from a number on; more than `mss` bytes are to be cut. */
  sendData(sequence: number, data: readonly Uint8Array[], hasFin: boolean, isLast: boolean): void;
  /** Sends nothing, from the number before the next, so that the peer answers. */
  sendProbe(): void;
  /** Bytes that may be kept now. */
  capacity(): number;
}

/** What an acknowledgement brought. */
export interface SenderNews {
  /** There is room again, for the first time since `write` said that there is none. */
  readonly hasDrained: boolean;
}

/** The half of a connection. */
export class TcpSender {
  private readonly outgoing = new ByteQueue();
  private readonly board = new Scoreboard();
  private readonly round = new RoundTrip();
  private una = 0;
  private nxt = 0;
  private max = 0;
  private mss = 536;
  private hasSack = false;
  private window = 0;
  private windowShift = 0;
  /** Sequence and acknowledgement of the segment that said the window last. */
  private windowAt = { sequence: 0, acknowledgement: 0 };
  private congestion = 0;
  private threshold = Infinity;
  private duplicates = 0;
  /** While what was lost is made up for: up to here. */
  private recovery: { readonly until: number; readonly isTimeout: boolean } | undefined;
  /** In recovery, what is missing before it was sent again. */
  private refilled = 0;
  private isEnding = false;
  private isFinAcknowledged = false;
  private isFull = false;
  private timed: { readonly end: number; readonly at: number } | undefined;
  private retries = 0;
  /** When to send again what is under way; Infinity if nothing is. In milliseconds of the clock. */
  retransmitAt = Infinity;
  /** When to look whether the window is open again. */
  probeAt = Infinity;

  constructor(private readonly host: SenderHost) {}

  /** The handshake is done: `una` is the first number of data. */
  begin(una: number, mss: number, hasSack: boolean, segment: Segment, windowShift: number): void {
    this.una = this.nxt = this.max = this.refilled = una;
    this.mss = mss;
    this.hasSack = hasSack;
    this.windowShift = windowShift;
    this.congestion = INITIAL_SEGMENTS * mss;
    this.windowAt = { sequence: segment.sequence, acknowledgement: segment.acknowledgement };
    // The window of a SYN is not shifted (RFC 7323, section 2.2).
    this.window = (segment.flags & 2) !== 0 ? segment.window : segment.window * 2 ** windowShift;
  }

  /** Bytes that are kept. */
  get bytes(): number {
    return this.outgoing.length;
  }

  /** The oldest number that is not acknowledged. */
  get oldest(): number {
    return this.una;
  }

  /** The number behind everything that was ever sent. */
  get highest(): number {
    return this.max;
  }

  /** Whether everything was acknowledged, the end among it. */
  get isDone(): boolean {
    return this.isFinAcknowledged;
  }

  /** Keeps bytes until they are acknowledged; false if no more should come for now. */
  write(bytes: Uint8Array): boolean {
    this.outgoing.push(bytes);
    if (this.outgoing.length >= this.host.capacity()) this.isFull = true;
    return !this.isFull;
  }

  /** Nothing follows. */
  end(): void {
    this.isEnding = true;
  }

  /** Whether an acknowledgement is for what was sent. */
  knows(acknowledgement: number): boolean {
    return distance(acknowledgement, this.max) <= 0;
  }

  /** Takes what a segment acknowledges, and the window that it tells. */
  acknowledged(segment: Segment, hasData: boolean): SenderNews {
    const { acknowledgement } = segment;
    const hasNews = this.takeSack(segment.options.sack ?? []);
    const count = distance(acknowledgement, this.una);
    const window = segment.window * 2 ** this.windowShift;
    const isDuplicate =
      count === 0 && !hasData && this.max !== this.una && (hasNews || window === this.window);
    if (count > 0) this.advance(acknowledgement, count);
    else if (isDuplicate) this.duplicate();
    this.takeWindow(segment, window);
    const hasDrained = this.isFull && this.outgoing.length < this.host.capacity() / 2;
    if (hasDrained) this.isFull = false;
    return { hasDrained };
  }

  /** The peer is there: a window that stays closed is no reason to give it up. */
  heard(): void {
    if (this.probeAt !== Infinity) this.retries = 0;
  }

  /** Sends what may be sent now. */
  output(): void {
    if (this.recovery !== undefined) this.refill();
    for (;;) {
      const sent = distance(this.nxt, this.una);
      const left = this.pending - sent;
      if (left <= 0) break;
      const usable = Math.min(this.window - sent, this.congestion - this.pipe());
      const length = Math.floor(Math.min(left, usable, MOST_CUT_BYTES));
      // A sliver waits while others are under way (RFC 9293, section 3.8.6.2.1).
      if (length <= 0 || (length < Math.min(this.mss, left) && sent > 0)) break;
      this.sendFrom(sent, length > this.mss && length < left ? length - (length % this.mss) : length);
    }
    const now = this.host.timers.now();
    const isUnderWay = this.nxt !== this.una;
    if (!isUnderWay) this.retransmitAt = Infinity;
    else if (this.retransmitAt === Infinity) this.retransmitAt = now + this.round.timeout;
    const isBlocked = !isUnderWay && this.pending > 0;
    if (!isBlocked) this.probeAt = Infinity;
    else if (this.probeAt === Infinity) this.probeAt = now + this.round.timeout;
  }

  /** Nothing was acknowledged in time (RFC 6298, section 5); false if the peer is to be given up. */
  timedOut(): boolean {
    if (++this.retries > MOST_RETRIES) return false;
    this.round.backOff();
    const flight = distance(this.max, this.una);
    if (this.recovery?.isTimeout !== true) this.threshold = Math.max(flight / 2, 2 * this.mss);
    this.congestion = this.mss;
    this.recovery = { until: this.max, isTimeout: true };
    this.duplicates = 0;
    this.timed = undefined;
    // A receiver may have thrown away what it said it had (RFC 2018, section 8).
    this.board.clear();
    this.nxt = this.refilled = this.una;
    this.retransmitAt = Infinity;
    this.output();
    if (this.nxt === this.una) this.sendFrom(0, Math.min(this.mss, this.pending));
    this.retransmitAt = this.host.timers.now() + this.round.timeout;
    return true;
  }

  /** Looks whether the window is open; false if the peer is to be given up. */
  probe(): boolean {
    if (++this.retries > MOST_RETRIES) return false;
    this.round.backOff();
    this.probeAt = this.host.timers.now() + this.round.timeout;
    this.host.sendProbe();
    return true;
  }

  clear(): void {
    this.outgoing.clear();
    this.board.clear();
    this.retransmitAt = this.probeAt = Infinity;
  }

  /** Numbers that are not acknowledged, sent or not. */
  private get pending(): number {
    return this.outgoing.length + (this.isEnding && !this.isFinAcknowledged ? 1 : 0);
  }

  /** Bytes that are thought to be under way (RFC 6675, section 4, with every hole below the highest taken for lost). */
  private pipe(): number {
    const flight = distance(this.nxt, this.una);
    if (this.recovery?.isTimeout === true || !this.hasSack)
      return Math.max(0, flight - this.duplicates * this.mss);
    if (this.recovery === undefined) return flight - this.board.covered(this.una, this.nxt);
    const highest = this.board.highest(this.una);
    const again =
      Math.max(0, distance(this.refilled, this.una)) - this.board.covered(this.una, this.refilled);
    const behind = distance(highest, this.refilled) > 0 ? highest : this.refilled;
    return Math.max(0, again) + Math.max(0, distance(this.nxt, behind));
  }

  private refill(): void {
    if (!this.hasSack || this.recovery?.isTimeout === true) return;
    while (this.pipe() < this.congestion) {
      if (distance(this.refilled, this.una) < 0) this.refilled = this.una;
      const hole = this.board.hole(this.refilled);
      if (hole === undefined) return;
      const length = Math.min(hole.length, this.mss);
      this.sendFrom(distance(hole.start, this.una), length);
      this.refilled = plus(hole.start, length);
    }
  }

  private sendFrom(offset: number, length: number): void {
    const bytes = Math.max(0, Math.min(length, this.outgoing.length - offset));
    const hasFin = this.isEnding && offset + length > this.outgoing.length;
    const sequence = plus(this.una, offset);
    const end = plus(sequence, bytes + (hasFin ? 1 : 0));
    const isNew = distance(sequence, this.max) >= 0;
    if (isNew) this.timed ??= { end, at: this.host.timers.now() };
    // What is sent again can't be timed (Karn).
    else if (this.timed !== undefined && distance(this.timed.end, sequence) > 0) this.timed = undefined;
    if (distance(end, this.nxt) > 0) this.nxt = end;
    if (distance(end, this.max) > 0) this.max = end;
    this.host.sendData(
      sequence,
      this.outgoing.slice(offset, bytes),
      hasFin,
      offset + bytes === this.outgoing.length,
    );
  }

  private duplicate(): void {
    this.duplicates++;
    const isLost =
      this.duplicates >= DUPLICATES || this.board.covered(this.una, this.max) > DUPLICATES * this.mss;
    if (this.recovery !== undefined || !isLost) return;
    this.threshold = Math.max(distance(this.max, this.una) / 2, 2 * this.mss);
    this.congestion = this.threshold;
    this.recovery = { until: this.max, isTimeout: false };
    this.resendFirst();
  }

  /** Sends the first segment that is missing, whatever the windows say. */
  private resendFirst(): void {
    const hole = this.board.hole(this.una);
    const length = Math.min(this.mss, this.pending, hole?.length ?? this.mss);
    if (length <= 0) return;
    this.sendFrom(0, length);
    this.refilled = plus(this.una, length);
  }

  private advance(acknowledgement: number, count: number): void {
    const now = this.host.timers.now();
    if (this.timed !== undefined && distance(acknowledgement, this.timed.end) >= 0) {
      this.round.sample(now - this.timed.at);
      this.timed = undefined;
    }
    this.round.progress();
    this.retries = 0;
    // What is behind the data is the FIN.
    if (count > this.outgoing.length) this.isFinAcknowledged = true;
    this.outgoing.drop(count);
    this.una = acknowledgement;
    if (distance(this.nxt, this.una) < 0) this.nxt = this.una;
    if (distance(this.refilled, this.una) < 0) this.refilled = this.una;
    this.board.trim(this.una);
    this.duplicates = 0;
    this.retransmitAt = this.max === this.una ? Infinity : now + this.round.timeout;
    const { recovery } = this;
    if (recovery === undefined || recovery.isTimeout) this.grow(count);
    if (recovery === undefined) return;
    if (distance(this.una, recovery.until) >= 0) {
      if (!recovery.isTimeout) this.congestion = this.threshold;
      this.recovery = undefined;
      // A part was acknowledged: the next one was lost as well (RFC 6582, section 3.2).
    } else if (!recovery.isTimeout && (!this.hasSack || this.board.isEmpty)) this.resendFirst();
  }

  private grow(count: number): void {
    if (this.congestion < this.threshold) this.congestion += count;
    else this.congestion += Math.max(1, (this.mss * Math.min(count, this.mss)) / this.congestion);
    // More than any window is never used.
    this.congestion = Math.min(this.congestion, 2 ** 30);
  }

  private takeSack(blocks: readonly SackBlock[]): boolean {
    if (!this.hasSack || blocks.length === 0) return false;
    const before = this.board.covered(this.una, this.max);
    for (const block of blocks) {
      const part = clipped(block, this.una, this.max);
      if (part !== undefined) this.board.add(part);
    }
    return this.board.covered(this.una, this.max) > before;
  }

  private takeWindow({ sequence, acknowledgement }: Segment, window: number): void {
    const newer = distance(sequence, this.windowAt.sequence);
    const isNews =
      newer > 0 || (newer === 0 && distance(acknowledgement, this.windowAt.acknowledgement) >= 0);
    if (!isNews) return;
    this.window = window;
    this.windowAt = { sequence, acknowledgement };
  }
}
