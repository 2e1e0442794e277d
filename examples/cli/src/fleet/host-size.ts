/** What of this computer guests may have together. */
import { availableParallelism, totalmem } from "node:os";

/** Part of the host's memory. */
const MEMORY_PART = 0.8;

/** Cores, and bytes of memory. */
export const hostSize = (): { readonly cores: number; readonly memoryBytes: number } => ({
  cores: availableParallelism(),
  memoryBytes: Math.floor(totalmem() * MEMORY_PART),
});
