/**
 * The outside, as a gateway for guests reaches it: the only part that differs between Node and browsers, and that tests
 * put in the place of a network. Addresses are canonical text. Whatever fails is told by an event or a rejection; nothing
 * throws.
 */

/** A socket for datagrams. */
export interface OutsideUdp {
  send(data: Uint8Array, address: string, port: number): void;
  close(): void;
}

/** What a socket for datagrams tells. */
export interface OutsideUdpEvents {
  /** A datagram came from there. */
  data(data: Uint8Array, address: string, port: number): void;
  /** It is of no use: the host refused it, or what was sent met a refusal. Closed by this. */
  failed(): void;
}

/** Why a connection could not be opened. */
export type OutsideFailure = "refused" | "unreachable";

/** A connection. */
export interface OutsideTcp {
  /** Sends bytes, which are the callee's from then on; false if it would rather have no more before `drained`. */
  write(data: Uint8Array): boolean;
  /** Nothing more will be written. */
  end(): void;
  /** Breaks it off. No event comes afterwards. */
  reset(): void;
  /** Whether it gives data. */
  setReading(isReading: boolean): void;
}

/** What a connection tells. After `closed` or `failed` nothing comes any more. */
export interface OutsideTcpEvents {
  /** The other side has accepted. */
  opened(): void;
  /** It was not opened. */
  failed(why: OutsideFailure): void;
  /** Bytes came; the array is the callee's to keep. */
  data(data: Uint8Array): void;
  /** The other side sends nothing more. */
  ended(): void;
  /** There is room to write again. */
  drained(): void;
  /** It is over in both directions, or broken off. */
  closed(isBroken: boolean): void;
}

/** Somebody outside who has connected to a port of the host's. */
export interface OutsideCaller {
  readonly address: string;
  readonly port: number;
  /** Takes the connection, which is open and does not read yet; one that is not taken at once is broken off. */
  take(events: Omit<OutsideTcpEvents, "opened" | "failed">): OutsideTcp;
}

/** Something that listens on the host. */
export interface OutsideListener {
  /** The port that it has: the host's choice where none was asked for. */
  readonly port: number;
  close(): void;
}

/** An outside in which there is nothing. */
export const noOutside: Outside = {
  openUdp: () => ({ send: () => {}, close: () => {} }),
  connectTcp: (_address, _port, events) => {
    queueMicrotask(() => events.failed("unreachable"));
    return { write: () => true, end: () => {}, reset: () => {}, setReading: () => {} };
  },
  query: async () => undefined,
  listenUdp: async () => ({ port: 0, answer: () => {}, close: () => {} }),
  listenTcp: async () => ({ port: 0, close: () => {} }),
  hostRanges: () => [],
};

/** What reaches the outside. */
export interface Outside {
  /** Opens a socket for datagrams of a family. */
  openUdp(family: 4 | 6, events: OutsideUdpEvents): OutsideUdp;
  /** Opens a connection. Events come later, never before this has returned. */
  connectTcp(address: string, port: number, events: OutsideTcpEvents): OutsideTcp;
  /**
   * Asks the host's name servers a question in the form of DNS, with any identifier.
   * @returns the answer in the same form; undefined if there is none
   */
  query(message: Uint8Array): Promise<Uint8Array | undefined>;
  /**
   * Listens for datagrams; `answer` sends one back to where it came from.
   * @throws NetworkError by a rejection: `E_NETWORK_IN_USE`, `E_NETWORK_HOST`
   */
  listenUdp(
    address: string,
    port: number,
    received: (data: Uint8Array, from: string, fromPort: number) => void,
  ): Promise<OutsideListener & { answer(data: Uint8Array, address: string, port: number): void }>;
  /**
   * Listens for connections.
   * @throws NetworkError by a rejection: `E_NETWORK_IN_USE`, `E_NETWORK_HOST`
   */
  listenTcp(address: string, port: number, called: (caller: OutsideCaller) => void): Promise<OutsideListener>;
  /**
   * A range whose addresses stand for names: it has given them out in answers, and knows by them what is meant. A policy asks
   * by the names, since such an address is nowhere. None unless given.
   */
  readonly standIns?: string;
  /** The addresses of the host, as ranges like `192.168.1.7/24`, as they are now. */
  hostRanges(): readonly string[];
}
