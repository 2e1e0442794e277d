/**
 * The outside as `fetch` reaches it: HTTP on port 80 only, for pages without a relay.
 *
 * A guest's connection to port 80 is read as requests, and each of them is done by the page. So a guest gets what any page
 * would get: from the page's own server, and from servers that let pages of other origins read their answers (CORS); the
 * others' answers are refused by the browser, and the guest is told so by status 502. Names are given addresses that stand
 * for them (`stand-ins.ts`). All other ports refuse.
 */
import { familyOf } from "../net/addresses.js";
import { NetworkError } from "../net/errors.js";
import type {
  Outside,
  OutsideTcp,
  OutsideTcpEvents,
  OutsideUdp,
  OutsideUdpEvents,
} from "../net/nat/outside.js";
import { hostTimers, type Timers } from "../net/timers.js";
import { FetchConnection } from "./fetch-connection.js";
import { STAND_INS, StandIns } from "./stand-ins.js";

const HTTP_PORT = 80;
/** Connections at a time. */
const MOST_CONNECTIONS = 512;

/** How it is asked. */
export interface FetchOutsideOptions {
  /**
   * Whether requests are asked by https, which the guest does not see. Unless given it is so where the page came by https: a
   * browser would refuse others there.
   */
  readonly https?: boolean;
  /** Does the requests; the page's own `fetch` unless given. */
  readonly fetch?: typeof fetch;
  /** The host's clock unless given. */
  readonly timers?: Timers;
}

/** An outside without a relay. `close` ends what is open. */
export function fetchOutside(options: FetchOutsideOptions = {}): Outside & { close(): void } {
  return new FetchOutside(options);
}

class FetchOutside implements Outside {
  readonly standIns = STAND_INS;
  private readonly names = new StandIns();
  private readonly connections = new Set<FetchConnection>();
  private readonly timers: Timers;
  private readonly scheme: "http" | "https";
  private isClosed = false;

  constructor(private readonly options: FetchOutsideOptions) {
    this.timers = options.timers ?? hostTimers;
    const { https = globalThis.location?.origin.startsWith("https:") ?? false } = options;
    this.scheme = https ? "https" : "http";
  }

  /** Datagrams go nowhere, and the guest hears that at once. */
  openUdp(_family: 4 | 6, events: OutsideUdpEvents): OutsideUdp {
    let isOpen = true;
    return {
      send: () => {
        if (!isOpen) return;
        isOpen = false;
        this.timers.after(0, () => events.failed());
      },
      close: () => {
        isOpen = false;
      },
    };
  }

  connectTcp(address: string, port: number, events: OutsideTcpEvents): OutsideTcp {
    const name = this.names.nameOf(address);
    const isStandIn = address.startsWith("198.18.") || address.startsWith("198.19.");
    if (this.isClosed || port !== HTTP_PORT || this.connections.size >= MOST_CONNECTIONS)
      return this.refusal(events, "refused");
    if (name === undefined && isStandIn) return this.refusal(events, "unreachable");
    const connection: FetchConnection = new FetchConnection(events, {
      host: name ?? (familyOf(address) === 6 ? `[${address}]` : address),
      scheme: this.scheme,
      timers: this.timers,
      fetch: this.options.fetch ?? ((...request) => globalThis.fetch(...request)),
      gone: () => void this.connections.delete(connection),
    });
    this.connections.add(connection);
    this.timers.after(0, () => connection.accept());
    return connection;
  }

  async query(message: Uint8Array): Promise<Uint8Array | undefined> {
    return this.isClosed ? undefined : this.names.answer(message);
  }

  listenUdp(_address: string, port: number): Promise<never> {
    return Promise.reject(cantListen(port));
  }

  listenTcp(_address: string, port: number): Promise<never> {
    return Promise.reject(cantListen(port));
  }

  hostRanges(): readonly string[] {
    return [];
  }

  close(): void {
    this.isClosed = true;
    for (const connection of [...this.connections]) connection.breakOff();
  }

  private refusal(events: OutsideTcpEvents, why: "refused" | "unreachable"): OutsideTcp {
    const timer = this.timers.after(0, () => events.failed(why));
    return { write: () => true, end: () => {}, reset: () => timer.cancel(), setReading: () => {} };
  }
}

const cantListen = (port: number): NetworkError =>
  new NetworkError(
    "E_NETWORK_HOST",
    `port ${port} can't lead to a guest: a page can't listen; use a daemon's network for forwards`,
  );
