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

/** Something that listens on the host. */
export interface OutsideListener {
  /** The port that it has: the host's choice where none was asked for. */
  readonly port: number;
  close(): void;
}

/** What reaches the outside. */
export interface Outside {
  /** Opens a socket for datagrams of a family. */
  openUdp(family: 4 | 6, events: OutsideUdpEvents): OutsideUdp;
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
  /** The addresses of the host, as ranges like `192.168.1.7/24`, as they are now. */
  hostRanges(): readonly string[];
}
