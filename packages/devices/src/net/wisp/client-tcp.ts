/**
 * A connection through a relay.
 *
 * WISP has no word for "open" and none for the end of one direction. A relay of ours has both: it says CONTINUE when the other
 * side has accepted, and an empty packet of data is the end of what its sender sends. With another relay a connection counts
 * as open when the first packet comes, or soon after it was asked for; and when the guest ends its direction the relay is
 * not told, since CLOSE would end both: what comes is read until the relay closes the stream, or nothing came for long.
 *
 * Nor does WISP hold what comes from the relay: a relay of ours is told by CONTINUE how much may follow. What another one
 * sends and the guest does not take is kept up to a bound; beyond it the connection is broken off.
 */
import type { OutsideTcp, OutsideTcpEvents } from "../nat/outside.js";
import type { Timer } from "../timers.js";
import type { ClientLink, ClientStream } from "./client-streams.js";
import { Grant, StreamSender } from "./counts.js";
import { wispClose, wispConnect, wispContinue, wispReasons } from "./packet.js";
import { WINDOW } from "./port.js";

/** Milliseconds for a relay of ours to say what became of it: it gives up earlier itself. */
const OPEN_MS = 60_000;
/** Milliseconds after which a connection by another relay counts as open. */
const GRACE_MS = 300;
/** Milliseconds without anything from the other side, after the guest's end, where the relay can't be told of that. */
const LINGER_MS = 30_000;
/** Bytes that are kept of what a relay sends unasked, on a connection and on all; each packet counts as so many at least. */
const [MOST_UNREAD, MOST_UNREAD_TOGETHER, LEAST_PACKET] = [4 << 20, 64 << 20, 256];

/** The connection. */
export class ClientTcp implements OutsideTcp, ClientStream {
  private state: "waiting" | "opening" | "open" | "over" = "waiting";
  private readonly id: number | undefined;
  private readonly sender: StreamSender;
  private readonly grant: Grant | undefined;
  private readonly incoming: Uint8Array[] = [];
  private kept = 0;
  private isReading = true;
  private isDelivering = false;
  /** Whether the guest was told to wait. */
  private isHeld = false;
  /** The other side sends nothing more, and whether the guest knows. */
  private hasEnded = false;
  private isEndTold = false;
  /** The guest sends nothing more. */
  private isEnding = false;
  private reason: number | undefined;
  private timer: Timer | undefined;

  constructor(
    private readonly link: ClientLink,
    private readonly host: string,
    private readonly destination: number,
    private readonly events: OutsideTcpEvents,
  ) {
    const { port, timers, isOurs } = link;
    this.grant = isOurs ? new Grant(WINDOW) : undefined;
    this.timer = timers.after(OPEN_MS, () => this.giveUp());
    this.id = link.add(this);
    this.sender = new StreamSender(port, this.id ?? 0, 0, isOurs);
    if (this.id === undefined) this.timer = this.after(0, () => this.fail("unreachable"));
    else if (link.initial !== undefined) this.begin(link.initial);
  }

  // -- what the guest's side does

  write(data: Uint8Array): boolean {
    // The relay has closed it: there is nobody for it any more.
    if (this.state === "over" || this.reason !== undefined) return true;
    this.sender.push(data);
    this.isHeld = !this.sender.flush();
    return !this.isHeld;
  }

  end(): void {
    if (this.isEnding || this.state === "over") return;
    this.isEnding = true;
    this.sender.finish();
    this.flush();
    this.linger();
  }

  reset(): void {
    if (this.state === "over") return;
    this.leave(wispReasons.voluntary);
  }

  setReading(isReading: boolean): void {
    this.isReading = isReading;
    if (isReading) this.deliver();
  }

  // -- what the relay does

  begin(count: number): void {
    if (this.state !== "waiting") return;
    const { port, isOurs } = this.link;
    this.state = "opening";
    port.send(wispConnect(this.id!, "tcp", this.host, this.destination));
    this.sender.allow(count);
    if (!isOurs) this.timer = this.after(GRACE_MS, () => this.opened());
  }

