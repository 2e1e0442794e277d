/** Flattened device trees, written and read. */
export * from "./errors.js";
export * from "./fdt.js";
export type { FdtReservation } from "./format.js";
export * from "./parse.js";
