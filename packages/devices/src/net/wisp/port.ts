/** What both ends of WISP need of the connection between them. */

/** One end of a connection that carries whole messages in their order, such as a WebSocket. */
export interface WispPort {
  /** Sends a message, which is the port's from then on. */
  send(message: Uint8Array): void;
  /** Bytes that were given to `send` and have not gone yet. */
  readonly waiting: number;
  /** Ends it, and says why if it can; no event comes afterwards. */
  close(why: string): void;
}

/** What the client's end tells. After `closed` nothing comes any more, and nothing comes before the port is there. */
export interface WispPortEvents {
  /** A message came; its bytes are the callee's. */
  message(bytes: Uint8Array): void;
  /** What waited has gone, or much of it. */
  drained(): void;
  /** It is over, or was never opened. */
  closed(why: string): void;
}

/** Bytes that may wait in a port before its streams are held. */
export const MOST_WAITING = 1 << 20;
/** Bytes of data in a packet. */
export const MOST_DATA_BYTES = 16 << 10;
/** Packets of data that an end of ours takes on a stream, before it says that more may follow. */
export const WINDOW = 32;
/** Bytes of a message: others send larger packets than we do. */
export const MOST_MESSAGE_BYTES = 1 << 20;

/**
 * Where queries for names go at a relay of ours, as datagrams to port 53: it asks its host's servers. The name is of a
 * domain that is nobody's (ICANN, 2024), so that no other relay takes it for a place.
 */
export const RELAY_NAME_SERVER = "dns.hyperfile.internal";
