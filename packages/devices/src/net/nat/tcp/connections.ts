/**
 * Connections of guests to the outside, and by forwards from there to guests. A guest's SYN is answered only when the outside
 * has accepted (an address that does not work must look so to a guest that has another one to try); from then on the two are
 * spliced, and each holds the other back: what the outside does not take closes the guest's window, what the guest does not
 * take is not read outside. Who connects to a forward is read when the guest has accepted, and broken off if it does not.
 *
 * Bounded: connections as a whole and per guest, those that are not open yet apart; and what each keeps, the less the more
 * there are.
 */
import { ipBytes } from "../../addresses.js";
import type { IpPacket, IpTo } from "../../frames/ip.js";
import { type Segment, tcpFlags, tcpFrame } from "../../frames/tcp.js";
import type { Timers } from "../../timers.js";
import type { Endpoint, GuestSide } from "../guest-side.js";
import type { OutsideCaller, OutsideTcp, OutsideTcpEvents } from "../outside.js";
import { TcpConnection, type TcpSegment } from "./connection.js";
import { plus } from "./sequence.js";

const MOST_CONNECTIONS = 8192;
const MOST_PER_GUEST = 4096;
const MOST_OPENING_PER_GUEST = 1024;
/** What a connection keeps in a direction: the first unless there are so many that all would keep more than `MOST_BYTES`. */
const CAPACITY = 256 << 10;
const LEAST_CAPACITY = 16 << 10;
const MOST_BYTES = 64 << 20;
const HEADERS = { 4: 40, 6: 60 } as const;
/** Ports of the gateway that stand for who has connected to a forward. */
const CALLER_PORTS = { first: 49_152, count: 16_384 } as const;

interface Entry {
  readonly key: string;
  readonly guest: string;
  readonly connection: TcpConnection;
  outside: OutsideTcp | undefined;
}

/** The two ends of a connection on the guest's side: the address that the guest sees, and its own. */
interface Ends {
  readonly local: Uint8Array;
  readonly localPort: number;
  readonly guest: Endpoint;
  readonly family: 4 | 6;
}

/** Where a guest's connection leads, if there is none of these ends yet. */
export interface TcpDestination {
  /** Whether it may be opened; if not, the guest has been told. */
  mayOpen(): boolean;
  /** Opens it. Events come later, never before this has returned. */
  open(events: OutsideTcpEvents): OutsideTcp;
}

/** What a guest has. */
interface Share {
  count: number;
  readonly opening: Set<Entry>;
}

/** The connections of a network. */
export class TcpConnections {
  readonly counters = { opened: 0, failed: 0, refusedForRoom: 0, resets: 0 };
  private readonly entries = new Map<string, Entry>();
  private readonly shares = new Map<string, Share>();
  private lastPort = 0;

  constructor(
    private readonly guests: GuestSide,
    private readonly timers: Timers,
  ) {}

  /** Connections that there are, those that only wait for what is late among them. */
  get size(): number {
    return this.entries.size;
  }

  /** Bytes that they keep. */
  get bytes(): number {
    let sum = 0;
    for (const { connection } of this.entries.values()) sum += connection.bytes;
    return sum;
  }

  /** A guest's segment came. */
  receive(packet: IpPacket, segment: Segment, destination: TcpDestination): void {
    const key = `${packet.source} ${segment.sourcePort} ${packet.destination} ${segment.destinationPort}`;
    const { syn, ack, rst } = tcpFlags;
    const opens = (segment.flags & (syn | ack | rst)) === syn;
    const entry = this.entries.get(key);
    // One that is over makes room for the same ports (RFC 9293, section 3.10.7.4).
    if (entry !== undefined && opens && entry.connection.isOver) entry.connection.abandon();
    else if (entry !== undefined) {
      entry.connection.receive(segment);
      this.shares.get(packet.source)?.opening.delete(entry);
      if (entry.connection.isOpening) this.shares.get(packet.source)?.opening.add(entry);
      return;
    }
    if (!opens) this.refuse(packet, segment);
    else if (!this.hasRoom(packet.source)) this.counters.refusedForRoom++;
    else if (destination.mayOpen()) this.open(key, packet, segment, destination);
  }

  /** Tells a guest that there is no such connection (RFC 9293, section 3.10.7.1). */
  refuse(
    packet: IpPacket,
    { flags, sequence, acknowledgement, data, sourcePort, destinationPort }: Segment,
  ): void {
    const { syn, fin, ack, rst } = tcpFlags;
    if ((flags & rst) !== 0) return;
    this.counters.resets++;
    const length = data.length + ((flags & syn) !== 0 ? 1 : 0) + ((flags & fin) !== 0 ? 1 : 0);
    const hasAck = (flags & ack) !== 0;
    const route = this.guests.route(
      packet.destinationBytes.slice(),
      packet.sourceBytes.slice(),
      packet.source,
    );
    this.transmit(route, destinationPort, sourcePort, {
      ...{ flags: hasAck ? rst : rst | ack, window: 0, options: {}, data: [] },
      sequence: hasAck ? acknowledgement : 0,
      acknowledgement: hasAck ? 0 : plus(sequence, length),
    });
  }

