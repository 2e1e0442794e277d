/**
 * Makes regions of hot code: forms them from the pages that the fetch TLB knows, compiles them, and puts them where
 * the interpreter finds them.
 */
import { alignmentOf, type FrontEnd } from "@hyperfile/decoder";
import { ModuleWriter } from "../backend/wasm/encoder.js";
import { emitWasmRegion } from "../backend/wasm/region.js";
import type { WasmRuntime } from "../backend/wasm/runtime.js";
import { PAGE_SIZE } from "../memory/layout.js";
import { structure } from "../region/structure.js";
import type { EngineTrace } from "../trace/engine-trace.js";
import { RegionNotes } from "../trace/region-notes.js";
import type { CodePages, RegionRecord } from "./code-pages.js";
import type { RegionSource } from "./region-source.js";

/** What regions are made with. */
export interface RegionTranslatorOptions {
  readonly frontEnd: FrontEnd;
  readonly source: RegionSource;
  readonly hartOffset: number;
  readonly codePages: CodePages;
  readonly runtime: WasmRuntime;
  /** Byte offset of the slot with the accrued floating-point flags, if there is one. */
  readonly flagsOffset: number | undefined;
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

/** The translator of one hart. */
export class RegionTranslator {
  /** What was handed to the host's compiler, and how long its answer took, waiting for the event loop included. */
  readonly counters = { modules: 0, moduleMicroseconds: 0 };
  /** Regions that are compiled when the host next has a free moment. */
  private batch: Batch | undefined;
  /** Heads of regions that are on their way. */
  private readonly pending = new Set<number>();
  /** Regions in place, the oldest first. */
  private readonly active = new Set<RegionRecord>();

  constructor(private readonly options: RegionTranslatorOptions) {}

  /** Why a module could not be compiled in the background. */
  private failure: unknown;

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
   * @throws the host's error if it could not compile an earlier module: a defect of the backend, or memory is short
   */
  translate(low: number, high: number): RegionRecord | undefined {
    const { source, codePages, frontEnd, runtime, hartOffset, flagsOffset } = this.options;
    if (this.failure !== undefined) throw this.failure;
    const found = source.find(low, high);
    if (found === undefined || this.pending.has(found.head)) return undefined;
    const { region, head, spans, pages, pageAddress } = found;
    const { module, records } = this.openBatch();
    const index = runtime.reserve();
    const structured = structure(region);
    const notes = this.options.trace?.onRegion === undefined ? undefined : new RegionNotes();
    const context = {
      shape: frontEnd.shape,
      hartOffset,
      wideAddresses: frontEnd.addressType === "i64",
      alignment: alignmentOf(frontEnd),
      flagsOffset,
      pageBytes: frontEnd.pageBytes ?? PAGE_SIZE,
      ...(pageAddress === undefined ? {} : { pageAddress }),
      pages,
    };
    const body = emitWasmRegion(module, index, structured, context, notes);
    const record: RegionRecord = {
      state: "pending",
      head,
      index,
      instructions: region.instructions,
      bytes: body.code.length,
      spans,
    };
    codePages.watchRegion(record);
    this.pending.add(head);
    records.push(record);
    if (notes !== undefined) {
      const code = { kind: "wasm", module, body, notes } as const;
      this.options.trace?.onRegion?.({ low, high, record, region, head: structured, code });
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
    try {
      await this.options.runtime.instantiateLater(batch.module);
      this.compiled(started);
      this.activate(batch);
    } catch (error) {
      // Nobody awaits this: whoever translates next is told.
      this.failure = error;
    }
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
}
