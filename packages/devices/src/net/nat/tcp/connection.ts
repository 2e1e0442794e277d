/**
 * One end of a TCP connection (RFC 9293): its states, and what its two halves (`sender.ts`, `receiver.ts`) share, that is the
 * handshake, segments, timers and keep-alive.
 *
 * It knows no network: segments come by `receive` and leave by its host, data goes to and comes from its user. Both
 * directions hold back: what its user does not take closes the window, and `write` says when it is enough.
 */
import { type Segment, type TcpOptions, tcpFlags } from "../../frames/tcp.js";
import type { Timer, Timers } from "../../timers.js";
import { TcpReceiver } from "./receiver.js";
import { TcpSender } from "./sender.js";
import { distance, plus } from "./sequence.js";

const { fin, syn, rst, psh, ack } = tcpFlags;
/** What a peer takes that says nothing (RFC 9293, section 3.7.1), by family. */
const DEFAULT_MSS = { 4: 536, 6: 1220 } as const;
const LEAST_MSS = 64;
const WINDOW_SHIFT = 4;
const SYN_MS = 1000;
const MOST_SYN_RETRIES = 6;
const DELAYED_ACK_MS = 20;
const KEEPALIVE_MS = 7_200_000;
const KEEPALIVE_INTERVAL_MS = 75_000;
const KEEPALIVE_PROBES = 9;
/** How long the end that closed first answers what was late. */
const TIME_WAIT_MS = 10_000;
/** Least time between two answers to what is not acceptable and carries nothing. */
const CHALLENGE_MS = 500;
const SACK_BLOCKS = 4;

/** A segment without its ports. */
export type TcpSegment = Omit<Segment, "sourcePort" | "destinationPort" | "data"> & {
  readonly data: readonly Uint8Array[];
};

/** Where segments go, and what may be kept. */
export interface TcpHost {
  readonly timers: Timers;
  /** Sends a segment; one with more than `mss` bytes of data is to be cut. */
  transmit(segment: TcpSegment, mss: number): void;
  /** Bytes that may be kept in each direction now. */
  capacity(): number;
  /** It is over, and answers nothing any more. */
  gone(): void;
}

/** Who uses a connection. After `closed` nothing is called any more. */
export interface TcpUser {
  /** Both sides have agreed. */
  opened(): void;
  /** Bytes came, the user's from now on; false to have no more before `resume`. */
  data(bytes: Uint8Array): boolean;
  /** The peer sends nothing more. */
  ended(): void;
  /** There is room to write again. */
  drained(): void;
  /** It is over: by both ends, or broken by the peer or by silence. */
  closed(isBroken: boolean): void;
}

/** What an end is made from. */
export interface TcpOpening {
  readonly family: 4 | 6;
  /** Most bytes of data that the link takes in a segment. */
  readonly mss: number;
  /** The first sequence number: one that nobody can guess. */
  readonly initial: number;
}

type State = "listening" | "syn-received" | "syn-sent" | "open" | "time-wait" | "closed";

/** The connection. */
export class TcpConnection {
  private state: State = "closed";
  private readonly sender: TcpSender;
  private readonly receiver: TcpReceiver;
  private mss: number;
  private hasSack = false;
  private peerShift = 0;
  private ownShift = 0;
  private isEnding = false;
  private isEndTold = false;
  /** Bytes that came since an acknowledgement was last sent. */
  private unacknowledged = 0;
  private acknowledgeAt = Infinity;
  private handshakeAt = Infinity;
  private handshakes = 0;
  private idleAt = Infinity;
  private probes = 0;
  private endAt = Infinity;
  private challengedAt = -Infinity;
  private timer: Timer | undefined;
  private timerAt = Infinity;
  private isInside = false;

