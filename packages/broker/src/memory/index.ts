/** Machine memory among VMs: admission, division, reclamation, sharing and swap. */
export * from "./allocation.js";
export * from "./division.js";
export * from "./errors.js";
export * from "./host-memory-broker.js";
export * from "./late-swap.js";
export * from "./memory-broker.js";
export * from "./page-sharing.js";
export type {
  BalloonPort,
  BrokeredFrames,
  BrokeredMemory,
  CommonFrames,
  HostFrames,
} from "./ports.js";
export * from "./reclamation.js";
export * from "./swap-store.js";
export * from "./working-set.js";
