/** Frames that wait for an end with no room: bounded by number and bytes; what does not fit is refused, the newest first. */
import type { Frame } from "../frame.js";

/** Bounds of a queue. */
export interface QueueBounds {
  readonly frames: number;
  readonly bytes: number;
}

/** A queue of frames. */
export class PortQueue {
  private frames: Frame[] = [];
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

  /** False if there is no room. A frame that is larger than all bounds is taken by an empty queue. */
  push(frame: Frame): boolean {
    const isFull = this.length >= this.bounds.frames || this.held + frame.bytes.length > this.bounds.bytes;
    if (isFull && this.length > 0) return false;
    this.frames.push(frame);
    this.held += frame.bytes.length;
    return true;
  }

  /** The next frame, which stays. */
  peek(): Frame | undefined {
    return this.frames[this.front];
  }

  /** Takes the next frame away. */
  shift(): void {
    const frame = this.frames[this.front];
    if (frame === undefined) return;
    this.held -= frame.bytes.length;
    this.front++;
    if (this.front * 2 >= this.frames.length) {
      this.frames = this.frames.slice(this.front);
      this.front = 0;
    }
  }

  /** Takes all away; returns how many there were. */
  clear(): number {
    const count = this.length;
    this.frames = [];
    this.front = 0;
    this.held = 0;
    return count;
  }
}
