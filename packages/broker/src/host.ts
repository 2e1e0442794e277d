/** Files of the host's and units as people write them: for programs that may never need the daemon. */
export { fileErrorReason } from "./files/file-reason.js";
export { makeFolders, OWNER_ONLY } from "./files/node/make-folders.js";
export { formatSize, parseDuration, parseSize } from "./hyperfile/units.js";
export { readRegularFile } from "./lifecycle/node/regular-file.js";
export { LongTimer, settlesWithin } from "./lifecycle/waiting.js";
