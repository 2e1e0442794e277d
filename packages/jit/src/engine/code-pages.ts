/**
 * The translation cache: everything derived from the code in one machine frame, keyed by that frame.
 *
 * A code page has an array of pre-decoded entries in linear memory (its format: `backend/js/interpreter.ts`), an
 * execution counter an entry, and an array of translations indexed like the entries. Nothing in it depends on the
 * virtual address or the mode that the code runs in, so one code page serves every mapping of its frame.
 *
 * A store into the frame drops exactly what was derived from the bytes it changes. The arena is bounded: when it
 * is full, the page that was made first gives way, and is decoded again if it is needed again.
 */
import type { FrontEnd, GuestInsn } from "@hyperfile/decoder";
import { type EntryFormats, InternalOpcode } from "../backend/entry-format.js";
import { PAGE_SIZE } from "../memory/layout.js";
import type { LinearMemory } from "../memory/linear-memory.js";

/** A region in JavaScript: runs, and gives the region to go on with, or null to return to the dispatcher. */
export type Translation = () => Translation | null;

/** Entries past the page's last byte, of which the first says "go on in the next page". */
const TAIL_WORDS = 16;

/** Words of linear memory that one code page takes; `granularity` as in the front end. */
export const codePageWords = (granularity: number): number => (PAGE_SIZE >> granularity) * 2 + TAIL_WORDS;

/**
 * Stores into a frame after which its code page is given up: each costs a slow path as long as there is one, and
 * code that is written anew takes many.
 */
const STORES_BEFORE_RELEASE = 6;

/** Marks a counter that holds a region's number. */
const REGION = 0x80000000 | 0;

/** A region: where it begins, and the code that it was made from. */
export interface RegionRecord {
  /** `pending` until it is compiled; `dropped` once its code has changed or gone. */
  state: "pending" | "active" | "dropped";
  /** Index in `counters` of its head. */
  readonly head: number;
  /**
   * Its number, which the counter holds in its low bits; -1 until it is in place, and of a region in JavaScript, which is
   * a translation.
   */
  index: number;
  /** Guest instructions. */
  readonly instructions: number;
  /** Bytes of its WebAssembly, or characters of its JavaScript. */
  readonly bytes: number;
  /** What it covers: changes to these bytes make it void. The head's bytes come first. */
  readonly spans: readonly { readonly page: CodePage; readonly start: number; readonly end: number }[];
}

/** Something would have been decoded where no instruction of a page that holds code begins: a defect of the CPU model. */
export class CodePageError extends Error {
  override readonly name = "CodePageError";
  readonly code = "E_CODE_PAGE";
}

/** What was derived from one frame. */
export class CodePage {
  /** Byte offset of the frame in linear memory; -1 while the page is free. */
  frame = -1;
  /** Guest-physical address of the page. */
  gpa = 0;
  /** Translations by entry; shared by all pages until the first one is made. */
  translations: (Translation | null)[];
  /** Stores of the hart into the frame since the page was made. */
  stores = 0;
  /** Regions that cover bytes of this page. */
  readonly regions = new Set<RegionRecord>();

  constructor(
    readonly index: number,
    empty: (Translation | null)[],
  ) {
    this.translations = empty;
  }
}

/** What the cache tells its owner. */
export interface CodePageEvents {
  /** A frame holds derived code from now on: stores to it must be seen. */
  onAcquire(page: CodePage): void;
  /** Something was derived from these bytes of a page; asked for where pages of less than 4 KiB are told apart. */
  onDerive?(page: CodePage, offset: number, length: number): void;
  /** The page gives way: nothing may refer to its index any more. */
  onRelease(page: CodePage): void;
  /**
   * A region is void; if it was not pending, its number may be given out again. `hasChanged` says that its code was
   * written, `frame` where the page of its head is, in linear memory.
   */
  onDropRegion(region: RegionRecord, wasPending: boolean, hasChanged: boolean, frame: number): void;
}

/** The cache. */
export class CodePages {
  /** Word index of page 0's first entry in linear memory. */
  readonly arenaWord: number;
  readonly pageWords: number;
  /** log2 of the words of entries that one byte of code takes. */
  readonly wordsPerByteShift: number;
  /**
   * For each entry, at half its word index: how often it was the target of a jump; below zero, the low bits number
   * the region that begins there.
   */
  readonly counters: Int32Array;
  /** Byte offset in linear memory of `counters[0]`; it may lie before the first counter. */
  readonly countersOffset: number;
  readonly counts = { decoded: 0, pages: 0, evicted: 0, invalidated: 0 };
  /** By index, each from when it is first used. */
  private readonly pages: CodePage[] = [];
  private readonly byFrame = new Map<number, CodePage>();
  private readonly empty: (Translation | null)[];
  private next = 1;
  /** Pages that were given up before their turn. */
  private readonly released: CodePage[] = [];
  /** Offsets in a page at which entries decode to breakpoints. */
  private breakpointOffsets: ReadonlySet<number> = new Set();

