/** A driver of a block device for tests, and disks that answer when they are told to. */
import { type BlockBackend, MemoryBackend } from "../src/disk/index.js";
import { type VirtioBlockOptions, virtioBlock } from "../src/virtio/block/block.js";
import { FlatMemory, MockDriver } from "./mock-driver.js";

/** Types of requests (virtio 1.2, section 5.2.6). */
export const type = { in: 0, out: 1, flush: 4, id: 8, discard: 11, zero: 13 } as const;
/** Statuses, and what stands there before the device has answered. */
export const status = { ok: 0, error: 1, unsupported: 2, none: 0xee } as const;

const HEADERS = 0x10000;
const DATA = 0x20000;
/** Distance of the data of two requests. */
const DATA_BYTES = 0x10000;
const PLACES = 64;

/** A request that was put into a queue. */
export interface Asked {
  readonly head: number;
  /** What the device has written to its data so far. */
  readonly data: () => Uint8Array;
  /** Its status byte now. */
  readonly status: () => number;
}

/** What a request is made of; data is one buffer unless pieces are asked for. */
export interface Ask {
  readonly type: number;
  readonly sector?: number;
  /** Data for the device to read. */
  readonly out?: Uint8Array;
  /** Bytes for the device to write. */
  readonly in?: number;
  readonly queue?: number;
}

/** A driver with a block device. */
export class BlockDriver extends MockDriver {
  readonly resized: () => void;
  private place = 0;

  constructor(
    options: VirtioBlockOptions,
    memory: FlatMemory = new FlatMemory(0x80000000, DATA + PLACES * DATA_BYTES),
  ) {
    const block = virtioBlock(options);
    super(block.device, memory);
    this.resized = block.resized;
  }

  /** Puts a request into a queue, without a kick. */
  submit(ask: Ask): Asked {
    const { memory } = this;
    const place = this.place++ % PLACES;
    const header = HEADERS + place * 32;
    const data = DATA + place * DATA_BYTES;
    memory.view.setUint32(header, ask.type, true);
    memory.view.setUint32(header + 4, 0, true);
    memory.view.setBigUint64(header + 8, BigInt(ask.sector ?? 0), true);
    memory.bytes[header + 16] = status.none;
    const { out, in: length = 0 } = ask;
    if (out !== undefined) memory.bytes.set(out, data);
    else memory.bytes.fill(0xdd, data, data + length);
    const at = (offset: number): number => memory.base + offset;
    const head = this.queues[ask.queue ?? 0]!.chain([
      { gpa: at(header), length: 16 },
      ...(out === undefined ? [] : [{ gpa: at(data), length: out.length }]),
      ...(length === 0 ? [] : [{ gpa: at(data), length, write: true }]),
      { gpa: at(header + 16), length: 1, write: true },
    ]);
    return {
      head,
      data: () => memory.bytes.slice(data, data + length),
      status: () => memory.bytes[header + 16]!,
    };
  }

  /** Submits a request and kicks. */
  ask(ask: Ask): Asked {
    const asked = this.submit(ask);
    this.kick(ask.queue ?? 0);
    return asked;
  }

  /** Asks, and waits for the answer. */
  async answered(ask: Ask): Promise<Asked> {
    const asked = this.ask(ask);
    await turn();
    return asked;
  }

  /** A byte of the configuration space. */
  config8(offset: number): number {
    return this.device.read(0x100 + offset, 1);
  }

  config16(offset: number): number {
    return this.device.read(0x100 + offset, 2);
  }

  config32(offset: number): number {
    return this.device.read(0x100 + offset, 4);
  }
}

/** Lets everything that can go on without the outside do so. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Ranges of a DISCARD or WRITE_ZEROES: sector, sectors, flags each. */
export function ranges(
  ...list: readonly (readonly [sector: number, sectors: number, flags?: number])[]
): Uint8Array {
  const bytes = new Uint8Array(16 * list.length);
  const view = new DataView(bytes.buffer);
  list.forEach(([sector, sectors, flags = 0], index) => {
    view.setBigUint64(16 * index, BigInt(sector), true);
    view.setUint32(16 * index + 8, sectors, true);
    view.setUint32(16 * index + 12, flags, true);
  });
  return bytes;
}

/** A disk in memory that writes down what it is asked, and answers at once or when it is told to. */
export class RecordingDisk implements BlockBackend {
  readonly log: string[] = [];
  /** Requests that wait for {@link RecordingDisk.answer}. */
  readonly held: (() => void)[] = [];
  isHolding = false;
  /** Error of every request from now on. */
  failure: Error | undefined;
  readonly memory: MemoryBackend;
  size: number;

  constructor(
    sectors: number,
    readonly isReadOnly: boolean = false,
  ) {
    this.size = sectors * 512;
    this.memory = new MemoryBackend(this.size);
  }

  read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.do(`read ${offset}+${bytesOf(buffers)}`, () => this.memory.read(offset, buffers));
  }
  write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.do(`write ${offset}+${bytesOf(buffers)}`, () => this.memory.write(offset, buffers));
  }
  flush(): Promise<void> {
    return this.do("flush", async () => {});
  }
  discard(offset: number, length: number): Promise<void> {
    return this.do(`discard ${offset}+${length}`, () => this.memory.discard(offset, length));
  }
  writeZeroes(offset: number, length: number, { mayUnmap = true } = {}): Promise<void> {
    const how = mayUnmap ? "unmap" : "keep";
    return this.do(`zero ${offset}+${length} ${how}`, () => this.memory.writeZeroes(offset, length));
  }
  extent(offset: number, length: number) {
    return this.memory.extent(offset, length);
  }
  close(): Promise<void> {
    return this.memory.close();
  }

  /** Lets the request at `index` of those that wait go on. */
  answer(index = 0): void {
    this.held.splice(index, 1)[0]!();
  }

  /** What was asked since this was last called. */
  takeLog(): string[] {
    return this.log.splice(0);
  }

  private async do(what: string, job: () => Promise<void>): Promise<void> {
    this.log.push(what);
    if (this.isHolding) await new Promise<void>((resolve) => this.held.push(resolve));
    if (this.failure !== undefined) throw this.failure;
    await job();
  }
}

const bytesOf = (buffers: readonly Uint8Array[]): number =>
  buffers.reduce((sum, { length }) => sum + length, 0);
