/**
 * The pages of a guest's RAM by number: where the bytes of each are. Numbers count through all regions of RAM, the main
 * one first; where a page is in the address space, `guest-memory.ts` knows. A page is one of
 *
 * - untouched: it has no frame, and reads as zeros (from the pool's frame of zeros);
 * - present: it has a frame, alone or shared; a shared one is copied before the page is written;
 * - watched: present, and its next use is counted (sampling of working sets);
 * - swapped: its bytes are with the pager, and come back when they are used;
 * - ballooned: untouched, and given up by the guest itself.
 *
 * Invariant: TLBs never hold a write entry for a frame that is shared, and never any entry for a page whose frame
 * has changed: observers are told before the change is visible. Frames that are used only by bytes moved through the
 * memory are never entered there.
 */
import type { FramePool, FrameUser } from "./frames.js";
import { PAGE_SIZE } from "./layout.js";
import { type MemoryObserver, MemoryObservers, type RemapCause } from "./observers.js";

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

/** Where pages of RAM are: a region's first page has `base`. */
export interface RamPlace {
  readonly base: number;
  readonly firstPage: number;
  readonly pages: number;
}

/** RAM of one guest, by page. */
export class RamPages implements FrameUser {
  /** Number of pages. */
  readonly pages: number;
  /** What happened to pages, for `--stats` and `top`. */
  readonly counters = { allocated: 0, copied: 0, swappedIn: 0, swappedOut: 0, watchedUsed: 0 };
  /** Kept by the pool: see {@link FrameUser}. */
  sharedPages = 0;
  /** Number of each page's frame (byte offset / page size), or below zero one of the states above. */
  protected readonly map: Int32Array;
  /** Whether an observer listens to writes: then no page is found to be writable at the first look. */
  protected isLogged = false;
  protected readonly observers = new MemoryObservers();
  /** Pages with a frame, with a pager's slot, and in the balloon: kept with the map, so that nobody has to look for them. */
  private readonly count = { granted: 0, swapped: 0, ballooned: 0 };
  /** Its number in the pool. */
  private readonly user: number;
  /** By number; see {@link PAGERS}. */
  private pagers: (Pager | undefined)[] = [];
  /** Where `bringIn` goes on. */
  private broughtIn = 0;
  private readonly flags: Uint8Array;

  /** @param places where the pages are, by number */
  constructor(
    readonly pool: FramePool,
    private readonly places: readonly RamPlace[],
  ) {
    this.pages = places.reduce((sum, { pages }) => sum + pages, 0);
    this.user = pool.enter(this);
    this.map = new Int32Array(this.pages).fill(ABSENT);
    this.flags = new Uint8Array(this.pages);
  }

  /**
   * Tells an observer what happens to pages from now on; gives the function that ends it. Any number may listen. One that
   * listens to writes hears of every page that is written from now on.
   */
  observe(observer: MemoryObserver): () => void {
    const end = this.observers.add(observer);
    this.isLogged = this.observers.listenToWrites;
    if (observer.onWrite !== undefined) this.protect();
    return () => {
      end();
      this.isLogged = this.observers.listenToWrites;
    };
  }

  /** Lets no page be written before observers of writes have heard of it again. */
  protect(): void {
    this.observers.protected();
  }

  /** Guest-physical address of a page. */
  addressOfPage(page: number): number {
    let place = this.places[0]!;
    for (const next of this.places) if (page >= next.firstPage) place = next;
    return place.base + (page - place.firstPage) * PAGE_SIZE;
  }

  /** Makes all of RAM read as zeros again, as at power-on: no page has a frame afterwards. */
  clearTouched(): void {
    for (let page = 0; page < this.pages; page++) if (this.map[page] !== ABSENT) this.discardPage(page);
    this.flags.fill(0);
    this.count.ballooned = 0;
    this.pagers.length = Math.min(this.pagers.length, 1);
    this.broughtIn = 0;
  }

