/**
 * Which pages of a guest have been written since the last look: what a snapshot has to write again, or a migration to
 * send. A page costs one slow path between two looks; nothing is done for the stores that follow it.
 */
import type { GuestMemory } from "./guest-memory.js";

/** A log of pages that are written. */
export class DirtyPages {
  private readonly written = new Set<number>();
  private readonly end: () => void;

  /** @param guest whose pages are logged from now on */
  constructor(private readonly guest: GuestMemory) {
    this.end = guest.observe({ onWrite: (gpa) => this.written.add(gpa) });
  }

  /** Guest-physical addresses of the pages that were written since the last look, in order. Not while the guest runs. */
  take(): readonly number[] {
    const pages = [...this.written].sort((one, other) => one - other);
    this.written.clear();
    this.guest.protect();
    return pages;
  }

  /** Ends the log. */
  stop(): void {
    this.end();
  }
}
