/** Virtio: devices, their common core, transports and queues. */
export * from "./balloon.js";
export { type VirtioBlock, type VirtioBlockOptions, virtioBlock } from "./block/block.js";
export * from "./block/cache-modes.js";
export * from "./console.js";
export * from "./core.js";
export type { DescriptorChain } from "./descriptor-chain.js";
export * from "./device.js";
export { MOST_FS_STATE_BYTES, type VirtioFsOptions, virtioFs } from "./fs/fs.js";
export * from "./mmio-transport.js";
export { type VirtioNet, type VirtioNetOptions, virtioNet } from "./net/net.js";
export { type RejectReason, Virtqueue } from "./queue.js";
export { DRAIN_MS, type Drain } from "./requests.js";
export * from "./rng.js";
export * from "./vsock/errors.js";
export * from "./vsock/stream.js";
export { type VirtioVsock, type VirtioVsockOptions, virtioVsock } from "./vsock/vsock.js";
