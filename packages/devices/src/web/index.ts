/**
 * The part of the devices that needs a browser: disks, image stores and files in the private file system of a page's
 * origin, where what writes runs in workers, a list, a look and a removal also in the page; networks of several tabs; and
 * how guests in a page reach the outside.
 */
export type { SyncAccess } from "./browser-files.js";
export { type FetchOutsideOptions, fetchOutside } from "./fetch-outside.js";
export { type OpfsBacking, type OpfsDiskOptions, openOpfsDisk } from "./opfs-disk.js";
export { OpfsFile, type OpfsFileOptions } from "./opfs-file.js";
export { listOpfs, type OpfsEntry, readOpfs, removeOpfs, writeOpfs } from "./opfs-files.js";
export { OpfsPlace } from "./opfs-place.js";
export type { TabCard } from "./tabs/messages.js";
export { type TabChannel, type TabLocks, TabNetwork, type TabNetworkOptions } from "./tabs/tab-network.js";
export { type PageRelayOptions, wispOutside } from "./wisp-outside.js";
