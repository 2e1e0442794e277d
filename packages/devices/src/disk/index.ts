/**
 * Disks and their images: the interface for blocks, backends, qcow2, and the interfaces that a host fills in
 * (`ImageFile`, `ClusterCodec`). `checkRange`, `lengthOf` and `sliceOf` are for those who write a backend of their own.
 */
export { type BlockBackend, checkRange, type Extent, lengthOf, sliceOf } from "./block-backend.js";
export type { ClusterCodec, ClusterCodecs, CompressionType } from "./cluster-codec.js";
export { type CopyOptions, copyDisk } from "./copy.js";
export { DiskError, type DiskErrorCode } from "./errors.js";
export { ForkableDisk, type ForkableOptions } from "./forkable-disk.js";
export { HttpFile, type HttpFileOptions } from "./http/http-file.js";
export { type HttpOptions, isAddress } from "./http/http-source.js";
export { type ImageFile, MemoryFile } from "./image-file.js";
export { MemoryBackend } from "./memory-backend.js";
export { type DiskFigures, LATENCY_BOUNDS_MS, MeteredDisk } from "./metered-disk.js";
export { OVERLAY_CHUNK_BYTES, OverlayBackend } from "./overlay-backend.js";
export {
  type CheckOptions,
  type CheckProblem,
  type CheckProblems,
  type CheckResult,
  checkQcow2,
} from "./qcow2/check.js";
export { type CreateQcow2Options, createQcow2 } from "./qcow2/create.js";
export type { HeaderExtension, Qcow2Header } from "./qcow2/format.js";
export { Qcow2Image, type Qcow2Options } from "./qcow2/qcow2-image.js";
export { type ResizeOptions, resizeQcow2 } from "./qcow2/resize.js";
export {
  applySnapshot,
  createSnapshot,
  deleteSnapshot,
  type InternalSnapshot,
  listSnapshots,
} from "./qcow2/snapshots.js";
export { RawBackend } from "./raw-backend.js";
export { HttpPlace } from "./store/http-place.js";
export {
  type Collected,
  ImageStore,
  type NewImage,
  type StoreProblem,
} from "./store/image-store.js";
export type { Manifest } from "./store/manifest.js";
export { MemoryPlace, type ObjectInfo, type ObjectPlace } from "./store/object-place.js";
export type { StoreBackend } from "./store/store-backend.js";
export { type RequestLine, ThrottledDisk } from "./throttled-disk.js";
export { type BackupOptions, type BackupResult, TrackedDisk } from "./tracked-disk.js";
export { loadZstd } from "./zstd.js";
