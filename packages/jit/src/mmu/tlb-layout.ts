/**
 * The layout of the software TLBs: the one place that knows what an entry looks like and how an address leads to it.
 * `Tlb` fills entries, the engine and emitted code read them; the latter by what {@link stepsTo} says, which
 * `backend/js/tlb.ts` and `backend/wasm/tlb.ts` print.
 *
 * A hart has {@link TLB_SETS} sets at `TLB_OFFSET` of its block, one after the other; a set is a TLB for each kind of
 * access, in the order of `AccessKind`; a TLB is {@link TLB_ENTRIES} entries of {@link TLB_ENTRY_SIZE} bytes. The entry
 * of a page is that of its number modulo the entries. An entry matches an address if its first two words are the
 * address with the bits of {@link tagMask} kept: one compare checks page and alignment.
 */
import { PAGE_SHIFT, PAGE_SIZE } from "../memory/layout.js";

/**
 * Entries of one TLB, a power of two. 8192 entries reach 32 MiB: programs with working sets of tens of MiB (compressors,
 * databases) spend up to half their time in page walks with a quarter of that.
 */
export const TLB_ENTRIES = 8192;
/** Bytes of an entry: the words of {@link TlbWord}. */
export const TLB_ENTRY_SIZE = 16;
/** Words of an entry. */
export const TLB_ENTRY_WORDS = TLB_ENTRY_SIZE >> 2;
/** Bytes of one TLB. */
export const TLB_SIZE = TLB_ENTRIES * TLB_ENTRY_SIZE;
/** Bytes of the TLBs of a translation regime. */
export const TLB_SET_SIZE = 3 * TLB_SIZE;
/** Translation regimes of a hart, each with its own set of TLBs, so that changing between them flushes nothing. */
export const TLB_SETS = 4;

/** The 32-bit words of an entry, by their place in it. */
export const TlbWord = {
  /** Low half of the page's virtual address; {@link TLB_EMPTY} if the entry is empty. */
  page: 0,
  /** High half. */
  pageHigh: 1,
  /** Byte offset in linear memory = (low half of the address + addend) modulo 2^32. */
  addend: 2,
  /** In fetch TLBs the index of the code page; otherwise free. */
  codePage: 3,
} as const;

/** Word `page` of an empty entry. No page's address has low bits set, so it never matches. */
export const TLB_EMPTY = -1;

/** How an address leads to its entry: `((low >>> shift) & mask)` behind the TLB's start. */
export interface TlbSteps {
  readonly shift: number;
  readonly mask: number;
}

/**
 * The way to an entry in units of `unit` bytes.
 * @param pageBytes bytes of a page of this TLB: those of the front end for loads and stores, 4096 for fetches
 * @param unit 4 where linear memory is indexed by words, 1 where it is by bytes
 */
export const stepsTo = (pageBytes: number, unit: 1 | 4): TlbSteps => ({
  shift: Math.log2(pageBytes) - Math.log2(TLB_ENTRY_SIZE / unit),
  mask: (TLB_ENTRIES - 1) * (TLB_ENTRY_SIZE / unit),
});

/** The bits of an address that its entry's tag has, where it must be a multiple of `alignment`, a power of two. */
export const tagMask = (pageBytes: number, alignment = 1): number => -pageBytes | (alignment - 1);

/**
 * Word index of the entry of an address in a TLB.
 * @param low low half of the address
 * @param start byte offset of the TLB in linear memory
 * @param pageShift log2 of the bytes of a page of this TLB
 */
export const entryIndex = (low: number, start: number, pageShift = PAGE_SHIFT): number =>
  (start >> 2) + ((low >>> pageShift) & (TLB_ENTRIES - 1)) * TLB_ENTRY_WORDS;

/** Byte offset of a page in linear memory, as an entry's words `page` and `addend` give it. */
export const frameOf = (page: number, addend: number): number => (page + addend) & -PAGE_SIZE;
