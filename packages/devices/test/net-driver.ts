/** A driver of a network device for tests. */
import { type VirtioNet, type VirtioNetOptions, virtioNet } from "../src/virtio/net/net.js";
import { FlatMemory, MockDriver, RING_SPACE } from "./mock-driver.js";

/** Of the rings; those of the mock driver hold no more. */
const QUEUE = 128;
const CONTROL = 64;
const RAM = 0x200000;
const HEADER = 12;

/** What was received. */
export interface Received {
  /** With the number of buffers as if it were 0. */
  readonly header: Uint8Array;
  readonly buffers: number;
  readonly bytes: Uint8Array;
}

/** A driver with a network device. Buffers are used round and round. */
export class NetDriver extends MockDriver {
  readonly net: VirtioNet;
  /** Where its buffers begin, from the start of RAM. */
  readonly data: number;
  private readonly pairs: number;
  private hasPairs = true;
  private place: number;
  /** Buffers that wait in receive queues, by queue and head. */
  private readonly given = new Map<string, { at: number; length: number }[]>();

  constructor(options: VirtioNetOptions, memory: FlatMemory = new FlatMemory(0x80000000, RAM)) {
    const net = virtioNet(options);
    super(net.device, memory);
    this.net = net;
    this.pairs = options.queuePairs ?? 1;
    this.data = (2 * this.pairs + 1) * RING_SPACE;
    this.place = this.data;
  }

  /** The whole initialisation, with all features but these. */
  begin(without: readonly number[] = []): void {
    this.hasPairs = !without.includes(22) && this.pairs > 1;
    const count = this.hasPairs ? 2 * this.pairs : 2;
    this.given.clear();
    this.start([...Array<number>(count).fill(QUEUE), CONTROL], without);
  }

  /** Takes over where the driver of the device from which this one was restored is. */
  adopt(other: NetDriver): void {
    this.queues = other.queues;
    this.place = other.place;
    this.hasPairs = other.hasPairs;
    for (const [key, pieces] of other.given) this.given.set(key, pieces);
  }

  config8(offset: number): number {
    return this.device.read(0x100 + offset, 1);
  }

  /** Sends a frame in pieces of these lengths and the rest; returns its head. */
  send(
    bytes: Uint8Array,
    header: Uint8Array = new Uint8Array(HEADER),
    pieces: readonly number[] = [],
  ): number {
    const whole = Uint8Array.of(...header, ...bytes);
    const at = this.room(whole.length);
    this.memory.bytes.set(whole, at);
    const rest = whole.length - pieces.reduce((sum, length) => sum + length, 0);
    let from = this.memory.base + at;
    const head = this.queues[1]!.chain(
      [...pieces, rest].map((length) => {
        const gpa = from;
        from += length;
        return { gpa, length };
      }),
    );
    this.kick(1);
    return head;
  }

  /** Sends whatever is in memory. */
  sendRaw(lengths: readonly number[]): void {
    const gpa = this.memory.base + this.data;
    this.queues[1]!.chain(lengths.map((length) => ({ gpa, length })));
    this.kick(1);
  }

  /** Gives the first queue chains of buffers of these lengths. */
  give(...chains: readonly number[][]): void {
    this.giveTo(0, ...chains);
  }

  giveTo(queue: number, ...chains: readonly number[][]): void {
    for (const lengths of chains) {
      const pieces = lengths.map((length) => ({ at: this.room(length), length }));
      const head = this.queues[queue]!.chain(
        pieces.map(({ at, length }) => ({ gpa: this.memory.base + at, length, write: true })),
      );
      this.given.set(`${queue} ${head}`, pieces);
    }
    this.kick(queue);
  }

  /** What came to a queue since this was last called. */
  takeFrames(queue = 0): Received[] {
    const used = this.queues[queue]!.takeUsed();
    const frames: Received[] = [];
    for (let index = 0; index < used.length; ) {
      const first = this.bytesOf(queue, used[index]!);
      const buffers = first[10]! | (first[11]! << 8);
      const parts = used.slice(index, index + buffers).map((each) => this.bytesOf(queue, each));
      const whole = Uint8Array.from(parts.flatMap((part) => [...part]));
      const header = whole.slice(0, HEADER);
      header.fill(0, 10);
      frames.push({ header, buffers, bytes: whole.slice(HEADER) });
      index += Math.max(1, buffers);
    }
    return frames;
  }

  /** Gives a command of the control queue; returns its answer. */
  command(...bytes: number[]): number {
    const index = this.hasPairs ? 2 * this.pairs : 2;
    const at = this.room(bytes.length + 1);
    this.memory.bytes.set([...bytes, 0xee], at);
    const gpa = this.memory.base + at;
    this.queues[index]!.chain([
      { gpa, length: bytes.length },
      { gpa: gpa + bytes.length, length: 1, write: true },
    ]);
    this.kick(index);
    return this.memory.bytes[at + bytes.length]!;
  }

  private bytesOf(queue: number, { head, length }: { head: number; length: number }): Uint8Array {
    const pieces = this.given.get(`${queue} ${head}`)!;
    return Uint8Array.from(
      pieces.flatMap(({ at, length: room }) => [...this.memory.bytes.subarray(at, at + room)]),
    ).slice(0, length);
  }

  private room(length: number): number {
    if (this.place + length > this.memory.bytes.length) this.place = this.data;
    const at = this.place;
    this.place += length;
    return at;
  }
}
