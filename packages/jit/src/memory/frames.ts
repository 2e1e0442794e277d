/** Machine frames: the 4 KiB units in which a VM's memory is handed out. */
import { PAGE_SIZE } from "./layout.js";
import type { LinearMemory } from "./linear-memory.js";

/** A pool of frames in one linear memory. */
export class FramePool {
  private readonly free: number[] = [];
  private next = 0;

  /**
   * @param memory where the frames are
   * @param first byte offset of the first frame, a multiple of the page size
   * @param count number of frames
   */
  constructor(
    readonly memory: LinearMemory,
    private readonly first: number,
    readonly count: number,
  ) {}

  /** Frames handed out. */
  get used(): number {
    return this.next - this.free.length;
  }

  /** Byte offset of a zeroed frame; -1 if none is left. */
  allocate(): number {
    const released = this.free.pop();
    if (released !== undefined) {
      this.memory.u8.fill(0, released, released + PAGE_SIZE);
      return released;
    }
    if (this.next >= this.count) return -1;
    // Never handed out before, so still zero.
    return this.first + this.next++ * PAGE_SIZE;
  }

  /** Takes a frame back. */
  release(frame: number): void {
    this.free.push(frame);
  }
}
