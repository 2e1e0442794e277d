/** Guest memory: frames, pools, guest-physical memory, and a host's memory for many threads. */
export * from "./checksum.js";
export * from "./dirty-pages.js";
export * from "./frame-store.js";
export * from "./frames.js";
export * from "./guest-memory.js";
export * from "./host-memory.js";
export * from "./lent-frames.js";
export * from "./lent-window.js";
export * from "./linear-memory.js";
export * from "./machine-memory.js";
export * from "./observers.js";
export * from "./ram-pages.js";
export {
  checkRegions,
  type MemoryRegion,
  type RamOptions,
  type RegionKind,
  type RegionOptions,
  type RomOptions,
} from "./regions.js";
