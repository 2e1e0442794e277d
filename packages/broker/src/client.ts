/** What a program needs that only talks to the daemon: a fifth of the package, and so of the time to load it. */
export * from "./api/node/client.js";
export * from "./api/types.js";
export { holderOf, type StateHolder } from "./daemon/node/state-lock.js";
export { fileErrorReason } from "./files/file-reason.js";
export { makeFolders, OWNER_ONLY } from "./files/node/make-folders.js";
export { type HyperfileProblem, problemLine } from "./hyperfile/types.js";
export { formatSize, parseDuration, parseSize } from "./hyperfile/units.js";
export type { Activity } from "./lifecycle/activities.js";
export type { FleetEvent } from "./lifecycle/events.js";
export type { UpReport } from "./lifecycle/node/fleet.js";
export { readRegularFile } from "./lifecycle/node/regular-file.js";
export { LongTimer } from "./lifecycle/waiting.js";
