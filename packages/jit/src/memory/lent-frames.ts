/**
 * Frames of a device: it has them from a guest's pool, reads and writes them, and lends them by mapping them into a window
 * of the guest's physical addresses (`lent-window.ts`): a framebuffer, pages of a file.
 */
import type { FramePool } from "./frames.js";
import { PAGE_SHIFT, PAGE_SIZE } from "./layout.js";
import { MemoryError } from "./linear-memory.js";

/** Whose the frames are in the pool: no guest's own. */
const NOBODY = 0;

/** Frames of a device, as one range of bytes. */
export class LentFrames {
  private readonly frames: number[] = [];

  /**
   * @param bytes a multiple of 4096
   * @throws MemoryError `E_REGION_RANGE` for a size that is none, `E_MEMORY_UNAVAILABLE` if the pool has not so many frames
   */
  constructor(
    readonly pool: FramePool,
    readonly bytes: number,
  ) {
    if (!(Number.isSafeInteger(bytes) && bytes > 0 && bytes % PAGE_SIZE === 0))
      throw new MemoryError("E_REGION_RANGE", `${bytes} bytes can't be lent: use a multiple of ${PAGE_SIZE}`);
    while (this.frames.length < bytes / PAGE_SIZE) {
      const frame = pool.allocate(NOBODY);
      if (frame < 0) {
        this.free();
        throw new MemoryError(
          "E_MEMORY_UNAVAILABLE",
          `the frame pool has not ${bytes} bytes to lend: give it more memory`,
        );
      }
      this.frames.push(frame);
    }
  }

  /** Byte offset in linear memory of a page's frame. */
  frameOf(page: number): number {
    return this.frames[page]!;
  }

  /**
   * Fills `target` from `offset` on.
   * @throws MemoryError `E_REGION_RANGE` outside the frames
   */
  read(offset: number, target: Uint8Array): void {
    this.eachPart(offset, target.length, (frame, inPage, from, to) => {
      target.set(this.pool.memory.u8.subarray(frame + inPage, frame + inPage + to - from), from);
    });
  }

  /**
   * Copies `source` to `offset`; translations that a guest has made of what was there are dropped.
   * @throws MemoryError `E_REGION_RANGE` outside the frames
   */
  write(offset: number, source: Uint8Array): void {
    this.eachPart(offset, source.length, (frame, inPage, from, to) => {
      this.pool.fill(frame, inPage, source.subarray(from, to));
    });
  }

  /** Gives the frames back; windows that map some keep those. */
  free(): void {
    for (const frame of this.frames) this.pool.release(frame, NOBODY);
    this.frames.length = 0;
  }

  private eachPart(
    offset: number,
    length: number,
    act: (frame: number, inPage: number, from: number, to: number) => void,
  ): void {
    if (!(Number.isSafeInteger(offset) && offset >= 0 && offset + length <= this.frames.length * PAGE_SIZE))
      throw new MemoryError(
        "E_REGION_RANGE",
        `${length} bytes at ${offset} lie outside the ${this.frames.length * PAGE_SIZE} bytes that are lent`,
      );
    for (let done = 0; done < length; ) {
      const inPage = (offset + done) & (PAGE_SIZE - 1);
      const end = Math.min(length, done + PAGE_SIZE - inPage);
      act(this.frames[(offset + done) >>> PAGE_SHIFT]!, inPage, done, end);
      done = end;
    }
  }
}
