export { hyperfileSchema } from "./check-shape.js";
export * from "./order.js";
export * from "./read.js";
export * from "./suggest.js";
export * from "./types.js";
export * from "./units.js";
