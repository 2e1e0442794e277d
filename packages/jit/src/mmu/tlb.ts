/**
 * The software TLBs of one hart: `TLB_SETS` sets of read, write and fetch TLBs in linear memory, of which the
 * header names the three in use. Translated code reads them inline; everything that changes them is here.
 *
 * Filled entries are kept in a journal, so that the usual flush touches few bytes. Entries are made for 4 KiB even
 * where the page table maps more; the ranges in which larger pages were seen since the last flush tell whether
 * flushing one address must flush everything. A CPU whose devices, mirrors or code lie closer together than that has
 * entries for smaller pages in its read and write TLBs; fetches always go by 4 KiB.
 */

import { header, PAGE_SHIFT, PAGE_SIZE, TLB_OFFSET } from "../memory/layout.js";
import type { LinearMemory } from "../memory/linear-memory.js";
import { AccessKind } from "./ports.js";
import {
  entryIndex,
  frameOf,
  TLB_EMPTY,
  TLB_ENTRY_WORDS,
  TLB_SET_SIZE,
  TLB_SETS,
  TLB_SIZE,
  TlbWord,
  tagMask,
} from "./tlb-layout.js";

/** Above this many filled entries one fill of everything is cheaper. */
const JOURNAL_LIMIT = 16_384;

/** Ranges of large pages closer than this many pages are kept as one. */
const LARGE_GAP = 0x40000;

/** Most ranges of large pages kept apart: page tables that name themselves could map any number of them. */
const LARGE_RANGES = 16;

/** Kinds of accesses, each of which has a TLB in a set. */
const KINDS = TLB_SET_SIZE / TLB_SIZE;

/** Values of `entryOf` beside word indices, which are never as small. */
const NO_ENTRY = 0;
const MANY_ENTRIES = 1;

/** Page number of a guest-virtual address as an unsigned integer of 52 bits. */
const pageNumber = (lo: number, hi: number): number => (hi >>> 0) * 0x100000 + (lo >>> 12);

/** A hart's TLBs. */
export class Tlb {
  readonly counters = { fills: 0, flushes: 0, pageFlushes: 0 };
  private readonly words: Int32Array;
  private readonly start: number;
  private readonly end: number;
  private readonly selected: Int32Array;
  private readonly journal = new Int32Array(JOURNAL_LIMIT);
  /** log2 of {@link pageBytes}. */
  private readonly dataShift: number;
  private filled = 0;
  /**
   * For each kind and frame, the word index of the one entry that was made for it since its entries were last dropped;
   * `NO_ENTRY` if there was none, `MANY_ENTRIES` if there were several. The entry may be another frame's by now.
   */
  private readonly entryOf: readonly Int32Array[];
  /** Ranges of page numbers, [from, to), in which larger pages were seen since the last flush. */
  private large: { from: number; to: number }[] = [];

  /**
   * @param hartOffset byte offset of the hart's block in linear memory
   * @param pageBytes bytes of a page of the read and write TLBs, a power of two up to 4096
   */
  constructor(
    memory: LinearMemory,
    private readonly hartOffset: number,
    private readonly pageBytes = PAGE_SIZE,
  ) {
    this.dataShift = Math.log2(pageBytes);
    this.words = memory.i32;
    this.start = (hartOffset + TLB_OFFSET) >> 2;
    this.end = this.start + ((TLB_SETS * TLB_SET_SIZE) >> 2);
    this.selected = memory.i32.subarray(
      (hartOffset + header.tlbRead) >> 2,
      ((hartOffset + header.tlbFetch) >> 2) + 1,
    );
    const frames = memory.buffer.byteLength / PAGE_SIZE;
    this.entryOf = [AccessKind.read, AccessKind.write, AccessKind.fetch].map(() => new Int32Array(frames));
    this.clearAll();
    this.select(0, 0, 0);
  }

  /** Chooses the sets that loads, stores and fetches use from now on. */
  select(readSet: number, writeSet: number, fetchSet: number): void {
    const base = this.hartOffset + TLB_OFFSET;
    this.selected[0] = base + readSet * TLB_SET_SIZE + AccessKind.read * TLB_SIZE;
    this.selected[1] = base + writeSet * TLB_SET_SIZE + AccessKind.write * TLB_SIZE;
    this.selected[2] = base + fetchSet * TLB_SET_SIZE + AccessKind.fetch * TLB_SIZE;
  }

  /**
   * Enters a page into the selected set of `kind`.
   * @param addend byte offset of the page in linear memory minus the low half of its virtual address
   * @param extra the code page's index in a fetch TLB, 0 elsewhere
   */
  insert(kind: AccessKind, lo: number, hi: number, addend: number, extra: number): void {
    const { words } = this;
    const entry = this.entryAt(kind, lo);
    const page = lo & this.maskOf(kind);
    words[entry + TlbWord.page] = page;
    words[entry + TlbWord.pageHigh] = hi;
    words[entry + TlbWord.addend] = addend;
    words[entry + TlbWord.codePage] = extra;
    const entryOf = this.entryOf[kind]!;
    const frame = (page + addend) >>> PAGE_SHIFT;
    const known = entryOf[frame]!;
    if (known !== entry) entryOf[frame] = known === NO_ENTRY ? entry : MANY_ENTRIES;
    if (this.filled < JOURNAL_LIMIT) this.journal[this.filled] = entry;
    this.filled++;
    this.counters.fills++;
  }

