/**
 * Machine frames: the 4 KiB units in which the memory of virtual machines is handed out. One pool serves all VMs of a
 * thread, and a frame may be mapped to several pages, of one VM or of several, which may then only read it. Whoever
 * wants to write makes a copy first (`guest-memory.ts`). Pools of several threads may take their frames from one
 * store (`frame-store.ts`); a frame belongs to one pool at a time.
 *
 * Invariants: a frame has as many references as there are pages mapped to it, and the numbers of their users in sum, so
 * that the last user of a frame that others have left is known without a search; a frame that is free has none and is
 * zeroed before it is handed out again; the frame of zeros is never written and never freed.
 *
 * A frame that holds translated code is not freed at once, because the code may be running: it waits in `condemned`
 * until the owners of translations have forgotten it between two runs ({@link FramePool.bury}).
 */
import { xxh32Words } from "./checksum.js";
import { type FrameStore, OwnFrames } from "./frame-store.js";
import { PAGE_SHIFT, PAGE_SIZE } from "./layout.js";
import { type LinearMemory, MemoryError } from "./linear-memory.js";

/** References of the frame of zeros: so many that it always counts as shared. */
const PERMANENT = 0x40000000;

/** Frames remembered by `pin`: more than one access has in hand (two pages, and a page table's entry). */
const PINNED = 8;

/** Bytes of the smallest part of a frame that is known to hold code or not. */
const CODE_PART = 256;
const ALL_PARTS = 0xffff;

/** The bits of the parts that `length` bytes at a byte offset lie in. */
function partsOf(offset: number, length: number): number {
  if (length >= PAGE_SIZE) return ALL_PARTS;
  const start = offset & (PAGE_SIZE - 1);
  const first = Math.floor(start / CODE_PART);
  const last = Math.floor(Math.min(PAGE_SIZE - 1, start + length - 1) / CODE_PART);
  return (2 << last) - (1 << first);
}

/** Whoever maps pages to frames: a guest's RAM. */
export interface FrameUser {
  /** Pages of it whose frame another page has as well. */
  sharedPages: number;
}

/** Who has derived something from frames: the owner of translations. */
export interface FrameObserver {
  /** Between two runs, before a frame that held code is freed: what was derived from it is to be forgotten. */
  onForget?(frame: number): void;
  /** Its owner wrote `length` bytes of a frame that holds code, which lie at `offset` in it. */
  onCodeWrite?(frame: number, offset: number, length: number): void;
}

/** A pool of frames in one linear memory. */
export class FramePool {
  /** Pages that are mapped to each frame, by frame number: byte offset in linear memory / page size. */
  readonly references: Int32Array;
  /** For each frame the sum of its users' numbers: where it has one page, the number of that page's user. */
  private readonly users: Int32Array;
  /** Users by number; 0 is nobody. Numbers are used again. */
  private readonly userOf: (FrameUser | undefined)[] = [undefined];
  private readonly unusedNumbers: number[] = [];
  private observers: readonly FrameObserver[] = [];
  /**
   * Called when a frame is asked for and none is left, with whom it is for; frees frames, and says whether it freed any. It
   * may run in the middle of a guest instruction, so it must leave alone the frames that {@link FramePool.isPinned} names,
   * and code.
   */
  onExhausted: (user: FrameUser | undefined) => boolean = () => false;
  /** For each frame, a bit for each {@link CODE_PART} of it from which translations were made. */
  private readonly code: Uint16Array;
  private readonly firstNumber: number;
  private readonly condemned: number[] = [];
  private readonly pinned = new Int32Array(PINNED);
  private nextPin = 0;
  private taken = 0;
  private most: number;
  private zeros = -1;

  /**
   * @param memory where the frames are
   * @param first byte offset of the first frame, a multiple of the page size; not 0
   * @param count number of frames
   * @param store which of them are free; this pool's own account unless given
   */
  constructor(
    readonly memory: LinearMemory,
    first: number,
    readonly count: number,
    private readonly store: FrameStore = new OwnFrames(count),
  ) {
    this.firstNumber = first / PAGE_SIZE;
    this.most = count;
    this.references = new Int32Array(this.firstNumber + count);
    this.users = new Int32Array(this.firstNumber + count);
    this.code = new Uint16Array(this.firstNumber + count);
  }

  /** Frames handed out. */
  get used(): number {
    return this.taken;
  }

  /** Frames that may be handed out in all: `count`, or fewer if the pool's owner was given less. */
  get limit(): number {
    return this.most;
  }

  /** Sets {@link FramePool.limit}; frames beyond it that are in use stay so until they are released. */
  set limit(frames: number) {
    this.most = Math.max(0, Math.min(this.count, Math.floor(frames)));
  }

  /** Frames that can still be handed out. */
  get available(): number {
    return Math.max(0, Math.min(this.most - this.taken, this.store.free));
  }

  /** Tells an observer of frames from now on; gives the function that ends it. */
  observe(observer: FrameObserver): () => void {
    this.observers = [...this.observers, observer];
    return () => {
      this.observers = this.observers.filter((each) => each !== observer);
    };
  }

  /** Copies bytes into a frame that whoever calls owns; translations made from what was there are dropped. */
  fill(frame: number, offset: number, bytes: Uint8Array): void {
    this.memory.u8.set(bytes, frame + offset);
    if (!this.holdsCodeIn(frame + offset, bytes.length)) return;
    for (const observer of this.observers) observer.onCodeWrite?.(frame, offset, bytes.length);
  }

