/** A bounded first-in, first-out queue of bytes in a ring: what the host has sent and the guest not yet taken. */

/** The queue. Invariant: `length <= capacity`. */
export class ByteQueue {
  private readonly ring: Uint8Array;
  private head = 0;
  private count = 0;

  /** @param capacity most bytes that it holds */
  constructor(readonly capacity: number) {
    this.ring = new Uint8Array(capacity);
  }

  /** Bytes in the queue. */
  get length(): number {
    return this.count;
  }

  /** Appends as many of `bytes` as there is room for; returns their number. */
  push(bytes: Uint8Array): number {
    const taken = Math.min(bytes.length, this.capacity - this.count);
    const tail = (this.head + this.count) % this.capacity;
    const first = Math.min(taken, this.capacity - tail);
    this.ring.set(bytes.subarray(0, first), tail);
    this.ring.set(bytes.subarray(first, taken), 0);
    this.count += taken;
    return taken;
  }

  /** Puts a byte before all others; the newest byte goes if there is no room. */
  unshift(byte: number): void {
    this.head = (this.head + this.capacity - 1) % this.capacity;
    this.ring[this.head] = byte;
    this.count = Math.min(this.count + 1, this.capacity);
  }

  /** Takes the first byte; undefined if there is none. */
  shift(): number | undefined {
    if (this.count === 0) return undefined;
    const byte = this.ring[this.head]!;
    this.head = (this.head + 1) % this.capacity;
    this.count--;
    return byte;
  }

  /** All bytes in order, as a copy. */
  toBytes(): Uint8Array {
    return Uint8Array.from(
      { length: this.count },
      (_, index) => this.ring[(this.head + index) % this.capacity]!,
    );
  }

  /** Empties the queue. */
  clear(): void {
    this.head = 0;
    this.count = 0;
  }
}
