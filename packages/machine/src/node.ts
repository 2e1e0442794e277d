/** The part of the machine that needs Node: snapshots as files, and GDB's server. */
export * from "./debug/node/gdb-machine.js";
export * from "./debug/node/gdb-server.js";
export * from "./snapshot/node/snapshot-file.js";
