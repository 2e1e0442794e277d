/**
 * The outside as a relay reaches it: an `Outside` over WISP, for places without sockets such as pages.
 *
 *   UserNetwork ── WispOutside ── a port, such as a WebSocket ── a relay ── the world
 *
 * It connects at once, and again when the connection is lost, after longer and longer waits. What was open is broken off
 * then; what is asked for while it connects for the first time, or again, waits for that; between two attempts it fails at
 * once, so that guests are told instead of kept.
 *
 * With a relay of ours (see `relay.ts`) connections are as with sockets: opened when the other side has accepted, held in both
 * directions, and ended in each. What others can't is described in `client-tcp.ts`.
 *
 * The relay is not trusted with more than what goes through it: whatever it sends that WISP does not have ends the connection
 * with one reason, and what is kept of it is bounded.
 */
import { canonicalIp } from "../addresses.js";
import { NetworkError } from "../errors.js";
import { askServer, type DnsServer } from "../nat/dns/client.js";
import type {
  Outside,
  OutsideListener,
  OutsideTcp,
  OutsideTcpEvents,
  OutsideUdp,
  OutsideUdpEvents,
} from "../nat/outside.js";
import { hostTimers, type Timer, type Timers } from "../timers.js";
import type { ClientLink, ClientStream } from "./client-streams.js";
import { ClientTcp } from "./client-tcp.js";
import { ClientUdp } from "./client-udp.js";
import { MOST_NUMBER, parseWisp, type WispPacket, wispContinue } from "./packet.js";
import { MOST_MESSAGE_BYTES, RELAY_NAME_SERVER, WINDOW, type WispPort, type WispPortEvents } from "./port.js";

/** Streams at a time: more than a network has connections open at once, as a rule. */
const MOST_STREAMS = 4096;
/** Packets that a relay lets us send at most, whatever it says: what is under way is kept somewhere. */
const MOST_COUNT = 256;
/** Milliseconds for the relay to say its first word. */
const HELLO_MS = 10_000;
/** Milliseconds from a lost connection to the next attempt: the first time, and at most. */
const [RETRY_MS, MOST_RETRY_MS] = [1000, 30_000];
/** Milliseconds after which a connection counts as one that works. */
const STEADY_MS = 10_000;
const DNS_PORT = 53;
/** Where names are asked for through relays of others, unless an option says otherwise. */
const USUAL_NAME_SERVER = "1.1.1.1";

/** What it is made from. */
export interface WispOutsideOptions {
  /** Opens a connection to the relay; nothing is told before it has returned. */
  connect(events: WispPortEvents): WispPort;
  /** What the relay is called in messages. */
  readonly name: string;
  /** Whether the relay is one of ours, so that both ends say more than WISP does; false unless given. */
  readonly isOurs?: boolean;
  /**
   * Where names are asked for, `address`, `address:port` or `[address]:port`. Unless given a relay of ours asks its host's
   * servers, and through others it is 1.1.1.1.
   */
  readonly nameServer?: string;
  /** Is told in a line what has become of the connection. */
  state?(text: string): void;
  /** The host's clock unless given. */
  readonly timers?: Timers;
}

/** The outside. */
export class WispOutside implements Outside {
  private readonly streams = new Map<number, ClientStream>();
  private readonly timers: Timers;
  private readonly server: DnsServer;
  private readonly link: ClientLink;
  private port: WispPort | undefined;
  private state: "connecting" | "up" | "down" | "closed" = "down";
  /** Counts connections, so that what an earlier one tells late is told from what the present one does. */
  private attempt = 0;
  private failures = 0;
  private upAt = 0;
  private lastId = 0;
  private initial: number | undefined;
  private timer: Timer | undefined;

  /** @throws NetworkError `E_NETWORK_OPTION` for a name server that can't be; what `connect` throws the first time */
  constructor(private readonly options: WispOutsideOptions) {
    this.timers = options.timers ?? hostTimers;
    const isOurs = options.isOurs === true;
    this.server = serverOf(options.nameServer, isOurs);
    const outside = this;
    this.link = {
      timers: this.timers,
      isOurs,
      ...{ unread: 0, datagrams: 0 },
      get initial() {
        return outside.initial;
      },
      port: {
        send: (message) => this.port?.send(message),
        get waiting() {
          return outside.port?.waiting ?? Number.POSITIVE_INFINITY;
        },
        close: () => {},
      },
      add: (stream) => this.add(stream),
      remove: (id) => void this.streams.delete(id),
    };
    this.connect();
  }

  /** Streams that there are. */
  get size(): number {
    return this.streams.size;
  }

  /** Bytes that are kept for guests that do not read. */
  get unreadBytes(): number {
    return this.link.unread;
  }

  openUdp(_family: 4 | 6, events: OutsideUdpEvents): OutsideUdp {
    return new ClientUdp(this.link, events);
  }

  connectTcp(address: string, port: number, events: OutsideTcpEvents): OutsideTcp {
    return new ClientTcp(this.link, address, port, events);
  }

  query(message: Uint8Array): Promise<Uint8Array | undefined> {
    const isThere = this.state === "up" || this.state === "connecting";
    return isThere ? askServer(this, this.server, message, this.timers) : Promise.resolve(undefined);
  }

  listenUdp(_address: string, port: number): Promise<never> {
    return Promise.reject(cantListen(port));
  }

