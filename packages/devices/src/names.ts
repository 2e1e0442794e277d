/** Names that programs list in their options: without the devices and disks, which take most of the time to load. */
export * from "./disk/image-formats.js";
export * from "./virtio/block/cache-modes.js";
