/**
 * Swap space: slots of one page with reference counts, since clones share swapped pages too, on a backend that moves
 * bytes. A guest's access waits for it, so backends answer at once.
 */
import { PAGE_SIZE, type Pager } from "./ports.js";

/** Where swapped pages are kept. */
export interface SwapBackend {
  /** Writes a page; false if there is no room for it. */
  write(slot: number, page: Uint8Array): boolean;
  /** Fills `target` with a page that was written. */
  read(slot: number, target: Uint8Array): void;
}

/** Swap space of at most `slots` pages. */
export class SwapStore implements Pager {
  readonly counters = { stored: 0, loaded: 0, refused: 0 };
  private readonly references: number[] = [];
  private readonly free: number[] = [];

  constructor(
    private readonly backend: SwapBackend,
    readonly slots: number,
  ) {}

  /** Slots in use. */
  get used(): number {
    return this.references.length - this.free.length;
  }

  store(page: Uint8Array): number {
    const slot = this.free.pop() ?? this.references.length;
    if (slot >= this.slots) {
      this.counters.refused++;
      return -1;
    }
    if (slot === this.references.length) this.references.push(0);
    if (!this.backend.write(slot, page)) {
      this.free.push(slot);
      this.counters.refused++;
      return -1;
    }
    this.references[slot] = 1;
    this.counters.stored++;
    return slot;
  }

  load(slot: number, target: Uint8Array): void {
    this.counters.loaded++;
    this.backend.read(slot, target);
  }

  retain(slot: number): void {
    this.references[slot]!++;
  }

  release(slot: number): void {
    if (--this.references[slot]! === 0) this.free.push(slot);
  }
}

/** Swap space in the host's own memory: for platforms without files, and for tests. */
export class MemorySwap implements SwapBackend {
  private readonly pages: Uint8Array[] = [];

  write(slot: number, page: Uint8Array): boolean {
    // A plain copy: the page may be in shared memory.
    const copy = this.pages[slot] ?? new Uint8Array(PAGE_SIZE);
    copy.set(page);
    this.pages[slot] = copy;
    return true;
  }

  read(slot: number, target: Uint8Array): void {
    target.set(this.pages[slot]!);
  }
}