  data(bytes: Uint8Array): boolean {
    if (this.grant?.take() === false) return false;
    if (this.state === "opening") this.opened();
    if (bytes.length === 0) {
      // To others an empty packet means nothing.
      if (this.link.isOurs) this.hasEnded = true;
      this.pass();
    } else {
      this.incoming.push(bytes);
      this.keep(Math.max(LEAST_PACKET, bytes.length));
    }
    this.deliver();
    this.linger();
    const { unread, isOurs } = this.link;
    if (!isOurs && this.kept > 0 && (this.kept > MOST_UNREAD || unread > MOST_UNREAD_TOGETHER)) {
      this.leave(wispReasons.client);
      this.events.closed(true);
    }
    return true;
  }

  allow(count: number): void {
    this.sender.allow(count);
    if (this.state === "opening") this.opened();
    this.flush();
  }

  flush(): void {
    if (!this.sender.flush() || !this.isHeld) return;
    this.isHeld = false;
    if (!this.isEnding && this.state === "open") this.events.drained();
  }

  closed(reason: number): void {
    if (this.state === "opening" || this.state === "waiting")
      return this.fail(reason === wispReasons.refused ? "refused" : "unreachable");
    this.reason = reason;
    this.deliver();
  }

  lost(): void {
    if (this.state === "over") return;
    if (this.state === "open") {
      this.finish();
      this.events.closed(true);
    } else this.fail("unreachable");
  }

  // -- its course

  private opened(): void {
    if (this.state !== "opening") return;
    this.state = "open";
    this.timer?.cancel();
    this.events.opened();
    this.deliver();
  }

  private fail(why: "refused" | "unreachable"): void {
    this.finish();
    this.events.failed(why);
  }

  private giveUp(): void {
    if (this.id !== undefined && this.state === "opening")
      this.link.port.send(wispClose(this.id, wispReasons.voluntary));
    this.fail("unreachable");
  }

  /** Gives the guest what came, as far as it takes it, and then the ends. */
  private deliver(): void {
    if (this.isDelivering) return;
    this.isDelivering = true;
    while (this.isReading && this.state === "open") {
      const bytes = this.incoming.shift();
      if (bytes === undefined) break;
      this.keep(-Math.max(LEAST_PACKET, bytes.length));
      this.pass();
      this.events.data(bytes);
    }
    this.isDelivering = false;
    if (this.state !== "open" || this.incoming.length > 0) return;
    if (this.hasEnded && !this.isEndTold) {
      this.isEndTold = true;
      this.events.ended();
    }
    const { reason } = this;
    if (reason === undefined || this.isOver) return;
    this.finish();
    this.events.closed(reason !== wispReasons.voluntary && reason !== wispReasons.unknown);
  }

  /** Whether it is over by now: events may have ended it. */
  private get isOver(): boolean {
    return this.state === "over";
  }

  /** A packet of the relay's is done with: more may follow. */
  private pass(): void {
    const count = this.grant?.pass();
    if (count !== undefined && this.reason === undefined && this.id !== undefined)
      this.link.port.send(wispContinue(this.id, count));
  }

  private keep(change: number): void {
    this.kept += change;
    this.link.unread += change;
  }

  /** Ends it some time after the guest's end, where the relay is not told of that. */
  private linger(): void {
    if (!this.isEnding || this.link.isOurs || this.state !== "open" || this.reason !== undefined) return;
    this.timer?.cancel();
    this.timer = this.after(LINGER_MS, () => {
      if (this.incoming.length > 0 || this.sender.bytes > 0) return this.linger();
      this.leave(wispReasons.voluntary);
      this.events.closed(false);
    });
  }

  /** Ends it, and tells the relay. */
  private leave(reason: number): void {
    const isKnown = this.state !== "waiting" && this.reason === undefined;
    if (isKnown && this.id !== undefined) this.link.port.send(wispClose(this.id, reason));
    this.finish();
  }

  private finish(): void {
    this.state = "over";
    this.timer?.cancel();
    this.keep(-this.kept);
    this.incoming.length = 0;
    if (this.id !== undefined) this.link.remove(this.id);
  }

  private after(milliseconds: number, action: () => void): Timer {
    this.timer?.cancel();
    return this.link.timers.after(milliseconds, action);
  }
}
