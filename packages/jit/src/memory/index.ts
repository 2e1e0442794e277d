/** Guest memory: frames, pools, guest-physical memory, and a host's memory for many threads. */
export * from "./checksum.js";
export * from "./frame-store.js";
export * from "./frames.js";
export * from "./guest-memory.js";
export * from "./host-memory.js";
export * from "./machine-memory.js";
