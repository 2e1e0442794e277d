/** Shared folders: the port that a host fills in, and its errors. `@hyperfile/devices/node` has the one for Linux. */
export { FolderError, type LinuxErrorName, linuxErrors, ShareError, type ShareErrorCode } from "./errors.js";
export { isName } from "./names.js";
export * from "./shared-folder.js";
