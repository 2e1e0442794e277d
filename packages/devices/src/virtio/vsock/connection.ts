/**
 * One stream (virtio 1.2, sections 5.10.6.3 to 5.10.6.6): what the guest's packets do to it, which packet it has for the
 * guest next, and what its user is told.
 *
 * Either side keeps a number of bytes for what comes, and says with each packet how many that is and how many its user has
 * taken: the other side has credit for the rest. The guest's numbers only ever hold the host back. A guest that sends more
 * than it has credit for, or what its state does not allow, has the stream broken off.
 *
 * The stream as a connection and as its user sees it end apart: what has come may wait for a user who does not read long
 * after the guest has forgotten it.
 */
import { ByteQueue } from "../../net/byte-queue.js";
import { Backlog } from "./backlog.js";
import { type VsockHeader, vsockOps, vsockShutdown } from "./packet.js";
import type { VsockConnectEvents, VsockFailure, VsockStream, VsockStreamEvents } from "./stream.js";

/** Bytes that its user has written and the guest has not taken, above which it is asked to wait. */
const SEND_BUFFER_BYTES = 256 << 10;
/** Where a user that waits may go on. */
const SEND_LOW_BYTES = SEND_BUFFER_BYTES / 2;

/** A packet for the guest, as far as it is the stream's. */
export interface VsockPacket {
  readonly op: number;
  readonly flags: number;
  readonly data: readonly Uint8Array[];
  readonly bufferBytes: number;
  readonly forwarded: number;
}

/** Who keeps connections. */
export interface ConnectionOwner {
  /** It may have something for the guest now. */
  wake(connection: Connection): void;
  /** The guest's side is over: what still comes is somebody else's. The guest is to be told so, or knows. */
  forget(connection: Connection, mustTell: boolean): void;
  /** Both sides are over: it keeps nothing. */
  release(connection: Connection): void;
  /** It only waits for the guest to say that it is over. */
  linger(connection: Connection): void;
  /** The guest did what no driver may. */
  violated(): void;
}

/**
 * `requested`: the host has asked, or is about to. `open`. `closing`: both sides have said that they send nothing more, and
 * the guest is to confirm that by a reset. `over`.
 */
type Phase = "requested" | "open" | "closing" | "over";

/** A stream. */
export class Connection implements VsockStream {
  private phase: Phase;
  /** Its user; undefined once that has nothing more to learn. */
  private events: VsockStreamEvents | undefined;
  /** The same, while it waits for the guest to accept. */
  private connecting: VsockConnectEvents | undefined;
  private isSettling = false;
  private isReleased = false;
  /** Bytes are lost, or may be. */
  private isBroken = false;

  // -- to the guest
  private readonly outgoing = new ByteQueue();
  /** A request or a response, which goes before all else. */
  private greeting: number | undefined;
  private isEnded = false;
  private hasSentEnd = false;
  private wantsDrain = false;
  /** Bytes sent, modulo 2^32. */
  private sent = 0;
  /** What the guest last said of itself. */
  private guestForwarded = 0;
  private guestBuffer = 0;
  /** The guest was asked for credit since there was some. */
  private hasAsked = false;
  /** What the guest said that it does no more. */
  private guestShutdown = 0;

  // -- from the guest
  private readonly backlog = new Backlog();
  private isReading = true;
  private received = 0;
  private forwarded = 0;
  /** How much of that the guest was last told. */
  private told = 0;
  private mustTell = false;
  private hasToldEnd = false;

  /**
   * @param bufferBytes what the guest may send before anybody has read it
   * @param request the guest's, where it has asked
   */
  constructor(
    private readonly owner: ConnectionOwner,
    readonly hostPort: number,
    readonly guestPort: number,
    private readonly bufferBytes: number,
    request?: VsockHeader,
  ) {
    this.phase = request === undefined ? "requested" : "open";
    this.greeting = request === undefined ? vsockOps.request : vsockOps.response;
    if (request !== undefined) this.creditFrom(request);
  }

