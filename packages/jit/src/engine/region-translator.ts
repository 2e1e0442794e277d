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
import type { EngineTrace } from "../trace/engine-trace.js";
import { RegionNotes } from "../trace/region-notes.js";
import { BlockCache } from "./block-cache.js";
import type { CodePage, CodePages, RegionRecord } from "./code-pages.js";

/** What regions are made with. */
export interface RegionTranslatorOptions {
  readonly frontEnd: FrontEnd;
  /** Whether every block is held against the IR's invariants. */
  readonly verify: boolean;
  readonly memory: LinearMemory;
  readonly hartOffset: number;
  readonly codePages: CodePages;
  readonly runtime: WasmRuntime;
  /** Word index of `header.tlbFetch`. */
  readonly fetchWord: number;
  /** Byte offset of the slot with the accrued floating-point flags, if there is one. */
  readonly flagsOffset: number | undefined;
  readonly limits?: RegionLimits;
  /** Whether modules are compiled by other threads of the host. */
  readonly background: boolean;
  /** Most regions that are kept; the oldest gives way. */
  readonly maximum: number;
  readonly trace: EngineTrace | undefined;
}

/** Regions that go into one module. */
interface Batch {
  readonly module: ModuleWriter;
  readonly records: RegionRecord[];
}

/** Bytes in a word of the fetch TLB's fourth field. */
const CODE_PAGE_WORD = 3;

/** The translator of one hart. */
export class RegionTranslator {
  /** What was handed to the host's compiler, and how long its answer took, waiting for the event loop included. */
  readonly counters = { modules: 0, moduleMicroseconds: 0 };
  private readonly limits: RegionLimits;
  private readonly blocks: BlockCache;
  /** Regions that are compiled when the host next has a free moment. */
  private batch: Batch | undefined;
  /** Heads of regions that are on their way. */
  private readonly pending = new Set<number>();
  /** Regions in place, the oldest first. */
  private readonly active = new Set<RegionRecord>();

  constructor(private readonly options: RegionTranslatorOptions) {
    this.limits = options.limits ?? DEFAULT_LIMITS;
    this.blocks = new BlockCache(options);
  }

  /** Bytes of the WebAssembly of the regions in place. */
  bytes = 0;

  /** Regions in place. */
  get size(): number {
    return this.active.size;
  }

  /** A region that was in place is void. */
  released(region: RegionRecord): void {
    if (this.active.delete(region)) this.bytes -= region.bytes;
    this.options.runtime.remove(region.index);
  }

  /**
   * Translates the region whose head is at a guest-virtual address that the fetch TLB knows. It is in place at once,
   * or, compiled in the background, some time later.
   * @returns the region; undefined if there is nothing to translate there, or it is on its way
   */
  translate(low: number, high: number): RegionRecord | undefined {
    const { codePages, frontEnd, runtime, hartOffset, flagsOffset } = this.options;
    const pages = new Map<number, CodePage>();
    const view = this.viewOf(low, high, pages);
    const offset = low & (PAGE_SIZE - 1);
    const region = formRegion(view, offset, this.limits);
    const page = pages.get(0);
    if (region === undefined || page === undefined) return undefined;
    const head = codePages.counterIndex(page, offset);
    if (this.pending.has(head)) return undefined;
    const covered = new Set(region.nodes.map((node) => Math.floor(node.place / PAGE_SIZE)));
    const { module, records } = this.openBatch();
    const index = runtime.reserve();
    const structured = structure(region);
    const notes = this.options.trace?.onRegion === undefined ? undefined : new RegionNotes();
    const context = {
      shape: frontEnd.shape,
      hartOffset,
      wideAddresses: frontEnd.addressType === "i64",
      granularity: frontEnd.granularity,
      flagsOffset,
      pageBytes: frontEnd.pageBytes ?? PAGE_SIZE,
      ...(region.isBound ? { pageAddress: low & -PAGE_SIZE } : {}),
      pages: new Map([...covered].map((distance) => [distance, pages.get(distance)!.index])),
    };
    const body = emitWasmRegion(module, index, structured, context, notes);
    const record: RegionRecord = {
      state: "pending",
      head,
      index,
      instructions: region.instructions,
      bytes: body.code.length,
      spans: spansOf(region, pages),
    };
    codePages.watchRegion(record);
    this.pending.add(head);
    records.push(record);
    if (notes !== undefined) {
      this.options.trace?.onRegion?.({ low, high, record, region, head: structured, module, body, notes });
    }
    if (!this.options.background) this.compileNow();
    return record;
  }

  /** The batch that regions are added to; in the background it is compiled when the host's event loop is reached. */
  private openBatch(): Batch {
    if (this.batch === undefined) {
      this.batch = { module: new ModuleWriter(), records: [] };
      if (this.options.background) queueMicrotask(() => void this.compileLater());
    }
    return this.batch;
  }

  private takeBatch(): Batch | undefined {
    const { batch } = this;
    this.batch = undefined;
    return batch;
  }

  private compileNow(): void {
    const batch = this.takeBatch();
    if (batch === undefined) return;
    const started = performance.now();
    this.options.runtime.instantiate(batch.module);
    this.compiled(started);
    this.activate(batch);
  }

  private async compileLater(): Promise<void> {
    const batch = this.takeBatch();
    if (batch === undefined) return;
    const started = performance.now();
    await this.options.runtime.instantiateLater(batch.module);
    this.compiled(started);
    this.activate(batch);
  }

  private compiled(started: number): void {
    this.counters.modules++;
    this.counters.moduleMicroseconds += Math.round((performance.now() - started) * 1000);
  }

  private activate({ records }: Batch): void {
    const { codePages, runtime, maximum } = this.options;
    for (const record of records) {
      this.pending.delete(record.head);
      if (record.state === "dropped") {
        runtime.remove(record.index);
        continue;
      }
      codePages.activateRegion(record);
      this.active.add(record);
      this.bytes += record.bytes;
      if (this.active.size <= maximum) continue;
      const [oldest] = this.active;
      codePages.dropRegion(oldest!);
    }
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
      insnAt: (place): GuestInsn | undefined => {
        const page = pageAt(Math.floor(place / PAGE_SIZE));
        if (page === undefined) return undefined;
        const offset = place & (PAGE_SIZE - 1);
        return frontEnd.decode(memory.u8, page.frame + offset, PAGE_SIZE - offset, offset) ?? undefined;
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
