/** The broker without a daemon: VMs of one thread, in a page or in a program. */
export * from "../lifecycle/errors.js";
export * from "../lifecycle/guest-port.js";
export { type VmState, vmStates } from "../lifecycle/vm-states.js";
export * from "./inline-fleet.js";
