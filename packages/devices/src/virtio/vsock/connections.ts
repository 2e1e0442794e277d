/**
 * The streams of a device: who has which ports, who listens, and whose turn it is to send.
 *
 * What a guest can make the host keep is bounded: there are so many streams at most, each keeps so many bytes at most, and
 * less where there are many, and of answers to nobody's packets so many wait that the device then takes no packets.
 */
import { Connection, type ConnectionOwner } from "./connection.js";
import { VsockError } from "./errors.js";
import { type VsockHeader, vsockOps, vsockTypes } from "./packet.js";
import {
  HIGHEST_VSOCK_PORT,
  HOST_CID,
  type VsockCaller,
  type VsockConnectEvents,
  type VsockFailure,
  type VsockListener,
  type VsockPorts,
  type VsockStream,
  type VsockStreamEvents,
} from "./stream.js";

/** Most streams, those included that are over for the guest and not yet for their users. */
export const MOST_STREAMS = 2048;
/** So many keep much for a user who does not read; the others keep little. */
const LARGE_STREAMS = 128;
const LARGE_BUFFER_BYTES = 256 << 10;
const SMALL_BUFFER_BYTES = 16 << 10;
/** Answers that wait for buffers of the driver: with more, no packet is taken that could have another. */
const MOST_REPLIES = 128;
/** Ports from here on are given to streams that the host opens. */
export const FIRST_HOST_PORT = 0x4000_0000;

/** A packet for the guest. */
export interface OutgoingPacket {
  readonly header: VsockHeader;
  readonly data: readonly Uint8Array[];
  /** Called when it is in the guest's hands. */
  readonly passed?: () => void;
}

/** The device. */
export interface VsockChannel {
  /** The guest has a driver that can be reached. */
  readonly live: boolean;
  /** There is something to send. */
  pump(): void;
}

/** The streams. */
export class Connections implements VsockPorts, ConnectionOwner {
  readonly counters = {
    /** Streams that the guest has opened, and that the host has asked for. */
    accepted: 0,
    connected: 0,
    /** Packets that no driver sends. */
    refused: 0,
    /** Resets for the guest: ends confirmed, streams broken off, answers to packets for nobody. */
    resets: 0,
  };
  /** The port that the next stream of the host's gets. */
  nextPort = FIRST_HOST_PORT;
  private readonly all = new Set<Connection>();
  private readonly byPorts = new Map<string, Connection>();
  private readonly listeners = new Map<number, (caller: VsockCaller) => void>();
  /** Those that have something to send, in the order of their turns. */
  private readonly ready = new Set<Connection>();
  /** Those that only wait for the guest's confirmation, the oldest first. */
  private readonly lingering = new Set<Connection>();
  private readonly replies: VsockHeader[] = [];

  constructor(
    readonly guestCid: number,
    private readonly channel: VsockChannel,
  ) {}

  // -- for the host

  get live(): boolean {
    return this.channel.live;
  }

  connect(port: number, events: VsockConnectEvents): VsockStream {
    checkPort(port);
    const connection = this.make(this.freePort(port), port);
    connection.use(events, events);
    const problem: VsockFailure | undefined = !this.live
      ? "no-driver"
      : this.admits()
        ? undefined
        : "too-many";
    if (problem !== undefined) queueMicrotask(() => connection.lost(problem));
    else {
      this.counters.connected++;
      this.enter(connection);
    }
    return connection;
  }

  listen(port: number, accept: (caller: VsockCaller) => void): VsockListener {
    checkPort(port);
    if (this.listeners.has(port))
      throw new VsockError("E_VSOCK_PORT", `somebody listens at port ${port} of the host: use another`);
    this.listeners.set(port, accept);
    return {
      port,
      close: () => {
        if (this.listeners.get(port) === accept) this.listeners.delete(port);
      },
    };
  }

  // -- for the device

  /** Whether no packet should be taken that could need an answer. */
  get isFull(): boolean {
    return this.replies.length >= MOST_REPLIES;
  }

  /** Bytes that may come with a packet. */
  roomFor(header: VsockHeader): number {
    return this.find(header)?.room ?? 0;
  }

  /** A packet came from the guest. @param data its bytes; undefined where it has none, or more than there is room for */
  receive(header: VsockHeader, data: Uint8Array | undefined): void {
    const isAnswered = header.op !== vsockOps.reset;
    if (header.sourceCid !== this.guestCid) this.counters.refused++;
    else if (header.destinationCid !== HOST_CID || header.type !== vsockTypes.stream) {
      this.counters.refused++;
      if (isAnswered) this.answerReset(header);
    } else {
      const connection = this.find(header);
      if (connection !== undefined) connection.receive(header, data);
      else if (header.op === vsockOps.request) this.requested(header);
      else if (isAnswered) this.answerReset(header);
    }
  }

  /** Whether there is a packet for the guest. */
  get hasNext(): boolean {
    return this.replies.length > 0 || this.ready.size > 0;
  }

