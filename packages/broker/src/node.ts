/** The part of the broker that needs Node. */
export * from "./api/node/capture.js";
export * from "./api/node/client.js";
export * from "./cpu/node/host-scheduler.js";
export * from "./cpu/node/thread-time.js";
export * from "./daemon/node/daemon.js";
export { DaemonError } from "./daemon/node/daemon-error.js";
export {
  type RelayClient,
  type RelayEnd,
  type RelayPort,
  RelayServer,
  type RelayServerOptions,
} from "./daemon/node/relay-server.js";
export { holderOf, type StateHolder, StateLock } from "./daemon/node/state-lock.js";
export * from "./lifecycle/node/fleet.js";
export { ManagedVm, type VmFigures } from "./lifecycle/node/managed-vm.js";
export { readRegularFile } from "./lifecycle/node/regular-file.js";
export { serveGuests } from "./lifecycle/node/serve-guests.js";
export type { SnapshotInfo } from "./lifecycle/node/snapshot-folder.js";
export * from "./memory/node/swap-file.js";
