/**
 * A window of a guest's physical addresses, into which a device maps frames of its own while the machine runs.
 *
 * A frame that is mapped has a reference of the window's beside that of its owner, so that whoever goes first, the other
 * still has it. The guest's stores go straight to the frame where the mapping allows them, and to the bus where it does
 * not; so does any access to a page where nothing is mapped. Pages of a window are never copied, swapped or saved: what
 * is in them, and where they are, is the device's state.
 */
import type { FramePool } from "./frames.js";
import { PAGE_SIZE } from "./layout.js";
import type { LentFrames } from "./lent-frames.js";
import { MemoryError } from "./linear-memory.js";

/** Whose references those of windows are in the pool: no guest's own. */
const NOBODY = 0;

/** How frames are mapped into a window. */
export interface LendingOptions {
  /** Byte offset in the frames of the first one; 0 unless given. */
  readonly from?: number;
  /** Bytes; all from there on unless given. */
  readonly bytes?: number;
  /** Whether the guest's stores go to the bus instead, which refuses them unless a device is there. */
  readonly isReadOnly?: boolean;
}

/** The address space that a window is in. */
export interface WindowOwner {
  readonly pool: FramePool;
  /** Takes the window to another place, or to none; false, and it stays, if it can't be there. */
  place(window: LentWindow, base: number | undefined): boolean;
  /** The window has gone for good. */
  forget(window: LentWindow): void;
  /** The page at `gpa` loses its frame. */
  unmapped(frame: number, gpa: number): void;
}

/** A window; `GuestMemory.lend` makes one. */
export class LentWindow {
  readonly kind = "lent";
  /** Number of each page's frame: negative where stores are refused, 0 where nothing is mapped. */
  private readonly frames: Int32Array;
  private at: number | undefined;

  constructor(
    readonly name: string,
    readonly bytes: number,
    private readonly owner: WindowOwner,
  ) {
    this.frames = new Int32Array(bytes / PAGE_SIZE);
  }

  /** Guest-physical address of the first byte; undefined while it is nowhere. */
  get base(): number | undefined {
    return this.at;
  }

  /**
   * Maps frames from `offset` on, in place of what is mapped there.
   * @throws MemoryError `E_REGION_RANGE` for what is no whole pages, or lies outside the window or the frames
   */
  map(offset: number, frames: LentFrames, options: LendingOptions = {}): void {
    const { from = 0, bytes = frames.bytes - from, isReadOnly = false } = options;
    this.check(offset, bytes);
    if (!isPages(from, bytes) || from + bytes > frames.bytes || frames.pool !== this.owner.pool)
      throw new MemoryError(
        "E_REGION_RANGE",
        `${this.name}: ${bytes} bytes from ${from} on are no pages of the ${frames.bytes} bytes that are lent: map some of the same pool`,
      );
    this.unmap(offset, bytes);
    for (let done = 0; done < bytes; done += PAGE_SIZE) {
      const frame = frames.frameOf((from + done) / PAGE_SIZE);
      this.owner.pool.retain(frame, NOBODY);
      this.frames[(offset + done) / PAGE_SIZE] = (isReadOnly ? -frame : frame) / PAGE_SIZE;
    }
  }

  /**
   * Takes what is mapped from `offset` on away from the guest; TLBs, and code that runs there, lose it at once.
   * @throws MemoryError `E_REGION_RANGE` for what is no whole pages of the window
   */
  unmap(offset = 0, bytes = this.bytes): void {
    this.check(offset, bytes);
    const { owner, at } = this;
    const end = (offset + bytes) / PAGE_SIZE;
    for (let page = offset / PAGE_SIZE; page < end; page++) {
      const frame = this.peekFrame(page);
      if (frame < 0) continue;
      this.frames[page] = 0;
      if (at !== undefined) owner.unmapped(frame, at + page * PAGE_SIZE);
      owner.pool.release(frame, NOBODY);
    }
  }

  /**
   * Takes the window, with what is mapped in it, to another place, or with undefined to none. False, and it stays, if that
   * is no place for pages, or a region is there: guests ask for such things.
   */
  move(base: number | undefined): boolean {
    const { at, owner } = this;
    if (base === at) return true;
    if (!owner.place(this, base)) return false;
    if (at !== undefined) {
      for (let page = 0; page < this.frames.length; page++) {
        const frame = this.peekFrame(page);
        if (frame >= 0) owner.unmapped(frame, at + page * PAGE_SIZE);
      }
    }
    this.at = base;
    return true;
  }

  /** Unmaps everything, and leaves the guest for good. */
  close(): void {
    this.unmap();
    this.move(undefined);
    this.owner.forget(this);
  }

  // -- for the address space

  /** It has been placed at `base`. */
  begin(base: number): void {
    this.at = base;
  }

  /** Byte offset of a page's frame; -1 if nothing is mapped. */
  peekFrame(page: number): number {
    const frame = this.frames[page]!;
    return frame === 0 ? -1 : Math.abs(frame) * PAGE_SIZE;
  }

  /** Byte offset of a page's frame if the guest may write it; -1 if not. */
  writableFrame(page: number): number {
    const frame = this.frames[page]!;
    return frame > 0 ? frame * PAGE_SIZE : -1;
  }

  private check(offset: number, bytes: number): void {
    if (isPages(offset, bytes) && offset + bytes <= this.bytes) return;
    throw new MemoryError(
      "E_REGION_RANGE",
      `${this.name}: ${bytes} bytes at ${offset} are no pages of a window of ${this.bytes} bytes: use multiples of ${PAGE_SIZE}`,
    );
  }
}

const isPages = (offset: number, bytes: number): boolean =>
  Number.isSafeInteger(offset) &&
  offset >= 0 &&
  offset % PAGE_SIZE === 0 &&
  Number.isSafeInteger(bytes) &&
  bytes > 0 &&
  bytes % PAGE_SIZE === 0;
