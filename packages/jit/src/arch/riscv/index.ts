export * from "./cpu.js";
export {
  type CsrFile,
  CsrOutcome,
  type CsrOwner,
  type CsrPair,
  type CsrRow,
  type SavedCsr,
} from "./csrs/csr-file.js";
export { storage as csrStorage } from "./csrs/row.js";
export * from "./debug.js";
export * from "./dump.js";
export {
  type HartExtension,
  type HartIsa,
  hartExtensions,
  hartIsa,
  standardHartIsa,
} from "./extensions.js";
export * from "./hart.js";
export * from "./hart-save.js";
export { RiscvCause, RiscvInterrupt, RiscvMode, RiscvStatus } from "./privilege.js";
export * from "./sbi.js";
export * from "./slot-names.js";
export * from "./steal-time.js";
export type { HartHelpers } from "./system-instructions.js";
export * from "./trap-names.js";
export type { RiscvWatchKind, Watchpoint } from "./watchpoints.js";
