/** The broker without a daemon: VMs of one thread, in a page or in a program. */

export { type NetRuleSpec, parseRule } from "../hyperfile/net-text.js";
export type { NetPolicySpec, NetworkSpec } from "../hyperfile/types.js";
export * from "../lifecycle/errors.js";
export * from "../lifecycle/guest-port.js";
export { type VmState, vmStates } from "../lifecycle/vm-states.js";
export type { NetAllotment, NetChange, NetDirection, NetPoolAllotment } from "../net/allotment.js";
export * from "./inline-fleet.js";
export * from "./inline-lan.js";
export type { InlineNetworkOptions, InlineNetworks, InlineNic, InlineNicFigures } from "./inline-networks.js";
