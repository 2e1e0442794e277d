/** The part of the machine that needs Node: the guest agent and its copies of files, snapshots as files, and GDB's server. */
export * from "./agent/node/agent-program.js";
export * from "./agent/node/copy-files.js";
export * from "./debug/node/gdb-machine.js";
export * from "./debug/node/gdb-server.js";
export * from "./snapshot/node/snapshot-file.js";
