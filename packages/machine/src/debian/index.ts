/**
 * Debian as a guest, for programs that run in Node: the unmodified kernel and busybox of Debian's archive, by the host's
 * apt, kept in the user's cache. Also the parts that it is made with, for file systems of one's own.
 */
export { type DebianCommandLine, debianCommandLine } from "./command-line.js";
export * from "./errors.js";
export { type ImageSettings, type ImageVariant, imageVariants } from "./image/settings.js";
export { initReachedText, readyForInputText } from "./init-script.js";
export { type Apt, type AptOptions, hostDebianArchive, openApt, type PackageRecord } from "./node/apt.js";
export { debianBoot } from "./node/boot.js";
export {
  type CachedFile,
  type Manifest,
  readPrepared,
  replaceFolder,
  userCacheFolder,
  writePrepared,
} from "./node/cache.js";
export { type PackageFile, type PackageLink, readPackage } from "./node/deb.js";
export { type DebianGuest, type DebianGuestOptions, prepareDebianGuest } from "./node/guest.js";
export { buildDebianImage, type DebianImage, type DebianImageOptions } from "./node/image/build.js";
export * from "./progress.js";
export type { DebianArchive } from "./sources.js";
