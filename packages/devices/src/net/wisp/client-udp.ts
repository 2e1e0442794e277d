/**
 * A socket for datagrams through a relay: a stream for each place that it writes to. What the relay does not take is lost, as
 * datagrams may be.
 */
import type { OutsideUdp, OutsideUdpEvents } from "../nat/outside.js";
import type { ClientLink, ClientStream } from "./client-streams.js";
import { wispClose, wispConnect, wispData, wispReasons } from "./packet.js";
import { MOST_WAITING } from "./port.js";

/** Places of one socket; the one that was written to the longest time ago goes. */
const MOST_PLACES = 64;
/** Places of all sockets: a relay of ours has twice as many streams for a client. */
const MOST_TOGETHER = 512;
/** Datagrams that wait for the relay, and their longest (RFC 768, IPv4). */
const [MOST_EARLY, MOST_BYTES] = [8, 65_507];

/** The socket. */
export class ClientUdp implements OutsideUdp {
  /** By address and port, in the order of their use. */
  private readonly places = new Map<string, Place>();
  private isOpen = true;

  constructor(
    private readonly link: ClientLink,
    private readonly events: OutsideUdpEvents,
  ) {}

  send(data: Uint8Array, address: string, port: number): void {
    if (!this.isOpen || data.length > MOST_BYTES) return;
    const key = `${address} ${port}`;
    const place = this.places.get(key) ?? this.open(key, address, port);
    if (place === undefined) return;
    this.places.delete(key);
    this.places.set(key, place);
    place.send(data);
  }

  close(): void {
    this.isOpen = false;
    for (const place of this.places.values()) place.close();
    this.places.clear();
  }

  private open(key: string, address: string, port: number): Place | undefined {
    if (this.places.size >= MOST_PLACES)
      for (const [oldest, place] of this.places) {
        place.close();
        this.places.delete(oldest);
        break;
      }
    const place: Place = new Place(this.link, address, port, {
      data: (data) => this.events.data(data, address, port),
      // What is written there next opens another one.
      gone: () => {
        if (this.places.get(key) === place) this.places.delete(key);
      },
    });
    if (!place.isThere) return undefined;
    this.places.set(key, place);
    return place;
  }
}

/** One place, and its stream. */
class Place implements ClientStream {
  private readonly id: number | undefined;
  private early: Uint8Array[] | undefined = [];

  constructor(
    private readonly link: ClientLink,
    private readonly host: string,
    private readonly port: number,
    private readonly user: { data(bytes: Uint8Array): void; gone(): void },
  ) {
    this.id = link.datagrams < MOST_TOGETHER ? link.add(this) : undefined;
    if (this.id === undefined) return;
    link.datagrams++;
    if (link.initial !== undefined) this.begin();
  }

  get isThere(): boolean {
    return this.id !== undefined;
  }

  send(data: Uint8Array): void {
    const { early } = this;
    if (early === undefined) this.pass(data);
    else if (early.length < MOST_EARLY) early.push(data);
  }

  close(): void {
    if (this.early === undefined) this.link.port.send(wispClose(this.id!, wispReasons.voluntary));
    this.link.remove(this.id!);
    this.link.datagrams--;
  }

  begin(): void {
    const early = this.early ?? [];
    this.early = undefined;
    this.link.port.send(wispConnect(this.id!, "udp", this.host, this.port));
    for (const data of early) this.pass(data);
  }

  data(bytes: Uint8Array): boolean {
    this.user.data(bytes);
    return true;
  }

  allow(): void {}

  flush(): void {}

  closed(): void {
    this.link.datagrams--;
    this.user.gone();
  }

  lost(): void {
    this.closed();
  }

  private pass(data: Uint8Array): void {
    if (this.link.port.waiting < MOST_WAITING) this.link.port.send(wispData(this.id!, [data]));
  }
}