  /** Byte offset in linear memory that the selected TLB of `kind` gives for an address; -1 if it doesn't know it. */
  lookup(kind: AccessKind, lo: number, hi: number): number {
    const { words } = this;
    const entry = this.entryAt(kind, lo);
    if (words[entry + TlbWord.page] !== (lo & this.maskOf(kind)) || words[entry + TlbWord.pageHigh] !== hi)
      return -1;
    return (lo + words[entry + TlbWord.addend]!) >>> 0;
  }

  /** Notes that the page around this address is one of `bytes` bytes, more than 4 KiB. */
  noteLarge(lo: number, hi: number, bytes: number): void {
    const page = pageNumber(lo, hi);
    const pages = bytes / PAGE_SIZE;
    const from = page - (page % pages);
    const to = from + pages;
    const crowded = this.large.length >= LARGE_RANGES;
    for (const range of this.large) {
      if (!crowded && (from > range.to + LARGE_GAP || to < range.from - LARGE_GAP)) continue;
      range.from = Math.min(range.from, from);
      range.to = Math.max(range.to, to);
      return;
    }
    this.large.push({ from, to });
  }

  /** Empties all TLBs. */
  flush(): void {
    this.counters.flushes++;
    if (this.filled > JOURNAL_LIMIT) this.clearAll();
    else {
      const { words, journal } = this;
      for (let at = 0; at < this.filled; at++) words[journal[at]! + TlbWord.page] = TLB_EMPTY;
    }
    this.filled = 0;
    if (this.large.length > 0) this.large = [];
  }

  /**
   * Drops all entries for the page of a guest-virtual address.
   * @returns whether fetches may go elsewhere now: code that runs has entries for all of its pages
   */
  flushPage(lo: number, hi: number): boolean {
    const page = pageNumber(lo, hi);
    if (this.pageBytes < PAGE_SIZE || this.large.some((range) => page >= range.from && page < range.to)) {
      this.flush();
      return true;
    }
    this.counters.pageFlushes++;
    const { words } = this;
    const tag = lo & -PAGE_SIZE;
    let held = false;
    const first = entryIndex(lo, this.start * 4);
    for (let entry = first, kind = 0; entry < this.end; entry += TLB_SIZE >> 2, kind = (kind + 1) % KINDS) {
      if (words[entry + TlbWord.page] !== tag || words[entry + TlbWord.pageHigh] !== hi) continue;
      words[entry + TlbWord.page] = TLB_EMPTY;
      if (kind === AccessKind.fetch) held = true;
    }
    return held;
  }

  /** Drops all write entries of the frame at this byte offset: it holds code now. */
  protect(frame: number): void {
    this.dropFrame(AccessKind.write, frame);
  }

  /** Drops all fetch entries of the frame at this byte offset. */
  dropFetch(frame: number): void {
    this.dropFrame(AccessKind.fetch, frame);
  }

  /** Drops all entries of the frame at this byte offset: its page has another one now. */
  dropAll(frame: number): void {
    this.dropFrame(AccessKind.read, frame);
    this.dropFrame(AccessKind.write, frame);
    this.dropFrame(AccessKind.fetch, frame);
  }

  /** Word index of the entry that a page has in the selected set of `kind`. */
  private entryAt(kind: AccessKind, lo: number): number {
    const shift = kind === AccessKind.fetch ? PAGE_SHIFT : this.dataShift;
    return entryIndex(lo, this.selected[kind]!, shift);
  }

  private maskOf(kind: AccessKind): number {
    return tagMask(kind === AccessKind.fetch ? PAGE_SIZE : this.pageBytes);
  }

  private dropFrame(kind: AccessKind, frame: number): void {
    const entryOf = this.entryOf[kind]!;
    const known = entryOf[frame >>> PAGE_SHIFT] ?? MANY_ENTRIES;
    entryOf[frame >>> PAGE_SHIFT] = NO_ENTRY;
    if (known === NO_ENTRY) return;
    if (known !== MANY_ENTRIES) return this.dropEntry(known, frame | 0);
    for (let set = 0; set < TLB_SETS; set++) {
      const first = this.start + ((set * TLB_SET_SIZE + kind * TLB_SIZE) >> 2);
      for (let entry = first; entry < first + (TLB_SIZE >> 2); entry += TLB_ENTRY_WORDS)
        this.dropEntry(entry, frame | 0);
    }
  }

  /** Empties an entry if it leads to a frame. */
  private dropEntry(entry: number, frame: number): void {
    const { words } = this;
    const page = words[entry + TlbWord.page]!;
    if (page !== TLB_EMPTY && frameOf(page, words[entry + TlbWord.addend]!) === frame)
      words[entry + TlbWord.page] = TLB_EMPTY;
  }

  private clearAll(): void {
    this.words.fill(TLB_EMPTY, this.start, this.end);
  }
}
