export * from "./api/index.js";
export * from "./cpu/index.js";
export * from "./daemon/metrics.js";
export * from "./hyperfile/index.js";
export * from "./lifecycle/index.js";
export * from "./memory/allocation.js";
export * from "./memory/division.js";
export * from "./memory/errors.js";
export * from "./memory/host-memory-broker.js";
export * from "./memory/memory-broker.js";
export * from "./memory/page-sharing.js";
export type {
  BalloonPort,
  BrokeredFrames,
  BrokeredMemory,
  CommonFrames,
  HostFrames,
} from "./memory/ports.js";
export * from "./memory/reclamation.js";
export * from "./memory/swap-store.js";
export * from "./memory/working-set.js";
