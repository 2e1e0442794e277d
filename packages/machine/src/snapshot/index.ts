/** Snapshots of machines: their format, and what it takes to write and restore one. */
export * from "./codec.js";
export { SNAPSHOT_VERSION } from "./directory.js";
export type { DiskChunk, SnapshotDisk } from "./disks.js";
export * from "./drain.js";
export * from "./errors.js";
export * from "./format.js";
export * from "./machine.js";
export * from "./plain-machine.js";
export * from "./values.js";
