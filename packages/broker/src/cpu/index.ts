export * from "./accounts.js";
export * from "./control-table.js";
export * from "./dispatcher.js";
export * from "./errors.js";
export * from "./inline.js";
export * from "./resource-tree.js";
export * from "./scheduler.js";
export * from "./water-fill.js";
