/**
 * A virtio driver for tests: memory in one array, a driver that sets a device up by the book, and rings that can be
 * written both by the book and against it.
 */
import type { DmaMemory } from "../src/ports.js";
import type { VirtioDevice } from "../src/virtio/device.js";
import { MmioTransport } from "../src/virtio/mmio-transport.js";
import { FakeIrq } from "./fakes.js";

export const FLAG_NEXT = 1;
export const FLAG_WRITE = 2;
export const FLAG_INDIRECT = 4;

/** RAM at `base`, with every access counted and every write remembered. */
export class FlatMemory implements DmaMemory {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Reads and writes together: how much work a device made. */
  accesses = 0;
  /** Places that a device wrote to. */
  readonly writes: { gpa: number; length: number }[] = [];
  /** Called after each read that a device makes. */
  onRead: (gpa: number, bytes: Uint8Array) => void = () => {};

  constructor(
    readonly base: number,
    length: number,
  ) {
    this.bytes = new Uint8Array(length);
    this.view = new DataView(this.bytes.buffer);
  }

  read(gpa: number, target: Uint8Array): boolean {
    this.accesses++;
    const at = this.place(gpa, target.length);
    if (at === undefined) return false;
    target.set(this.bytes.subarray(at, at + target.length));
    this.onRead(gpa, target);
    return true;
  }

  write(gpa: number, source: Uint8Array): boolean {
    this.accesses++;
    const at = this.place(gpa, source.length);
    if (at === undefined) return false;
    this.bytes.set(source, at);
    this.writes.push({ gpa, length: source.length });
    return true;
  }

  private place(gpa: number, length: number): number | undefined {
    const at = gpa - this.base;
    return at >= 0 && at + length <= this.bytes.length ? at : undefined;
  }
}

/** A descriptor as it stands in a table. */
export interface RawDescriptor {
  gpa: bigint | number;
  length: number;
  flags?: number;
  next?: number;
}

/** The driver's side of one queue. */
export class MockQueue {
  private availIndex = 0;
  private usedSeen = 0;
  /** Next free descriptor, for chains by the book. */
  private free = 0;

  constructor(
    readonly memory: FlatMemory,
    readonly size: number,
    readonly descriptors: number,
    readonly avail: number,
    readonly used: number,
  ) {}

  /** Writes one descriptor of the queue's table. */
  descriptor(index: number, raw: RawDescriptor): void {
    writeDescriptor(this.memory, this.descriptors + 16 * index, raw);
  }

  /** Makes a head available, and publishes the index. */
  offer(...heads: number[]): void {
    const { view, base } = this.memory;
    for (const head of heads) {
      view.setUint16(this.avail - base + 4 + 2 * (this.availIndex % this.size), head, true);
      this.availIndex = (this.availIndex + 1) & 0xffff;
    }
    this.publish(this.availIndex);
  }

  /** Sets the available index to anything. */
  publish(index: number): void {
    this.memory.view.setUint16(this.avail - this.memory.base + 2, index, true);
  }

  /** Builds a chain of buffers out of fresh descriptors and offers it; returns its head. */
  chain(buffers: readonly { gpa: number; length: number; write?: boolean }[]): number {
    const head = this.free % this.size;
    buffers.forEach((buffer, position) => {
      const index = this.free++ % this.size;
      const last = position === buffers.length - 1;
      this.descriptor(index, {
        gpa: buffer.gpa,
        length: buffer.length,
        flags: (buffer.write === true ? FLAG_WRITE : 0) | (last ? 0 : FLAG_NEXT),
        next: last ? 0 : (index + 1) % this.size,
      });
    });
    this.offer(head);
    return head;
  }

  /** What the device has used since this was last called. */
  takeUsed(): { head: number; length: number }[] {
    const { view, base } = this.memory;
    const at = this.used - base;
    const index = view.getUint16(at + 2, true);
    const found: { head: number; length: number }[] = [];
    for (; this.usedSeen !== index; this.usedSeen = (this.usedSeen + 1) & 0xffff) {
      const entry = at + 4 + 8 * (this.usedSeen % this.size);
      found.push({ head: view.getUint32(entry, true), length: view.getUint32(entry + 4, true) });
    }
    return found;
  }

  /** `avail.flags`. */
  set availFlags(flags: number) {
    this.memory.view.setUint16(this.avail - this.memory.base, flags, true);
  }

