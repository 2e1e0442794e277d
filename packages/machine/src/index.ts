export type { BootImages, NamedBytes } from "./boot.js";
export type { Drive } from "./drives.js";
export * from "./errors.js";
export { isaString, type Xlen } from "./isa.js";
export * from "./machine.js";
export type { BoardRomOptions, MachineRegions } from "./memory-regions.js";
export * from "./riscv-virt.js";
export type { Share } from "./shares.js";
export * from "./symbols.js";
