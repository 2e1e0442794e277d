/**
 * The device's side of a split virtqueue (virtio 1.2, section 2.7). Everything in the rings is hostile:
 *
 * - every field is read once, into host memory, and judged there;
 * - a walk takes at most as many steps as its table has descriptors, so a loop ends it;
 * - the used ring is only written: the device counts for itself;
 * - an address reaches guest memory only through `DmaMemory`, which refuses what is not RAM.
 *
 * What no correct driver does rejects the queue: it gives no more chains and takes none back until the driver
 * resets the device. A guest that merely hurts itself (a buffer over its own ring) is let alone.
 */
import type { DmaMemory } from "../ports.js";
import { DescriptorChain, type GuestBuffer } from "./descriptor-chain.js";

/** Most descriptors of an indirect table; as in QEMU, a driver may exceed the queue's size but not this. */
export const MAXIMUM_INDIRECT = 1024;
/** Largest size of a queue (section 2.7). */
export const MAXIMUM_QUEUE_SIZE = 32768;

/**
 * Why a queue was rejected.
 *
 * `queue-size` not a power of two or above the maximum; `ring-address` a ring misaligned or outside RAM;
 * `avail-index` more entries announced than the ring has; `head` out of bounds; `head-in-flight` a chain made
 * available again before it was used; `next` out of bounds; `loop` more steps than descriptors; `descriptor-table`
 * outside RAM; `indirect-not-negotiated`, `indirect-nested`, `indirect-chained` (followed by another descriptor),
 * `indirect-length` (zero, not whole descriptors, too many); `buffer-address` outside RAM; `buffer-length` zero;
 * `total-length` beyond 32 bits; `buffer-order` readable after writable; `request` the device can't use the request.
 */
export type RejectReason =
  | "queue-size"
  | "ring-address"
  | "avail-index"
  | "head"
  | "head-in-flight"
  | "next"
  | "loop"
  | "descriptor-table"
  | "indirect-not-negotiated"
  | "indirect-nested"
  | "indirect-chained"
  | "indirect-length"
  | "buffer-address"
  | "buffer-length"
  | "total-length"
  | "buffer-order"
  | "request";

/** The driver's choices for a queue. Addresses are guest-physical; what exceeds 2^53 reads as Infinity. */
export interface QueueSetup {
  /** Number of descriptors. */
  readonly size: number;
  /** Descriptor table. */
  readonly descriptors: number;
  /** Available ring ("driver area"). */
  readonly avail: number;
  /** Used ring ("device area"). */
  readonly used: number;
  /** VIRTIO_F_INDIRECT_DESC was negotiated. */
  readonly indirect: boolean;
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIndex: boolean;
}

/** Counters of a queue that a device must carry over in a snapshot, each modulo 2^16. */
export interface QueueProgress {
  /** Next entry of the available ring. */
  readonly nextAvail: number;
  /** Entries written to the used ring. */
  readonly usedIndex: number;
  /** `usedIndex` when an interrupt was last considered. */
  readonly signalled: number;
}

const DESCRIPTOR_BYTES = 16;
const FLAG_NEXT = 1;
const FLAG_WRITE = 2;
const FLAG_INDIRECT = 4;
/** `avail.flags`: the driver does not want interrupts. */
const NO_INTERRUPT = 1;
/** Bytes of a ring before its entries: flags and index. */
const RING_HEADER = 4;
const AVAIL_ENTRY = 2;
const USED_ENTRY = 8;
const MAXIMUM_TOTAL = 0xffffffff;
const noSetup: QueueSetup = {
  size: 0,
  descriptors: 0,
  avail: 0,
  used: 0,
  indirect: false,
  eventIndex: false,
};

const wrap = (index: number): number => index & 0xffff;

/** A virtqueue. Invariant: `progress` is consistent with what the driver was told, also after a rejection. */
export class Virtqueue {
  private setup = noSetup;
  private active = false;
  private isHeld = false;
  /** Whether chains can be taken: it is active and not held. */
  private open = false;
  private reason: RejectReason | undefined;
  private nextAvail = 0;
  /** `avail.idx` when last read: entries before it may be taken without looking again. */
  private availSeen = 0;
  private usedIndex = 0;
  private signalled = 0;
  /** Chains taken and not yet pushed, by their heads. */
  private readonly inFlight = new Map<number, DescriptorChain>();
  private readonly scratch = new Uint8Array(DESCRIPTOR_BYTES);
  private readonly view = new DataView(this.scratch.buffer);
  private readonly half = this.scratch.subarray(0, 2);
  private readonly byte = this.scratch.subarray(0, 1);

  /**
   * @param maximum most descriptors; a power of two
   * @param onReject called once when the queue is rejected, and not again until it is stopped
   */
  constructor(
    private readonly memory: DmaMemory,
    readonly maximum: number,
    private readonly onReject: (reason: RejectReason) => void,
  ) {}

  /** The driver has set the queue up, and may use it. */
  get ready(): boolean {
    return this.active;
  }

  /** Why the queue was rejected; undefined while it is good. */
  get rejection(): RejectReason | undefined {
    return this.reason;
  }

