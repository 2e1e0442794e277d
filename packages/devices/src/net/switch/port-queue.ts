/** Frames that wait for an end with no room: bounded by number and bytes; what does not fit is refused, the newest first. */
import type { Frame } from "../frame.js";

/** Bounds of a queue. */
export interface QueueBounds {
  readonly frames: number;
  readonly bytes: number;
}

/** A queue of frames. */
export class PortQueue {
  /** Milliseconds that the frames which were taken have waited, all together. */
  waitedMs = 0;
  private frames: Frame[] = [];
  /** When each of them came. */
  private times: number[] = [];
  /** Frames before it have left. */
  private front = 0;
  private held = 0;

  constructor(private readonly bounds: QueueBounds) {}

  /** Frames that wait. */
  get length(): number {
    return this.frames.length - this.front;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.held;
  }

  /**
   * False if there is no room. A frame that is larger than all bounds is taken by an empty queue.
   * @param now milliseconds of any clock
   */
  push(frame: Frame, now: number): boolean {
    const isFull = this.length >= this.bounds.frames || this.held + frame.bytes.length > this.bounds.bytes;
    if (isFull && this.length > 0) return false;
    this.frames.push(frame);
    this.times.push(now);
    this.held += frame.bytes.length;
    return true;
  }

  /** The next frame, which stays. */
  peek(): Frame | undefined {
    return this.frames[this.front];
  }

  /** Takes the next frame away. @param now milliseconds of the clock of `push` */
  shift(now: number): void {
    const frame = this.frames[this.front];
    if (frame === undefined) return;
    this.held -= frame.bytes.length;
    this.waitedMs += Math.max(0, now - this.times[this.front]!);
    this.front++;
    if (this.front * 2 >= this.frames.length) {
      this.frames = this.frames.slice(this.front);
      this.times = this.times.slice(this.front);
      this.front = 0;
    }
  }

  /** Takes all away; returns how many there were. */
  clear(): number {
    const count = this.length;
    this.frames = [];
    this.times = [];
    this.front = 0;
    this.held = 0;
    return count;
  }
}
