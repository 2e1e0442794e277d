export * from "./accounts.js";
export * from "./errors.js";
export * from "./resource-tree.js";
export * from "./scheduler.js";
export * from "./water-fill.js";
