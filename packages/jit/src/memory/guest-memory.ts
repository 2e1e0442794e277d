/**
 * A guest's RAM: guest-physical pages mapped to machine frames. The map is what the software TLB caches, so the
 * indirection costs nothing on the fast path. A page is one of
 *
 * - untouched: it has no frame, and reads as zeros (from the pool's frame of zeros);
 * - present: it has a frame, alone or shared; a shared one is copied before the page is written;
 * - watched: present, and its next use is counted (sampling of working sets);
 * - swapped: its bytes are with the pager, and come back when they are used;
 * - ballooned: untouched, and given up by the guest itself.
 *
 * Invariant: TLBs never hold a write entry for a frame that is shared, and never any entry for a page whose frame
 * has changed: {@link GuestMemory.onRemap} is called before the change is visible. Frames that are used only by
 * bytes moved through this object are never entered there.
 */
import type { FramePool, FrameUser } from "./frames.js";
import { PAGE_SHIFT, PAGE_SIZE } from "./layout.js";

/** An untouched page in the map. */
const ABSENT = -1;
/** Swapped pages: this minus (the pager's slot times {@link PAGERS}, plus the pager's number). */
const SWAPPED = -2;
/** Pagers of a guest: number 0 takes pages, the others only give them. */
const PAGERS = 4;
/** Watched pages: this minus the frame's number. Slots stay above it. */
const WATCHED = -0x40000000;
/** Page flags. */
const Flag = { zeroMapped: 1, ballooned: 2 } as const;

/** Keeps the bytes of pages that were swapped out. Calls are synchronous: a guest's access waits for them. */
export interface Pager {
  /** Takes a page; gives the number of its slot, from 0 on, with one reference; -1 if there is no room. */
  store(page: Uint8Array): number;
  /** Fills `target` from a slot. */
  load(slot: number, target: Uint8Array): void;
  /** Adds a reference to a slot. */
  retain(slot: number): void;
  /** Takes a reference back; the last one frees the slot. */
  release(slot: number): void;
}

/** Where a guest's memory is, in bytes. */
export interface MemoryUsage {
  /** Pages that have a frame, shared or not. */
  readonly granted: number;
  /** Pages that the guest has ever used and not given back: granted and swapped ones. */
  readonly touched: number;
  readonly ballooned: number;
  /** Granted pages whose frame is somebody else's as well. */
  readonly shared: number;
  readonly swapped: number;
}

/** What a guest's RAM is made from. */
export interface GuestMemoryOptions {
  readonly pool: FramePool;
  readonly ramBase: number;
  readonly ramBytes: number;
}

/** RAM of one guest. */
export class GuestMemory implements FrameUser {
  /** Guest-physical address of the first byte. */
  readonly base: number;
  /** Bytes of RAM, a multiple of the page size. */
  readonly bytes: number;
  readonly pool: FramePool;
  /** Number of pages. */
  readonly pages: number;
  /** What happened to pages, for `--stats` and `top`. */
  readonly counters = { allocated: 0, copied: 0, swappedIn: 0, swappedOut: 0, watchedUsed: 0 };
  /**
   * Called after bytes on a page that holds translated code were written: through this object, or by a store of the
   * hart (`byHart`), which leaves its block if the answer is true: code has gone.
   */
  onCodeWrite: (gpa: number, length: number, byHart?: boolean) => boolean = () => false;
  /** Called when a page leaves the frame at this byte offset, or is watched: TLB entries for that frame must go. */
  onRemap: (frame: number) => void = () => {};
  /** Called when no frame may be written in place any more: all write entries of TLBs must go. */
  onProtect: () => void = () => {};
  /** Set when a page that holds code was given another frame; whoever reads it takes it back. */
  codeMoved = false;
  /** Kept by the pool: see {@link FrameUser}. */
  sharedPages = 0;
  /** Pages with a frame, with a pager's slot, and in the balloon: kept with the map, so that nobody has to look for them. */
  private readonly count = { granted: 0, swapped: 0, ballooned: 0 };
  /** Its number in the pool. */
  private readonly user: number;
  /** By number; see {@link PAGERS}. */
  private pagers: (Pager | undefined)[] = [];
  /** Number of each page's frame (byte offset / page size), or below zero one of the states above. */
  private readonly map: Int32Array;
  /** Where `bringIn` goes on. */
  private broughtIn = 0;
  private readonly flags: Uint8Array;

