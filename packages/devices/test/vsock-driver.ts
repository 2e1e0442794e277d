/** A driver of a device for sockets for tests, and users of its streams who remember what they were told. */
import { parseVsockHeader, type VsockHeader, vsockHeader, vsockOps } from "../src/virtio/vsock/packet.js";
import type {
  VsockConnectEvents,
  VsockFailure,
  VsockPorts,
  VsockStream,
  VsockStreamEvents,
} from "../src/virtio/vsock/stream.js";
import { type VirtioVsockOptions, virtioVsock } from "../src/virtio/vsock/vsock.js";
import { FlatMemory, MockDriver, RING_SPACE } from "./mock-driver.js";

const QUEUE = 128;
const RAM = 0x400000;
const HEADER = 44;
/** Of Linux's buffers for what is received. */
export const RECEIVE_BYTES = 4096;
export const GUEST = 3;
export const HOST = 2;

/** A packet that the guest got. */
export interface GuestPacket {
  readonly header: VsockHeader;
  readonly bytes: Uint8Array;
}

/** What stands in a header unless told. */
const usual: VsockHeader = {
  sourceCid: GUEST,
  destinationCid: HOST,
  sourcePort: 1000,
  destinationPort: 5000,
  length: 0,
  type: 1,
  op: vsockOps.request,
  flags: 0,
  bufferBytes: 0x40000,
  forwarded: 0,
};

/** A driver with a device for sockets. */
export class VsockDriver extends MockDriver {
  readonly ports: VsockPorts;
  /** Where its buffers begin, from the start of RAM. */
  readonly data = 3 * RING_SPACE;
  private place = this.data;
  private readonly given = new Map<number, { at: number; length: number }>();

  constructor(
    options: VirtioVsockOptions = {},
    memory: FlatMemory = new FlatMemory(0x80000000, RAM),
    made = virtioVsock(options),
  ) {
    super(made.device, memory);
    this.ports = made.ports;
  }

  /** The whole initialisation, with so many buffers for packets and for events. */
  begin(buffers = 64, events = 8): this {
    this.given.clear();
    this.start([QUEUE, QUEUE, QUEUE]);
    for (let index = 0; index < events; index++) this.giveEvent();
    this.give(buffers);
    return this;
  }

  /** Takes over where the driver of the device from which this one was restored is. */
  adopt(other: VsockDriver): void {
    this.queues = other.queues;
    this.place = other.place;
    for (const [head, buffer] of other.given) this.given.set(head, buffer);
  }

  /** Gives so many buffers for packets. */
  give(count: number, length = RECEIVE_BYTES): void {
    for (let index = 0; index < count; index++) {
      const at = this.room(length);
      const head = this.queues[0]!.chain([{ gpa: this.memory.base + at, length, write: true }]);
      this.given.set(head, { at, length });
    }
    this.kick(0);
  }

  /** Gives a buffer for an event. */
  giveEvent(length = 4): void {
    this.queues[2]!.chain([{ gpa: this.memory.base + this.room(length), length, write: true }]);
    this.kick(2);
  }

  /** Sends a packet, as one chain of one buffer, or two with the header apart. */
  send(header: Partial<VsockHeader>, bytes: Uint8Array = new Uint8Array(), isApart = false): void {
    const length = header.length ?? bytes.length;
    const whole = new Uint8Array(HEADER + bytes.length);
    whole.set(vsockHeader({ ...usual, ...header, length }));
    whole.set(bytes, HEADER);
    const at = this.room(whole.length);
    this.memory.bytes.set(whole, at);
    const gpa = this.memory.base + at;
    this.queues[1]!.chain(
      isApart
        ? [
            { gpa, length: HEADER },
            { gpa: gpa + HEADER, length: whole.length - HEADER },
          ]
        : [{ gpa, length: whole.length }],
    );
    this.kick(1);
  }

  /** The packets that came since this was last called; their buffers are given again, unless told not to. */
  take(isGivenBack = true): GuestPacket[] {
    const packets = this.queues[0]!.takeUsed().map(({ head, length }) => {
      const { at } = this.given.get(head)!;
      const bytes = this.memory.bytes.slice(at, at + length);
      return { header: parseVsockHeader(bytes), bytes: bytes.slice(HEADER) };
    });
    if (isGivenBack && packets.length > 0) this.give(packets.length);
    return packets;
  }

  /** The operations of the packets that came since this was last called. */
  takeOps(): number[] {
    return this.take().map(({ header }) => header.op);
  }

  private room(length: number): number {
    if (this.place + length > this.memory.bytes.length) this.place = this.data;
    const at = this.place;
    this.place += length;
    return at;
  }
}

/** A user of a stream. */
export class StreamUser implements VsockConnectEvents {
  /** Names of events, with what they said; data by its length. */
  readonly told: (string | number)[] = [];
  private readonly pieces: Uint8Array[] = [];
  stream!: VsockStream;

  /** What came since this was last asked. */
  takeBytes(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.pieces.splice(0)));
  }

  opened(): void {
    this.told.push("opened");
  }
  failed(why: VsockFailure): void {
    this.told.push(why);
  }
  data(data: Uint8Array): void {
    this.told.push(data.length);
    this.pieces.push(data);
  }
  ended(): void {
    this.told.push("ended");
  }
  drained(): void {
    this.told.push("drained");
  }
  closed(isBroken: boolean): void {
    this.told.push(isBroken ? "broken" : "closed");
  }
}

/** A user who has asked for a port of the guest's. */
export function connecting(ports: VsockPorts, port: number): StreamUser {
  const user = new StreamUser();
  user.stream = ports.connect(port, user);
  return user;
}

/** Users of the streams that come to a port of the host's. */
export function listening(ports: VsockPorts, port: number): StreamUser[] {
  const users: StreamUser[] = [];
  ports.listen(port, (caller) => {
    const user = new StreamUser();
    user.stream = caller.take(user satisfies VsockStreamEvents);
    users.push(user);
  });
  return users;
}