  constructor(
    private readonly host: TcpHost,
    private readonly user: TcpUser,
    private readonly opening: TcpOpening,
  ) {
    this.mss = opening.mss;
    this.sender = new TcpSender({
      timers: host.timers,
      sendData: (sequence, data, hasFin, isLast) =>
        this.send(ack | (hasFin ? fin : 0) | (isLast && data.length > 0 ? psh : 0), { sequence, data }),
      sendProbe: () => this.send(ack, { sequence: plus(this.sender.oldest, -1) }),
      capacity: () => host.capacity(),
    });
    this.receiver = new TcpReceiver({
      deliver: (bytes) => user.data(bytes),
      capacity: () => host.capacity(),
    });
  }

  get isOver(): boolean {
    return this.state === "time-wait" || this.state === "closed";
  }

  /** Whether the two have not agreed yet. */
  get isOpening(): boolean {
    return this.state === "listening" || this.state === "syn-received" || this.state === "syn-sent";
  }

  /** Bytes that are kept. */
  get bytes(): number {
    return this.sender.bytes + this.receiver.bytes;
  }

  // -- for the user

  /** A peer's SYN came: it waits for `accept` or `reset`. */
  listen(segment: Segment): void {
    this.state = "listening";
    this.takeSyn(segment);
  }

  /** Answers the peer's SYN. */
  accept(): void {
    if (this.state !== "listening") return;
    this.state = "syn-received";
    this.shakeHands();
  }

  /** Opens it towards a peer. */
  connect(): void {
    this.state = "syn-sent";
    this.hasSack = true;
    this.ownShift = WINDOW_SHIFT;
    this.shakeHands();
  }

  /** Sends bytes, which stay as they are from then on; false if no more should come before `drained`. */
  write(bytes: Uint8Array): boolean {
    if (this.isOver || this.isEnding) return false;
    const hasRoom = this.sender.write(bytes);
    this.output();
    return hasRoom;
  }

  /** Nothing more will be written. */
  end(): void {
    if (this.isEnding || this.isOver) return;
    this.isEnding = true;
    this.sender.end();
    this.output();
  }

  /** The user takes data again. */
  resume(): void {
    if (this.isOver) return;
    this.receiver.resume();
    this.tellEnd();
    // The peer may wait for this: it is told once it is worth two segments.
    const isWorth = this.receiver.opening >= Math.min(2 * this.mss, this.host.capacity() / 2);
    if (isWorth && this.state === "open" && !this.receiver.isEnded) this.acknowledge();
  }

  /** Breaks it off; the peer is told, and the user hears nothing more. */
  reset(): void {
    if (this.state === "closed") return;
    if (this.state === "listening") this.send(rst | ack, { sequence: 0 });
    else if (this.state !== "time-wait") this.send(rst | ack, { sequence: this.sequence });
    this.close();
  }

  /** Ends it without a word; the peer is told by others. */
  abandon(): void {
    this.close();
  }

  // -- for the network

  /** A segment came for it. */
  receive(segment: Segment): void {
    if (this.state === "closed") return;
    this.isInside = true;
    if (this.state === "listening") {
      if ((segment.flags & rst) !== 0 && segment.sequence === this.receiver.next) this.broken();
    } else if (this.state === "syn-sent") this.receiveAnswer(segment);
    else this.receiveOpen(segment);
    this.isInside = false;
    this.output();
  }

  private receiveAnswer(segment: Segment): void {
    const { flags, acknowledgement } = segment;
    if ((flags & ack) === 0 || acknowledgement !== plus(this.opening.initial, 1)) {
      if ((flags & (ack | rst)) === ack) this.send(rst, { sequence: acknowledgement });
      return;
    }
    if ((flags & rst) !== 0) this.broken();
    else if ((flags & syn) !== 0) {
      this.takeSyn(segment);
      this.open(segment);
      this.acknowledge();
    }
  }

