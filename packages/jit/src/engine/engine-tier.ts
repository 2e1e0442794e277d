/**
 * What an engine's tier consists of: its interpreter, in WebAssembly or in JavaScript, and what makes regions of hot
 * code, if it does.
 */
import type { FrontEnd } from "@hyperfile/decoder";
import { type EntryFormats, entryFormats } from "../backend/entry-format.js";
import { type Bindings, evaluate } from "../backend/js/bindings.js";
import { headerWord, slotWord } from "../backend/js/header-word.js";
import { emitColdHandlers, emitInterpreter, isCold } from "../backend/js/interpreter.js";
import { trainInterpreter } from "../backend/js/train.js";
import { EmissionVerifier } from "../backend/js/verify.js";
import { ModuleWriter } from "../backend/wasm/encoder.js";
import { emitWasmInterpreter, type WasmInterpreterContext } from "../backend/wasm/interpreter.js";
import { WasmRuntime } from "../backend/wasm/runtime.js";
import { Exit, PAGE_SIZE, SCRATCH_OFFSET, STATE_OFFSET } from "../memory/layout.js";
import { AccessKind } from "../mmu/ports.js";
import { DEFAULT_LIMITS, JS_LIMITS, type RegionLimits } from "../region/graph.js";
import { type ChosenTier, chooseTier, jsTier, needsWebAssembly } from "./choose-tier.js";
import type { CodePages } from "./code-pages.js";
import { DEFAULT_REGIONS, type EngineOptions } from "./engine-options.js";
import { JsRegions } from "./js-regions.js";
import { RegionSource } from "./region-source.js";
import { RegionTranslator } from "./region-translator.js";

/** What an engine has for its tier to be made of. */
export interface TierContext {
  readonly options: EngineOptions;
  readonly codePages: CodePages;
  /** Names that emitted JavaScript, and imports of modules, may use. */
  readonly bindings: Bindings;
  /** Holds emitted regions against the rules. */
  readonly verifier: EmissionVerifier;
  /** Whether every block is held against the IR's invariants. */
  readonly verifyBlocks: boolean;
  /** Budget units that the guest has used so far. */
  readonly used: () => number;
  /** Told of code in a frame that the host could not compile in the background. */
  readonly onFailure: (frame: number, error: unknown) => void;
}

/** A tier that is ready to run. */
export interface EngineTier {
  /** Never `auto`. */
  readonly tier: ChosenTier;
  /**
   * Runs the code at the program counter, or the scratch entry at a word index.
   * @param hot arrivals at a jump target after which it is left, with `InterpreterExit.hot`
   * @returns why it was left, an `InterpreterExit`
   */
  readonly interpret: (hot: number, scratch: number) => number;
  /** Regions in WebAssembly, in the tier `wasm`. */
  readonly regions?: RegionTranslator;
  /** Regions in JavaScript, in the tier `js`. */
  readonly jsRegions?: JsRegions;
}

/**
 * Makes the tier that the options ask for. `auto` falls back to JavaScript where WebAssembly can't be compiled.
 * @throws EngineError `E_TIER` if the platform does not allow it
 */
export function makeTier(context: TierContext): EngineTier {
  const { options, codePages } = context;
  const formats = entryFormats(options.frontEnd);
  const emission: WasmInterpreterContext = {
    frontEnd: options.frontEnd,
    hartOffset: options.hartOffset,
    arenaWord: codePages.arenaWord,
    pageWords: codePages.pageWords,
    wordsPerByteShift: codePages.wordsPerByteShift,
    countersOffset: codePages.countersOffset,
    flagsOffset:
      options.flagsSlot === undefined
        ? undefined
        : slotWord(options.hartOffset, options.frontEnd.shape, options.flagsSlot) * 4,
  };
  let tier = chooseTier(options.tier, options.memory);
  if (needsWebAssembly(tier)) {
    try {
      return makeInWebAssembly(context, tier, emission, formats);
    } catch (cause) {
      tier = jsTier(options.tier, cause);
    }
  }
  const made = makeInJavaScript(context, tier, emission, formats);
  train(context, made.interpret, formats);
  return made;
}

/** Regions within limits; where nothing is chained, of one block, which may still loop to itself. */
function sourceOf({ options, codePages, verifyBlocks }: TierContext, most: RegionLimits): RegionSource {
  const { frontEnd, memory, chain, hartOffset } = options;
  const limits = chain === false ? { ...most, blocks: 1, callDepth: 0 } : most;
  const fetchWord = headerWord(hartOffset, "tlbFetch");
  return new RegionSource({ frontEnd, verify: verifyBlocks, memory, codePages, fetchWord, limits });
}

