export * from "./assembler.js";
export * from "./disassembler.js";
export * from "./front-end.js";
export * from "./helpers.js";
export * from "./isa.js";
export * from "./registers.js";
export * from "./semantics.js";
export * from "./state.js";