  constructor(options: GuestMemoryOptions) {
    this.pool = options.pool;
    this.base = options.ramBase;
    this.bytes = options.ramBytes;
    this.pages = Math.floor(this.bytes / PAGE_SIZE);
    this.user = options.pool.enter(this);
    this.map = new Int32Array(this.pages).fill(ABSENT);
    this.flags = new Uint8Array(this.pages);
  }

  /** Whether `length` bytes at `gpa` lie in RAM. */
  contains(gpa: number, length: number): boolean {
    return gpa >= this.base && length <= this.bytes && gpa - this.base <= this.bytes - length;
  }

  /**
   * Byte offset in linear memory of the frame that `gpa`'s page is read from; it must not be written. -1 outside RAM,
   * or if a swapped page finds no frame.
   */
  frameOffset(gpa: number): number {
    const offset = gpa - this.base;
    if (offset < 0 || offset >= this.bytes) return -1;
    const page = offset >>> PAGE_SHIFT;
    const frame = this.map[page]!;
    return frame > 0 ? frame * PAGE_SIZE : this.findFrame(page);
  }

  /**
   * Byte offset in linear memory of a frame that is `gpa`'s page alone, made if need be; -1 outside RAM, or if no frame
   * is left.
   */
  writableFrame(gpa: number): number {
    const offset = gpa - this.base;
    if (offset < 0 || offset >= this.bytes) return -1;
    const page = offset >>> PAGE_SHIFT;
    const frame = this.map[page]!;
    if (frame > 0 && this.pool.references[frame] === 1) return frame * PAGE_SIZE;
    return this.makeWritable(page);
  }

  /** Whether translations were made from bytes of the page of `pageBytes` bytes around `gpa`. */
  holdsCode(gpa: number, pageBytes = PAGE_SIZE): boolean {
    const frame = this.peekFrame(this.pageIndex(gpa));
    if (frame < 0) return false;
    if (pageBytes === PAGE_SIZE) return this.pool.holdsCode(frame);
    return this.pool.holdsCodeIn(frame + (gpa & (PAGE_SIZE - 1) & -pageBytes), pageBytes);
  }

  /** Fills `target` from `gpa`. False if any byte lies outside RAM. */
  read(gpa: number, target: Uint8Array): boolean {
    if (!this.contains(gpa, target.length)) return false;
    for (let done = 0; done < target.length; ) {
      const inPage = (gpa + done) % PAGE_SIZE;
      const count = Math.min(PAGE_SIZE - inPage, target.length - done);
      this.readInPage(this.pageIndex(gpa + done), inPage, target.subarray(done, done + count));
      done += count;
    }
    return true;
  }

  /** Copies `source` to `gpa`. False if any byte lies outside RAM, and nothing is written, or finds no frame. */
  write(gpa: number, source: Uint8Array): boolean {
    if (!this.contains(gpa, source.length)) return false;
    const start = gpa - (gpa % PAGE_SIZE);
    for (let page = start; page < gpa + source.length; page += PAGE_SIZE) {
      if (this.writableFrame(page) < 0) return false;
    }
    for (let done = 0; done < source.length; ) {
      const at = gpa + done;
      const inPage = at % PAGE_SIZE;
      const count = Math.min(PAGE_SIZE - inPage, source.length - done);
      // Where frames are short, the page may have been swapped out since it was made writable.
      const frame = this.writableFrame(at);
      if (frame < 0) return false;
      this.pool.memory.u8.set(source.subarray(done, done + count), frame + inPage);
      if (this.holdsCode(at)) this.onCodeWrite(at, count);
      done += count;
    }
    return true;
  }

