/**
 * Data that came before what precedes it. It lies inside the window that was announced, so its bytes are bounded; the
 * number of pieces is, too, since small ones cost more than their bytes.
 */
import type { SackBlock } from "../../frames/tcp.js";
import { distance, plus } from "./sequence.js";

const MOST_PIECES = 1024;

interface Piece {
  readonly start: number;
  readonly data: Uint8Array;
}

/** The pieces: sorted, and apart from each other. */
export class OutOfOrder {
  private pieces: Piece[] = [];
  private held = 0;
  /** Where something came last: it is told first (RFC 2018, section 4). */
  private latest = 0;

  get bytes(): number {
    return this.held;
  }

  /** Keeps what is new of some data. */
  add(start: number, data: Uint8Array): void {
    this.latest = start;
    let from = start;
    let rest = data;
    for (const piece of [...this.pieces]) {
      const end = plus(piece.start, piece.data.length);
      if (distance(end, from) <= 0) continue;
      const before = distance(piece.start, from);
      if (before >= rest.length) break;
      if (before > 0) this.insert(from, rest.slice(0, before));
      const passed = distance(end, from);
      if (passed >= rest.length) return;
      rest = rest.subarray(passed);
      from = end;
    }
    this.insert(from, rest.slice());
  }

  /** Takes what follows from `next` on. */
  take(next: number): Uint8Array[] {
    const found: Uint8Array[] = [];
    let at = next;
    while (this.pieces.length > 0 && distance(this.pieces[0]!.start, at) <= 0) {
      const piece = this.pieces.shift()!;
      this.held -= piece.data.length;
      const passed = distance(at, piece.start);
      if (passed >= piece.data.length) continue;
      const data = piece.data.subarray(passed);
      found.push(data);
      at = plus(at, data.length);
    }
    return found;
  }

  /** At most so many ranges, that of the latest data in front. */
  blocks(most: number): SackBlock[] {
    const ranges: SackBlock[] = [];
    for (const { start, data } of this.pieces) {
      const last = ranges.at(-1);
      const end = plus(start, data.length);
      if (last !== undefined && last.end === start) ranges[ranges.length - 1] = { start: last.start, end };
      else ranges.push({ start, end });
    }
    const index = ranges.findIndex(
      ({ start, end }) => distance(this.latest, start) >= 0 && distance(this.latest, end) < 0,
    );
    if (index > 0) ranges.unshift(...ranges.splice(index, 1));
    return ranges.slice(0, most);
  }

  clear(): void {
    this.pieces = [];
    this.held = 0;
  }

  private insert(start: number, data: Uint8Array): void {
    if (data.length === 0 || this.pieces.length >= MOST_PIECES) return;
    let index = this.pieces.length;
    while (index > 0 && distance(this.pieces[index - 1]!.start, start) > 0) index--;
    this.pieces.splice(index, 0, { start, data });
    this.held += data.length;
  }
}