  /** The next packet, with at most `room` bytes. */
  next(room: number): OutgoingPacket | undefined {
    const reply = this.replies.shift();
    if (reply !== undefined) return { header: reply, data: [] };
    for (const connection of this.ready) {
      this.ready.delete(connection);
      const packet = connection.next(room);
      if (packet === undefined) continue;
      if (connection.hasNext) this.ready.add(connection);
      const { hostPort, guestPort } = connection;
      const { data, ...rest } = packet;
      const length = data.reduce((sum, part) => sum + part.length, 0);
      const header = { ...this.address(hostPort, guestPort), ...rest, length };
      return { header, data, passed: () => connection.settle() };
    }
    return undefined;
  }

  /** The guest's driver is gone, and with it all streams. */
  lost(): void {
    this.replies.length = 0;
    // Users who connect again at once are not among them.
    for (const connection of [...this.all]) connection.lost("no-driver");
  }

  // -- for connections

  wake(connection: Connection): void {
    if (!connection.hasNext || !this.all.has(connection)) return;
    this.ready.add(connection);
    this.channel.pump();
  }

  linger(connection: Connection): void {
    this.lingering.add(connection);
  }

  forget(connection: Connection, mustTell: boolean): void {
    const { hostPort, guestPort } = connection;
    const key = keyOf(hostPort, guestPort);
    if (this.byPorts.get(key) !== connection) return;
    this.byPorts.delete(key);
    this.ready.delete(connection);
    this.lingering.delete(connection);
    if (mustTell) this.reply({ ...this.address(hostPort, guestPort), op: vsockOps.reset });
  }

  release(connection: Connection): void {
    this.all.delete(connection);
  }

  violated(): void {
    this.counters.refused++;
  }

  // -- inside

  private find({ sourcePort, destinationPort }: VsockHeader): Connection | undefined {
    return this.byPorts.get(keyOf(destinationPort, sourcePort));
  }

  private make(hostPort: number, guestPort: number, request?: VsockHeader): Connection {
    const bytes = this.all.size < LARGE_STREAMS ? LARGE_BUFFER_BYTES : SMALL_BUFFER_BYTES;
    return new Connection(this, hostPort, guestPort, bytes, request);
  }

  private enter(connection: Connection): void {
    this.all.add(connection);
    this.byPorts.set(keyOf(connection.hostPort, connection.guestPort), connection);
    this.wake(connection);
  }

  /** Whether there may be another stream. */
  private admits(): boolean {
    if (this.all.size < MOST_STREAMS) return true;
    for (const connection of this.lingering) {
      connection.giveUp();
      break;
    }
    return this.all.size < MOST_STREAMS;
  }

  private freePort(guestPort: number): number {
    for (;;) {
      const port = this.nextPort;
      this.nextPort = port === HIGHEST_VSOCK_PORT ? FIRST_HOST_PORT : port + 1;
      if (!this.byPorts.has(keyOf(port, guestPort)) && !this.listeners.has(port)) return port;
    }
  }

  private requested(header: VsockHeader): void {
    const { sourcePort: guestPort, destinationPort: hostPort } = header;
    const accept = this.listeners.get(hostPort);
    let isOpen = accept !== undefined && this.admits();
    let isTaken = false;
    const take = (events: VsockStreamEvents): VsockStream => {
      const connection = this.make(hostPort, guestPort, header);
      connection.use(events);
      if (isOpen) {
        isOpen = false;
        isTaken = true;
        this.counters.accepted++;
        this.enter(connection);
      } else queueMicrotask(() => connection.lost("refused"));
      return connection;
    };
    if (isOpen) accept!({ guestPort, hostPort, take });
    isOpen = false;
    if (!isTaken) this.answerReset(header);
  }

  private address(hostPort: number, guestPort: number): VsockHeader {
    return {
      sourceCid: HOST_CID,
      destinationCid: this.guestCid,
      sourcePort: hostPort,
      destinationPort: guestPort,
      length: 0,
      type: vsockTypes.stream,
      op: 0,
      flags: 0,
      bufferBytes: 0,
      forwarded: 0,
    };
  }

  /** Answers a packet for nobody by a reset from whom it was meant for. */
  private answerReset({ sourcePort, destinationPort, destinationCid, type }: VsockHeader): void {
    const sourceCid = destinationCid === Infinity ? HOST_CID : destinationCid;
    this.reply({ ...this.address(destinationPort, sourcePort), sourceCid, type, op: vsockOps.reset });
  }

  private reply(header: VsockHeader): void {
    this.counters.resets++;
    this.replies.push(header);
    this.channel.pump();
  }
}

const keyOf = (hostPort: number, guestPort: number): string => `${hostPort}:${guestPort}`;

function checkPort(port: number): void {
  if (Number.isInteger(port) && port >= 0 && port <= HIGHEST_VSOCK_PORT) return;
  throw new VsockError("E_VSOCK_PORT", `${port} is no port: use an integer from 0 to ${HIGHEST_VSOCK_PORT}`);
}
