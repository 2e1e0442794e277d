/**
 * Makes regions of hot code: forms them from the pages that the fetch TLB knows, compiles them, and puts them where
 * the interpreter finds them.
 *
 * What the host keeps is bounded. A module costs it a mapping and tens of KiB, however small it is, and stays as long
 * as one region of it is in place. So regions that become hot while others are compiled go into one module; and when
 * many modules hold few regions, the code of those regions is compiled again as one module, which takes their place.
 * With R regions in place there are at most `SPARSE_MODULES + R / SPARSE` modules, a little more while that is done.
 * A module without regions is garbage, which V8 collects when it sees fit: after thousands of small ones. So when
 * `MOST_GARBAGE` have not been collected, as a guest makes them that rewrites its code, regions wait until there are
 * enough for a module; most of that guest's are void by then, and are never compiled.
 *
 * A host that can't compile (memory is short, a policy forbids it) costs the guest its speed, nothing else: the code
 * stays in the interpreter.
 */
import { alignmentOf, type FrontEnd } from "@hyperfile/decoder";
import { type FunctionWriter, ModuleWriter, Numbering } from "../backend/wasm/encoder.js";
import { regionSignature } from "../backend/wasm/interpreter.js";
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
  /** Budget units that the guest has used. */
  readonly now: () => number;
  /** The host could not compile a region; it is dropped already. */
  readonly onFailure: (region: RegionRecord, error: unknown) => void;
}

/** Most modules of one engine that the host compiles at the same time; what becomes hot meanwhile goes into the next. */
const MOST_COMPILING = 4;
/** Most regions of a module. */
const MOST_REGIONS_OF_A_MODULE = 256;
/** A module with fewer regions in place, or with less than half of those that it was made of, is sparse. */
const SPARSE = 32;
/** Sparse modules that are made into one. */
const SPARSE_MODULES = 64;
/** Modules without regions that the host may still keep before regions wait for company. */
const MOST_GARBAGE = 256;
/** Regions that are enough for a module then, and budget units after which fewer are. */
const COMPANY = 16;
const LONGEST_WAIT = 2 ** 26;
/** Most modules, where the host fails to compile them into one: the oldest gives way. */
const MOST_MODULES = 1024;

/** A region and its code, which may move to another module. */
interface Compiled {
  readonly record: RegionRecord;
  readonly body: FunctionWriter;
  /** The module that it is in; undefined until it is compiled. */
  home: CompiledModule | undefined;
}

/** A module that was compiled. */
interface CompiledModule {
  /** Its regions that are in place. */
  readonly regions: Set<Compiled>;
  /** Regions that it was made of. */
  readonly made: number;
}

/** The translator of one hart. */
export class RegionTranslator {
  /** What was handed to the host's compiler, and how long its answer took, waiting for the event loop included. */
  readonly counters = { modules: 0, moduleMicroseconds: 0 };
  /** Regions that are compiled when the host next has a free moment. */
  private batch: Compiled[] = [];
  /** When the first of them came, in budget units. */
  private batchSince = 0;
  /** Batches that the host is compiling. */
  private compiling = 0;
  private isScheduled = false;
  /** Heads of regions that are on their way. */
  private readonly pending = new Set<number>();
  /** Regions in place, the oldest first. */
  private readonly active = new Map<RegionRecord, Compiled>();
  /** Modules with regions in place, the oldest first. */
  private readonly modules = new Set<CompiledModule>();
  /** Sparse modules at which they are made into one; more after that failed. */
  private mergeAt = SPARSE_MODULES;
  private isMerging = false;
  private readonly numbering = new Numbering();
  /** Modules that the host has not told of having collected. */
  private uncollected = 0;
  private readonly collections = new FinalizationRegistry<undefined>(() => {
    this.uncollected--;
  });

  constructor(private readonly options: RegionTranslatorOptions) {}

  /** Bytes of the WebAssembly of the regions in place. */
  bytes = 0;

  /** Regions in place. */
  get size(): number {
    return this.active.size;
  }