  private receiveOpen(segment: Segment): void {
    const { flags, sequence, acknowledgement, data } = segment;
    const length = data.length + ((flags & fin) !== 0 ? 1 : 0);
    const isSynAgain =
      this.state === "syn-received" &&
      (flags & (syn | ack | rst)) === syn &&
      plus(sequence, 1) === this.receiver.next;
    if (isSynAgain) {
      this.sendSyn();
      return;
    }
    if (!this.receiver.accepts(sequence, length)) {
      if ((flags & rst) !== 0) return;
      // A closed window still lets acknowledgements through (RFC 9293, section 3.10.7.4).
      this.challenge(length > 0);
      if (
        this.state === "open" &&
        (flags & (ack | syn)) === ack &&
        this.sender.knows(acknowledgement) &&
        distance(sequence, this.receiver.next) >= 0
      )
        this.takeAcknowledgement(segment);
      return;
    }
    this.probes = 0;
    this.idleAt = this.host.timers.now() + KEEPALIVE_MS;
    if ((flags & rst) !== 0) {
      // Only the very next number proves that it knows the connection (RFC 5961, section 3.2).
      if (sequence === this.receiver.next) this.broken();
      else this.challenge(false);
      return;
    }
    if ((flags & syn) !== 0 || (flags & ack) === 0) return this.challenge(false);
    if (this.state === "syn-received") {
      if (acknowledgement !== plus(this.opening.initial, 1)) {
        this.send(rst, { sequence: acknowledgement });
        return;
      }
      this.open(segment);
    } else if (!this.sender.knows(acknowledgement)) return this.challenge(length > 0);
    this.takeAcknowledgement(segment);
    if (this.state === "closed" || length === 0) return;
    if (this.state === "time-wait") return this.acknowledge();
    const { isUrgent, count } = this.receiver.take(sequence, data, (flags & fin) !== 0);
    if (this.isOver) return;
    this.unacknowledged += count;
    if (isUrgent || this.unacknowledged >= 2 * this.mss) this.acknowledge();
    else this.acknowledgeAt = Math.min(this.acknowledgeAt, this.host.timers.now() + DELAYED_ACK_MS);
    this.tellEnd();
    this.finish();
  }

  private takeAcknowledgement(segment: Segment): void {
    const hasData = segment.data.length > 0 || (segment.flags & fin) !== 0;
    this.sender.heard();
    const { hasDrained } = this.sender.acknowledged(segment, hasData);
    if (hasDrained && !this.isEnding) this.user.drained();
    this.finish();
  }

  // -- the handshake

  private takeSyn(segment: Segment): void {
    const { sequence, options } = segment;
    this.hasSack = options.sackPermitted === true;
    this.mss = Math.min(
      this.opening.mss,
      Math.max(LEAST_MSS, options.mss ?? DEFAULT_MSS[this.opening.family]),
    );
    this.peerShift = options.windowShift ?? 0;
    this.ownShift = options.windowShift === undefined ? 0 : WINDOW_SHIFT;
    this.receiver.begin(plus(sequence, 1), this.ownShift);
  }

  private shakeHands(): void {
    this.sendSyn();
    this.handshakeAt = this.host.timers.now() + SYN_MS * 2 ** this.handshakes;
    this.schedule();
  }

  private sendSyn(): void {
    const options: TcpOptions = {
      mss: this.opening.mss,
      ...(this.hasSack ? { sackPermitted: true } : {}),
      ...(this.ownShift > 0 ? { windowShift: this.ownShift } : {}),
    };
    this.send(this.state === "syn-received" ? syn | ack : syn, { sequence: this.opening.initial, options });
  }

  private open(segment: Segment): void {
    this.state = "open";
    this.handshakeAt = Infinity;
    this.idleAt = this.host.timers.now() + KEEPALIVE_MS;
    this.sender.begin(plus(this.opening.initial, 1), this.mss, this.hasSack, segment, this.peerShift);
    this.user.opened();
  }

  // -- the end

  private tellEnd(): void {
    if (!this.receiver.isEnded || !this.receiver.isEmpty || this.isEndTold || this.isOver) return;
    this.isEndTold = true;
    this.user.ended();
    this.finish();
  }

