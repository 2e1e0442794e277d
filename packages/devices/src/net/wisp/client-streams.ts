/** What the client's streams and their connection know of each other. */
import type { Timers } from "../timers.js";
import type { WispPort } from "./port.js";

/** The connection, as its streams see it: the same one for all of them, also when it was made anew. */
export interface ClientLink {
  readonly port: WispPort;
  readonly timers: Timers;
  /** Whether the relay is one of ours, which says more than WISP does. */
  readonly isOurs: boolean;
  /** Packets that a new stream may send; undefined while the relay is not there yet, which is told by `begin`. */
  readonly initial: number | undefined;
  /** Bytes that all streams keep for guests; who keeps more says so. */
  unread: number;
  /** Streams for datagrams, which leave room for connections. */
  datagrams: number;
  /** A number for a stream, and what is told of it; undefined if there are too many, or there is no relay now. */
  add(stream: ClientStream): number | undefined;
  /** Nothing is told of it any more. */
  remove(id: number): void;
}

/** A stream, as the connection sees it. */
export interface ClientStream {
  /** The relay is there, and takes so many packets. */
  begin(count: number): void;
  /** A packet came; false if it is one more than was granted. */
  data(bytes: Uint8Array): boolean;
  /** So many packets may follow. */
  allow(count: number): void;
  /** The port takes more. */
  flush(): void;
  /** The relay has ended it; it was removed. */
  closed(reason: number): void;
  /** There is no relay any more; it was removed. */
  lost(): void;
}
