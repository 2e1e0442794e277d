/** What of this computer guests may have together. */
import { availableParallelism, totalmem } from "node:os";
import type { HostSize } from "@hyperfile/broker";
import { guestKinds } from "@hyperfile/machine/guests";

/** Part of the host's memory. */
const MEMORY_PART = 0.8;

/** Cores, bytes of memory, and the guests that are known. */
export const hostSize = (): HostSize => ({
  cores: availableParallelism(),
  memoryBytes: Math.floor(totalmem() * MEMORY_PART),
  guests: guestKinds,
});