  /** Both ends came and were acknowledged. */
  private finish(): void {
    if (this.state !== "open" || !this.sender.isDone || !this.isEndTold) return;
    this.state = "time-wait";
    this.endAt = this.host.timers.now() + TIME_WAIT_MS;
    this.idleAt = Infinity;
    this.user.closed(false);
    this.schedule();
  }

  private broken(): void {
    const wasOver = this.isOver;
    this.close();
    if (!wasOver) this.user.closed(true);
  }

  private close(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.timer?.cancel();
    this.timer = undefined;
    this.sender.clear();
    this.receiver.clear();
    this.host.gone();
  }

  // -- segments and time

  private get sequence(): number {
    return this.isOpening ? plus(this.opening.initial, 1) : this.sender.highest;
  }

  private send(
    flags: number,
    {
      sequence,
      data = [],
      options = {},
    }: { sequence: number; data?: readonly Uint8Array[]; options?: TcpOptions },
  ): void {
    const isSyn = (flags & syn) !== 0;
    const hasAck = (flags & ack) !== 0;
    const sack =
      hasAck && !isSyn && this.hasSack && this.state === "open" ? this.receiver.blocks(SACK_BLOCKS) : [];
    const window =
      (flags & rst) !== 0
        ? 0
        : isSyn && !hasAck
          ? Math.min(65_535, this.host.capacity())
          : this.receiver.tell(isSyn);
    if (hasAck) {
      this.unacknowledged = 0;
      this.acknowledgeAt = Infinity;
    }
    this.host.transmit(
      {
        ...{ sequence, flags, window, data },
        acknowledgement: hasAck ? this.receiver.next : 0,
        options: sack.length > 0 ? { ...options, sack } : options,
      },
      // Options take room that data can't have.
      this.mss - (sack.length > 0 ? 4 + 8 * sack.length : 0),
    );
  }

  private acknowledge(): void {
    this.send(ack, { sequence: this.sender.highest });
  }

  /** Answers what is not acceptable, not too often if it carries nothing (RFC 5961, section 7). */
  private challenge(hasData: boolean): void {
    const now = this.host.timers.now();
    if (!hasData && now - this.challengedAt < CHALLENGE_MS) return;
    if (!hasData) this.challengedAt = now;
    this.send(ack, { sequence: this.sequence });
  }

  private output(): void {
    if (this.isInside) return;
    if (this.state === "open") this.sender.output();
    if (this.state === "closed") return;
    this.schedule();
  }

  /** Sees to it that a timer runs that ends no later than the next thing to do. */
  private schedule(): void {
    const { sender } = this;
    const at = Math.min(
      sender.retransmitAt,
      sender.probeAt,
      this.acknowledgeAt,
      this.handshakeAt,
      this.idleAt,
      this.endAt,
    );
    if (at === Infinity || (this.timer !== undefined && this.timerAt <= at)) return;
    this.timer?.cancel();
    this.timerAt = at;
    this.timer = this.host.timers.after(Math.max(0, at - this.host.timers.now()), () => {
      this.timer = undefined;
      this.due();
    });
  }

  private due(): void {
    const now = this.host.timers.now();
    const isDue = (at: number): boolean => at <= now + 0.5;
    if (isDue(this.endAt)) return this.close();
    if (isDue(this.handshakeAt)) {
      if (++this.handshakes > MOST_SYN_RETRIES) return this.broken();
      return this.shakeHands();
    }
    if (isDue(this.idleAt)) {
      if (++this.probes > KEEPALIVE_PROBES) return this.broken();
      this.idleAt = now + KEEPALIVE_INTERVAL_MS;
      this.send(ack, { sequence: plus(this.sender.oldest, -1) });
    }
    if (isDue(this.sender.retransmitAt) && !this.sender.timedOut()) return this.giveUp();
    if (isDue(this.sender.probeAt) && !this.sender.probe()) return this.giveUp();
    if (isDue(this.acknowledgeAt)) this.acknowledge();
    this.output();
  }

  private giveUp(): void {
    this.send(rst | ack, { sequence: this.sequence });
    this.broken();
  }
}
