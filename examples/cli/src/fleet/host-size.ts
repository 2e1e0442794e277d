/** What of this computer guests may have together. */
import { availableParallelism, totalmem } from "node:os";
import type { HostSize } from "@hyperfile/broker";
import { guestKinds } from "@hyperfile/machine/guests";

/** Part of the host's memory. */
const MEMORY_PART = 0.8;

/** Cores, bytes of memory, what the board has no device for, and the guests that are known. */
export const hostSize = () => ({
  cores: availableParallelism(),
  memoryBytes: Math.floor(totalmem() * MEMORY_PART),
  guests: guestKinds,
  lacks: ["disks"] as const satisfies HostSize["lacks"],
});