  /** Bytes of linear memory that `pages` code pages take. Page 0 is scratch space. */
  static bytesFor(pages: number, granularity: number): number {
    // An entry of two words has a counter of one.
    return (pages * codePageWords(granularity) * 6 + PAGE_SIZE - 1) & -PAGE_SIZE;
  }

  /** Code pages that fit into `bytes` bytes. */
  static capacityOf(bytes: number, granularity: number): number {
    return Math.floor(bytes / (codePageWords(granularity) * 6));
  }

  /**
   * @param memory the linear memory
   * @param arenaOffset byte offset of the arena
   * @param capacity code pages, scratch page included; at least 2
   */
  constructor(
    private readonly memory: LinearMemory,
    arenaOffset: number,
    readonly capacity: number,
    private readonly frontEnd: FrontEnd,
    private readonly formats: EntryFormats,
    private readonly events: CodePageEvents,
  ) {
    this.arenaWord = arenaOffset >> 2;
    this.pageWords = codePageWords(frontEnd.granularity);
    this.wordsPerByteShift = 1 - frontEnd.granularity;
    this.countersOffset = arenaOffset + capacity * this.pageWords * 4 - ((this.arenaWord >> 1) << 2);
    const counters = (this.arenaWord + capacity * this.pageWords) >> 1;
    this.counters = new Int32Array(memory.buffer, this.countersOffset, counters);
    this.empty = new Array<Translation | null>(PAGE_SIZE >> frontEnd.granularity).fill(null);
  }

  /** The code page with this index. */
  page(index: number): CodePage {
    return (this.pages[index] ??= new CodePage(index, this.empty));
  }

  /** The code page of a frame, made if there is none. `frame` is its byte offset in linear memory. */
  forFrame(frame: number, gpa: number): CodePage {
    return this.byFrame.get(frame) ?? this.acquire(frame, gpa);
  }

  /** First word of a page's entries. */
  baseWord(page: CodePage): number {
    return this.arenaWord + page.index * this.pageWords;
  }

  /**
   * Decodes the entry at word index `entry`; afterwards it is not `undecoded`.
   * @throws CodePageError if no entry begins there: what it would overwrite may be run by others that share the frame
   */
  decode(entry: number): void {
    const word = (entry - this.arenaWord) % this.pageWords;
    const page = this.pages[(entry - this.arenaWord - word) / this.pageWords];
    const offset = word >> this.wordsPerByteShift;
    if (page === undefined || page.frame < 0 || (word & 1) !== 0 || offset >= PAGE_SIZE)
      throw new CodePageError(`entry ${entry} of the code pages is none that can be decoded`);
    const insn = this.frontEnd.decode(this.memory.u8, page.frame + offset, PAGE_SIZE - offset, offset);
    this.counts.decoded++;
    this.events.onDerive?.(page, offset, insn?.length ?? PAGE_SIZE - offset);
    if (this.breakpointOffsets.has(offset)) this.memory.i32[entry] = InternalOpcode.breakpoint;
    else if (insn === null) this.memory.i32[entry] = InternalOpcode.crossing;
    else this.writeEntry(entry, insn);
  }

  /** Writes an instruction into the scratch page, followed by "go on in the next page"; gives its word index. */
  writeScratch(insn: GuestInsn): number {
    this.writeEntry(this.arenaWord, insn);
    this.memory.i32[this.arenaWord + (insn.length << this.wordsPerByteShift)] = InternalOpcode.pageEnd;
    return this.arenaWord;
  }

  /** Empties the scratch page. */
  clearScratch(): void {
    this.memory.i32.fill(0, this.arenaWord, this.arenaWord + this.pageWords);
    this.counters.fill(0, this.arenaWord >> 1, (this.arenaWord + this.pageWords) >> 1);
  }

  /** The page's own array of translations. */
  translationsOf(page: CodePage): (Translation | null)[] {
    if (page.translations === this.empty) page.translations = this.empty.slice();
    return page.translations;
  }

  /** Counts the arrivals at `offset` from the start again: there is nothing to translate. */
  resetCounter(page: CodePage, offset: number): void {
    this.counters[this.counterIndex(page, offset)] = 0;
  }

  /** Index in `counters` of the entry at `offset`. */
  counterIndex(page: CodePage, offset: number): number {
    return (this.baseWord(page) + (offset << this.wordsPerByteShift)) >> 1;
  }

