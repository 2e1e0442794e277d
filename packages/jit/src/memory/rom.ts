/**
 * ROM and flash: bytes that the maker gives. A page gets its frame when it is first used, once for a guest and all its
 * clones, which read it until the last of them is gone; pages that hold nothing share one frame.
 */
import { xxh32 } from "./checksum.js";
import type { FramePool } from "./frames.js";
import { PAGE_SHIFT, PAGE_SIZE } from "./layout.js";
import { MemoryError } from "./linear-memory.js";
import type { RomOptions } from "./regions.js";

/** Whose frames they are in the pool: no guest's own. */
const NOBODY = 0;
/** What flash reads where nothing was programmed. */
const ERASED = 0xff;

/** One for each page of contents, and one for all others. */
const framesOf = (contents: Uint8Array): number => Math.ceil(contents.length / PAGE_SIZE) + 1;

/** Contents of a ROM with their frames. */
export class RomContents {
  /** A hash of what is read. */
  readonly hash: number;
  readonly bytes: number;
  private readonly contents: Uint8Array;
  private readonly blank: number;
  /** Byte offsets of frames by page; 0 if there is none yet. The last is the frame of pages that hold nothing. */
  private readonly frames: Uint32Array;
  private users = 1;

  /** @throws MemoryError `E_REGION_CONTENTS` if the region is smaller than its contents */
  constructor(
    private readonly pool: FramePool,
    { kind, name, contents, bytes = Math.ceil(contents.length / PAGE_SIZE) * PAGE_SIZE }: RomOptions,
  ) {
    if (contents.length > bytes)
      throw new MemoryError(
        "E_REGION_CONTENTS",
        `${name}: ${contents.length} bytes of contents do not fit into ${bytes}: make the region larger`,
      );
    this.bytes = bytes;
    this.contents = contents.slice();
    this.blank = kind === "flash" ? ERASED : 0;
    this.hash = xxh32(this.contents);
    this.frames = new Uint32Array(framesOf(contents));
  }

  /** Bytes of the frames that a ROM can come to need. */
  static frameBytes({ contents }: RomOptions): number {
    return framesOf(contents) * PAGE_SIZE;
  }

  /** Byte offset of a page's frame, made if need be; -1 if none is left. */
  frameOf(page: number): number {
    const index = Math.min(page, this.frames.length - 1);
    const known = this.frames[index]!;
    if (known !== 0) return known;
    const frame = this.pool.allocate(NOBODY);
    if (frame < 0) return -1;
    this.readPage(index, 0, this.pool.memory.u8.subarray(frame, frame + PAGE_SIZE));
    this.frames[index] = frame;
    this.pool.pin(frame);
    return frame;
  }

  /** Byte offset of a page's frame, if it has one already; -1 if not. */
  peekFrame(page: number): number {
    const frame = this.frames[Math.min(page, this.frames.length - 1)]!;
    return frame === 0 ? -1 : frame;
  }

  /** Fills `target` with a page's bytes from `inPage` on. */
  readPage(page: number, inPage: number, target: Uint8Array): void {
    const start = (page << PAGE_SHIFT) + inPage;
    const part = this.contents.subarray(start, start + target.length);
    target.set(part);
    target.fill(this.blank, part.length);
  }

  /** Another guest has it as well. */
  retain(): this {
    this.users++;
    return this;
  }

  /** A guest is gone; the last one frees the frames. */
  release(): void {
    if (--this.users > 0) return;
    for (const frame of this.frames) if (frame !== 0) this.pool.release(frame, NOBODY);
    this.frames.fill(0);
  }
}
