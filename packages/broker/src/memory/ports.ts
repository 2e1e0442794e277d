/**
 * The memory of VMs as the broker sees it: pages of 4 KiB mapped to frames of one pool. `GuestMemory`, `FramePool` and
 * `LinearMemory` of the jit package fit these shapes.
 */

/** Bytes of a page and of a frame. */
export const PAGE_SIZE = 4096;

/** Frames for all VMs of a thread. Frames are named by their byte offset in linear memory. */
export interface BrokeredFrames {
  readonly memory: { readonly i32: Int32Array };
  /** Frames handed out, and the most that may be. */
  readonly used: number;
  readonly limit: number;
  readonly available: number;
  /** Whether a frame has one page. */
  isPrivate(frame: number): boolean;
  /** Whether translations were made from a frame. */
  holdsCode(frame: number): boolean;
  /** Whether a frame may be in use by an access that is not finished. */
  isPinned(frame: number): boolean;
  /** A 32-bit hash of what is in a frame; who does not know the seed can't aim for one. */
  hash(frame: number, seed: number): number;
  /**
   * Called inside a guest's access when no frame is left; frees some, or says that it can't.
   * @param user the memory that the frame is for; undefined for nobody's
   */
  onExhausted(user: unknown): boolean;
}

/** The side of {@link BrokeredFrames} that other threads are behind, where they take from the same memory. */
export interface CommonFrames {
  /** Gives back what was claimed and not used. */
  yield(): void;
  /** Blocks until another thread frees something, or for so many milliseconds. */
  awaitRelease(milliseconds: number): void;
}

/** Keeps the bytes of pages that have no frame. */
export interface Pager {
  /** Takes a page; gives its slot, or -1 if there is no room. */
  store(page: Uint8Array): number;
  load(slot: number, target: Uint8Array): void;
  retain(slot: number): void;
  release(slot: number): void;
}

/** Where a guest's memory is, in bytes. */
export interface MemoryUsage {
  /** Pages that have a frame. */
  readonly granted: number;
  readonly touched: number;
  readonly ballooned: number;
  readonly shared: number;
  readonly swapped: number;
}

/** RAM of one guest; pages are numbered from its start. */
export interface BrokeredMemory {
  readonly pages: number;
  /** The frame of a page; -1 if it has none. */
  peekFrame(page: number): number;
  /** TLBs forget a page's frame: it is about to be shared. */
  protectPage(page: number): void;
  /** Gives a page the frame of another with the same bytes. */
  mergePage(page: number, frame: number): void;
  /** A page is zeros from now on, without a frame. */
  discardPage(page: number): void;
  /** Counts a page's next use; false if it has no frame or is watched already. */
  watchPage(page: number): boolean;
  /** Whether a watched page was used; the watch ends. */
  unwatchPage(page: number): boolean;
  /** Moves a page to the pager; false if it can't be. */
  swapOut(page: number): boolean;
  usePager(pager: Pager): void;
  usage(): MemoryUsage;
}

/** A guest's balloon, in pages. */
export interface BalloonPort {
  setTarget(pages: number): void;
  readonly target: number;
  /** What its driver says; see {@link MemoryUsage.ballooned} for what is true. */
  readonly actual: number;
  readonly live: boolean;
  /** The guest's own word, of the time of the request before the last; in bytes. */
  readonly statistics: {
    /** What programs could still use without hardship. */
    readonly availableMemory?: number;
  };
  /** Asks the guest for fresh statistics. */
  requestStatistics(): void;
}

/** Machine memory that VMs of several threads take frames from; `HostMemory` of the jit package is the heart of one. */
export interface HostFrames {
  /** Frames in all. */
  readonly frames: number;
  /** Frames that nobody has. */
  readonly free: number;
  /** A place for a thread whose first VM has so much RAM; undefined if there is no room for another thread. */
  enter(ramBytes: number): unknown;
  /** A thread has ended, in whatever state: frees all that it had. */
  leave(place: unknown): void;
}