  /** Modules that the host keeps for the regions in place. */
  get liveModules(): number {
    return this.modules.size;
  }

  /** Modules without regions in place that the host has not told of having collected. */
  get garbage(): number {
    return this.uncollected - this.modules.size;
  }

  /** A region that was in place is void. */
  released(region: RegionRecord): void {
    const compiled = this.active.get(region);
    if (compiled === undefined) return;
    this.active.delete(region);
    this.bytes -= region.bytes;
    this.leaveModule(compiled);
    this.options.runtime.remove(region.index);
  }

  /**
   * Translates the region whose head is at a guest-virtual address that the fetch TLB knows. It is in place at once,
   * or, compiled in the background, some time later; or the host fails, and its owner is told.
   * @returns the region; undefined if there is nothing to translate there, it is on its way, or too many are
   */
  translate(low: number, high: number): RegionRecord | undefined {
    const { source, codePages, frontEnd, hartOffset, flagsOffset, trace } = this.options;
    this.prune();
    if (this.batch.length >= MOST_REGIONS_OF_A_MODULE) return undefined;
    const found = source.find(low, high);
    if (found === undefined) return undefined;
    if (this.pending.has(found.head)) {
      this.compile();
      return undefined;
    }
    const { region, head, spans, pages, pageAddress } = found;
    const structured = structure(region);
    const notes = trace?.onRegion === undefined ? undefined : new RegionNotes();
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
    const module = new ModuleWriter(this.numbering);
    const body = emitWasmRegion(module, "region", structured, context, notes);
    body.trim();
    const record: RegionRecord = {
      state: "pending",
      head,
      index: -1,
      instructions: region.instructions,
      bytes: body.code.length,
      spans,
    };
    codePages.watchRegion(record);
    this.pending.add(head);
    if (this.batch.length === 0) this.batchSince = this.options.now();
    this.batch.push({ record, body, home: undefined });
    if (notes !== undefined) {
      const code = { kind: "wasm", module, body, notes } as const;
      trace?.onRegion?.({ low, high, record, region, head: structured, code });
    }
    this.compile();
    return record;
  }

  // -- compiling

  /** Has the batch compiled, at once or when the host's event loop is reached, unless it is to wait. */
  private compile(): void {
    if (!this.isReady()) return;
    if (!this.options.background) return this.compileNow();
    if (this.isScheduled || this.compiling >= MOST_COMPILING) return;
    this.isScheduled = true;
    queueMicrotask(() => {
      this.isScheduled = false;
      void this.compileLater();
    });
  }

  private isReady(): boolean {
    if (this.batch.length === 0) return false;
    if (this.garbage <= MOST_GARBAGE) return true;
    return this.batch.length >= COMPANY || this.options.now() - this.batchSince >= LONGEST_WAIT;
  }

  /** Forgets regions that are void before they were compiled. */
  private prune(): void {
    const isVoid = ({ record }: Compiled) => record.state === "dropped";
    for (const { record } of this.batch.filter(isVoid)) this.pending.delete(record.head);
    this.batch = this.batch.filter((compiled) => !isVoid(compiled));
  }

  private takeBatch(): Compiled[] {
    this.prune();
    const { batch } = this;
    this.batch = [];
    return batch;
  }

  private compileNow(): void {
    const batch = this.takeBatch();
    const started = performance.now();
    try {
      this.activate(batch, this.options.runtime.instantiate(this.moduleOf(batch)), started);
    } catch (error) {
      this.fail(batch, error);
    }
    this.merge();
  }

  private async compileLater(): Promise<void> {
    const batch = this.takeBatch();
    if (batch.length === 0) return;
    const started = performance.now();
    this.compiling++;
    try {
      this.activate(batch, await this.options.runtime.instantiateLater(this.moduleOf(batch)), started);
    } catch (error) {
      this.fail(batch, error);
    }
    this.compiling--;
    this.compile();
    this.merge();
  }

  private moduleOf(regions: readonly Compiled[]): ModuleWriter {
    const module = new ModuleWriter(this.numbering);
    regions.forEach(({ body }, position) => {
      module.adopt(String(position), regionSignature, body);
    });
    return module;
  }

