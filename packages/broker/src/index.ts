/** A Hyperfile and what is said about VMs: its reader, the views that reports have, and what a program that runs VMs is given. */
export { openApiDocument } from "./api/operations.js";
export type {
  AccountsView,
  AllotmentView,
  DaemonView,
  DiskAllotmentView,
  MemoryView,
  NetAllotmentView,
  NicView,
  PoolView,
  RateView,
  Sample,
  VmSample,
  VmView,
} from "./api/types.js";
export type { ConsoleShell, GuestKinds, TypedCommandEnd } from "./hyperfile/guest-kinds.js";
export {
  type ForwardSpec,
  formatForward,
  forwardUsage,
  type NetRuleSpec,
  parseForward,
  parseRule,
  ruleUsage,
} from "./hyperfile/net-text.js";
export { projectNameOf } from "./hyperfile/project-name.js";
export { type HostSize, readHyperfile } from "./hyperfile/read.js";
export { hyperfileSchema } from "./hyperfile/schema.js";
export {
  type BootSpec,
  DEFAULT_MEMORY_BYTES,
  type DiskSpec,
  HyperfileError,
  type HyperfileProblem,
  type HyperfileSpec,
  type NetPolicySpec,
  type NetworkSpec,
  type NicSpec,
  type PoolSpec,
  type ProvisionStep,
  problemLine,
  ROOT_POOL,
  type ShareSpec,
  type VmSpec,
} from "./hyperfile/types.js";
export {
  formatSize,
  parseCores,
  parseDuration,
  parseIops,
  parseShares,
  parseSize,
} from "./hyperfile/units.js";
export { LifecycleError, type LifecycleErrorCode } from "./lifecycle/errors.js";
export type { FleetEvent } from "./lifecycle/events.js";
export type { GuestCommandOptions, GuestCommandOutputs, RunByAgent } from "./lifecycle/guest-command.js";
export type { HostClaim, NicReport, TakeClaim, VmNetwork } from "./lifecycle/host-claim.js";
export { type VmCommand, type VmState, vmCommands, vmStates } from "./lifecycle/vm-states.js";
export { LongTimer } from "./lifecycle/waiting.js";
export {
  DEFAULT_NET,
  DEFAULT_NET_POOL,
  type NetAllotment,
  type NetChange,
  type NetDirection,
  type NetPoolAllotment,
} from "./net/allotment.js";
export type {
  CaptureCounts,
  CaptureEnd,
  CaptureHandle,
  CaptureListener,
  CaptureRequest,
  OpenCapture,
} from "./net/capture.js";
export { HostNets, type NetAdmission } from "./net/host-nets.js";
export type { NetCommand } from "./net/net-scheduler.js";
export { type NetLine, NetTurns } from "./net/net-turns.js";
