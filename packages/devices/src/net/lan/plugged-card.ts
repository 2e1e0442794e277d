/**
 * A card in a network of its own thread, and the cable in between. Without a limit frames go through at once; where there
 * is one they wait for turns, which whoever has the network's bandwidth gives:
 *
 * - what the guest sends waits in a short queue here, and then with the guest, whose card takes no more from its driver;
 * - what goes to the guest waits in its port's queue, which is bounded and drops.
 *
 * A machine that is to take another's place may be connected beside it: frames go to the one that came last, and when the
 * other one is gone, what had been open is void.
 */
import { allFrames, type Frame, type FrameSupport, type Link, type LinkEnd, type Network } from "../frame.js";
import { PortQueue } from "../switch/port-queue.js";
import type { Timers } from "../timers.js";
import type { LanCard, LanFigure } from "./lan-card.js";
import { ReceiveCredit } from "./receive-credit.js";

/** Frames and bytes that wait to be sent, at most; a card sends no more from half of the bytes on. */
const SEND_QUEUE = { frames: 256, bytes: 1 << 17 };

/** The directions, as the guest has them. */
export type LanDirection = "send" | "receive";

/** What a card asks of whoever divides the bandwidth. */
export interface LanGate {
  /** Whether no limit holds the card in a direction. */
  isFree(direction: LanDirection): boolean;
  /** So many bytes wait for a turn: {@link PluggedCard.let}. */
  wait(direction: LanDirection, bytes: number): void;
}

/** What a card needs of its network. */
export interface LanPlace {
  connect(end: LinkEnd): LanCard;
  disconnect(card: LanCard): void;
  abandon(card: LanCard): void;
}

/** A card, and its cable: what the machine's card is connected to. */
export class PluggedCard implements Network {
  private readonly card: LanCard;
  private readonly plugs: Plug[] = [];
  private readonly queue = new PortQueue(SEND_QUEUE);
  private readonly credit: ReceiveCredit;
  private isOut = false;

  /** @throws NetworkError as the place does */
  constructor(
    private readonly place: LanPlace,
    private readonly gate: LanGate,
    private readonly timers: Timers,
  ) {
    this.credit = new ReceiveCredit({
      isFree: () => gate.isFree("receive"),
      wait: (bytes) => gate.wait("receive", bytes),
    });
    const now = (): Plug | undefined => this.plugs.at(-1);
    this.card = place.connect({
      get takes(): FrameSupport {
        return now()?.takes ?? allFrames;
      },
      receive: (frame) => this.receive(frame),
      linkChanged: (isUp) => {
        for (const plug of [...this.plugs]) plug.tellLink(isUp);
      },
    });
  }

  /** Whether the cable is in. */
  get isUp(): boolean {
    return !this.isOut && this.card.port.isUp;
  }

  /** Puts the cable in, or takes it out; the guest is told. What waits is dropped. */
  setUp(isUp: boolean): void {
    if (!isUp) this.queue.clear();
    this.card.port.setUp(isUp);
  }

  /** Bytes that wait for a turn in a direction. */
  waiting(direction: LanDirection): number {
    return direction === "send" ? this.queue.bytes : this.card.port.counters.waitingBytes;
  }

  /** Lets frames go that wait, so many bytes; gives how many went. */
  let(direction: LanDirection, bytes: number): number {
    return direction === "send" ? this.pass(bytes) : this.deliver(bytes);
  }

  /** A limit may have gone: what nothing holds any more goes. */
  look(): void {
    if (this.isOut) return;
    if (this.gate.isFree("send")) this.pass(Infinity);
    this.card.port.ready();
  }

  /** What it has done, by name; times in milliseconds, all frames together. */
  figures(): Readonly<Record<LanFigure | "wait.sent", number>> {
    return { ...this.card.figures(), "wait.sent": this.queue.waitedMs };
  }

  connect(end: LinkEnd): Link {
    const plug = new Plug(this, end);
    this.plugs.push(plug);
    return plug;
  }

  /** Takes the card out of its network, for good. */
  disconnect(): void {
    if (this.isOut) return;
    this.isOut = true;
    this.queue.clear();
    this.place.disconnect(this.card);
  }

  // -- for plugs

  get isFull(): boolean {
    return this.queue.bytes >= SEND_QUEUE.bytes / 2 || this.queue.length >= SEND_QUEUE.frames / 2;
  }

  send(frame: Frame): void {
    if (this.queue.length === 0 && this.gate.isFree("send")) {
      this.card.port.send(frame);
      return;
    }
    this.queue.push(frame, this.timers.now());
    this.gate.wait("send", this.queue.bytes);
  }

  ready(): void {
    if (!this.isOut) this.card.port.ready();
  }

  remove(plug: Plug): void {
    const at = this.plugs.indexOf(plug);
    if (at < 0) return;
    this.plugs.splice(at, 1);
    if (at === 0 && this.plugs.length > 0 && !this.isOut) this.place.abandon(this.card);
  }

  // -- inside

  private receive(frame: Frame): boolean {
    const plug = this.plugs.at(-1);
    // A machine that is not there gets nothing, and so does one that is made just now.
    if (plug === undefined) return true;
    const { length } = frame.bytes;
    if (!this.credit.take(length)) return false;
    if (plug.receive(frame)) return true;
    this.credit.giveBack(length);
    return false;
  }

  private pass(most: number): number {
    let bytes = 0;
    while (bytes < most) {
      const frame = this.queue.peek();
      if (frame === undefined) break;
      this.queue.shift(this.timers.now());
      bytes += frame.bytes.length;
      this.card.port.send(frame);
    }
    if (!this.isFull) for (const plug of [...this.plugs]) plug.tellRoom();
    return bytes;
  }

  private deliver(most: number): number {
    const before = this.card.port.counters.bytesSent;
    this.credit.spend(most, () => this.card.port.ready());
    return this.card.port.counters.bytesSent - before;
  }
}

/** What a machine's card has of its cable. */
class Plug implements Link {
  private isWaiting = false;
  private isConnected = true;

  constructor(
    private readonly cable: PluggedCard,
    private readonly end: LinkEnd,
  ) {}

  get isUp(): boolean {
    return this.isConnected && this.cable.isUp;
  }

  get isFull(): boolean {
    if (!this.isUp) return false;
    this.isWaiting = this.cable.isFull;
    return this.isWaiting;
  }

  send(frame: Frame): void {
    if (this.isUp) this.cable.send(frame);
  }

  ready(): void {
    if (this.isConnected) this.cable.ready();
  }

  disconnect(): void {
    this.isConnected = false;
    this.cable.remove(this);
  }

  // -- for the cable

  get takes(): FrameSupport {
    return this.end.takes;
  }

  receive(frame: Frame): boolean {
    return this.end.receive(frame);
  }

  tellLink(isUp: boolean): void {
    // A driver that was held up by a full cable sends again where there is none.
    this.isWaiting = false;
    this.end.linkChanged?.(isUp);
    this.end.drained?.();
  }

  tellRoom(): void {
    if (!this.isWaiting) return;
    this.isWaiting = false;
    this.end.drained?.();
  }
}
