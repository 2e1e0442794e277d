/**
 * Swap space that is made when the first page goes out. Where it can't be made (a disk that is full, read-only or gone) pages
 * stay where they are, as where it has no room, and making it is tried again after a time.
 */
import type { SwapBackend } from "./swap-store.js";

/** Milliseconds from a failure to the next try. */
const RETRY_MS = 5000;

/** Space that is made late. */
export class LateSwap implements SwapBackend {
  private space: SwapBackend | undefined;
  private failedAt = Number.NEGATIVE_INFINITY;

  /**
   * @param open makes the space; may throw
   * @param now the time in milliseconds
   */
  constructor(
    private readonly open: () => SwapBackend,
    private readonly now: () => number = () => performance.now(),
  ) {}

  write(slot: number, page: Uint8Array): boolean {
    this.space ??= this.tryOpen();
    return this.space?.write(slot, page) ?? false;
  }

  /** Pages are read where they were written before. */
  read(slot: number, target: Uint8Array): void {
    this.space!.read(slot, target);
  }

  private tryOpen(): SwapBackend | undefined {
    if (this.now() < this.failedAt + RETRY_MS) return undefined;
    try {
      return this.open();
    } catch {
      this.failedAt = this.now();
      return undefined;
    }
  }
}
