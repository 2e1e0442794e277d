/**
 * Atomic accesses that emitted code does not do itself (`backend/wasm/atomics.ts`, `backend/js/atomics.ts`): those to pages
 * that the TLB for stores does not know. A read-modify-write is atomic among harts where several reach the same frames, by compare-and-swap;
 * elsewhere it is plain. Devices, and memory that can't be written, do not take them.
 *
 * They never leave the block after themselves, because their result is still to be written by it: code that they change in
 * the rest of the block takes effect when it is next entered, as architectures allow before an instruction that
 * synchronises fetches with stores.
 */
import { header, PAGE_SIZE } from "../memory/layout.js";
import type { CallSite, CallSites } from "./call-sites.js";
import { AccessKind } from "./ports.js";
import { Amo, combine32, takesNew } from "./read-modify-write.js";
import { type MemoryAccessOptions, Place, type Resolver } from "./resolver.js";

/** The atomics of one hart. */
export class AtomicAccess {
  private readonly words: Int32Array;
  /** The memory as 64-bit integers if others use it at the same time: the only way to swap them atomically. */
  private readonly longs: BigInt64Array | undefined;
  private readonly reservation: Int32Array;
  /** Two 32-bit words and what they are together. */
  private readonly pair = new Int32Array(2);
  private readonly pairLong = new BigInt64Array(this.pair.buffer);

  /** @param highWord word index of the high half of results */
  constructor(
    private readonly options: MemoryAccessOptions,
    private readonly sites: CallSites,
    private readonly resolver: Resolver,
    private readonly highWord: number,
  ) {
    const { memory, hartOffset, concurrent = memory.shared } = options;
    this.words = memory.i32;
    this.longs = concurrent ? new BigInt64Array(memory.buffer) : undefined;
    this.reservation = memory.i32.subarray(
      (hartOffset + header.reserved) >> 2,
      ((hartOffset + header.reservedHigh) >> 2) + 1,
    );
  }

  amo32(kind: number, lo: number, hi: number, value: number, site: CallSite): number {
    if (!this.resolveAtomic(AccessKind.write, lo, hi, 4, site)) return 0;
    const { words } = this;
    const at = this.resolver.place >>> 2;
    let old = words[at]!;
    if (this.longs === undefined) words[at] = combine32(kind, old, value);
    else {
      for (let seen = Atomics.load(words, at); ; seen = old) {
        old = Atomics.compareExchange(words, at, seen, combine32(kind, seen, value));
        if (old === seen) break;
      }
    }
    this.resolver.reportCode(this.resolver.gpa, 4, false);
    return old;
  }

  amo64(kind: number, lo: number, hi: number, low: number, high: number, site: CallSite): number {
    if (!this.resolveAtomic(AccessKind.write, lo, hi, 8, site)) return 0;
    const { words, pair } = this;
    const at = this.resolver.place >>> 2;
    let oldLow: number;
    let oldHigh: number;
    do {
      oldLow = words[at]!;
      oldHigh = words[at + 1]!;
      pair[0] = low;
      pair[1] = high;
      if (kind === Amo.add) {
        const sum = (oldLow + low) | 0;
        pair[0] = sum;
        pair[1] = (oldHigh + high + (sum >>> 0 < low >>> 0 ? 1 : 0)) | 0;
      } else if (kind <= Amo.or) {
        pair[0] = combine32(kind, oldLow, low);
        pair[1] = combine32(kind, oldHigh, high);
      } else if (!takesNew(kind, oldLow, oldHigh, low, high)) {
        pair[0] = oldLow;
        pair[1] = oldHigh;
      }
    } while (!this.swapPair(at, oldLow, oldHigh));
    this.resolver.reportCode(this.resolver.gpa, 8, false);
    words[this.highWord] = oldHigh;
    return oldLow;
  }

  loadReserved(lo: number, hi: number, size: 4 | 8, site: CallSite): number {
    const { reservation, words } = this;
    reservation[0] = 0;
    if (!this.resolveAtomic(AccessKind.read, lo, hi, size, site) || !this.ownPage(lo, hi, size, site))
      return 0;
    const at = this.resolver.place >>> 2;
    const low = words[at]!;
    const high = size === 8 ? words[at + 1]! : 0;
    reservation[0] = 1;
    reservation[1] = this.resolver.place;
    reservation[2] = low;
    reservation[3] = high;
    words[this.highWord] = high;
    return low;
  }

  /**
   * Gives the page of a load that reserves a frame of its own: a reservation in a frame that others share would be lost
   * to the copy that the SC makes, and where that happens must not depend on who shares.
   */
  private ownPage(lo: number, hi: number, size: number, site: CallSite): boolean {
    const { guest } = this.options;
    if (guest.pool.isPrivate(this.resolver.place)) return true;
    if (this.resolver.resolve(AccessKind.read, lo, hi, size, site) !== Place.ram) return false;
    const frame = guest.writableFrame(this.resolver.gpa);
    // Without a frame for the copy, the reservation is one that a store elsewhere may end.
    if (frame >= 0) this.resolver.place = frame + (this.resolver.gpa & (PAGE_SIZE - 1));
    return true;
  }

  /** The reservation is the value that LR saw: another hart's store in between shows as a different value. */
  storeConditional(lo: number, hi: number, size: 4 | 8, low: number, high: number, site: CallSite): number {
    const { words, reservation, pair } = this;
    const held = reservation[0] === 1;
    reservation[0] = 0;
    if (!this.resolveAtomic(AccessKind.write, lo, hi, size, site)) return 0;
    if (!held || reservation[1] !== (this.resolver.place | 0)) return 1;
    const at = this.resolver.place >>> 2;
    const seen = reservation[2]!;
    pair[0] = low;
    pair[1] = high;
    if (size === 8) {
      if (!this.swapPair(at, seen, reservation[3]!)) return 1;
    } else if (this.longs !== undefined) {
      if (Atomics.compareExchange(words, at, seen, low) !== seen) return 1;
    } else {
      if (words[at] !== seen) return 1;
      words[at] = low;
    }
    this.resolver.reportCode(this.resolver.gpa, size, false);
    return 0;
  }

  /** Stores `pair` at a word index if `low` and `high` are there. */
  private swapPair(at: number, low: number, high: number): boolean {
    const { words, pair, pairLong, longs } = this;
    if (longs === undefined) {
      if (words[at] !== low || words[at + 1] !== high) return false;
      words[at] = pair[0]!;
      words[at + 1] = pair[1]!;
      return true;
    }
    const next = pairLong[0]!;
    pair[0] = low;
    pair[1] = high;
    const expected = pairLong[0]!;
    return Atomics.compareExchange(longs, at >>> 1, expected, next) === expected;
  }

  private resolveAtomic(kind: AccessKind, lo: number, hi: number, size: 4 | 8, site: CallSite): boolean {
    this.sites.enter(site);
    if ((lo & (size - 1)) !== 0) {
      this.sites.suspend(site);
      this.options.translator.misaligned(kind, lo, hi);
      return false;
    }
    return this.resolveRam(kind, lo, hi, size, site);
  }

  /** Resolves an atomic access to bytes of one page. Devices do not take them. */
  private resolveRam(kind: AccessKind, lo: number, hi: number, bytes: number, site: CallSite): boolean {
    const place = this.resolver.resolveKnown(kind, lo, hi, bytes, site);
    if (place === Place.device) {
      this.sites.suspend(site);
      this.options.translator.accessFault(kind, lo, hi);
    }
    return place === Place.ram;
  }
}
