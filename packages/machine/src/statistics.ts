/** What a machine counts, in one record that is ready for JSON. */
import type { VirtBoard } from "@hyperfile/devices";
import type { RiscvCpu } from "@hyperfile/jit/riscv";

/** A word of a code page has half a counter beside it. */
const BYTES_PER_CODE_WORD = 6;

/** Counters of hart, engine, memory, run loop and devices. */
export function machineStatistics(
  cpu: RiscvCpu,
  board: VirtBoard,
  loop: Readonly<Record<string, number>>,
): Record<string, unknown> {
  const { engine, hart, tlb, access } = cpu;
  const { counters } = engine;
  const wasm = engine.tier === "wasm" || engine.tier === "wasm-interpreter";
  const regions = engine.regionStatistics();
  const codePages = engine.codePages.counts.pages - engine.codePages.counts.evicted;
  return {
    tier: engine.tier,
    guestInstructions: cpu.retired(),
    instructionsByTier: {
      jsInterpreter: wasm ? 0 : counters.interpreted,
      wasmInterpreter: wasm ? counters.interpreted : 0,
      jsTranslations: wasm ? 0 : counters.translated,
      wasmRegions: wasm ? counters.translated : 0,
    },
    translations: {
      count: counters.translations,
      instructions: counters.translatedInstructions,
      verified: counters.verified,
      compileSeconds: counters.compileMicroseconds / 1e6,
    },
    regions: {
      count: regions.regions,
      dropped: counters.regionsDropped,
      modules: regions.modules,
      compileSeconds: regions.moduleMicroseconds / 1e6,
    },
    cache: {
      codePages,
      codePageBytes: codePages * engine.codePages.pageWords * BYTES_PER_CODE_WORD,
      regionBytes: regions.bytes,
    },
    exits: {
      budget: counters.exitsBudget,
      fetch: counters.exitsFetch,
      hot: counters.exitsHot,
      crossing: counters.exitsCrossing,
      chainEnd: counters.exitsChainEnd,
      redirect: counters.exitsRedirect,
    },
    hart: hart.counters,
    tlb: { misses: access.counters.misses, ...tlb.counters },
    memory: access.counters,
    codePages: engine.codePages.counts,
    vm: loop,
    devices: board.counters(),
  };
}
