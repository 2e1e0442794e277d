/**
 * A guest's RAM: guest-physical pages mapped to machine frames. A page gets its frame when it is first touched.
 * The map is what the software TLB caches, so the indirection costs nothing on the fast path.
 */
import type { FramePool } from "./frames.js";
import { PAGE_SHIFT, PAGE_SIZE } from "./layout.js";

const ABSENT = -1;

/** RAM of one guest. */
export class GuestMemory {
  /** Guest-physical address of the first byte. */
  readonly base: number;
  /** Bytes of RAM, a multiple of the page size. */
  readonly bytes: number;
  /**
   * Called after bytes on a page that holds translated code were written: through this object, or by a store of the
   * hart (`byHart`), which leaves its block if the answer is true: code has gone.
   */
  onCodeWrite: (gpa: number, length: number, byHart?: boolean) => boolean = () => false;
  /** Byte offset of each page's frame as an unsigned number; see `ABSENT`. */
  private readonly frames: Float64Array;
  private readonly code: Uint8Array;
  private readonly pool: FramePool;

  constructor(options: { readonly pool: FramePool; readonly ramBase: number; readonly ramBytes: number }) {
    this.pool = options.pool;
    this.base = options.ramBase;
    this.bytes = options.ramBytes;
    this.frames = new Float64Array(this.bytes >>> PAGE_SHIFT).fill(ABSENT);
    this.code = new Uint8Array(this.bytes >>> PAGE_SHIFT);
  }

  /** Whether `length` bytes at `gpa` lie in RAM. */
  contains(gpa: number, length: number): boolean {
    return gpa >= this.base && length <= this.bytes && gpa - this.base <= this.bytes - length;
  }

  /** Byte offset in linear memory of the frame of `gpa`'s page, allocated if need be; -1 outside RAM, or if the pool is empty. */
  frameOffset(gpa: number): number {
    const offset = gpa - this.base;
    if (offset < 0 || offset >= this.bytes) return -1;
    const page = this.pageIndex(gpa);
    const frame = this.frames[page]!;
    if (frame !== ABSENT) return frame;
    const fresh = this.pool.allocate();
    this.frames[page] = fresh;
    return fresh;
  }

  /** Whether translations were made from the page of `gpa`. */
  holdsCode(gpa: number): boolean {
    return this.code[this.pageIndex(gpa)] === 1;
  }

  /** Marks the page of `gpa` as holding code: stores to it must be reported. */
  markCode(gpa: number): void {
    this.code[this.pageIndex(gpa)] = 1;
  }

  /** Takes the mark back. */
  unmarkCode(gpa: number): void {
    this.code[this.pageIndex(gpa)] = 0;
  }

  /** Fills `target` from `gpa`. False if any byte lies outside RAM. */
  read(gpa: number, target: Uint8Array): boolean {
    if (!this.contains(gpa, target.length)) return false;
    for (let done = 0; done < target.length; ) {
      const inPage = (gpa + done) % PAGE_SIZE;
      const count = Math.min(PAGE_SIZE - inPage, target.length - done);
      const frame = this.frames[this.pageIndex(gpa + done)]!;
      if (frame === ABSENT) target.fill(0, done, done + count);
      else target.set(this.pool.memory.u8.subarray(frame + inPage, frame + inPage + count), done);
      done += count;
    }
    return true;
  }

  /** Copies `source` to `gpa`. False, and nothing is written, if any byte lies outside RAM or finds no frame. */
  write(gpa: number, source: Uint8Array): boolean {
    if (!this.contains(gpa, source.length)) return false;
    const start = gpa - (gpa % PAGE_SIZE);
    for (let page = start; page < gpa + source.length; page += PAGE_SIZE) {
      if (this.frameOffset(page) < 0) return false;
    }
    for (let done = 0; done < source.length; ) {
      const at = gpa + done;
      const inPage = at % PAGE_SIZE;
      const count = Math.min(PAGE_SIZE - inPage, source.length - done);
      this.pool.memory.u8.set(source.subarray(done, done + count), this.frameOffset(at) + inPage);
      if (this.holdsCode(at)) this.onCodeWrite(at, count);
      done += count;
    }
    return true;
  }

  /** Makes all of RAM read as zeros again, as at power-on, without touching pages that never were. */
  clearTouched(): void {
    this.frames.forEach((frame, page) => {
      if (frame !== ABSENT) this.clear(this.base + page * PAGE_SIZE, PAGE_SIZE);
    });
  }

  /** Writes `length` zero bytes at `gpa`; pages never touched stay so. False if any byte lies outside RAM. */
  clear(gpa: number, length: number): boolean {
    if (!this.contains(gpa, length)) return false;
    for (let done = 0; done < length; ) {
      const at = gpa + done;
      const inPage = at % PAGE_SIZE;
      const count = Math.min(PAGE_SIZE - inPage, length - done);
      const frame = this.frames[this.pageIndex(at)]!;
      if (frame !== ABSENT) {
        this.pool.memory.u8.fill(0, frame + inPage, frame + inPage + count);
        if (this.holdsCode(at)) this.onCodeWrite(at, count);
      }
      done += count;
    }
    return true;
  }

  private pageIndex(gpa: number): number {
    return Math.floor((gpa - this.base) / PAGE_SIZE);
  }
}
