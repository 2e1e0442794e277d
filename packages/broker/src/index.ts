export * from "./api/index.js";
export * from "./cpu/index.js";
export * from "./daemon/metrics.js";
export * from "./debug/gdb-protocol.js";
export * from "./debug/target.js";
export * from "./hyperfile/index.js";
export * from "./lifecycle/index.js";
export * from "./memory/allocation.js";
export * from "./memory/balloon-memory.js";
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
export * from "./snapshot/checksum.js";
export * from "./snapshot/codec.js";
export * from "./snapshot/errors.js";
export * from "./snapshot/format.js";
export * from "./snapshot/machine.js";
export * from "./snapshot/values.js";
export * from "./vm/clock.js";
export * from "./vm/vm.js";
