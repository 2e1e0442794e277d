/**
 * A connection of a relay's client. Its addresses are tried one after the other; the client is told by CONTINUE when one has
 * accepted. What the outside does not take is kept, by packets, and grants the client no more; what the client's count or the
 * port does not take is not read outside.
 *
 * A client of ours is told the ends of directions. Another one is told by CLOSE when the outside sends nothing more and
 * everything has gone, since it would wait without an end; what it has sent by then still goes out.
 */
import type { OutsideTcp } from "../nat/outside.js";
import type { Timer } from "../timers.js";
import { Grant, StreamSender } from "./counts.js";
import { wispContinue, wispReasons } from "./packet.js";
import { WINDOW } from "./port.js";
import type { RelayHost, RelayPlace, RelayStream } from "./relay-host.js";

/** Milliseconds for one address, and for what is left when the client is gone. */
const [ATTEMPT_MS, LINGER_MS] = [15_000, 10_000];
/** Addresses of a name that are tried. */
const MOST_ADDRESSES = 3;

/** The connection. */
export class RelayTcp implements RelayStream {
  private state: "opening" | "open" | "leaving" | "over" = "opening";
  private outside: OutsideTcp | undefined;
  private readonly grant = new Grant(WINDOW);
  private readonly sender: StreamSender;
  private readonly packets: Uint8Array[] = [];
  private keptBytes = 0;
  /** The outside was told to wait, or has told so. */
  private isHeld = false;
  private isBlocked = false;
  /** The client sends nothing more, and whether the outside knows. */
  private isEnding = false;
  private isEndSent = false;
  /** What the outside has said of its end. */
  private end: "none" | "ended" | "closed" = "none";
  private timer: Timer | undefined;

  constructor(
    private readonly host: RelayHost,
    readonly id: number,
    private readonly place: RelayPlace,
  ) {
    this.sender = new StreamSender(host.port, id, host.window, host.isOurs);
  }

  get kept(): number {
    return this.keptBytes;
  }

  /** Opens it. */
  begin(): void {
    this.host.resolve(this.place, (found) => {
      if (this.state !== "opening") return;
      if ("reason" in found) this.fail(found.reason);
      else this.attempt(found.slice(0, MOST_ADDRESSES), wispReasons.unreachable);
    });
  }

  // -- what the client does

  data(bytes: Uint8Array): boolean {
    if (!this.grant.take()) return false;
    if (bytes.length > 0) {
      this.packets.push(bytes);
      this.keep(bytes.length);
    } else {
      if (this.host.isOurs) this.isEnding = true;
      this.pass();
    }
    this.pump();
    return true;
  }

  allow(count: number): void {
    this.sender.allow(count);
    this.flush();
  }

  flush(): void {
    if (this.state !== "open" || !this.sender.flush()) return;
    if (this.end === "closed") return this.done();
    if (this.end === "ended" && !this.host.isOurs) {
      this.host.close(this.id, wispReasons.voluntary);
      this.linger();
      return;
    }
    if (!this.isHeld) return;
    this.isHeld = false;
    this.outside?.setReading(true);
  }

  left(reason: number): void {
    // Others end a connection by this that they are done with: what they have sent is to arrive.
    const isDone = !this.host.isOurs && (reason === wispReasons.voluntary || reason === wispReasons.unknown);
    if (isDone && this.state === "open") this.linger();
    else this.reset();
  }

  reset(): void {
    if (this.state === "over") return;
    this.finish();
    this.outside?.reset();
  }

  // -- what the outside does

  private attempt(addresses: readonly string[], reason: number): void {
    const [address, ...others] = addresses;
    if (address === undefined) return this.fail(reason);
    this.timer = this.host.timers.after(ATTEMPT_MS, () => {
      this.outside?.reset();
      this.attempt(others, wispReasons.timeout);
    });
    this.outside = this.host.outside.connectTcp(address, this.place.port, {
      opened: () => this.opened(),
      failed: (why) => {
        this.timer?.cancel();
        this.attempt(others, why === "refused" ? wispReasons.refused : wispReasons.unreachable);
      },
      data: (bytes) => this.came(bytes),
      ended: () => {
        if (this.end === "none") this.end = "ended";
        this.sender.finish();
        this.flush();
      },
      drained: () => {
        this.isBlocked = false;
        this.pump();
      },
      closed: (isBroken) => this.closed(isBroken),
    });
  }

  private opened(): void {
    this.timer?.cancel();
    this.state = "open";
    this.host.port.send(wispContinue(this.id, this.grant.open()));
    this.pump();
  }

  private came(bytes: Uint8Array): void {
    if (this.state !== "open") return;
    this.sender.push(bytes);
    if (this.sender.flush() || this.isHeld) return;
    this.isHeld = true;
    this.outside?.setReading(false);
  }

  private closed(isBroken: boolean): void {
    this.end = "closed";
    if (this.state === "leaving") return this.finish();
    if (isBroken) return this.fail(wispReasons.network);
    this.sender.finish();
    this.flush();
  }

  // -- its course

  /** Gives the outside what came, as far as it takes it, and then the end. */
  private pump(): void {
    if (this.state !== "open" && this.state !== "leaving") return;
    while (!this.isBlocked) {
      const bytes = this.packets.shift();
      if (bytes === undefined) break;
      this.keep(-bytes.length);
      // What comes for an end that is over is lost, as by TCP.
      if (this.end !== "closed") this.isBlocked = this.outside?.write(bytes) === false;
      this.pass();
    }
    if (!this.isEnding || this.isEndSent || this.packets.length > 0) return;
    this.isEndSent = true;
    this.outside?.end();
  }

  private pass(): void {
    const count = this.grant.pass();
    if (count !== undefined && this.state === "open") this.host.port.send(wispContinue(this.id, count));
  }

  private keep(change: number): void {
    this.keptBytes += change;
    this.host.kept += change;
  }

  /** Both directions have ended, and the client has everything. */
  private done(): void {
    this.host.close(this.id, wispReasons.voluntary);
    this.finish();
  }

  private fail(reason: number): void {
    this.host.close(this.id, reason);
    this.finish();
  }

  /** The client is gone; what it has sent has some time to go out. */
  private linger(): void {
    this.state = "leaving";
    this.isEnding = true;
    this.host.leave(this);
    if (this.end === "closed") return this.finish();
    this.timer?.cancel();
    this.timer = this.host.timers.after(LINGER_MS, () => this.reset());
    this.outside?.setReading(true);
    this.pump();
  }

  private finish(): void {
    this.state = "over";
    this.timer?.cancel();
    this.keep(-this.keptBytes);
    this.packets.length = 0;
    this.host.gone(this);
  }
}
