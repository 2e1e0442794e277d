export * from "./guest-kinds.js";
export * from "./order.js";
export * from "./project-name.js";
export * from "./read.js";
export * from "./schema.js";
export * from "./suggest.js";
export * from "./types.js";
export * from "./units.js";