  /** Chains taken and not yet pushed. */
  get outstanding(): number {
    return this.inFlight.size;
  }

  /** What a snapshot needs; see {@link Virtqueue.resume}. */
  get progress(): QueueProgress {
    return { nextAvail: this.nextAvail, usedIndex: this.usedIndex, signalled: this.signalled };
  }

  /** Starts the queue at the beginning of its rings; false, and the queue is rejected, if they can't be. */
  start(setup: QueueSetup): boolean {
    this.stop();
    const problem = setupProblem(setup, this.maximum) ?? this.ringProblem(setup);
    if (problem !== undefined) {
      this.reject(problem);
      return false;
    }
    this.setup = setup;
    this.activate(true);
    return true;
  }

  /**
   * Goes on where a saved queue was, with nothing in flight; false, and the queue is stopped, if no queue can have
   * this setup, or that progress: with nothing in flight every chain that was taken has been used. Memory is not
   * looked at: it may be restored later, and what lies outside it is found at the first access.
   */
  resume(setup: QueueSetup, progress: QueueProgress): boolean {
    this.stop();
    if (setupProblem(setup, this.maximum) !== undefined) return false;
    if (progress.usedIndex !== progress.nextAvail) return false;
    this.setup = setup;
    this.activate(true);
    this.nextAvail = this.availSeen = this.usedIndex = wrap(progress.nextAvail);
    this.signalled = wrap(progress.signalled);
    return true;
  }

  /** Whether chains are held back: the queue looks empty then, while those that were taken can be given back. */
  hold(isHeld: boolean): void {
    this.isHeld = isHeld;
    this.activate(this.active);
  }

  /** Forgets setup, progress, chains in flight and rejection. */
  stop(): void {
    this.setup = noSetup;
    this.activate(false);
    this.reason = undefined;
    this.nextAvail = this.availSeen = this.usedIndex = this.signalled = 0;
    this.releaseAll();
  }

  /** Gives the queue up until it is stopped: the driver does what no driver may do. */
  reject(reason: RejectReason): void {
    if (this.reason !== undefined) return;
    this.reason = reason;
    this.activate(false);
    this.releaseAll();
    this.onReject(reason);
  }

  /**
   * Takes the next chain; undefined if none waits, or the queue is not usable. With VIRTIO_F_EVENT_IDX an empty
   * queue asks the driver for a notification at its next chain, and looks once more before it says so, so that
   * none is missed (section 2.7.10).
   */
  pop(): DescriptorChain | undefined {
    if (!this.open) return undefined;
    if (this.availSeen === this.nextAvail && !this.look()) return undefined;
    const { avail, size } = this.setup;
    const head = this.readHalf(avail + RING_HEADER + AVAIL_ENTRY * (this.nextAvail & (size - 1)));
    if (head === undefined) return this.refuse("ring-address");
    if (head >= size) return this.refuse("head");
    if (this.inFlight.has(head)) return this.refuse("head-in-flight");
    const chain = this.walk(head);
    if (chain === undefined) return undefined;
    this.inFlight.set(head, chain);
    this.nextAvail = wrap(this.nextAvail + 1);
    return chain;
  }

  /**
   * Puts the chain that was taken last back, as if it had not been: it is the next one again. Several are put back in the
   * reverse of their order. Without effect on a chain that is not the device's.
   */
  putBack(chain: DescriptorChain): void {
    if (!chain.live || this.inFlight.get(chain.head) !== chain) return;
    this.inFlight.delete(chain.head);
    chain.release();
    this.nextAvail = wrap(this.nextAvail - 1);
  }

  /**
   * Gives a chain back to the driver: `written` bytes of its writable buffers hold data. Without effect on a chain that
   * is not the device's: given back already, or taken before the queue was stopped or rejected, whatever other chain
   * has its head by now.
   */
  push(chain: DescriptorChain, written: number = chain.written): void {
    if (!chain.live || this.inFlight.get(chain.head) !== chain) return;
    this.inFlight.delete(chain.head);
    chain.release();
    const { used, size } = this.setup;
    const at = used + RING_HEADER + USED_ENTRY * (this.usedIndex & (size - 1));
    this.view.setUint32(0, chain.head, true);
    this.view.setUint32(4, written, true);
    if (!this.memory.write(at, this.scratch.subarray(0, USED_ENTRY))) {
      this.reject("ring-address");
      return;
    }
    this.usedIndex = wrap(this.usedIndex + 1);
    this.writeHalf(used + 2, this.usedIndex);
  }

  /** Whether the driver wants an interrupt for what was pushed since this was last asked (section 2.7.7). */
  takeInterrupt(): boolean {
    const { avail, size, eventIndex } = this.setup;
    const previous = this.signalled;
    if (!this.active || this.usedIndex === previous) return false;
    this.signalled = this.usedIndex;
    const word = this.readHalf(eventIndex ? avail + RING_HEADER + AVAIL_ENTRY * size : avail);
    if (word === undefined) {
      this.reject("ring-address");
      return false;
    }
    if (!eventIndex) return (word & NO_INTERRUPT) === 0;
    return wrap(this.usedIndex - word - 1) < wrap(this.usedIndex - previous);
  }

