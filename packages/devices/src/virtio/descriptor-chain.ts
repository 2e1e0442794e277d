/**
 * A request from the driver: the buffers of one descriptor chain (virtio 1.2, section 2.7), as two streams of
 * bytes. Addresses and lengths were copied out of the ring when the chain was taken, so a guest that changes its
 * descriptors afterwards changes nothing here. The bytes in the buffers stay the guest's: each is read at most once.
 *
 * A chain is the device's until it is given back, or its queue is stopped or given up (the driver reset the device, a
 * snapshot was restored): from then on its buffers are the driver's again, and the chain reaches none of their bytes.
 * A backend that answers late so does no harm.
 */
import type { DmaMemory } from "../ports.js";

/** A piece of guest memory. */
export interface GuestBuffer {
  readonly gpa: number;
  /** Bytes; at least 1. */
  readonly length: number;
}

/** A chain that the device owns until it is pushed to the used ring. */
export class DescriptorChain {
  /** Bytes of all buffers that the device may read. */
  readonly readableBytes: number;
  /** Bytes of all buffers that the device may write. */
  readonly writableBytes: number;
  /** False once its buffers are the driver's again. */
  private held = true;
  private readonly source: BufferCursor;
  private readonly sink: BufferCursor;

  /**
   * @param head index of the first descriptor: the chain's name in the used ring
   * @param onFault a buffer, or part of one, turned out to lie outside RAM
   */
  constructor(
    readonly head: number,
    private readonly memory: DmaMemory,
    readonly readable: readonly GuestBuffer[],
    readonly writable: readonly GuestBuffer[],
    private readonly onFault: () => void,
  ) {
    this.source = new BufferCursor(readable);
    this.sink = new BufferCursor(writable);
    this.readableBytes = this.source.total;
    this.writableBytes = this.sink.total;
  }

  /** Whether the device may still use its buffers, and give it back. */
  get live(): boolean {
    return this.held;
  }

  /** Its queue takes the chain away from the device. */
  release(): void {
    this.held = false;
  }

  /** Bytes that `write` has stored so far, and `skip` left out: the length to report in the used ring without the latter. */
  get written(): number {
    return this.sink.done;
  }

  /** Bytes that `read` has left. */
  get unread(): number {
    return this.readableBytes - this.source.done;
  }

  /**
   * Fills `target` with the next bytes of the driver's data. Returns how many there were: fewer than asked for at
   * the end, where a buffer lies outside RAM, and none once the chain is no longer the device's.
   */
  read(target: Uint8Array): number {
    return this.move(this.source, target, (gpa, part) => this.memory.read(gpa, part));
  }

  /** Stores bytes into the driver's buffers, after those already stored; returns how many found room. */
  write(source: Uint8Array): number {
    return this.move(this.sink, source, (gpa, part) => this.memory.write(gpa, part));
  }

  /** Leaves the next bytes of the driver's buffers as they are: `write` goes on behind them. */
  skip(length: number): void {
    for (let left = length; left > 0; ) {
      const next = this.sink.next(left);
      if (next === undefined) return;
      this.sink.advance(next.length);
      left -= next.length;
    }
  }

  private move(
    cursor: BufferCursor,
    bytes: Uint8Array,
    transfer: (gpa: number, part: Uint8Array) => boolean,
  ): number {
    let moved = 0;
    while (this.held && moved < bytes.length) {
      const next = cursor.next(bytes.length - moved);
      if (next === undefined) break;
      if (!transfer(next.gpa, bytes.subarray(moved, moved + next.length))) {
        this.onFault();
        break;
      }
      cursor.advance(next.length);
      moved += next.length;
    }
    return moved;
  }
}

/** A place in a list of buffers. */
class BufferCursor {
  readonly total: number;
  done = 0;
  private index = 0;
  private offset = 0;

  constructor(private readonly buffers: readonly GuestBuffer[]) {
    this.total = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
  }

  /** At most `most` contiguous bytes from here; undefined at the end. */
  next(most: number): GuestBuffer | undefined {
    const buffer = this.buffers[this.index];
    if (buffer === undefined) return undefined;
    return { gpa: buffer.gpa + this.offset, length: Math.min(most, buffer.length - this.offset) };
  }

  advance(length: number): void {
    this.done += length;
    this.offset += length;
    if (this.offset === this.buffers[this.index]!.length) {
      this.index++;
      this.offset = 0;
    }
  }
}