  /**
   * Drops what was derived from `length` bytes of a frame at `offset`; after several stores of the hart
   * (`byHart`) all that was derived from the frame. True if the code that runs may have gone.
   */
  invalidate(frame: number, offset: number, length: number, byHart: boolean): boolean {
    const page = this.byFrame.get(frame);
    if (page === undefined) return false;
    this.counts.invalidated++;
    // Where code is told apart from data more finely, what is stored there is code, and soon runs.
    const isCoarse = (this.frontEnd.pageBytes ?? PAGE_SIZE) === PAGE_SIZE;
    if (byHart && isCoarse && ++page.stores >= STORES_BEFORE_RELEASE) {
      this.release(page, true);
      this.released.push(page);
      return true;
    }
    const align = 1 << this.frontEnd.granularity;
    const from = Math.max(0, offset - this.frontEnd.maximumLength + align) & -align;
    const to = Math.min(PAGE_SIZE, offset + length);
    const base = this.baseWord(page);
    this.memory.i32.fill(0, base + (from << this.wordsPerByteShift), base + (to << this.wordsPerByteShift));
    return this.dropRegions(page, offset, offset + length, true);
  }

  /** Forgets all that was derived from a frame: it will be another page's. No code may be running. */
  forget(frame: number): void {
    const page = this.byFrame.get(frame);
    if (page === undefined) return;
    this.release(page, false);
    this.released.push(page);
  }

  /** Sets breakpoints at these offsets of every page, and forgets everything that was decoded without them. */
  setBreakpointOffsets(offsets: ReadonlySet<number>): void {
    this.breakpointOffsets = offsets;
    for (const page of this.byFrame.values()) {
      const base = this.baseWord(page);
      this.memory.i32.fill(0, base, base + this.pageWords - TAIL_WORDS);
      page.translations.fill(null);
      this.dropRegions(page, 0, PAGE_SIZE, false);
      this.counters.fill(0, base >> 1, (base + this.pageWords) >> 1);
    }
  }

  /** From now on changes to a region's code drop it. */
  watchRegion(region: RegionRecord): void {
    for (const { page, start, end } of region.spans) {
      page.regions.add(region);
      this.events.onDerive?.(page, start, end - start);
    }
    // The interpreter counts on while a region is compiled, and goes on handing over to one that is in place.
    if (region.state === "pending") this.counters[region.head] = 0;
  }

  /** Puts a region that was compiled in place: the interpreter runs it whenever it arrives at its head. */
  activateRegion(region: RegionRecord): void {
    region.state = "active";
    this.counters[region.head] = REGION | region.index;
  }

  /** Drops a region; `hasChanged` says that its code was written. */
  dropRegion(region: RegionRecord, hasChanged = false): void {
    for (const { page } of region.spans) page.regions.delete(region);
    if (region.state === "active") this.counters[region.head] = 0;
    const wasPending = region.state === "pending";
    region.state = "dropped";
    this.events.onDropRegion(region, wasPending, hasChanged, region.spans[0]!.page.frame);
  }

  /** Drops the regions that cover some of the bytes from `start` to `end` of a page. True if there were any. */
  private dropRegions(page: CodePage, start: number, end: number, hasChanged: boolean): boolean {
    let dropped = false;
    for (const region of page.regions) {
      if (!region.spans.some((span) => span.page === page && span.start < end && span.end > start)) continue;
      this.dropRegion(region, hasChanged);
      dropped = true;
    }
    return dropped;
  }

  private writeEntry(entry: number, insn: GuestInsn): void {
    const format = this.formats.of(insn.opcode, insn.length);
    this.memory.i32[entry] = format.first(insn);
    this.memory.i32[entry + 1] = format.second(insn);
  }

  private acquire(frame: number, gpa: number): CodePage {
    const page = this.released.pop() ?? this.oldest();
    page.frame = frame;
    page.gpa = gpa;
    page.stores = 0;
    this.byFrame.set(frame, page);
    const base = this.baseWord(page);
    const end = base + this.pageWords - TAIL_WORDS;
    this.memory.i32[end] = InternalOpcode.pageEnd;
    this.counts.pages++;
    this.events.onAcquire(page);
    return page;
  }

  /** The page that was made first, which gives way. */
  private oldest(): CodePage {
    const page = this.page(this.next);
    this.next = this.next + 1 < this.capacity ? this.next + 1 : 1;
    if (page.frame >= 0) this.release(page, false);
    return page;
  }

  private release(page: CodePage, hasChanged: boolean): void {
    this.counts.evicted++;
    this.dropRegions(page, 0, PAGE_SIZE, hasChanged);
    this.events.onRelease(page);
    this.byFrame.delete(page.frame);
    const base = this.baseWord(page);
    this.memory.i32.fill(0, base, base + this.pageWords);
    this.counters.fill(0, base >> 1, (base + this.pageWords) >> 1);
    page.translations.fill(null);
    page.translations = this.empty;
    page.frame = -1;
  }
}