  /** Makes all of RAM read as zeros again, as at power-on: no page has a frame afterwards. */
  clearTouched(): void {
    for (let page = 0; page < this.pages; page++) if (this.map[page] !== ABSENT) this.discardPage(page);
    this.flags.fill(0);
    this.count.ballooned = 0;
    this.pagers.length = Math.min(this.pagers.length, 1);
    this.broughtIn = 0;
  }

  /** Writes `length` zero bytes at `gpa`; pages never touched stay so. False if any byte lies outside RAM. */
  clear(gpa: number, length: number): boolean {
    if (!this.contains(gpa, length)) return false;
    for (let done = 0; done < length; ) {
      const at = gpa + done;
      const inPage = at % PAGE_SIZE;
      const count = Math.min(PAGE_SIZE - inPage, length - done);
      const page = this.pageIndex(at);
      if (count === PAGE_SIZE && !this.holdsCode(at)) this.discardPage(page);
      else if (this.map[page] !== ABSENT) {
        const frame = this.writableFrame(at);
        if (frame < 0) return false;
        this.pool.memory.u8.fill(0, frame + inPage, frame + inPage + count);
        if (this.holdsCode(at)) this.onCodeWrite(at, count);
      }
      done += count;
    }
    return true;
  }

  // -- by page, for the broker; pages are numbered from the start of RAM

  /** Whether a page has bytes of its own: it is not untouched. */
  isTouched(page: number): boolean {
    return this.map[page] !== ABSENT;
  }

  /** Byte offset of a page's frame, without bringing it back or counting the look as use; -1 if it has none. */
  peekFrame(page: number): number {
    const value = this.map[page]!;
    if (value > 0) return value * PAGE_SIZE;
    return value <= WATCHED ? (WATCHED - value) * PAGE_SIZE : -1;
  }

  /** Guest-physical address of a byte of linear memory: of the first page whose frame holds it; -1 if none does. */
  addressOf(offset: number): number {
    for (let page = 0; page < this.pages; page++) {
      const frame = this.peekFrame(page);
      if (frame >= 0 && offset >= frame && offset < frame + PAGE_SIZE)
        return this.base + page * PAGE_SIZE + (offset - frame);
    }
    return -1;
  }

  /** Fills `target` with a page's bytes, wherever they are. */
  readPage(page: number, target: Uint8Array): void {
    this.readInPage(page, 0, target);
  }

  /**
   * Another guest with the same RAM, by copy-on-write: both keep reading the same frames until one of them writes.
   * @param apart byte offset of a frame that must stay this guest's alone, whose bytes the twin gets as a copy: an LR
   *   reservation lies there; -1 if none does
   * @returns undefined if the pool has no frame for that copy
   */
  share(apart = -1): GuestMemory | undefined {
    const { pool, map } = this;
    const twin = new GuestMemory({ pool, ramBase: this.base, ramBytes: this.bytes });
    twin.pagers = [...this.pagers];
    for (let page = 0; page < this.pages; page++) {
      const value = map[page]!;
      if (value === ABSENT) continue;
      if (value < ABSENT && value > WATCHED) {
        this.pagerOf(value).retain(slotOf(value));
        twin.map[page] = value;
        twin.count.swapped++;
        continue;
      }
      const number = value > 0 ? value : WATCHED - value;
      if (number * PAGE_SIZE === apart) {
        const copy = pool.allocate(twin.user);
        if (copy < 0) {
          twin.free();
          return undefined;
        }
        pool.memory.u8.copyWithin(copy, apart, apart + PAGE_SIZE);
        twin.map[page] = copy / PAGE_SIZE;
      } else {
        pool.retainNumber(number, twin.user);
        twin.sharedPages++;
        twin.map[page] = number;
      }
      twin.count.granted++;
    }
    this.onProtect();
    for (let page = 0; page < this.pages; page++) twin.flags[page] = this.flags[page]! & Flag.ballooned;
    twin.count.ballooned = this.count.ballooned;
    return twin;
  }

  /** Gives all frames and slots back; the guest must not run any more. */
  free(): void {
    this.clearTouched();
    this.pool.leave(this.user);
  }

