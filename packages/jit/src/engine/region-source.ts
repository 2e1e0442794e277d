/**
 * Where regions come from: forms them from the pages that the fetch TLB knows, for the backends to print.
 */
import type { FrontEnd, GuestInsn } from "@hyperfile/decoder";
import { InternalOpcode, OPCODE_BITS } from "../backend/entry-format.js";
import { PAGE_SIZE } from "../memory/layout.js";
import type { LinearMemory } from "../memory/linear-memory.js";
import { entryIndex, TlbWord } from "../mmu/tlb-layout.js";
import { type CodeView, formRegion, pagesOf, type Region, type RegionLimits } from "../region/graph.js";
import { BlockCache } from "./block-cache.js";
import type { CodePage, CodePages, RegionRecord } from "./code-pages.js";
import { decodeInPages } from "./straddling.js";

/** What regions are formed with. */
export interface RegionSourceOptions {
  readonly frontEnd: FrontEnd;
  /** Whether every block is held against the IR's invariants. */
  readonly verify: boolean;
  readonly memory: LinearMemory;
  readonly codePages: CodePages;
  /** Word index of `header.tlbFetch`. */
  readonly fetchWord: number;
  readonly limits: RegionLimits;
}

/** A region that was found, and what its code depends on. */
export interface FoundRegion {
  readonly region: Region;
  /** The code page in which its head lies. */
  readonly page: CodePage;
  /** Index of its head in `CodePages.counters`. */
  readonly head: number;
  /** The bytes that its blocks were made from, the head's first. */
  readonly spans: RegionRecord["spans"];
  /** Code page's index of each page that it covers, by its distance in pages from the head's page. */
  readonly pages: ReadonlyMap<number, number>;
  /** Address of the head's page, if the region runs there only. */
  readonly pageAddress: number | undefined;
}

/** The source of one hart's regions. */
export class RegionSource {
  private readonly blocks: BlockCache;

  constructor(private readonly options: RegionSourceOptions) {
    this.blocks = new BlockCache(options);
  }

  /**
   * Forms the region whose head is at a guest-virtual address that the fetch TLB knows.
   * @returns undefined if there is nothing to translate there
   */
  find(low: number, high: number): FoundRegion | undefined {
    const { codePages, limits } = this.options;
    const pages = new Map<number, CodePage>();
    const offset = low & (PAGE_SIZE - 1);
    const region = formRegion(this.viewOf(low, high, pages), offset, limits);
    const page = pages.get(0);
    if (region === undefined || page === undefined) return undefined;
    const covered = new Set(region.nodes.flatMap(pagesOf));
    return {
      region,
      page,
      head: codePages.counterIndex(page, offset),
      spans: spansOf(region, pages),
      pages: new Map([...covered].map((distance) => [distance, pages.get(distance)!.index])),
      pageAddress: region.isBound ? low & -PAGE_SIZE : undefined,
    };
  }

  private viewOf(low: number, high: number, pages: Map<number, CodePage>): CodeView {
    const { frontEnd, memory, codePages } = this.options;
    const pageAt = (distance: number): CodePage | undefined => {
      const known = pages.get(distance);
      if (known !== undefined) return known;
      const page = this.lookUp(low & -PAGE_SIZE, high, distance);
      if (page !== undefined) pages.set(distance, page);
      return page;
    };
    return {
      frontEnd,
      ...(frontEnd.addressType === "i32" ? { pageAddress: low & -PAGE_SIZE } : {}),
      hasRun: (place) => {
        const page = pageAt(Math.floor(place / PAGE_SIZE));
        if (page === undefined) return false;
        const offset = place & (PAGE_SIZE - 1);
        const entry = memory.i32[codePages.baseWord(page) + (offset << codePages.wordsPerByteShift)]!;
        return (entry & (2 ** OPCODE_BITS - 1)) !== InternalOpcode.undecoded;
      },
      arrivals: (place) => {
        const page = pageAt(Math.floor(place / PAGE_SIZE));
        if (page === undefined) return 0;
        const count = codePages.counters[codePages.counterIndex(page, place & (PAGE_SIZE - 1))]!;
        // Below zero it is a region's number: the place was reached often enough for one.
        return count < 0 ? Number.MAX_SAFE_INTEGER : count;
      },
      insnAt: (place): GuestInsn | undefined => {
        const page = pageAt(Math.floor(place / PAGE_SIZE));
        if (page === undefined) return undefined;
        const offset = place & (PAGE_SIZE - 1);
        const insn = decodeInPages(frontEnd, memory.u8, page.frame, undefined, offset);
        if (insn !== undefined) return insn;
        const next = pageAt(Math.floor(place / PAGE_SIZE) + 1);
        return decodeInPages(frontEnd, memory.u8, page.frame, next?.frame, offset);
      },
      blockOf: (place, insns) => {
        const page = pages.get(Math.floor(place / PAGE_SIZE))!;
        return this.blocks.of(page.frame + (place & (PAGE_SIZE - 1)), insns);
      },
    };
  }

  /** The code page that the fetch TLB has for the page `distance` pages from the one at an address. */
  private lookUp(pageLow: number, pageHigh: number, distance: number): CodePage | undefined {
    const { memory, fetchWord, codePages, frontEnd } = this.options;
    const words = memory.i32;
    const low = (pageLow + distance * PAGE_SIZE) | 0;
    const wrapped = low >>> 0 < pageLow >>> 0;
    const carry = distance > 0 && wrapped ? 1 : distance < 0 && !wrapped ? -1 : 0;
    const high = frontEnd.addressType === "i64" ? (pageHigh + carry) | 0 : 0;
    const entry = entryIndex(low, words[fetchWord]!);
    if (words[entry + TlbWord.page] !== low || words[entry + TlbWord.pageHigh] !== high) return undefined;
    return codePages.page(words[entry + TlbWord.codePage]!);
  }
}

/** The bytes that the region's blocks were made from: of each node, then what of them lies in a next page. */
function spansOf(region: Region, pages: ReadonlyMap<number, CodePage>): RegionRecord["spans"] {
  const inNext: RegionRecord["spans"][number][] = [];
  const spans = region.nodes.map((node) => {
    const [first, next] = pagesOf(node) as [number, number?];
    const start = node.place & (PAGE_SIZE - 1);
    const end = start + node.length;
    if (next !== undefined) inNext.push({ page: pages.get(next)!, start: 0, end: end - PAGE_SIZE });
    return { page: pages.get(first)!, start, end: Math.min(end, PAGE_SIZE) };
  });
  return [...spans, ...inNext];
}
