/** What is booted: kernels, programs, initial RAM file systems, and where they are put. */
export * from "./boot.js";
export { type Compression, compressionOf } from "./compression.js";
export * from "./elf.js";
export * from "./errors.js";
export * from "./initramfs.js";
export * from "./kernel-image.js";