  /** Maps a page to the frame of another page with the same bytes, to be read by both from now on. */
  mergePage(page: number, frame: number): void {
    const old = this.peekFrame(page);
    if (old < 0 || old === frame) return;
    this.onRemap(old);
    this.pool.retain(frame, this.user);
    this.map[page] = frame / PAGE_SIZE;
    this.pool.release(old, this.user);
  }

  /** The frame of a page is about to be shared with another page: it must not be written in place any more. */
  protectPage(page: number): void {
    const frame = this.peekFrame(page);
    if (frame >= 0) this.onRemap(frame);
  }

  /** Takes a page's frame or slot away: it reads as zeros. */
  discardPage(page: number): void {
    const value = this.map[page]!;
    if (value === ABSENT) return;
    if (value < ABSENT && value > WATCHED) {
      this.pagerOf(value).release(slotOf(value));
      this.count.swapped--;
    } else {
      const frame = this.peekFrame(page);
      this.onRemap(frame);
      if (this.pool.holdsCode(frame)) this.codeMoved = true;
      this.pool.release(frame, this.user);
      this.count.granted--;
    }
    this.map[page] = ABSENT;
  }

  /** The guest's balloon took a page: its bytes are lost. */
  balloonPage(page: number): void {
    this.discardPage(page);
    if (this.isBallooned(page)) return;
    this.flags[page]! |= Flag.ballooned;
    this.count.ballooned++;
  }

  /** The guest's balloon gave a page back. */
  deflatePage(page: number): void {
    if (!this.isBallooned(page)) return;
    this.flags[page]! &= ~Flag.ballooned;
    this.count.ballooned--;
  }

  /** Whether a page is in the guest's balloon. */
  isBallooned(page: number): boolean {
    return (this.flags[page]! & Flag.ballooned) !== 0;
  }

  /** Whom pages are swapped out to. */
  usePager(pager: Pager): void {
    this.pagers[0] = pager;
  }

  /**
   * Makes untouched pages read what a pager has: `pages[slot]` is in that slot. They get frames when they are used.
   * False, and nothing is mapped, if there are too many such pagers already.
   */
  mapPager(pager: Pager, pages: readonly number[]): boolean {
    let number = 1;
    while (this.pagers[number] !== undefined) number++;
    if (number >= PAGERS) return false;
    this.pagers[number] = pager;
    pages.forEach((page, slot) => {
      this.discardPage(page);
      this.deflatePage(page);
      this.map[page] = SWAPPED - (slot * PAGERS + number);
      this.count.swapped++;
    });
    return true;
  }

  /**
   * Gives frames to at most `most` pages that `mapPager` left with a pager; gives their number. Once there are none, the
   * pagers are forgotten.
   */
  bringIn(most: number): number {
    let done = 0;
    for (; this.broughtIn < this.pages; this.broughtIn++) {
      const value = this.map[this.broughtIn]!;
      if (value >= ABSENT || value <= WATCHED || (SWAPPED - value) % PAGERS === 0) continue;
      if (done === most || this.swapIn(this.broughtIn, value) < 0) return done;
      done++;
    }
    if (done > 0) return done;
    this.pagers.length = Math.min(this.pagers.length, 1);
    this.broughtIn = 0;
    return 0;
  }

  /** Moves a page's bytes to the pager and frees its frame. False if it has none, is shared, or there is no room. */
  swapOut(page: number): boolean {
    const frame = this.peekFrame(page);
    const { pool } = this;
    const pager = this.pagers[0];
    if (frame < 0 || pager === undefined || !pool.isPrivate(frame)) return false;
    const slot = pager.store(pool.memory.u8.subarray(frame, frame + PAGE_SIZE));
    if (slot < 0) return false;
    this.onRemap(frame);
    this.map[page] = SWAPPED - slot * PAGERS;
    pool.release(frame, this.user);
    this.count.granted--;
    this.count.swapped++;
    this.counters.swappedOut++;
    return true;
  }

  /** Counts a page's next use in `counters.watchedUsed`. False if it has no frame. */
  watchPage(page: number): boolean {
    const frame = this.map[page]!;
    if (frame <= 0) return false;
    this.onRemap(frame * PAGE_SIZE);
    this.map[page] = WATCHED - frame;
    return true;
  }

