/** An outside for tests: whatever is sent there is kept, and answered when the test says so. */
import { NetworkError } from "../src/net/errors.js";
import type { Outside, OutsideListener, OutsideUdp, OutsideUdpEvents } from "../src/net/nat/outside.js";

/** A socket that a gateway opened. */
export class FakeUdp implements OutsideUdp {
  readonly sent: { data: Uint8Array; address: string; port: number }[] = [];
  isOpen = true;

  constructor(
    readonly family: 4 | 6,
    readonly events: OutsideUdpEvents,
  ) {}

  send(data: Uint8Array, address: string, port: number): void {
    this.sent.push({ data, address, port });
  }

  close(): void {
    this.isOpen = false;
  }
}

/** A port of the host's that listens. */
export interface FakeListener {
  readonly address: string;
  readonly port: number;
  isOpen: boolean;
  received(data: Uint8Array, from: string, port: number): void;
  readonly answers: { data: Uint8Array; address: string; port: number }[];
}

/** The outside. */
export class FakeOutside implements Outside {
  readonly sockets: FakeUdp[] = [];
  readonly listeners: FakeListener[] = [];
  readonly queries: { message: Uint8Array; answer: (answer: Uint8Array | undefined) => void }[] = [];
  ranges: readonly string[] = ["127.0.0.1/8", "198.18.7.9/24"];

  openUdp(family: 4 | 6, events: OutsideUdpEvents): OutsideUdp {
    const socket = new FakeUdp(family, events);
    this.sockets.push(socket);
    return socket;
  }

  /** Sockets that are open. */
  get open(): number {
    return this.sockets.filter(({ isOpen }) => isOpen).length;
  }

  query(message: Uint8Array): Promise<Uint8Array | undefined> {
    return new Promise((answer) => this.queries.push({ message, answer }));
  }

  async listenUdp(
    address: string,
    port: number,
    received: FakeListener["received"],
  ): Promise<OutsideListener & { answer(data: Uint8Array, address: string, port: number): void }> {
    if (this.listeners.some((each) => each.isOpen && each.port === port))
      throw new NetworkError("E_NETWORK_IN_USE", `port ${port} of ${address} is taken`);
    const listener: FakeListener = { address, port, isOpen: true, received, answers: [] };
    this.listeners.push(listener);
    return {
      port,
      close: () => {
        listener.isOpen = false;
      },
      answer: (data, to, toPort) => listener.answers.push({ data, address: to, port: toPort }),
    };
  }

  hostRanges(): readonly string[] {
    return this.ranges;
  }
}
