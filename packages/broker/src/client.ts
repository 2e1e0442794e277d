/** What a program needs that only talks to the daemon: a fifth of the package, and so of the time to load it. */
export * from "./api/node/capture.js";
export * from "./api/node/client.js";
export * from "./api/types.js";
export { holderOf, type StateHolder } from "./daemon/node/state-lock.js";
export * from "./host.js";
export { type HyperfileProblem, problemLine } from "./hyperfile/types.js";
export type { Activity } from "./lifecycle/activities.js";
export type { FleetEvent } from "./lifecycle/events.js";
export type { UpReport } from "./lifecycle/node/fleet.js";