  private countModule(exports: WebAssembly.Exports, started: number): void {
    this.counters.modules++;
    this.uncollected++;
    this.collections.register(exports, undefined);
    this.counters.moduleMicroseconds += Math.round((performance.now() - started) * 1000);
  }

  private activate(batch: readonly Compiled[], exports: WebAssembly.Exports, started: number): void {
    const { codePages, runtime, maximum } = this.options;
    this.countModule(exports, started);
    const home: CompiledModule = { regions: new Set(), made: batch.length };
    for (const [position, compiled] of batch.entries()) {
      const { record } = compiled;
      if (record.state === "dropped") {
        this.pending.delete(record.head);
        continue;
      }
      record.index = runtime.reserve();
      runtime.place(record.index, exports[position]!);
      this.pending.delete(record.head);
      codePages.activateRegion(record);
      this.active.set(record, compiled);
      this.bytes += record.bytes;
      this.enterModule(compiled, home);
      if (this.active.size > maximum) this.dropOldest();
    }
    while (this.modules.size > MOST_MODULES) this.dropOldest();
  }

  private dropOldest(): void {
    for (const record of this.active.keys()) {
      this.options.codePages.dropRegion(record);
      return;
    }
  }

  /** The host failed: what is not in place stays in the interpreter. */
  private fail(batch: readonly Compiled[], error: unknown): void {
    const { codePages, runtime, onFailure } = this.options;
    for (const { record } of batch) {
      this.pending.delete(record.head);
      if (record.state !== "pending") continue;
      if (record.index >= 0) runtime.remove(record.index);
      codePages.dropRegion(record);
      onFailure(record, error);
    }
  }

  // -- modules

  private enterModule(compiled: Compiled, home: CompiledModule): void {
    compiled.home = home;
    home.regions.add(compiled);
    this.modules.add(home);
  }

  private leaveModule(compiled: Compiled): void {
    const { home } = compiled;
    if (home === undefined) return;
    home.regions.delete(compiled);
    if (home.regions.size === 0) this.modules.delete(home);
  }

  /** Makes sparse modules into one, if there are many. */
  private merge(): void {
    if (this.isMerging) return;
    const sparse = [...this.modules].filter(
      ({ regions, made }) => regions.size < SPARSE || regions.size * 2 < made,
    );
    if (sparse.length < this.mergeAt) return;
    const regions = sparse.flatMap((each) => [...each.regions]).slice(0, MOST_REGIONS_OF_A_MODULE);
    const module = this.moduleOf(regions);
    if (this.options.background) {
      void this.mergeLater(regions, module, sparse.length);
      return;
    }
    const started = performance.now();
    try {
      this.move(regions, this.options.runtime.instantiate(module), started);
    } catch {
      this.putMergeOff(sparse.length);
    }
  }

  private async mergeLater(
    regions: readonly Compiled[],
    module: ModuleWriter,
    sparse: number,
  ): Promise<void> {
    const started = performance.now();
    this.isMerging = true;
    try {
      this.move(regions, await this.options.runtime.instantiateLater(module), started);
    } catch {
      this.putMergeOff(sparse);
    }
    this.isMerging = false;
  }

  /** The regions run on where they are: nothing is lost but room. */
  private putMergeOff(sparse: number): void {
    this.mergeAt = sparse + SPARSE_MODULES;
  }

  /** Puts the new module's functions in the place of the old ones. */
  private move(regions: readonly Compiled[], exports: WebAssembly.Exports, started: number): void {
    this.countModule(exports, started);
    this.mergeAt = SPARSE_MODULES;
    const home: CompiledModule = { regions: new Set(), made: regions.length };
    for (const [position, compiled] of regions.entries()) {
      if (compiled.record.state !== "active") continue;
      this.options.runtime.place(compiled.record.index, exports[position]!);
      this.leaveModule(compiled);
      this.enterModule(compiled, home);
    }
  }
}