  /**
   * Gives another guest's pages, which are untouched, the same bytes by copy-on-write: both keep reading the same frames
   * until one of them writes.
   * @param apart byte offset of a frame that must stay this guest's alone, of which the other gets a copy; -1 if none does
   * @returns false if the pool has no frame for that copy
   */
  protected shareWith(twin: RamPages, apart: number): boolean {
    const { pool, map } = this;
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
        if (copy < 0) return false;
        pool.memory.u8.copyWithin(copy, apart, apart + PAGE_SIZE);
        twin.map[page] = copy / PAGE_SIZE;
      } else {
        pool.retainNumber(number, twin.user);
        twin.sharedPages++;
        twin.map[page] = number;
      }
      twin.count.granted++;
    }
    this.protect();
    for (let page = 0; page < this.pages; page++) twin.flags[page] = this.flags[page]! & Flag.ballooned;
    twin.count.ballooned = this.count.ballooned;
    return true;
  }

  /** Gives all frames and slots back; the guest must not run any more. */
  free(): void {
    this.clearTouched();
    this.pool.leave(this.user);
  }

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

  /** Fills `target` with a page's bytes, wherever they are. */
  readPage(page: number, target: Uint8Array): void {
    this.readInPage(page, 0, target);
  }

  /** Maps a page to the frame of another page with the same bytes, to be read by both from now on. */
  mergePage(page: number, frame: number): void {
    const old = this.peekFrame(page);
    if (old < 0 || old === frame) return;
    this.remapped(page, old, "merged");
    this.pool.retain(frame, this.user);
    this.map[page] = frame / PAGE_SIZE;
    this.pool.release(old, this.user);
  }

  /** The frame of a page is about to be shared with another page: it must not be written in place any more. */
  protectPage(page: number): void {
    const frame = this.peekFrame(page);
    if (frame >= 0) this.remapped(page, frame, "protected");
  }

  /** Takes a page's frame or slot away: it reads as zeros. */
  discardPage(page: number): void {
    const value = this.map[page]!;
    if (value === ABSENT) return;
    this.noteWrite(page);
    if (value < ABSENT && value > WATCHED) {
      this.pagerOf(value).release(slotOf(value));
      this.count.swapped--;
    } else {
      const frame = this.peekFrame(page);
      this.remapped(page, frame, "dropped");
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
      this.noteWrite(page);
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
    this.remapped(page, frame, "swapped");
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
    this.remapped(page, frame * PAGE_SIZE, "watched");
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

  /** Fills `target` with bytes of a page from `inPage` on. */
  protected readInPage(page: number, inPage: number, target: Uint8Array): void {
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

  /** A page is about to change. */
  private noteWrite(page: number): void {
    if (this.isLogged) this.observers.written(this.addressOfPage(page));
  }

  /** The frame to read a page from whose map entry is not a frame's number. */
  protected findFrame(page: number): number {
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

  /**
   * Byte offset of a frame that is a page's alone, made if need be: for pages that are not so at the first look; -1 if no
   * frame is left.
   */
  protected makeWritable(page: number): number {
    const { pool } = this;
    this.noteWrite(page);
    if (this.map[page] === ABSENT) {
      const fresh = pool.allocate(this.user);
      if (fresh < 0) return -1;
      this.deflatePage(page);
      if ((this.flags[page]! & Flag.zeroMapped) !== 0) this.remapped(page, pool.zeroFrame, "copied");
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
    this.remapped(page, old, "copied");
    this.map[page] = copy / PAGE_SIZE;
    pool.release(old, this.user);
    pool.pin(copy);
    this.counters.copied++;
    return copy;
  }

  private remapped(page: number, frame: number, cause: RemapCause): void {
    this.observers.remapped(frame, this.addressOfPage(page), cause);
  }

  private pagerOf(value: number): Pager {
    return this.pagers[(SWAPPED - value) % PAGERS]!;
  }
}

/** The pager's slot in a swapped page's map entry. */
const slotOf = (value: number): number => Math.floor((SWAPPED - value) / PAGERS);