  /**
   * Connects a guest with somebody outside, whom the guest sees as a port of the gateway; breaks off where there is no room.
   * @param gateway the gateway's address of the guest's family
   */
  call(gateway: string, guest: Endpoint, caller: OutsideCaller): void {
    const localPort = this.freePort(gateway, guest);
    if (localPort === undefined || !this.hasRoom(guest.address)) {
      this.counters.refusedForRoom++;
      return;
    }
    const family = guest.address.includes(":") ? 6 : 4;
    const ends = { local: ipBytes(gateway), localPort, guest, family } as const;
    const key = `${guest.address} ${guest.port} ${gateway} ${localPort}`;
    const entry = this.make(key, ends, () => entry.outside?.setReading(true));
    entry.outside = caller.take(this.eventsOf(entry));
    entry.connection.connect();
  }

  /** Breaks all of them off. */
  close(): void {
    for (const { connection, outside } of [...this.entries.values()]) {
      outside?.reset();
      connection.reset();
    }
  }

  /** Breaks a guest's off outside, and forgets them: what it still says of them is answered by a reset. */
  abandon(guest: string): void {
    for (const { guest: owner, connection, outside } of [...this.entries.values()]) {
      if (owner !== guest) continue;
      outside?.reset();
      connection.abandon();
    }
  }

  private hasRoom(guest: string): boolean {
    const share = this.shares.get(guest);
    return (
      this.entries.size < MOST_CONNECTIONS &&
      (share === undefined || (share.count < MOST_PER_GUEST && share.opening.size < MOST_OPENING_PER_GUEST))
    );
  }

  private open(key: string, packet: IpPacket, segment: Segment, destination: TcpDestination): void {
    const { family, source } = packet;
    const [local, to] = [packet.destinationBytes.slice(), packet.sourceBytes.slice()];
    // What is quoted if it fails, and was only lent.
    const asked = { ...packet, bytes: packet.bytes.slice(), sourceBytes: to, destinationBytes: local };
    const guest = { address: source, port: segment.sourcePort };
    const entry = this.make(key, { local, localPort: segment.destinationPort, guest, family });
    const { connection } = entry;
    connection.listen(segment);
    entry.outside = destination.open({
      ...this.eventsOf(entry),
      opened: () => connection.accept(),
      failed: (why) => {
        this.counters.failed++;
        if (why === "refused") return connection.reset();
        this.guests.complain(asked, "host");
        connection.abandon();
      },
    });
  }

  /** A connection whose outside is still to come. @param opened is told when guest and gateway have agreed */
  private make(key: string, { local, localPort, guest, family }: Ends, opened?: () => void): Entry {
    const to = ipBytes(guest.address);
    const connection = new TcpConnection(
      {
        timers: this.timers,
        transmit: (each, mss) =>
          this.transmit(this.guests.route(local, to, guest.address), localPort, guest.port, each, mss),
        capacity: () =>
          Math.max(LEAST_CAPACITY, Math.min(CAPACITY, Math.floor(MOST_BYTES / 2 / this.entries.size))),
        gone: () => this.forget(entry),
      },
      {
        opened: () => {
          this.counters.opened++;
          opened?.();
        },
        data: (bytes) => entry.outside?.write(bytes) === true,
        ended: () => entry.outside?.end(),
        drained: () => entry.outside?.setReading(true),
        closed: (isBroken) => {
          if (isBroken) entry.outside?.reset();
        },
      },
      { family, mss: this.guests.mtu - HEADERS[family], initial: randomNumber() },
    );
    const entry: Entry = { key, guest: guest.address, connection, outside: undefined };
    this.entries.set(key, entry);
    const share = this.shares.get(guest.address) ?? { count: 0, opening: new Set() };
    share.count++;
    share.opening.add(entry);
    this.shares.set(guest.address, share);
    return entry;
  }

  /** What the outside's end of a connection tells. */
  private eventsOf(entry: Entry): Omit<OutsideTcpEvents, "opened" | "failed"> {
    const { connection } = entry;
    return {
      data: (bytes) => {
        if (!connection.write(bytes)) entry.outside?.setReading(false);
      },
      ended: () => connection.end(),
      drained: () => connection.resume(),
      closed: (isBroken) => {
        if (isBroken) connection.reset();
        else connection.end();
      },
    };
  }

  private freePort(gateway: string, guest: Endpoint): number | undefined {
    const { first, count } = CALLER_PORTS;
    for (let tried = 0; tried < count; tried++) {
      this.lastPort = (this.lastPort + 1) % count;
      const port = first + this.lastPort;
      if (!this.entries.has(`${guest.address} ${guest.port} ${gateway} ${port}`)) return port;
    }
    return undefined;
  }

  private transmit(
    route: Omit<IpTo, "protocol"> | undefined,
    sourcePort: number,
    destinationPort: number,
    segment: TcpSegment,
    mss = Infinity,
  ): void {
    if (route !== undefined)
      this.guests.send(tcpFrame(route, { ...segment, sourcePort, destinationPort }, mss));
  }

  private forget(entry: Entry): void {
    if (this.entries.get(entry.key) !== entry) return;
    this.entries.delete(entry.key);
    const share = this.shares.get(entry.guest)!;
    share.opening.delete(entry);
    if (--share.count === 0) this.shares.delete(entry.guest);
  }
}

/** A first sequence number that nobody can guess (RFC 6528). */
function randomNumber(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}
