/** What the broker asks of a guest: for programs that compose machines of their own. */
export type { DiskGate, DiskLine, DiskWaits } from "./disk/disk-gate.js";
export * from "./lifecycle/guest-port.js";
export * from "./lifecycle/guest-shell.js";
