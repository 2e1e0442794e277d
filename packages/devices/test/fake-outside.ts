/** An outside for tests: whatever is sent there is kept, and answered when the test says so. */
import { NetworkError } from "../src/net/errors.js";
import type {
  Outside,
  OutsideCaller,
  OutsideListener,
  OutsideTcp,
  OutsideTcpEvents,
  OutsideUdp,
  OutsideUdpEvents,
} from "../src/net/nat/outside.js";

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

/** A connection that a gateway opened. */
export class FakeTcp implements OutsideTcp {
  readonly written: Uint8Array[] = [];
  readonly log: string[] = [];
  /** Whether it takes more at once. */
  hasRoom = true;

  constructor(
    readonly address: string,
    readonly port: number,
    readonly events: OutsideTcpEvents,
  ) {}

  write(data: Uint8Array): boolean {
    this.written.push(data);
    return this.hasRoom;
  }

  end(): void {
    this.log.push("end");
  }

  reset(): void {
    this.log.push("reset");
  }

  setReading(isReading: boolean): void {
    this.log.push(isReading ? "read" : "pause");
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

/** A port of the host's to which somebody may connect. */
export interface FakeTcpListener {
  readonly address: string;
  readonly port: number;
  isOpen: boolean;
  /** Somebody connects; the connection if it was taken. */
  call(address: string, port: number): FakeTcp | undefined;
}

/** The outside. */
export class FakeOutside implements Outside {
  readonly sockets: FakeUdp[] = [];
  readonly listeners: FakeListener[] = [];
  readonly queries: { message: Uint8Array; answer: (answer: Uint8Array | undefined) => void }[] = [];
  readonly connections: FakeTcp[] = [];
  readonly tcpListeners: FakeTcpListener[] = [];
  ranges: readonly string[] = ["127.0.0.1/8", "198.18.7.9/24"];

  openUdp(family: 4 | 6, events: OutsideUdpEvents): OutsideUdp {
    const socket = new FakeUdp(family, events);
    this.sockets.push(socket);
    return socket;
  }

  connectTcp(address: string, port: number, events: OutsideTcpEvents): OutsideTcp {
    const connection = new FakeTcp(address, port, events);
    this.connections.push(connection);
    return connection;
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

  async listenTcp(
    address: string,
    port: number,
    called: (caller: OutsideCaller) => void,
  ): Promise<OutsideListener> {
    const listener: FakeTcpListener = {
      address,
      port,
      isOpen: true,
      call: (from, fromPort) => {
        let taken: FakeTcp | undefined;
        called({
          address: from,
          port: fromPort,
          take: (events) => {
            taken = new FakeTcp(from, fromPort, { ...events, opened: () => {}, failed: () => {} });
            return taken;
          },
        });
        return taken;
      },
    };
    this.tcpListeners.push(listener);
    return {
      port,
      close: () => {
        listener.isOpen = false;
      },
    };
  }

  hostRanges(): readonly string[] {
    return this.ranges;
  }
}
