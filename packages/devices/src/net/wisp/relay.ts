/**
 * The other end of WISP: takes streams of one client, each to an outside, as far as a policy lets it.
 *
 *   a page ── WebSocket ── WispRelay ── Outside (sockets of Node) ── the world
 *
 * A client names places by address or by name. Names are resolved here, and each address that is about to be used is asked
 * of the policy, so that a name which changes its address gains nothing; what an IPv6 address carries of an IPv4 address is
 * judged, too.
 *
 * A client of ours says so by a CONTINUE for stream 0, as its answer to the relay's: with the packets of data that it takes on a
 * connection. It is then held by such counts as the relay is, and an empty packet is the end of a direction. Others get what
 * they know: they are held only as a whole, by what waits in the port.
 *
 * The client is hostile: streams, names under way and what is kept are bounded, each packet is judged, and what is against the
 * protocol closes its stream, or the connection where the stream can't be known, with one reason.
 */
import { canonicalIp } from "../addresses.js";
import { addressesIn, dnsTypes, nameQuery } from "../nat/dns/message.js";
import type { Outside } from "../nat/outside.js";
import { type Policy, unmapped } from "../nat/policy.js";
import { hostTimers, type Timers } from "../timers.js";
import { parseWisp, type WispPacket, wispClose, wispContinue, wispReasons } from "./packet.js";
import { MOST_MESSAGE_BYTES, MOST_WAITING, RELAY_NAME_SERVER, WINDOW, type WispPort } from "./port.js";
import type { FailedPlace, RelayHost, RelayPlace, RelayStream } from "./relay-host.js";
import { RelayTcp } from "./relay-tcp.js";
import { RelayQueries, RelayUdp } from "./relay-udp.js";

/** Streams of a client. */
const MOST_STREAMS = 1024;
/** Names of a client that are looked up at a time, and addresses of one that are looked at. */
const [MOST_LOOKUPS, MOST_ADDRESSES] = [64, 16];
/** Addresses of which it is remembered by which names the client has found them, and names of one. */
const [MOST_LEARNED, MOST_NAMES] = [1024, 8];
/** Bytes that a client's streams keep for the outside; the one that keeps most is closed when there are more. */
const MOST_KEPT = 32 << 20;
/** Packets that a client may take on a stream, whatever it says. */
const MOST_COUNT = 256;
/** Bytes that wait for a client at which it counts as one that does not read: answers to what it sends are small. */
const DEAF_BYTES = 4 * MOST_WAITING;
/** Streams that were closed last, for which packets may be under way; packets for others that are let pass. */
const [MOST_CLOSED, MOST_STRAYS] = [4096, 1000];
const DNS_PORT = 53;

/** What a relay is made from. */
export interface WispRelayOptions {
  /** Leads to the client. */
  readonly port: WispPort;
  readonly outside: Outside;
  /** What may be reached. */
  readonly policy: Policy;
  /** Who the client is, for the policy. */
  readonly client: string;
  /** Whether the host has room for another stream; always unless given. */
  hasRoom?(): boolean;
  /** Is told of what the policy refused. */
  onRefused?(place: {
    readonly protocol: "tcp" | "udp";
    readonly address: string;
    readonly port: number;
  }): void;
  /** The host's clock unless given. */
  readonly timers?: Timers;
}

/** A relay's end of one client's connection. */
export class WispRelay {
  readonly counters = { opened: 0, blocked: 0, throttled: 0, malformed: 0, strays: 0 };
  private readonly streams = new Map<number, RelayStream>();
  /** Streams that the client is done with, and the outside is not. */
  private readonly leaving = new Set<RelayStream>();
  /** In the order in which they were closed. */
  private readonly closed = new Set<number>();
  /** Names by which the client has found addresses, in the order in which they were told. */
  private readonly learned = new Map<string, readonly string[]>();
  private readonly host: RelayHost;
  private window = Number.POSITIVE_INFINITY;
  private isOurs = false;
  private lookups = 0;
  private isOver = false;

  constructor(private readonly options: WispRelayOptions) {
    const relay = this;
    const { port, outside, timers = hostTimers } = options;
    this.host = {
      ...{ port, outside, timers, kept: 0 },
      get window() {
        return relay.window;
      },
      get isOurs() {
        return relay.isOurs;
      },
      resolve: (place, found) => this.resolve(place, found),
      learn: (name, addresses) => {
        for (const address of addresses) this.learn(name, address);
      },
      close: (id, reason) => {
        port.send(wispClose(id, reason));
      },
      leave: (stream) => {
        this.forget(stream.id);
        this.leaving.add(stream);
      },
      gone: (stream) => {
        this.leaving.delete(stream);
        if (this.streams.get(stream.id) === stream) this.forget(stream.id);
      },
    };
    port.send(wispContinue(0, WINDOW));
  }

  /** Streams that there are, those among them that only end. */
  get size(): number {
    return this.streams.size + this.leaving.size;
  }

  /** Bytes that are kept for the outside. */
  get keptBytes(): number {
    return this.host.kept;
  }

  /** The client has sent a message, whose bytes are the relay's from then on. */
  receive(message: Uint8Array): void {
    if (this.isOver) return;
    const { port } = this.options;
    if (message.length > MOST_MESSAGE_BYTES) return this.broken(`a packet of ${message.length} bytes`);
    if (port.waiting > DEAF_BYTES) return this.broken("the client does not read");
    const packet = parseWisp(message);
    if (packet.type !== "malformed") return this.take(packet);
    this.counters.malformed++;
    const { stream, why } = packet;
    if (stream === undefined || stream === 0 || this.streams.has(stream)) return this.broken(why);
    port.send(wispClose(stream, wispReasons.invalid));
    this.remember(stream);
  }

