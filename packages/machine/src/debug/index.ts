/** Debugging a machine: what a debugger may ask, and GDB's remote protocol. */
export * from "./gdb-protocol.js";
export * from "./machine-debug.js";
export * from "./target.js";
