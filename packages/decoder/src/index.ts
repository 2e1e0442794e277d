export { isBuiltIn } from "./built-in.js";
export * from "./front-end.js";
export * from "./front-end-check.js";
export * from "./ir/index.js";
export * from "./riscv/index.js";
export * from "./table/index.js";
