/** What the streams of a relay need of it. */
import type { Outside } from "../nat/outside.js";
import type { Timers } from "../timers.js";
import type { WispPort } from "./port.js";

/** A place that a client has asked for. */
export interface RelayPlace {
  readonly protocol: "tcp" | "udp";
  readonly host: string;
  readonly port: number;
}

/** The relay, as its streams see it. */
export interface RelayHost {
  readonly port: WispPort;
  readonly outside: Outside;
  readonly timers: Timers;
  /** Packets of data that the client takes on a stream; Infinity from one that does not count. */
  readonly window: number;
  /** Whether the client is one of ours, which knows the end of a direction. */
  readonly isOurs: boolean;
  /** Bytes that all streams keep for the outside. */
  kept: number;
  /** Finds the addresses of a place that may be reached; `found` is called at once for an address. */
  resolve(place: RelayPlace, found: (addresses: readonly string[] | FailedPlace) => void): void;
  /** The client has been told the addresses of a name. */
  learn(name: string, addresses: readonly string[]): void;
  /** Tells the client that a stream is over. */
  close(id: number, reason: number): void;
  /** Nothing is heard for it any more; it ends by itself, or with the relay. */
  leave(stream: RelayStream): void;
  /** It is over, and keeps nothing. */
  gone(stream: RelayStream): void;
}

/** Why there are no addresses. */
export interface FailedPlace {
  readonly reason: number;
}

/** A stream, as the relay sees it. */
export interface RelayStream {
  readonly id: number;
  /** Bytes that it keeps for the outside. */
  readonly kept: number;
  /** A packet came; false if it is one more than was granted. */
  data(bytes: Uint8Array): boolean;
  /** So many packets may follow. */
  allow(count: number): void;
  /** The port takes more. */
  flush(): void;
  /** The client has ended it. */
  left(reason: number): void;
  /** It is ended, whatever it does; nobody is told. */
  reset(): void;
}