  /** Ends the watch over a page; true if it was used since {@link GuestMemory.watchPage}. */
  unwatchPage(page: number): boolean {
    const value = this.map[page]!;
    if (value > WATCHED) return value > 0;
    this.map[page] = WATCHED - value;
    return false;
  }

  /** Where the guest's memory is; figures that are kept, so that asking costs nothing. */
  usage(): MemoryUsage {
    const { granted, swapped, ballooned } = this.count;
    return {
      granted: granted * PAGE_SIZE,
      touched: (granted + swapped) * PAGE_SIZE,
      ballooned: ballooned * PAGE_SIZE,
      shared: this.sharedPages * PAGE_SIZE,
      swapped: swapped * PAGE_SIZE,
    };
  }

  private readInPage(page: number, inPage: number, target: Uint8Array): void {
    const value = this.map[page]!;
    if (value === ABSENT) target.fill(0);
    else if (value < ABSENT && value > WATCHED) {
      const whole = inPage === 0 && target.length === PAGE_SIZE ? target : new Uint8Array(PAGE_SIZE);
      this.pagerOf(value).load(slotOf(value), whole);
      if (whole !== target) target.set(whole.subarray(inPage, inPage + target.length));
    } else {
      const start = this.peekFrame(page) + inPage;
      target.set(this.pool.memory.u8.subarray(start, start + target.length));
    }
  }

  /** The frame to read a page from whose map entry is not a frame's number. */
  private findFrame(page: number): number {
    const value = this.map[page]!;
    if (value === ABSENT) {
      this.flags[page]! |= Flag.zeroMapped;
      return this.pool.zeroFrame;
    }
    if (value <= WATCHED) {
      this.map[page] = WATCHED - value;
      this.counters.watchedUsed++;
      return this.map[page]! * PAGE_SIZE;
    }
    return this.swapIn(page, value);
  }

  private swapIn(page: number, value: number): number {
    const { pool } = this;
    const frame = pool.allocate(this.user);
    if (frame < 0) return -1;
    const pager = this.pagerOf(value);
    pager.load(slotOf(value), pool.memory.u8.subarray(frame, frame + PAGE_SIZE));
    pager.release(slotOf(value));
    this.map[page] = frame / PAGE_SIZE;
    this.count.granted++;
    this.count.swapped--;
    pool.pin(frame);
    this.counters.swappedIn++;
    return frame;
  }

  private makeWritable(page: number): number {
    const { pool } = this;
    if (this.map[page] === ABSENT) {
      const fresh = pool.allocate(this.user);
      if (fresh < 0) return -1;
      this.deflatePage(page);
      if ((this.flags[page]! & Flag.zeroMapped) !== 0) this.leaveFrame(pool.zeroFrame);
      this.flags[page] = 0;
      this.map[page] = fresh / PAGE_SIZE;
      this.count.granted++;
      this.counters.allocated++;
      pool.pin(fresh);
      return fresh;
    }
    const old = this.map[page]! > 0 ? this.map[page]! * PAGE_SIZE : this.findFrame(page);
    if (old < 0 || pool.isPrivate(old)) return old;
    pool.pin(old);
    const copy = pool.allocate(this.user);
    if (copy < 0) return -1;
    pool.memory.u8.copyWithin(copy, old, old + PAGE_SIZE);
    this.leaveFrame(old);
    this.map[page] = copy / PAGE_SIZE;
    pool.release(old, this.user);
    pool.pin(copy);
    this.counters.copied++;
    return copy;
  }

  /** A page that was read from a frame gets another one. */
  private leaveFrame(frame: number): void {
    if (this.pool.holdsCode(frame)) this.codeMoved = true;
    this.onRemap(frame);
  }

  private pagerOf(value: number): Pager {
    return this.pagers[(SWAPPED - value) % PAGERS]!;
  }

  private pageIndex(gpa: number): number {
    return Math.floor((gpa - this.base) / PAGE_SIZE);
  }
}

/** The pager's slot in a swapped page's map entry. */
const slotOf = (value: number): number => Math.floor((SWAPPED - value) / PAGERS);
