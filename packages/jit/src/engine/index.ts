/** The translator itself, for those who build a CPU or a system of their own on it: engine, translation cache, backends, TLB and slow paths. */
export * from "../backend/js/bindings.js";
export { emitJsRegion } from "../backend/js/region.js";
export { EmissionVerifier } from "../backend/js/verify.js";
export * from "../memory/layout.js";
export * from "../mmu/access.js";
export { type CallSite, CallSites } from "../mmu/call-sites.js";
export * from "../mmu/ports.js";
export * from "../mmu/tlb.js";
export * from "../passes/optimise.js";
export type { RegionContext } from "../region/emission.js";
export * from "./budget.js";
export * from "./code-pages.js";
export * from "./core.js";
export * from "./cpu-model.js";
export * from "./engine.js";
export * from "./engine-options.js";
