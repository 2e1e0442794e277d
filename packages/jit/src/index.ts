export { EmissionError } from "./backend/js/verify.js";
export { CpuError } from "./engine/cpu-options.js";
export * from "./engine/engine-error.js";
export * from "./engine/flat-cpu.js";
export * from "./engine/tiers.js";
export { MemoryError, type MemoryErrorCode } from "./memory/linear-memory.js";
