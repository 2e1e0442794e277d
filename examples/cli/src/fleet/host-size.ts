/** What of this computer guests may have together. */
import { availableParallelism, totalmem } from "node:os";
import type { HostSize } from "@hyperfile/broker";

/** Part of the host's memory. */
const MEMORY_PART = 0.8;

/** Cores, bytes of memory, and what the board has no device for. */
export const hostSize = () => ({
  cores: availableParallelism(),
  memoryBytes: Math.floor(totalmem() * MEMORY_PART),
  lacks: ["disks"] as const satisfies HostSize["lacks"],
});