function makeInWebAssembly(
  context: TierContext,
  tier: ChosenTier,
  emission: WasmInterpreterContext,
  formats: EntryFormats,
): EngineTier {
  const { options, codePages } = context;
  const module = new ModuleWriter();
  emitWasmInterpreter(module, emission, formats);
  const runtime = new WasmRuntime(options.memory, context.bindings, {
    hartOffset: options.hartOffset,
    wideAddresses: options.frontEnd.addressType === "i64",
    pageBytes: options.frontEnd.pageBytes ?? PAGE_SIZE,
    pcOffset: options.hartOffset + STATE_OFFSET + options.frontEnd.shape.slots.get("pc")!.offset,
  });
  const interpret = runtime.instantiate(module).interpret as EngineTier["interpret"];
  if (tier === "wasm-interpreter") return { tier, interpret };
  const regions = new RegionTranslator({
    frontEnd: options.frontEnd,
    source: sourceOf(context, DEFAULT_LIMITS),
    hartOffset: options.hartOffset,
    codePages,
    runtime,
    flagsOffset: emission.flagsOffset,
    background: options.background ?? false,
    maximum: options.regions ?? DEFAULT_REGIONS,
    trace: options.trace,
    now: context.used,
    onFailure: (region, error) => context.onFailure(region.spans[0]!.page.frame, error),
  });
  return { tier, interpret, regions };
}

function makeInJavaScript(
  context: TierContext,
  tier: ChosenTier,
  emission: WasmInterpreterContext,
  formats: EntryFormats,
): EngineTier {
  const { options, codePages, bindings, verifier } = context;
  const make = (text: string, what: string, names: Bindings) => {
    if (options.verify !== "off") new EmissionVerifier(new Set(Object.keys(names))).verify(text, what);
    return evaluate(text, names);
  };
  const cold = Object.entries(emitColdHandlers(emission, formats));
  const interpret = make(emitInterpreter(emission, formats), "the interpreter", {
    ...bindings,
    ...Object.fromEntries(cold.map(([name, text]) => [name, make(text, name, bindings)])),
  }) as EngineTier["interpret"];
  if (tier !== "js") return { tier, interpret };
  const jsRegions = new JsRegions({
    frontEnd: options.frontEnd,
    source: sourceOf(context, JS_LIMITS),
    hartOffset: options.hartOffset,
    codePages,
    flagsOffset: emission.flagsOffset,
    bindings,
    verifier,
    maximum: options.regions ?? DEFAULT_REGIONS,
    trace: options.trace,
  });
  return { tier, interpret, jsRegions };
}

/** Lets the host's compiler see the interpreter at work before a guest runs, and leaves the hart as it was made. */
function train(
  { options, codePages }: TierContext,
  interpret: EngineTier["interpret"],
  formats: EntryFormats,
): void {
  const { frontEnd, hartOffset } = options;
  const words = options.memory.i32;
  const state = (hartOffset + STATE_OFFSET) >> 2;
  const stateEnd = state + (frontEnd.shape.size >> 2);
  const scratch = hartOffset + SCRATCH_OFFSET;
  const budgetWord = headerWord(hartOffset, "budget");
  const exitWord = headerWord(hartOffset, "exit");
  trainInterpreter(
    {
      words,
      stateFrom: state,
      stateTo: stateEnd,
      budgetWord,
      exitWord,
      pcWord: slotWord(hartOffset, frontEnd.shape, "pc"),
      wide: frontEnd.addressType === "i64",
      baseWord: codePages.arenaWord,
      scale: codePages.wordsPerByteShift,
      map: () => mapScratch(options, frontEnd, scratch),
      interpret,
    },
    formats.all.filter((format) => !isCold(format.template)),
  );
  codePages.clearScratch();
  options.tlb.flush();
  words.fill(0, state, stateEnd);
  words.fill(0, scratch >> 2, (scratch + PAGE_SIZE) >> 2);
  words[budgetWord] = 0;
  words[exitWord] = Exit.none;
  words[headerWord(hartOffset, "late")] = Exit.none;
}

/** Makes the first page of addresses the hart block's scratch page, for all kinds of access. */
function mapScratch({ tlb }: EngineOptions, frontEnd: FrontEnd, scratch: number): void {
  for (const kind of [AccessKind.read, AccessKind.write])
    for (let at = 0; at < PAGE_SIZE; at += frontEnd.pageBytes ?? PAGE_SIZE)
      tlb.insert(kind, at, 0, scratch, 0);
  tlb.insert(AccessKind.fetch, 0, 0, scratch, 0);
}