  listenTcp(_address: string, port: number): Promise<OutsideListener> {
    return Promise.reject(cantListen(port));
  }

  /** Nothing: the relay judges by the addresses of its own host. */
  hostRanges(): readonly string[] {
    return [];
  }

  /** Ends it for good; what is open is broken off. */
  close(): void {
    if (this.state === "closed") return;
    this.leave("the client is closed");
    this.state = "closed";
    this.abandon();
  }

  // -- the connection

  private connect(): void {
    const attempt = ++this.attempt;
    const isPresent = (): boolean => attempt === this.attempt && this.state !== "closed";
    this.port = this.options.connect({
      message: (bytes) => {
        if (isPresent()) this.receive(bytes);
      },
      drained: () => {
        if (isPresent()) for (const stream of [...this.streams.values()]) stream.flush();
      },
      closed: (why) => {
        if (isPresent()) this.lost(why);
      },
    });
    this.state = "connecting";
    this.timer = this.timers.after(HELLO_MS, () => this.broken("it says nothing"));
  }

  private receive(bytes: Uint8Array): void {
    if (bytes.length > MOST_MESSAGE_BYTES) return this.broken(`a packet of ${bytes.length} bytes`);
    const packet = parseWisp(bytes);
    if (packet.type === "malformed") return this.broken(packet.why);
    if (this.state === "connecting" || packet.stream === 0) return this.greet(packet);
    const stream = this.streams.get(packet.stream);
    if (stream === undefined) {
      // What was under way when a stream was closed comes late, and means nothing.
      if (packet.stream > this.lastId)
        this.broken(`${packet.type.toUpperCase()} for stream ${packet.stream}, which was never opened`);
      return;
    }
    switch (packet.type) {
      case "connect":
        return this.broken("CONNECT from a relay");
      case "data":
        if (!stream.data(packet.data)) this.broken("more packets than it may send");
        return;
      case "continue":
        return stream.allow(Math.min(packet.count, MOST_COUNT));
      case "close":
        this.streams.delete(packet.stream);
        return stream.closed(packet.reason);
    }
  }

  /** What is said of the connection itself. */
  private greet(packet: WispPacket): void {
    if (packet.stream === 0 && packet.type === "close") return this.broken("it does not take this client");
    if (packet.stream !== 0 || packet.type !== "continue") return this.broken("it does not speak WISP 1");
    this.initial = Math.min(packet.count, MOST_COUNT);
    if (this.state !== "connecting") return;
    this.timer?.cancel();
    this.state = "up";
    this.upAt = this.timers.now();
    if (this.link.isOurs) this.port?.send(wispContinue(0, WINDOW));
    this.options.state?.(`connected to the relay ${this.options.name}`);
    for (const stream of [...this.streams.values()]) stream.begin(this.initial);
  }

  /** The relay does what it should not. */
  private broken(why: string): void {
    this.leave(why);
    this.lost(why);
  }

  private leave(why: string): void {
    this.timer?.cancel();
    this.port?.close(why);
  }

  /** The connection is lost: what was open is broken off, and there is another attempt later. */
  private lost(why: string): void {
    this.failures = this.state === "up" && this.timers.now() - this.upAt >= STEADY_MS ? 0 : this.failures + 1;
    const wait = Math.min(MOST_RETRY_MS, RETRY_MS * 2 ** Math.max(0, this.failures - 1));
    this.state = "down";
    this.attempt++;
    this.timer?.cancel();
    this.timer = this.timers.after(wait, () => this.again());
    this.abandon();
    // Who hears that something broke off may have closed it.
    if (this.state !== "down") return;
    this.options.state?.(
      `no connection to the relay ${this.options.name}: ${why}; the next attempt is in ${wait / 1000} s`,
    );
  }

  private again(): void {
    try {
      this.connect();
    } catch (error) {
      this.lost((error as Error).message);
    }
  }

  private abandon(): void {
    this.port = undefined;
    this.initial = undefined;
    for (const [id, stream] of [...this.streams]) {
      this.streams.delete(id);
      stream.lost();
    }
  }

  private add(stream: ClientStream): number | undefined {
    const isThere = this.state === "up" || this.state === "connecting";
    if (!isThere || this.streams.size >= MOST_STREAMS || this.lastId === MOST_NUMBER) return undefined;
    this.lastId++;
    this.streams.set(this.lastId, stream);
    return this.lastId;
  }
}

function serverOf(text: string | undefined, isOurs: boolean): DnsServer {
  if (text === undefined) return { address: isOurs ? RELAY_NAME_SERVER : USUAL_NAME_SERVER, port: DNS_PORT };
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text);
  const address = canonicalIp(match?.[1] ?? match?.[2] ?? text);
  const port = Number(match?.[3] ?? DNS_PORT);
  if (address === undefined || port === 0 || port > 65_535)
    throw new NetworkError(
      "E_NETWORK_OPTION",
      `${JSON.stringify(text)} is no name server: write an address such as 9.9.9.9, 9.9.9.9:53 or [2620:fe::fe]:53`,
    );
  return { address, port };
}

const cantListen = (port: number): NetworkError =>
  new NetworkError(
    "E_NETWORK_HOST",
    `port ${port} can't lead to a guest: a relay opens connections and can't listen; use a daemon's network for forwards`,
  );