  /** The port has room again. */
  drained(): void {
    for (const stream of [...this.streams.values()]) stream.flush();
  }

  /** The client is gone: what it had is broken off. */
  close(): void {
    this.isOver = true;
    for (const stream of [...this.streams.values(), ...this.leaving]) stream.reset();
  }

  private take(packet: WispPacket): void {
    const { stream: id } = packet;
    const stream = this.streams.get(id);
    switch (packet.type) {
      case "connect":
        return this.connect(id, packet);
      case "data":
        if (stream === undefined) return this.stray(id);
        if (!stream.data(packet.data)) this.end(stream, wispReasons.throttled);
        else if (this.host.kept > MOST_KEPT) this.shed();
        return;
      case "continue":
        if (id === 0) return this.meet(packet.count);
        return stream?.allow(Math.min(packet.count, MOST_COUNT));
      case "close":
        if (stream === undefined) return;
        this.forget(id);
        return stream.left(packet.reason);
    }
  }

  /** The client is one of ours; it says so before it opens anything. */
  private meet(count: number): void {
    if (this.streams.size > 0 || this.isOurs) return;
    this.isOurs = true;
    this.window = Math.min(count, MOST_COUNT);
  }

  private connect(id: number, place: RelayPlace): void {
    if (id === 0) return this.broken("CONNECT for stream 0");
    if (this.streams.has(id)) return this.broken(`CONNECT for stream ${id}, which is open`);
    if (this.size >= MOST_STREAMS || this.options.hasRoom?.() === false) {
      this.counters.throttled++;
      this.options.port.send(wispClose(id, wispReasons.throttled));
      this.remember(id);
      return;
    }
    this.counters.opened++;
    this.closed.delete(id);
    const { protocol, host, port } = place;
    if (protocol === "udp" && host.toLowerCase() === RELAY_NAME_SERVER && port === DNS_PORT) {
      this.streams.set(id, new RelayQueries(this.host, id));
      return;
    }
    const stream =
      protocol === "tcp" ? new RelayTcp(this.host, id, place) : new RelayUdp(this.host, id, place);
    this.streams.set(id, stream);
    stream.begin();
  }

  /** Data for what is not open: late if it was lately, and a mistake if not. */
  private stray(id: number): void {
    if (this.closed.has(id)) return;
    if (++this.counters.strays > MOST_STRAYS) return this.broken("data for streams that were never opened");
    this.options.port.send(wispClose(id, wispReasons.invalid));
    this.remember(id);
  }

  /** Closes the stream that keeps most. */
  private shed(): void {
    let most: RelayStream | undefined;
    for (const stream of [...this.streams.values(), ...this.leaving])
      if (stream.kept > (most?.kept ?? 0)) most = stream;
    if (most === undefined) return;
    this.counters.throttled++;
    this.end(most, wispReasons.throttled);
  }

  private end(stream: RelayStream, reason: number): void {
    if (this.streams.get(stream.id) === stream) this.options.port.send(wispClose(stream.id, reason));
    stream.reset();
  }

  private broken(why: string): void {
    this.close();
    this.options.port.close(why);
  }

  private forget(id: number): void {
    this.streams.delete(id);
    this.remember(id);
  }

  private remember(id: number): void {
    this.closed.add(id);
    if (this.closed.size <= MOST_CLOSED) return;
    for (const oldest of this.closed) {
      this.closed.delete(oldest);
      return;
    }
  }

  // -- places

  private resolve(place: RelayPlace, found: (addresses: readonly string[] | FailedPlace) => void): void {
    const { host } = place;
    const address = canonicalIp(host.replace(/^\[(.*)\]$/, "$1"));
    if (address !== undefined) return found(this.judged(place, [address], []));
    if (this.lookups >= MOST_LOOKUPS) return found({ reason: wispReasons.throttled });
    this.lookups++;
    const name = host.toLowerCase().replace(/\.$/, "");
    void this.lookUp(name).then((addresses) => {
      this.lookups--;
      found(this.judged(place, addresses, [name]));
    });
  }

  /** The addresses of a name, those that work nearly everywhere first. */
  private async lookUp(name: string): Promise<readonly string[]> {
    const ask = async (type: number): Promise<readonly string[]> => {
      const query = nameQuery(name, type);
      if (query === undefined) return [];
      const answer = await this.options.outside.query(query).catch(() => undefined);
      return answer === undefined ? [] : addressesIn(answer);
    };
    const [four, six] = await Promise.all([ask(dnsTypes.a), ask(dnsTypes.aaaa)]);
    return [...four, ...six].slice(0, MOST_ADDRESSES);
  }

  private learn(name: string, address: string): void {
    const { learned } = this;
    const names = learned.get(address) ?? [];
    learned.delete(address);
    learned.set(address, names.includes(name) ? names : [...names, name].slice(-MOST_NAMES));
    if (learned.size <= MOST_LEARNED) return;
    for (const oldest of learned.keys()) {
      learned.delete(oldest);
      return;
    }
  }

  private judged(
    { protocol, port }: RelayPlace,
    addresses: readonly string[],
    names: readonly string[],
  ): readonly string[] | FailedPlace {
    if (addresses.length === 0) return { reason: wispReasons.unreachable };
    const { policy, client, onRefused } = this.options;
    const meant = addresses.map(unmapped);
    const allowed = meant.filter((address) => {
      const known = [...names, ...(this.learned.get(address) ?? [])];
      return policy({ protocol, direction: "out", guest: client, address, port, names: known });
    });
    if (allowed.length > 0) return allowed;
    this.counters.blocked++;
    onRefused?.({ protocol, address: meant[0]!, port });
    return { reason: wispReasons.blocked };
  }
}