  /** Reads the driver's index; whether there is something to take. */
  private look(): boolean {
    if (!this.readAvailIndex()) return false;
    if (this.availSeen !== this.nextAvail) return true;
    const { used, size, eventIndex } = this.setup;
    if (!eventIndex) return false;
    if (!this.writeHalf(used + RING_HEADER + USED_ENTRY * size, this.nextAvail)) return false;
    return this.readAvailIndex() && this.availSeen !== this.nextAvail;
  }

  private readAvailIndex(): boolean {
    const index = this.readHalf(this.setup.avail + 2);
    if (index === undefined) {
      this.reject("ring-address");
      return false;
    }
    if (wrap(index - this.nextAvail) > this.setup.size) {
      this.reject("avail-index");
      return false;
    }
    this.availSeen = index;
    return true;
  }

  /** Copies a chain's descriptors out of guest memory; undefined, and the queue is rejected, if it is malformed. */
  private walk(head: number): DescriptorChain | undefined {
    const readable: GuestBuffer[] = [];
    const writable: GuestBuffer[] = [];
    const { scratch, view } = this;
    let table = this.setup.descriptors;
    let count = this.setup.size;
    let index = head;
    let inside = false;
    let total = 0;
    for (let steps = 0; ; steps++) {
      if (steps === count) return this.refuse("loop");
      if (!this.memory.read(table + DESCRIPTOR_BYTES * index, scratch))
        return this.refuse("descriptor-table");
      const gpa = address(view.getUint32(0, true), view.getUint32(4, true));
      const length = view.getUint32(8, true);
      const flags = view.getUint16(12, true);
      const next = view.getUint16(14, true);
      if ((flags & FLAG_INDIRECT) !== 0) {
        if (!this.setup.indirect) return this.refuse("indirect-not-negotiated");
        if (inside) return this.refuse("indirect-nested");
        if ((flags & FLAG_NEXT) !== 0) return this.refuse("indirect-chained");
        const entries = length / DESCRIPTOR_BYTES;
        if (!Number.isInteger(entries) || entries === 0 || entries > MAXIMUM_INDIRECT) {
          return this.refuse("indirect-length");
        }
        table = gpa;
        count = entries;
        index = 0;
        inside = true;
        steps = -1;
        continue;
      }
      if (length === 0) return this.refuse("buffer-length");
      total += length;
      if (total > MAXIMUM_TOTAL) return this.refuse("total-length");
      if (!this.inRam(gpa, length)) return this.refuse("buffer-address");
      if ((flags & FLAG_WRITE) !== 0) writable.push({ gpa, length });
      else if (writable.length > 0) return this.refuse("buffer-order");
      else readable.push({ gpa, length });
      if ((flags & FLAG_NEXT) === 0) break;
      if (next >= count) return this.refuse("next");
      index = next;
    }
    return new DescriptorChain(head, this.memory, readable, writable, () => this.reject("buffer-address"));
  }

  private activate(isActive: boolean): void {
    this.active = isActive;
    this.open = isActive && !this.isHeld;
  }

  private releaseAll(): void {
    for (const chain of this.inFlight.values()) chain.release();
    this.inFlight.clear();
  }

  private refuse(reason: RejectReason): undefined {
    this.reject(reason);
    return undefined;
  }

  private ringProblem({ size, descriptors, avail, used }: QueueSetup): RejectReason | undefined {
    const fits =
      this.inRam(descriptors, DESCRIPTOR_BYTES * size) &&
      this.inRam(avail, RING_HEADER + AVAIL_ENTRY * size) &&
      this.inRam(used, RING_HEADER + USED_ENTRY * size);
    return fits ? undefined : "ring-address";
  }

  /** Whether a range starts and ends in RAM. Holes between are found when its bytes are moved. */
  private inRam(gpa: number, length: number): boolean {
    const last = gpa + length - 1;
    return (
      Number.isSafeInteger(last) && this.memory.read(gpa, this.byte) && this.memory.read(last, this.byte)
    );
  }

  private readHalf(gpa: number): number | undefined {
    return this.memory.read(gpa, this.half) ? this.view.getUint16(0, true) : undefined;
  }

  private writeHalf(gpa: number, value: number): boolean {
    this.view.setUint16(0, value, true);
    if (this.memory.write(gpa, this.half)) return true;
    this.reject("ring-address");
    return false;
  }
}

/** A guest-physical address from its halves; Infinity, which is outside every RAM, beyond exact integers. */
export function address(low: number, high: number): number {
  const gpa = high * 0x1_0000_0000 + low;
  return Number.isSafeInteger(gpa) ? gpa : Infinity;
}

function setupProblem(setup: QueueSetup, maximum: number): RejectReason | undefined {
  const { size, descriptors, avail, used } = setup;
  if (size < 1 || size > maximum || (size & (size - 1)) !== 0) return "queue-size";
  const aligned = descriptors % 16 === 0 && avail % 2 === 0 && used % 4 === 0;
  return aligned ? undefined : "ring-address";
}
