/**
 * What a receiver says that it has beyond what it acknowledged (RFC 2018). Ranges are sorted, apart from each other, and a
 * bounded number: what does not fit is forgotten, and sent again at worst.
 */
import type { SackBlock } from "../../frames/tcp.js";
import { distance, plus } from "./sequence.js";

const MOST_RANGES = 64;

/** The ranges. */
export class Scoreboard {
  private ranges: SackBlock[] = [];

  /** Whether there is none. */
  get isEmpty(): boolean {
    return this.ranges.length === 0;
  }

  /** The end of the last range; `una` if there is none. */
  highest(una: number): number {
    return this.ranges.at(-1)?.end ?? una;
  }

  /** Adds a range, which lies between `una` and what was sent. */
  add(block: SackBlock): void {
    let { start, end } = block;
    const kept: SackBlock[] = [];
    for (const range of this.ranges) {
      if (distance(range.end, start) < 0 || distance(range.start, end) > 0) {
        kept.push(range);
        continue;
      }
      if (distance(range.start, start) < 0) start = range.start;
      if (distance(range.end, end) > 0) end = range.end;
    }
    if (kept.length >= MOST_RANGES) return;
    kept.push({ start, end });
    this.ranges = kept.sort((one, other) => distance(one.start, other.start));
  }

  /** Forgets what was acknowledged. */
  trim(una: number): void {
    if (this.ranges.length === 0 || distance(this.ranges[0]!.start, una) > 0) return;
    this.ranges = this.ranges
      .filter(({ end }) => distance(end, una) > 0)
      .map(({ start, end }) => ({ start: distance(start, una) < 0 ? una : start, end }));
  }

  /** The first bytes at or behind `from` that the receiver lacks although it has some behind them. */
  hole(from: number): { start: number; length: number } | undefined {
    let start = from;
    for (const range of this.ranges) {
      if (distance(range.end, start) <= 0) continue;
      if (distance(range.start, start) > 0) return { start, length: distance(range.start, start) };
      start = range.end;
    }
    return undefined;
  }

  /** Bytes from `from` to before `to` that the receiver has. */
  covered(from: number, to: number): number {
    let sum = 0;
    for (const { start, end } of this.ranges) {
      const first = distance(start, from) > 0 ? start : from;
      const last = distance(end, to) < 0 ? end : to;
      sum += Math.max(0, distance(last, first));
    }
    return sum;
  }

  clear(): void {
    this.ranges = [];
  }
}

/** The part of a block that lies between two numbers; undefined if there is none. */
export function clipped({ start, end }: SackBlock, from: number, to: number): SackBlock | undefined {
  const first = distance(start, from) < 0 ? from : start;
  if (distance(end, to) > 0 || distance(end, first) <= 0) return undefined;
  return { start: plus(first, 0), end: plus(end, 0) };
}
