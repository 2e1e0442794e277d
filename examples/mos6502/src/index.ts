export * from "./assembler.js";
export * from "./cpu.js";
export * from "./front-end.js";
export * from "./opcodes.js";
export { JAM, STACK_WINDOW } from "./semantics.js";
