/**
 * Makes JavaScript regions of hot code and puts them where the interpreter and other regions find them: among the
 * translations of the page in which the head lies.
 */
import { alignmentOf, type FrontEnd } from "@hyperfile/decoder";
import { type Bindings, evaluate } from "../backend/js/bindings.js";
import { emitJsRegion } from "../backend/js/region.js";
import type { EmissionVerifier } from "../backend/js/verify.js";
import { structure } from "../region/structure.js";
import type { EngineTrace } from "../trace/engine-trace.js";
import type { CodePages, RegionRecord, Translation } from "./code-pages.js";
import type { RegionSource } from "./region-source.js";

/** What JavaScript regions are made with. */
export interface JsRegionsOptions {
  readonly frontEnd: FrontEnd;
  readonly source: RegionSource;
  /** Byte offset of the hart's block in linear memory. */
  readonly hartOffset: number;
  readonly codePages: CodePages;
  /** Byte offset of the slot with the accrued floating-point flags, if there is one. */
  readonly flagsOffset: number | undefined;
  readonly bindings: Bindings;
  readonly verifier: EmissionVerifier;
  /** Most regions that are kept; the oldest gives way. */
  readonly maximum: number;
  readonly trace: EngineTrace | undefined;
}

/** The JavaScript regions of one hart. */
export class JsRegions {
  /** Regions in place, the oldest first. */
  private readonly active = new Set<RegionRecord>();
  /** Characters of the regions in place. */
  bytes = 0;

  constructor(private readonly options: JsRegionsOptions) {}

  /** Regions in place. */
  get size(): number {
    return this.active.size;
  }

  /** A region that was in place is void: nothing may find its function any more. */
  released(region: RegionRecord): void {
    if (!this.active.delete(region)) return;
    this.bytes -= region.bytes;
    const { page, start } = region.spans[0]!;
    this.options.codePages.translationsOf(page)[start >> this.options.frontEnd.granularity] = null;
  }

  /**
   * Translates the region whose head is at a guest-virtual address that the fetch TLB knows; it is in place at once.
   * @param verify whether the emitted text is verified before it becomes code
   * @returns the region; undefined if there is nothing to translate there
   * @throws EmissionError if the text breaks a rule of the verifier
   * @throws EvalError if the host lets no text become code any more
   */
  translate(low: number, high: number, verify: boolean): RegionRecord | undefined {
    const { source, codePages, frontEnd, hartOffset, flagsOffset, maximum, trace } = this.options;
    const found = source.find(low, high);
    if (found === undefined) return undefined;
    const { region, page, head, spans, pages, pageAddress } = found;
    const structured = structure(region);
    const text = emitJsRegion(structured, {
      shape: frontEnd.shape,
      hartOffset,
      wideAddresses: frontEnd.addressType === "i64",
      alignment: alignmentOf(frontEnd),
      flagsOffset,
      ...(frontEnd.pageBytes === undefined ? {} : { pageBytes: frontEnd.pageBytes }),
      ...(pageAddress === undefined ? {} : { pageAddress }),
      pages,
    });
    if (verify) this.options.verifier.verify(text, `the region at ${page.gpa + spans[0]!.start}`);
    const record: RegionRecord = {
      state: "active",
      head,
      index: -1,
      instructions: region.instructions,
      bytes: text.length,
      spans,
    };
    const entry = spans[0]!.start >> frontEnd.granularity;
    codePages.translationsOf(page)[entry] = evaluate(text, this.options.bindings) as Translation;
    codePages.watchRegion(record);
    this.active.add(record);
    this.bytes += record.bytes;
    trace?.onRegion?.({ low, high, record, region, head: structured, code: { kind: "js", text } });
    if (this.active.size > maximum) {
      const [oldest] = this.active;
      codePages.dropRegion(oldest!);
    }
    return record;
  }
}
