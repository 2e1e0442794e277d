export * from "./operations.js";
export * from "./types.js";