  /** Gives it its user. @param connecting the same, where the host has asked */
  use(events: VsockStreamEvents, connecting?: VsockConnectEvents): void {
    this.events = events;
    this.connecting = connecting;
  }

  // -- for its user

  write(data: Uint8Array): boolean {
    if (this.isEnded || !this.canSend) return true;
    this.outgoing.push(data);
    this.owner.wake(this);
    this.wantsDrain = this.outgoing.length > SEND_BUFFER_BYTES;
    return !this.wantsDrain;
  }

  end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.owner.wake(this);
  }

  reset(): void {
    this.events = this.connecting = undefined;
    this.backlog.clear();
    this.breakOff(this.greeting !== vsockOps.request);
    this.settle();
  }

  setReading(isReading: boolean): void {
    this.isReading = isReading;
    this.settle();
  }

  // -- from the guest

  /** Bytes that the guest may send now. */
  get room(): number {
    const isOpen = this.phase === "open" && (this.guestShutdown & vsockShutdown.send) === 0;
    return isOpen ? this.bufferBytes - (this.received - this.forwarded) : 0;
  }

  /** A packet came. @param data its bytes; undefined where it has none, or more than there is room for */
  receive(header: VsockHeader, data: Uint8Array | undefined): void {
    this.creditFrom(header);
    const { op } = header;
    if (op === vsockOps.reset) this.wasReset();
    else if (this.phase === "requested") this.answered(op);
    else if (op === vsockOps.shutdown) this.shutDown(header.flags);
    else if (this.phase === "closing") return;
    else if (op === vsockOps.readWrite && data !== undefined) this.bytesCame(data);
    else if (op === vsockOps.creditRequest) this.mustTell = true;
    else if (op !== vsockOps.creditUpdate) this.violated();
    this.owner.wake(this);
    this.settle();
  }

  /** Does not wait for the guest's confirmation any longer. */
  giveUp(): void {
    this.breakOff(true);
    this.settle();
  }

  /** There is no way to the guest, or none any more. */
  lost(why: VsockFailure): void {
    if (this.phase === "requested") this.fail(why);
    else this.isBroken ||= this.phase === "open";
    this.breakOff(false);
    this.settle();
  }

  // -- to the guest

  /** Whether there is a packet for it. */
  get hasNext(): boolean {
    if (this.greeting !== undefined) return true;
    if (this.phase !== "open") return false;
    return this.hasData || this.mustSendEnd || this.mustTell || this.mustAsk;
  }

  /** The next packet, with at most `room` bytes, 1 or more; undefined if there is none. */
  next(room: number): VsockPacket | undefined {
    if (!this.hasNext) return undefined;
    if (this.greeting !== undefined) {
      const op = this.greeting;
      this.greeting = undefined;
      return this.packet(op);
    }
    if (this.hasData) {
      const data = this.outgoing.slice(0, Math.min(room, this.credit));
      const length = data.reduce((sum, part) => sum + part.length, 0);
      this.outgoing.drop(length);
      this.sent = (this.sent + length) >>> 0;
      return this.packet(vsockOps.readWrite, 0, data);
    }
    if (this.mustSendEnd) {
      this.hasSentEnd = true;
      if (!this.guestHasEnded) return this.packet(vsockOps.shutdown, vsockShutdown.send);
      this.phase = "closing";
      this.owner.linger(this);
      return this.packet(vsockOps.shutdown, vsockShutdown.both);
    }
    if (this.mustTell) return this.packet(vsockOps.creditUpdate);
    this.hasAsked = true;
    return this.packet(vsockOps.creditRequest);
  }

  /** Tells its user what there is to tell, in its order. */
  settle(): void {
    if (this.isSettling) return;
    this.isSettling = true;
    try {
      while (this.tell());
    } finally {
      this.isSettling = false;
    }
    if (this.events !== undefined || this.phase !== "over" || this.isReleased) return;
    this.isReleased = true;
    this.owner.release(this);
  }

  // -- inside

  private get guestHasEnded(): boolean {
    return (this.guestShutdown & vsockShutdown.send) !== 0;
  }

  private get canSend(): boolean {
    const isUsable = this.phase === "open" || this.phase === "requested";
    return isUsable && (this.guestShutdown & vsockShutdown.receive) === 0;
  }

  private get credit(): number {
    return Math.max(0, this.guestBuffer - ((this.sent - this.guestForwarded) >>> 0));
  }

  private get hasData(): boolean {
    return this.outgoing.length > 0 && this.credit > 0;
  }

  private get mustAsk(): boolean {
    return this.outgoing.length > 0 && this.credit === 0 && !this.hasAsked;
  }

  private get mustSendEnd(): boolean {
    return this.isEnded && this.outgoing.length === 0 && (!this.hasSentEnd || this.guestHasEnded);
  }

  private creditFrom({ bufferBytes, forwarded }: VsockHeader): void {
    this.guestBuffer = bufferBytes;
    this.guestForwarded = forwarded;
    if (this.credit > 0) this.hasAsked = false;
  }

  private packet(op: number, flags = 0, data: readonly Uint8Array[] = []): VsockPacket {
    this.told = this.forwarded;
    this.mustTell = false;
    return { op, flags, data, bufferBytes: this.bufferBytes, forwarded: this.forwarded >>> 0 };
  }

  private answered(op: number): void {
    const { connecting } = this;
    if (op !== vsockOps.response || this.greeting !== undefined) {
      this.fail("refused");
      this.violated();
      return;
    }
    this.phase = "open";
    this.connecting = undefined;
    connecting?.opened();
  }

  private bytesCame(data: Uint8Array): void {
    this.received += data.length;
    if (data.length === 0) return;
    if (!this.isReading || this.isSettling || !this.backlog.isEmpty) {
      this.backlog.push(data);
      return;
    }
    this.took(data.length);
    this.events?.data(data);
  }

  /** Its user has got so many bytes. */
  private took(length: number): void {
    this.forwarded += length;
    if (this.forwarded - this.told < this.bufferBytes / 2) return;
    this.mustTell = true;
    this.owner.wake(this);
  }

  /** A hint that was given stays (section 5.10.6.5). */
  private shutDown(flags: number): void {
    this.guestShutdown |= flags & vsockShutdown.both;
    if ((this.guestShutdown & vsockShutdown.receive) !== 0) {
      this.isBroken ||= this.outgoing.length > 0;
      this.outgoing.clear();
    }
    if (this.guestShutdown === vsockShutdown.both) this.breakOff(true);
  }

  private wasReset(): void {
    if (this.phase === "requested") this.fail("refused");
    this.isBroken ||= this.phase === "open";
    this.breakOff(false);
  }

  private violated(): void {
    this.owner.violated();
    this.isBroken = true;
    this.breakOff(true);
  }

  private fail(why: VsockFailure): void {
    const { connecting } = this;
    this.events = this.connecting = undefined;
    connecting?.failed(why);
  }

  private breakOff(mustTell: boolean): void {
    if (this.phase === "over") return;
    this.phase = "over";
    this.greeting = undefined;
    this.outgoing.clear();
    this.owner.forget(this, mustTell);
  }

  /** Tells one thing; false if there is none. */
  private tell(): boolean {
    const { events, backlog, phase } = this;
    if (events === undefined) return false;
    const piece = this.isReading ? backlog.take() : undefined;
    if (piece !== undefined) {
      this.took(piece.length);
      events.data(piece);
      return true;
    }
    const isFinal = phase === "closing" || phase === "over";
    if (this.wantsDrain && !isFinal && this.outgoing.length <= SEND_LOW_BYTES) {
      this.wantsDrain = false;
      events.drained();
      return true;
    }
    if (!backlog.isEmpty) return false;
    if (this.guestHasEnded && !this.hasToldEnd) {
      this.hasToldEnd = true;
      events.ended();
      return true;
    }
    if (!isFinal) return false;
    this.events = undefined;
    events.closed(this.isBroken);
    return false;
  }
}
