export * from "./cpu/index.js";
export * from "./debug/gdb-protocol.js";
export * from "./debug/target.js";
export * from "./hyperfile/index.js";
export * from "./vm/clock.js";
export * from "./vm/vm.js";