  /** The used index at which the driver wants an interrupt, with VIRTIO_F_EVENT_IDX. */
  set usedEvent(index: number) {
    this.memory.view.setUint16(this.avail - this.memory.base + 4 + 2 * this.size, index, true);
  }

  /** The available index at which the device wants a notification, with VIRTIO_F_EVENT_IDX. */
  get availEvent(): number {
    return this.memory.view.getUint16(this.used - this.memory.base + 4 + 8 * this.size, true);
  }
}

/** Writes a descriptor at `gpa`. */
export function writeDescriptor(memory: FlatMemory, gpa: number, raw: RawDescriptor): void {
  const at = gpa - memory.base;
  memory.view.setBigUint64(at, BigInt(raw.gpa), true);
  memory.view.setUint32(at + 8, raw.length, true);
  memory.view.setUint16(at + 12, raw.flags ?? 0, true);
  memory.view.setUint16(at + 14, raw.next ?? 0, true);
}

/** Bytes set aside for one queue's rings; each starts where this is a divisor of the distance from RAM's start. */
export const RING_SPACE = 0x2000;

/** A driver of a device behind the MMIO transport. */
export class MockDriver {
  readonly irq = new FakeIrq();
  readonly memory: FlatMemory;
  readonly device: MmioTransport;
  queues: MockQueue[] = [];

  constructor(device: VirtioDevice, memory?: FlatMemory) {
    this.memory = memory ?? new FlatMemory(0x80000000, 0x20000);
    this.device = new MmioTransport(device, this.irq, this.memory);
  }

  get(offset: number): number {
    return this.device.read(offset, 4);
  }

  set(offset: number, value: number): void {
    this.device.write(offset, 4, value);
  }

  get status(): number {
    return this.get(0x70);
  }

  /** Everything up to FEATURES_OK; accepts the offered features but those left out. */
  negotiate(without: readonly number[] = []): void {
    this.set(0x70, 0);
    this.set(0x70, 1);
    this.set(0x70, 3);
    for (const word of [0, 1]) {
      this.set(0x14, word);
      let features = this.get(0x10);
      for (const bit of without) if (bit >> 5 === word) features &= ~(1 << (bit & 31));
      this.set(0x24, word);
      this.set(0x20, features >>> 0);
    }
    this.set(0x70, 11);
  }

  /** Sets a queue up at its usual place. */
  setUpQueue(index: number, size: number): MockQueue {
    const start = this.memory.base + index * RING_SPACE;
    const queue = new MockQueue(this.memory, size, start, start + 0x1000, start + 0x1800);
    const at = start - this.memory.base;
    this.memory.bytes.fill(0, at, at + RING_SPACE);
    this.set(0x30, index);
    this.set(0x38, size);
    this.setRings(queue.descriptors, queue.avail, queue.used);
    this.set(0x44, 1);
    this.queues[index] = queue;
    return queue;
  }

  /** Writes the ring addresses of the selected queue. */
  setRings(descriptors: number, avail: number, used: number): void {
    [descriptors, avail, used].forEach((gpa, ring) => {
      this.set(0x80 + 0x10 * ring, gpa >>> 0);
      this.set(0x84 + 0x10 * ring, Math.floor(gpa / 2 ** 32));
    });
  }

  /** The whole initialisation of section 3.1.1. */
  start(sizes: readonly number[], without: readonly number[] = []): void {
    this.negotiate(without);
    for (const [index, size] of sizes.entries()) this.setUpQueue(index, size);
    this.set(0x70, 15);
  }

  kick(queue: number): void {
    this.set(0x50, queue);
  }

  /** Reads and acknowledges the interrupt. */
  takeInterrupt(): number {
    const cause = this.get(0x60);
    this.set(0x64, cause);
    return cause;
  }

  /** The first address that no ring of two queues covers. */
  get buffers(): number {
    return this.memory.base + 2 * RING_SPACE;
  }

  /** Stores text for the device to read. */
  put(gpa: number, text: string): number {
    const bytes = new TextEncoder().encode(text);
    this.memory.bytes.set(bytes, gpa - this.memory.base);
    return bytes.length;
  }

  /** Reads what the device stored. */
  text(gpa: number, length: number): string {
    const at = gpa - this.memory.base;
    return new TextDecoder().decode(this.memory.bytes.subarray(at, at + length));
  }
}
