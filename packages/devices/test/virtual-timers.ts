/** A clock for tests, which stands until it is told to go on: what takes a day takes no time. */
import type { Timer, Timers } from "../src/net/timers.js";

interface Waiting {
  readonly at: number;
  readonly order: number;
  readonly action: () => void;
}

/** Timers in virtual time; equal times in the order in which they were started. */
export class VirtualTimers implements Timers {
  private readonly waiting: Waiting[] = [];
  private readonly cancelled = new Set<Waiting>();
  private time = 0;
  private started = 0;

  now(): number {
    return this.time;
  }

  /** Timers that are not over. */
  get pending(): number {
    return this.waiting.length - this.cancelled.size;
  }

  after(milliseconds: number, action: () => void): Timer {
    const entry = { at: this.time + Math.max(0, milliseconds), order: this.started++, action };
    this.add(entry);
    return {
      cancel: () => {
        if (this.waiting.includes(entry)) this.cancelled.add(entry);
      },
    };
  }

  /** Runs the next timer; false if there is none before `until`. */
  step(until = Infinity): boolean {
    for (;;) {
      const next = this.waiting[0];
      if (next === undefined || next.at > until) return false;
      this.waiting.shift();
      if (this.cancelled.delete(next)) continue;
      this.time = Math.max(this.time, next.at);
      next.action();
      return true;
    }
  }

  /** Lets time pass. @throws Error after so many timers: something goes round in circles */
  advance(milliseconds: number, most = 2_000_000): void {
    const end = this.time + milliseconds;
    for (let count = 0; this.step(end); count++) if (count > most) throw new Error("timers without end");
    this.time = end;
  }

  private add(entry: Waiting): void {
    let low = 0;
    let high = this.waiting.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.waiting[middle]!;
      if (other.at < entry.at || (other.at === entry.at && other.order < entry.order)) low = middle + 1;
      else high = middle;
    }
    this.waiting.splice(low, 0, entry);
  }
}
