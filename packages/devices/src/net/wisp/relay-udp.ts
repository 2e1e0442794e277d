/**
 * Streams of a relay's client for datagrams: to one place, whose answers alone come back, and to the host's name servers. What
 * the client or the outside does not take is lost. A stream on which nothing passes ends.
 */
import { familyOf } from "../addresses.js";
import { addressesIn, parseQuery } from "../nat/dns/message.js";
import type { OutsideUdp } from "../nat/outside.js";
import type { Timer } from "../timers.js";
import { wispData, wispReasons } from "./packet.js";
import { MOST_WAITING } from "./port.js";
import type { RelayHost, RelayPlace, RelayStream } from "./relay-host.js";

/** Milliseconds without a datagram after which a stream ends (RFC 4787, REQ-5: not below two minutes). */
const IDLE_MS = 120_000;
/** Datagrams that wait for a name to be found. */
const MOST_EARLY = 8;
/** Queries under way on a stream, and the longest. */
const [MOST_QUERIES, MOST_QUERY_BYTES] = [16, 4096];
/** Longest datagram (RFC 768, IPv4). */
const MOST_BYTES = 65_507;

/** What streams for datagrams have in common: they keep nothing, and end when nothing passes. */
abstract class Datagrams implements RelayStream {
  readonly kept = 0;
  protected isOver = false;
  private timer: Timer;
  private usedAt: number;

  constructor(
    protected readonly host: RelayHost,
    readonly id: number,
  ) {
    this.usedAt = host.timers.now();
    this.timer = host.timers.after(IDLE_MS, () => this.due());
  }

  data(bytes: Uint8Array): boolean {
    this.usedAt = this.host.timers.now();
    if (bytes.length <= MOST_BYTES) this.send(bytes);
    return true;
  }

  allow(): void {}

  flush(): void {}

  left(): void {
    this.reset();
  }

  reset(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.timer.cancel();
    this.stop();
    this.host.gone(this);
  }

  protected abstract send(bytes: Uint8Array): void;
  protected abstract stop(): void;

  /** A datagram for the client. */
  protected came(bytes: Uint8Array): void {
    const { port, timers } = this.host;
    if (this.isOver || port.waiting >= MOST_WAITING) return;
    this.usedAt = timers.now();
    port.send(wispData(this.id, [bytes]));
  }

  protected end(reason: number): void {
    if (this.isOver) return;
    this.host.close(this.id, reason);
    this.reset();
  }

  private due(): void {
    const left = this.usedAt + IDLE_MS - this.host.timers.now();
    if (left > 0) this.timer = this.host.timers.after(left, () => this.due());
    else this.end(wispReasons.voluntary);
  }
}

/** Datagrams to a place. */
export class RelayUdp extends Datagrams {
  private early: Uint8Array[] | undefined = [];
  private socket: OutsideUdp | undefined;
  private address = "";

  constructor(
    host: RelayHost,
    id: number,
    private readonly place: RelayPlace,
  ) {
    super(host, id);
  }

  /** Opens it. */
  begin(): void {
    this.host.resolve(this.place, (found) => {
      if (this.isOver) return;
      if ("reason" in found) this.end(found.reason);
      else this.open(found[0]!);
    });
  }

  private open(address: string): void {
    const early = this.early ?? [];
    this.early = undefined;
    this.address = address;
    this.socket = this.host.outside.openUdp(familyOf(address), {
      data: (bytes, from, port) => {
        if (from === address && port === this.place.port) this.came(bytes);
      },
      failed: () => this.end(wispReasons.network),
    });
    for (const bytes of early) this.send(bytes);
  }

  protected send(bytes: Uint8Array): void {
    if (this.early === undefined) this.socket?.send(bytes, this.address, this.place.port);
    else if (this.early.length < MOST_EARLY) this.early.push(bytes);
  }

  protected stop(): void {
    this.early = undefined;
    this.socket?.close();
  }
}

/** Queries for names, which the host's servers answer. */
export class RelayQueries extends Datagrams {
  private underWay = 0;

  protected send(bytes: Uint8Array): void {
    if (this.underWay >= MOST_QUERIES || bytes.length > MOST_QUERY_BYTES) return;
    this.underWay++;
    const answered = (answer?: Uint8Array): void => {
      this.underWay--;
      if (answer === undefined) return;
      // The identifier is the client's; that of the question at the servers was another.
      const own = answer.slice();
      own.set(bytes.subarray(0, 2));
      const name = parseQuery(bytes)?.name;
      if (name !== undefined) this.host.learn(name, addressesIn(own));
      this.came(own);
    };
    this.host.outside.query(bytes.slice()).then(answered, () => answered());
  }

  protected stop(): void {}
}
