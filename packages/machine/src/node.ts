/** The part of the machine that needs Node: snapshots as files. */
export * from "./snapshot/node/snapshot-file.js";
