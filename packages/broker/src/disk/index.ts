/** The store under all disks among VMs: what each may have, the order of their requests, and the gate that these go through. */
export * from "./allotment.js";
export * from "./disk-admission.js";
export * from "./disk-command.js";
export * from "./disk-dispatcher.js";
export * from "./disk-gate.js";
export * from "./disk-table.js";
export * from "./host-disks.js";
export * from "./mclock.js";
