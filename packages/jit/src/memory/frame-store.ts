/**
 * Which frames of a memory are free: kept by one pool for itself, or in words that the pools of several threads share.
 * Frames are numbered from 0 in the order of the memory's frames.
 */

/** Where a pool takes its frames from. */
export interface FrameStore {
  /** Frames in all. */
  readonly count: number;
  /** Frames that can be taken now. */
  readonly free: number;
  /** Takes a frame; -1 if none is free. {@link FrameStore.isStale} tells whether it must be zeroed. */
  take(): number;
  /** Whether the frame that was taken last has had an owner before, whose bytes may still be in it. */
  readonly isStale: boolean;
  /** Gives a frame back. */
  give(number: number): void;
}

/** The frames of a pool that has a memory to itself. */
export class OwnFrames implements FrameStore {
  isStale = false;
  private readonly released: number[] = [];
  private next = 0;

  constructor(readonly count: number) {}

  get free(): number {
    return this.count - this.next + this.released.length;
  }

  take(): number {
    const number = this.released.pop();
    this.isStale = number !== undefined;
    if (number !== undefined) return number;
    return this.next < this.count ? this.next++ : -1;
  }

  give(number: number): void {
    this.released.push(number);
  }
}

/** Most owners of a table: threads that take frames from it. */
export const MOST_OWNERS = 255;

/** States of a frame that nobody owns: never owned, so still zero; owned before. */
const FRESH = 0;
const STALE = -1;
/** Words before the frames' own: events, the hint, and for each owner the frames that it has claimed. */
const EVENTS = 0;
const HINT = 1;
const HELD = 2;
const HEADER_WORDS = HELD + MOST_OWNERS + 1;

/**
 * A word for each frame of a memory that says which thread owns it. A thread claims a frame by one atomic exchange and
 * frees it by one store, without any lock: one that is killed in the middle leaves nothing behind that could stop the
 * others, and whoever saw it end takes all its frames back by looking for its number ({@link FrameTable.evict}).
 *
 * Each owner counts what it has claimed in a word that only itself writes, so that the counts stay right whatever
 * becomes of others. The hint is a place below which hardly anything is free: frames at low addresses are used first,
 * so that a host's memory in use is what was needed at once, not what was ever touched.
 */
export class FrameTable {
  private readonly words: Int32Array;

  /** @param buffer memory that {@link FrameTable.allocate} made, here or in another thread */
  constructor(readonly buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
  }

  /** A table for `count` frames, all of them free. */
  static allocate(count: number): FrameTable {
    return new FrameTable(new SharedArrayBuffer(4 * (HEADER_WORDS + count)));
  }

  /** Frames in all. */
  get count(): number {
    return this.words.length - HEADER_WORDS;
  }

  /** Frames that nobody owns. */
  get free(): number {
    let held = 0;
    for (let owner = 1; owner <= MOST_OWNERS; owner++) held += Atomics.load(this.words, HELD + owner);
    return Math.max(0, this.count - held);
  }

  /** Frames that an owner has claimed. */
  heldBy(owner: number): number {
    return Atomics.load(this.words, HELD + owner);
  }

  /**
   * Claims at most `most` frames and adds their numbers to `into`, those that must be zeroed as their complement.
   * @param owner from 1 to {@link MOST_OWNERS}
   */
  claim(owner: number, most: number, into: number[]): void {
    const { words } = this;
    const hint = Atomics.load(words, HINT);
    const from = HEADER_WORDS + Math.min(Math.max(0, hint), this.count);
    const end = this.claimIn(owner, from, words.length, most, into);
    // A frame that was given back meanwhile has set a lower hint, which stays.
    Atomics.compareExchange(words, HINT, hint, end - HEADER_WORDS);
    if (into.length === 0 && from > HEADER_WORDS) this.claimIn(owner, HEADER_WORDS, from, most, into);
  }

  /** Frees a frame. */
  release(owner: number, number: number): void {
    const { words } = this;
    Atomics.store(words, HEADER_WORDS + number, STALE);
    Atomics.sub(words, HELD + owner, 1);
    if (number < Atomics.load(words, HINT)) Atomics.store(words, HINT, number);
    Atomics.add(words, EVENTS, 1);
    Atomics.notify(words, EVENTS);
  }

  /** Frees all that an owner has, which has ended; gives their number. */
  evict(owner: number): number {
    const { words } = this;
    let freed = 0;
    for (let at = HEADER_WORDS; at < words.length; at++) {
      // Who has ended claims no more, so that a plain look finds all of them, at a tenth of the cost.
      if (words[at] === owner && Atomics.compareExchange(words, at, owner, STALE) === owner) freed++;
    }
    Atomics.store(words, HELD + owner, 0);
    Atomics.store(words, HINT, 0);
    Atomics.add(words, EVENTS, 1);
    Atomics.notify(words, EVENTS);
    return freed;
  }

  /** Blocks the calling thread until a frame is freed, or for so many milliseconds. */
  awaitRelease(milliseconds: number): void {
    const { words } = this;
    Atomics.wait(words, EVENTS, Atomics.load(words, EVENTS), milliseconds);
  }

  /** Claims in a range of words; gives the place after the last word looked at. */
  private claimIn(owner: number, from: number, to: number, most: number, into: number[]): number {
    const { words } = this;
    let at = from;
    for (; at < to && into.length < most; at++) {
      const state = Atomics.load(words, at);
      if (state > 0 || Atomics.compareExchange(words, at, state, owner) !== state) continue;
      Atomics.add(words, HELD + owner, 1);
      const number = at - HEADER_WORDS;
      into.push(state === FRESH ? number : ~number);
    }
    return at;
  }
}

/** Frames that a thread claims at once: few enough to be nothing in a small pool. */
const BATCH = 32;

/** One thread's frames out of a table. */
export class SharedFrames implements FrameStore {
  isStale = false;
  /** Claimed and not taken; those to be zeroed as their complement. */
  private readonly claimed: number[] = [];

  constructor(
    readonly table: FrameTable,
    readonly owner: number,
  ) {}

  get count(): number {
    return this.table.count;
  }

  get free(): number {
    return this.table.free + this.claimed.length;
  }

  take(): number {
    if (this.claimed.length === 0) {
      this.table.claim(this.owner, BATCH, this.claimed);
      this.claimed.reverse();
    }
    const entry = this.claimed.pop();
    if (entry === undefined) return -1;
    this.isStale = entry < 0;
    return entry < 0 ? ~entry : entry;
  }

  give(number: number): void {
    this.table.release(this.owner, number);
  }

  /** Frees what is claimed and not taken: others may need it. */
  yield(): void {
    for (let entry = this.claimed.pop(); entry !== undefined; entry = this.claimed.pop())
      this.table.release(this.owner, entry < 0 ? ~entry : entry);
  }
}