  /** The number of a user, by which it maps frames. */
  enter(user: FrameUser): number {
    const number = this.unusedNumbers.pop() ?? this.userOf.length;
    this.userOf[number] = user;
    return number;
  }

  /** Forgets a user that has no frames any more. */
  leave(number: number): void {
    if (this.userOf[number] === undefined) return;
    this.userOf[number] = undefined;
    this.unusedNumbers.push(number);
  }

  /**
   * Byte offset of a zeroed frame with one reference; -1 if none is left and none could be freed.
   * @param user whose page it is for; 0 for nobody's
   */
  allocate(user = 0): number {
    let found = this.taken < this.most ? this.store.take() : -1;
    while (found < 0) {
      if (!this.onExhausted(this.userOf[user])) return -1;
      if (this.taken < this.most) found = this.store.take();
    }
    const number = this.firstNumber + found;
    if (this.store.isStale) this.memory.u8.fill(0, number * PAGE_SIZE, (number + 1) * PAGE_SIZE);
    this.taken++;
    this.references[number] = 1;
    this.users[number] = user;
    return number * PAGE_SIZE;
  }

  /**
   * Byte offset of the frame of zeros, which all untouched pages read; it takes a frame of the pool at its first use.
   * @throws MemoryError if the pool has not even one frame
   */
  get zeroFrame(): number {
    if (this.zeros < 0) {
      this.zeros = this.allocate();
      if (this.zeros < 0)
        throw new MemoryError("E_MEMORY_SIZE", "the frame pool is empty: give it more memory");
      this.references[this.zeros / PAGE_SIZE] = PERMANENT;
    }
    return this.zeros;
  }

  /** Adds a reference to a frame: another page is mapped to it, of this user. */
  retain(frame: number, user: number): void {
    this.retainNumber(frame / PAGE_SIZE, user);
    this.countShared(user, 1);
  }

  /** {@link retain} for many frames by number; the caller counts the pages that its user shares then. */
  retainNumber(number: number, user: number): void {
    if (this.references[number]!++ === 1) this.countShared(this.users[number]!, 1);
    this.users[number]! += user;
  }

  /** Takes the reference of a user's page back; the last one frees the frame. */
  release(frame: number, user: number): void {
    const number = frame / PAGE_SIZE;
    const left = --this.references[number]!;
    this.users[number]! -= user;
    if (left > 0) {
      this.countShared(user, -1);
      if (left === 1) this.countShared(this.users[number]!, -1);
    } else if (this.code[number] !== 0) this.condemned.push(number);
    else this.giveBack(number);
  }

  /** Whether a frame has one reference, so that its page may be written in place. */
  isPrivate(frame: number): boolean {
    return this.references[frame >>> PAGE_SHIFT] === 1;
  }

  /** Whether translations were made from a frame: stores to it must be reported. */
  holdsCode(frame: number): boolean {
    return this.code[frame >>> PAGE_SHIFT] !== 0;
  }

  /** Whether translations were made from some of `length` bytes, which lie in one frame, at a byte offset. */
  holdsCodeIn(offset: number, length: number): boolean {
    return (this.code[offset >>> PAGE_SHIFT]! & partsOf(offset, length)) !== 0;
  }

  /** Marks a frame as holding code. */
  markCode(frame: number): void {
    this.code[frame >>> PAGE_SHIFT] = ALL_PARTS;
  }

  /** Marks `length` bytes, which lie in one frame, at a byte offset as code; true if some were not marked before. */
  markCodeIn(offset: number, length: number): boolean {
    const parts = partsOf(offset, length);
    const before = this.code[offset >>> PAGE_SHIFT]!;
    this.code[offset >>> PAGE_SHIFT] = before | parts;
    return (before & parts) !== parts;
  }

  /** Takes the mark back. */
  unmarkCode(frame: number): void {
    this.code[frame >>> PAGE_SHIFT] = 0;
  }

  /** Frees the frames whose code may go now: call it while no hart runs. */
  bury(): void {
    for (let number = this.condemned.pop(); number !== undefined; number = this.condemned.pop()) {
      for (const observer of this.observers) observer.onForget?.(number * PAGE_SIZE);
      this.code[number] = 0;
      this.giveBack(number);
    }
  }

  /** Whether any frame waits for {@link FramePool.bury}. */
  get mourning(): boolean {
    return this.condemned.length > 0;
  }

  /** Notes a frame that a slow path has just found and may still be using. */
  pin(frame: number): void {
    this.pinned[this.nextPin] = frame >>> PAGE_SHIFT;
    this.nextPin = (this.nextPin + 1) % PINNED;
  }

  /** Whether a frame is one of the last that slow paths found. */
  isPinned(frame: number): boolean {
    return this.pinned.includes(frame >>> PAGE_SHIFT);
  }

  /** A 32-bit hash of what is in a frame; with another seed it is another. */
  hash(frame: number, seed: number): number {
    return xxh32Words(this.memory.i32, frame / 4, PAGE_SIZE / 4, seed);
  }

  private countShared(user: number, change: 1 | -1): void {
    const counted = this.userOf[user];
    if (counted !== undefined) counted.sharedPages += change;
  }

  private giveBack(number: number): void {
    this.taken--;
    this.store.give(number - this.firstNumber);
  }
}
