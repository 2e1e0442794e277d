export * from "./vm/clock.js";
export * from "./vm/vm.js";
