/** Programs at the other end of connections, in virtual time: they send and take so many bytes a millisecond. */
import type { Outside, OutsideTcp, OutsideTcpEvents } from "../src/net/nat/outside.js";
import type { Timers } from "../src/net/timers.js";
import { FakeOutside } from "./fake-outside.js";

/** The byte at a place of what everybody sends here. */
export const byteAt = (place: number): number => (place * 31 + (place >> 8) * 7) & 255;

/** So many bytes from a place on. */
export function bytesFrom(place: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = byteAt(place + at);
  return bytes;
}

/** Whether bytes are those of a place. */
export function areFrom(place: number, bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== byteAt(place + at)) return false;
  return true;
}

/** How a peer behaves. */
export interface PeerOptions {
  /** Bytes that it sends, and at most in a millisecond. */
  readonly sends: number;
  readonly sendRate?: number;
  /** Bytes that it takes in a millisecond, before it holds. */
  readonly takeRate?: number;
  /** Whether it ends its direction when it has sent all. */
  readonly ends?: boolean;
}

/** A socket of the host's, and the program at its other end. */
export class SteadyPeer implements OutsideTcp {
  received = 0;
  isRight = true;
  readonly log: string[] = [];
  private sent = 0;
  private untaken = 0;
  private isReading = true;
  private isHeld = false;
  private isOver = false;
  private hasEnd = false;

  constructor(
    private readonly timers: Timers,
    private readonly events: OutsideTcpEvents,
    private readonly options: PeerOptions,
  ) {
    timers.after(1, () => {
      if (this.isOver) return;
      events.opened();
      this.tick();
    });
  }

  write(data: Uint8Array): boolean {
    if (!areFrom(this.received, data)) this.isRight = false;
    this.received += data.length;
    this.untaken += data.length;
    this.isHeld = this.untaken > 64 << 10;
    return !this.isHeld;
  }

  end(): void {
    this.log.push("end");
    this.hasEnd = true;
  }

  reset(): void {
    this.log.push("reset");
    this.isOver = true;
  }

  setReading(isReading: boolean): void {
    this.isReading = isReading;
  }

  private tick(): void {
    if (this.isOver) return;
    const { sends, sendRate = 65_536, takeRate = Number.POSITIVE_INFINITY, ends = true } = this.options;
    this.untaken = Math.max(0, this.untaken - takeRate);
    if (this.isHeld && this.untaken < 32 << 10) {
      this.isHeld = false;
      this.events.drained();
    }
    if (this.isReading && this.sent < sends) {
      const length = Math.min(sendRate, sends - this.sent);
      const bytes = bytesFrom(this.sent, length);
      this.sent += length;
      this.events.data(bytes);
      if (this.sent === sends && ends) {
        this.log.push("ended");
        this.events.ended();
      }
    }
    const isDone = this.hasEnd && this.untaken === 0 && this.sent === sends && this.log.includes("ended");
    if (isDone) {
      this.isOver = true;
      this.events.closed(false);
      return;
    }
    this.timers.after(1, () => this.tick());
  }
}

/** An outside whose connections are such peers. */
export class SteadyOutside extends FakeOutside implements Outside {
  readonly peers: SteadyPeer[] = [];

  constructor(
    private readonly timers: () => Timers,
    private readonly optionsOf: (address: string, port: number) => PeerOptions,
  ) {
    super();
  }

  override connectTcp(address: string, port: number, events: OutsideTcpEvents): OutsideTcp {
    const peer = new SteadyPeer(this.timers(), events, this.optionsOf(address, port));
    this.peers.push(peer);
    return peer;
  }
}
