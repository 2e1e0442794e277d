/** The run loop around a hart and a board, and guest time: for machines that are composed by hand. */
export * from "./clock.js";
export * from "./vm.js";
