/**
 * How much of a guest's memory is in use, by sampling (ESX paper, section 5.3): a number of pages with frames is
 * chosen at random, their next uses are noted, and the share of them that was used by the end of the period is an
 * estimate that no guest can see or skew. A fast and a slow moving average and the running period are kept, and the
 * largest counts: memory that a guest begins to use is believed at once, memory that it stops using only after a while.
 */
import type { BrokeredMemory } from "./ports.js";

/** Pages in a sample. */
export const SAMPLE_PAGES = 100;
/** Tries for each page of a sample: guests have pages without frames. */
const TRIES = 8;
const FAST = 0.5;
const SLOW = 0.15;

/** The working set of one guest. */
export class WorkingSet {
  private sample: number[] = [];
  private fast = 1;
  private slow = 1;
  private current = 0;
  private periods = 0;

  /** @param random an integer from 0 to below `limit` */
  constructor(
    private readonly memory: BrokeredMemory,
    private readonly random: (limit: number) => number,
  ) {}

  /** Estimated share of the guest's granted pages that is in use, from 0 to 1; 1 before the first period is over. */
  get active(): number {
    return this.periods === 0 ? 1 : Math.min(1, Math.max(this.fast, this.slow, this.current));
  }

  /** Ends a period and begins the next. The guest may not run during the call. */
  next(): void {
    if (this.sample.length > 0) {
      const used = this.sample.filter((page) => this.memory.unwatchPage(page)).length / this.sample.length;
      // The first estimates are all there is.
      this.fast = this.periods === 0 ? used : this.fast + FAST * (used - this.fast);
      this.slow = this.periods === 0 ? used : this.slow + SLOW * (used - this.slow);
      this.current = used;
      this.periods++;
    }
    this.sample = [];
    for (let at = 0; at < SAMPLE_PAGES * TRIES && this.sample.length < SAMPLE_PAGES; at++) {
      const page = this.random(this.memory.pages);
      if (this.memory.watchPage(page)) this.sample.push(page);
    }
  }

  /** Ends all watches: the guest leaves. */
  stop(): void {
    for (const page of this.sample) this.memory.unwatchPage(page);
    this.sample = [];
  }
}
