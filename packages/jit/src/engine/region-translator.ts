/**
 * Makes regions of hot code: forms them from the pages that the fetch TLB knows, compiles them, and puts them where
 * the interpreter finds them.
 */
import type { FrontEnd, GuestInsn } from "@hyperfile/decoder";
import { InternalOpcode, OPCODE_BITS } from "../backend/entry-format.js";
import { ModuleWriter } from "../backend/wasm/encoder.js";
import { emitWasmRegion } from "../backend/wasm/region.js";
import type { WasmRuntime } from "../backend/wasm/runtime.js";
import { PAGE_SIZE, TLB_ENTRIES } from "../memory/layout.js";
import type { LinearMemory } from "../memory/linear-memory.js";
import {
  type CodeView,
  DEFAULT_LIMITS,
  formRegion,
  type Region,
  type RegionLimits,
} from "../region/graph.js";
import { structure } from "../region/structure.js";
import type { CodePage, CodePages, RegionRecord } from "./code-pages.js";

/** What regions are made with. */
export interface RegionTranslatorOptions {
  readonly frontEnd: FrontEnd;
  readonly memory: LinearMemory;
  readonly hartOffset: number;
  readonly codePages: CodePages;
  readonly runtime: WasmRuntime;
  /** Word index of `header.tlbFetch`. */
  readonly fetchWord: number;
  /** Byte offset of the slot with the accrued floating-point flags, if there is one. */
  readonly flagsOffset: number | undefined;
  readonly limits?: RegionLimits;
}

/** Bytes in a word of the fetch TLB's fourth field. */
const CODE_PAGE_WORD = 3;

/** The translator of one hart. */
export class RegionTranslator {
  private readonly limits: RegionLimits;

  constructor(private readonly options: RegionTranslatorOptions) {
    this.limits = options.limits ?? DEFAULT_LIMITS;
  }

  /**
   * Compiles the region whose head is at a guest-virtual address that the fetch TLB knows.
   * @returns the region, installed; undefined if there is nothing to compile there
   */
  translate(low: number, high: number): RegionRecord | undefined {
    const { codePages, frontEnd, runtime, hartOffset, flagsOffset } = this.options;
    const pages = new Map<number, CodePage>();
    const view = this.viewOf(low, high, pages);
    const offset = low & (PAGE_SIZE - 1);
    const region = formRegion(view, offset, this.limits);
    const page = pages.get(0);
    if (region === undefined || page === undefined) return undefined;
    const covered = new Set(region.nodes.map((node) => Math.floor(node.place / PAGE_SIZE)));
    const module = new ModuleWriter();
    const index = runtime.reserve();
    emitWasmRegion(module, index, structure(region), {
      shape: frontEnd.shape,
      hartOffset,
      wideAddresses: frontEnd.addressType === "i64",
      granularity: frontEnd.granularity,
      flagsOffset,
      pages: new Map([...covered].map((distance) => [distance, pages.get(distance)!.index])),
    });
    runtime.instantiate(module);
    const record = {
      head: codePages.counterIndex(page, offset),
      index,
      instructions: region.instructions,
      spans: spansOf(region, pages),
    };
    codePages.installRegion(record);
    return record;
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
      hasRun: (place) => {
        const page = pageAt(Math.floor(place / PAGE_SIZE));
        if (page === undefined) return false;
        const offset = place & (PAGE_SIZE - 1);
        const entry = memory.i32[codePages.baseWord(page) + (offset << codePages.wordsPerByteShift)]!;
        return (entry & (2 ** OPCODE_BITS - 1)) !== InternalOpcode.undecoded;
      },
      insnAt: (place): GuestInsn | undefined => {
        const page = pageAt(Math.floor(place / PAGE_SIZE));
        if (page === undefined) return undefined;
        const offset = place & (PAGE_SIZE - 1);
        return frontEnd.decode(memory.u8, page.frame + offset, PAGE_SIZE - offset) ?? undefined;
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
    const entry = ((low >>> 10) & ((TLB_ENTRIES - 1) * 4)) + (words[fetchWord]! >> 2);
    if (words[entry] !== low || words[entry + 1] !== high) return undefined;
    return codePages.page(words[entry + CODE_PAGE_WORD]!);
  }
}

/** The bytes that the region's blocks were made from. */
function spansOf(region: Region, pages: ReadonlyMap<number, CodePage>): RegionRecord["spans"] {
  return region.nodes.map(({ place, length }) => {
    const start = place & (PAGE_SIZE - 1);
    return { page: pages.get(Math.floor(place / PAGE_SIZE))!, start, end: start + length };
  });
}
