export type { Assembled } from "./assembler.js";
export { AssemblyError, type Token as AssemblyToken } from "./assembly-lexer.js";
export * from "./instruction-table.js";
export * from "./row.js";
export * from "./row-assembler.js";
export * from "./row-front-end.js";
