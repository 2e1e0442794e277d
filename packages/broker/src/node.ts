/** The part of the broker that needs Node. */
export * from "./debug/node/gdb-server.js";
