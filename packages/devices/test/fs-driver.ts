/** A driver of a file system device for tests, which carries the requests of a FUSE client through its queues. */
import { type VirtioFsOptions, virtioFs } from "../src/virtio/fs/fs.js";
import type { Carrier } from "./fuse-client.js";
import {
  FLAG_INDIRECT,
  FLAG_NEXT,
  FLAG_WRITE,
  FlatMemory,
  MockDriver,
  writeDescriptor,
} from "./mock-driver.js";

export const [HIPRIO, REQUESTS] = [0, 1];
/** Of both queues: the rings of the mock driver hold no more. */
export const FS_QUEUE = 128;
const BASE = 0x80000000;
const PLACES = 16;
const PLACE_BYTES = 0x12000;
const [REQUEST_AT, ANSWER_AT, TABLE_AT] = [0x200, 0x9000, 0];
const DATA = 0x10000;
/** What stands where the device has written nothing. */
export const UNTOUCHED = 0xee;

/** How the bytes of a request are cut into buffers. */
export interface FsChain {
  readonly request: Uint8Array;
  readonly room: number;
  readonly queue?: number;
  /** Lengths of the buffers; one for each direction unless given. */
  readonly cuts?: (length: number) => readonly number[];
  readonly isIndirect?: boolean;
}

/** A request that lies in a queue. */
export interface FsAsked {
  readonly head: number;
  readonly queue: number;
  readonly room: number;
  /** Guest-physical address of the room for the answer. */
  readonly answerAt: number;
  /** The room as it is now, with what lies behind it. */
  readonly answer: () => Uint8Array;
}

/** A driver with a file system device. */
export class FsDriver extends MockDriver {
  private place = 0;

  constructor(options: VirtioFsOptions) {
    super(virtioFs(options), new FlatMemory(BASE, DATA + PLACES * PLACE_BYTES));
  }

  /** Puts a request into a queue, without a kick. At most 16 are good at once, of 32 KiB in each direction. */
  submit({
    request,
    room,
    queue = REQUESTS,
    cuts = (length) => [length],
    isIndirect = false,
  }: FsChain): FsAsked {
    const { memory } = this;
    const start = DATA + (this.place++ % PLACES) * PLACE_BYTES;
    memory.bytes.set(request, start + REQUEST_AT);
    memory.bytes.fill(UNTOUCHED, start + ANSWER_AT, start + PLACE_BYTES);
    const pieces = (at: number, length: number, write: boolean) => {
      let from = start + at + BASE;
      return (length === 0 ? [] : cuts(length)).map((part) => {
        from += part;
        return { gpa: from - part, length: part, write };
      });
    };
    const all = [...pieces(REQUEST_AT, request.length, false), ...pieces(ANSWER_AT, room, true)];
    const ring = this.queues[queue]!;
    let head: number;
    if (isIndirect && all.length > 0) {
      all.forEach(({ gpa, length, write }, index) => {
        const flags = (write ? FLAG_WRITE : 0) | (index + 1 < all.length ? FLAG_NEXT : 0);
        writeDescriptor(memory, BASE + start + TABLE_AT + 16 * index, {
          gpa,
          length,
          flags,
          next: index + 1,
        });
      });
      head = ring.chain([{ gpa: BASE + start + TABLE_AT, length: 16 * all.length }]);
      ring.descriptor(head, { gpa: BASE + start + TABLE_AT, length: 16 * all.length, flags: FLAG_INDIRECT });
    } else head = ring.chain(all.length > 0 ? all : [{ gpa: BASE + start, length: 0 }]);
    const answerAt = start + ANSWER_AT;
    return {
      head,
      queue,
      room,
      answerAt: BASE + answerAt,
      answer: () => memory.bytes.slice(answerAt, start + PLACE_BYTES),
    };
  }

  /** Waits until nothing is under way, or the device is broken. */
  async settled(): Promise<void> {
    for (let turns = 0; this.device.busy; turns++) {
      if (turns > 20_000) throw new Error("the device does not answer");
      await new Promise((resolve) => (turns < 100 ? setImmediate(resolve) : setTimeout(resolve, 1)));
    }
  }

  /** Carries the requests of a client, one at a time. */
  readonly carry: Carrier = async (request, room) => {
    const isUrgent = room === 16;
    const asked = this.submit({ request, room: isUrgent ? 0 : room, queue: isUrgent ? HIPRIO : REQUESTS });
    this.kick(asked.queue);
    await this.settled();
    const used = this.queues[asked.queue]!.takeUsed().find(({ head }) => head === asked.head);
    return used === undefined ? undefined : asked.answer().slice(0, used.length);
  };
}
