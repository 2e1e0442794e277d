/**
 * The port through which an engine tells what it does. Every function is optional, and an engine without one asks
 * only whether it is there, at events that are rare anyhow: translating, and coming back to the dispatcher.
 */
import type { FunctionWriter, ModuleWriter } from "../backend/wasm/encoder.js";
import type { RegionRecord } from "../engine/code-pages.js";
import type { Region } from "../region/graph.js";
import type { StructuredNode } from "../region/structure.js";
import type { RegionNotes } from "./region-notes.js";

/** Why the dispatcher has control. */
export type DispatcherExit =
  | "budget"
  | "fetch"
  | "hot"
  | "crossing"
  | "breakpoint"
  | "chain-end"
  | "redirect";

/** What a region was printed as: WebAssembly, whose module has not been compiled yet, or JavaScript. */
export type RegionCode =
  | {
      readonly kind: "wasm";
      readonly module: ModuleWriter;
      readonly body: FunctionWriter;
      readonly notes: RegionNotes;
    }
  | { readonly kind: "js"; readonly text: string };

/** A region that was translated. */
export interface TracedRegion {
  /** Guest-virtual address of its head, in two halves. */
  readonly low: number;
  readonly high: number;
  readonly record: RegionRecord;
  readonly region: Region;
  readonly head: StructuredNode;
  readonly code: RegionCode;
}

/** Receiver of an engine's events. */
export interface EngineTrace {
  /** A region was translated. */
  onRegion?(region: TracedRegion): void;
  /** The host could not compile a translation: its code stays in the interpreter for a while. */
  onTranslationFailure?(error: unknown): void;
  /** Translated or interpreted code came back to the dispatcher; the program counter slot says where. */
  onExit?(exit: DispatcherExit): void;
}

/** One receiver for several. */
export function mergeTraces(...traces: readonly EngineTrace[]): EngineTrace {
  const regions = traces.filter(({ onRegion }) => onRegion !== undefined);
  const exits = traces.filter(({ onExit }) => onExit !== undefined);
  const failures = traces.filter(({ onTranslationFailure }) => onTranslationFailure !== undefined);
  return {
    ...(regions.length === 0
      ? {}
      : {
          onRegion: (region) => {
            for (const trace of regions) trace.onRegion?.(region);
          },
        }),
    ...(failures.length === 0
      ? {}
      : {
          onTranslationFailure: (error) => {
            for (const trace of failures) trace.onTranslationFailure?.(error);
          },
        }),
    ...(exits.length === 0
      ? {}
      : {
          onExit: (exit) => {
            for (const trace of exits) trace.onExit?.(exit);
          },
        }),
  };
}
