/**
 * Frames on their way from one thread to another: a ring in shared memory, with one that writes and one that reads. A
 * record is its frame's length, the header of virtio-net (what is still to be done to the frame), and the bytes, aligned to
 * {@link ALIGNMENT}; it may go over the end of the ring.
 *
 * Both counts are bytes since the beginning, and wrap at 32 bits. What is written is there when its count is, so that a
 * thread which is killed at any moment leaves a ring of whole frames. Who reads believes nothing: a record that can't be is
 * the end of all that waits.
 */
import { frameOf, headerOf, NET_HEADER_BYTES } from "../../virtio/net/header.js";
import { allFrames, ETHERNET_BYTES, type Frame, MOST_PACKET_BYTES } from "../frame.js";
import { TAG_BYTES } from "../frames/ethernet.js";
import { ipHeaderBytes } from "../frames/ip.js";

/** Bytes that a ring's counts take before its records. */
const HEADER_BYTES = 64;
const Word = { written: 0, read: 1, wantsRoom: 2 } as const;
const ALIGNMENT = 16;
const LENGTH_BYTES = 4;
/** Bytes of the longest frame that anybody sends. */
export const MOST_FRAME_BYTES = ETHERNET_BYTES + TAG_BYTES + ipHeaderBytes[6] + MOST_PACKET_BYTES;
/** Bytes of the largest record. */
export const MOST_RECORD_BYTES = align(LENGTH_BYTES + NET_HEADER_BYTES + MOST_FRAME_BYTES);

/** A ring. */
export class FrameRing {
  private readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly lengths: Uint32Array;

  /**
   * @param buffer memory of zeros, or what another thread has made a ring of
   * @param offset where it begins, a multiple of 16
   * @param capacity bytes of records, a power of two above {@link MOST_RECORD_BYTES}
   */
  constructor(
    buffer: SharedArrayBuffer,
    offset: number,
    private readonly capacity: number,
  ) {
    this.words = new Int32Array(buffer, offset, HEADER_BYTES / 4);
    this.bytes = new Uint8Array(buffer, offset + HEADER_BYTES, capacity);
    this.lengths = new Uint32Array(buffer, offset + HEADER_BYTES, capacity / 4);
  }

  /** Bytes of memory for a ring. */
  static bytesFor(capacity: number): number {
    return HEADER_BYTES + capacity;
  }

  /** Whether frames wait. */
  get isEmpty(): boolean {
    return this.waiting === 0;
  }

  /** Bytes that wait, with what they take beside their frames. */
  get waiting(): number {
    return (Atomics.load(this.words, Word.written) - Atomics.load(this.words, Word.read)) >>> 0;
  }

  // -- for who writes

  /** Whether any frame fits; if not, who reads is asked to say when one does. */
  hasRoom(): boolean {
    return this.hasRoomFor(MOST_RECORD_BYTES);
  }

  /** Adds a frame; false if there is no room for it, and then who reads is asked to say when there is. */
  write(frame: Frame): boolean {
    const { bytes } = frame;
    const { length } = bytes;
    const record = align(LENGTH_BYTES + NET_HEADER_BYTES + length);
    if (length > MOST_FRAME_BYTES || !this.hasRoomFor(record)) return false;
    const written = Atomics.load(this.words, Word.written);
    const at = (written >>> 0) % this.capacity;
    this.lengths[at / 4] = length;
    // Sixteen bytes at a multiple of sixteen are in one piece.
    this.bytes.set(headerOf(frame), at + LENGTH_BYTES);
    const from = at + LENGTH_BYTES + NET_HEADER_BYTES;
    const first = Math.min(length, this.capacity - from);
    this.bytes.set(first === length ? bytes : bytes.subarray(0, first), from % this.capacity);
    if (first < length) this.bytes.set(bytes.subarray(first), 0);
    Atomics.store(this.words, Word.written, (written + record) | 0);
    return true;
  }

  private hasRoomFor(record: number): boolean {
    if (this.capacity - this.waiting >= record) return true;
    Atomics.store(this.words, Word.wantsRoom, 1);
    // It may have been read in between.
    if (this.capacity - this.waiting < record) return false;
    Atomics.store(this.words, Word.wantsRoom, 0);
    return true;
  }

  // -- for who reads

  /** Takes the next frame; undefined if there is none. One that its header does not fit is passed over. */
  read(): Frame | undefined {
    for (;;) {
      const read = Atomics.load(this.words, Word.read);
      const { waiting } = this;
      if (waiting === 0) return undefined;
      const at = (read >>> 0) % this.capacity;
      const length = this.lengths[at / 4]!;
      const record = align(LENGTH_BYTES + NET_HEADER_BYTES + length);
      if (
        length < ETHERNET_BYTES ||
        length > MOST_FRAME_BYTES ||
        record > waiting ||
        waiting > this.capacity
      ) {
        Atomics.store(this.words, Word.read, Atomics.load(this.words, Word.written));
        return undefined;
      }
      const header = this.bytes.slice(at + LENGTH_BYTES, at + LENGTH_BYTES + NET_HEADER_BYTES);
      const bytes = new Uint8Array(length);
      const from = at + LENGTH_BYTES + NET_HEADER_BYTES;
      const first = Math.min(length, this.capacity - from);
      bytes.set(this.bytes.subarray(from, from + first));
      if (first < length) bytes.set(this.bytes.subarray(0, length - first), first);
      Atomics.store(this.words, Word.read, (read + record) | 0);
      const frame = frameOf(new DataView(header.buffer), bytes, allFrames);
      if (frame !== undefined) return frame;
    }
  }

  /** Forgets what waits. */
  clear(): void {
    Atomics.store(this.words, Word.read, Atomics.load(this.words, Word.written));
  }

  /** Whether who writes has asked for room since the last call, and there is room for any frame. */
  takeWantsRoom(): boolean {
    if (Atomics.load(this.words, Word.wantsRoom) === 0) return false;
    if (this.capacity - this.waiting < MOST_RECORD_BYTES) return false;
    return Atomics.exchange(this.words, Word.wantsRoom, 0) === 1;
  }
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
