/**
 * The one interface for blocks: what a device, a budget or a cache sees of a disk, and what every backend is.
 *
 * Rules that hold for all backends:
 * - Offsets and lengths are bytes, of any alignment; requests reach at most to `size`, or fail with `E_DISK_RANGE`.
 * - Any number of requests may be in flight. Requests that overlap and of which one writes have no order between them,
 *   unless the later one begins after the earlier one has resolved; bytes that no write in flight covers stay as they are.
 * - The caller leaves the buffers of a request alone until it resolves; then the backend has let go of them.
 * - A write that has resolved is seen by every later read. It is durable once a `flush` that began later has resolved.
 * - A request that rejects may have been done in part, within its own range only.
 * - `close` waits for what is in flight, makes it durable, and is harmless when repeated; requests after it reject with
 *   `E_DISK_CLOSED`.
 * - What fails rejects with a `DiskError`.
 */
import { DiskError } from "./errors.js";

/** A range of a disk of which the same can be said. */
export interface Extent {
  /** Bytes from the offset that was asked for; at least 1. */
  readonly length: number;
  /** `zero` reads as zeros and takes no room. */
  readonly kind: "data" | "zero";
  /** Which image of a backing chain it comes from: 0 is the topmost. */
  readonly depth: number;
  /** Where it lies in that image's file, if it lies there as it is. */
  readonly fileOffset?: number;
  readonly isCompressed?: boolean;
}

/** A disk. */
export interface BlockBackend {
  /** Bytes. */
  readonly size: number;
  readonly isReadOnly: boolean;
  /** Fills `buffers`, one after another, from `offset`. */
  read(offset: number, buffers: readonly Uint8Array[]): Promise<void>;
  /** Writes `buffers`, one after another, from `offset`. */
  write(offset: number, buffers: readonly Uint8Array[]): Promise<void>;
  /** Makes all writes that have resolved durable. */
  flush(): Promise<void>;
  /** Says that nobody needs the bytes any more: they may stay or read as zeros, each for itself. */
  discard(offset: number, length: number): Promise<void>;
  /**
   * Lets the range read as zeros, without writing them where that can be had.
   * @param options.mayUnmap whether the room may be given back; true by default
   */
  writeZeroes(offset: number, length: number, options?: { readonly mayUnmap?: boolean }): Promise<void>;
  /** What is at `offset`, and for how far (at most `length` bytes). */
  extent(offset: number, length: number): Promise<Extent>;
  close(): Promise<void>;
  /**
   * Somebody waits for the requests in flight: what only waits for its turn goes at once, until the result is called.
   * Only where there are turns.
   */
  hasten?(): () => void;
  /** What waits for its turn is not wanted any more: it rejects with `E_DISK_CANCELLED`. Only where there are turns. */
  cancel?(): void;
  /**
   * Another disk that has the same bytes now, and keeps its changes to itself, had at once; both close for themselves. Only
   * where that can be had. The caller has waited for the writes that the fork is to have.
   */
  fork?(): BlockBackend;
}

/** Bytes in a vector of buffers. */
export function lengthOf(buffers: readonly Uint8Array[]): number {
  let length = 0;
  for (const buffer of buffers) length += buffer.length;
  return length;
}

/** The part of a vector from byte `start`, `length` bytes long, as views. */
export function sliceOf(buffers: readonly Uint8Array[], start: number, length: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const buffer of buffers) {
    const from = Math.max(start - at, 0);
    const to = Math.min(start + length - at, buffer.length);
    if (from < to) parts.push(from === 0 && to === buffer.length ? buffer : buffer.subarray(from, to));
    at += buffer.length;
    if (at >= start + length) break;
  }
  return parts;
}

/** Copies `bytes` into a vector that has the same length. */
export function scatter(bytes: Uint8Array, buffers: readonly Uint8Array[]): void {
  let at = 0;
  for (const buffer of buffers) {
    buffer.set(bytes.subarray(at, at + buffer.length));
    at += buffer.length;
  }
}

/** Fills a vector with zeros. */
export function clear(buffers: readonly Uint8Array[]): void {
  for (const buffer of buffers) buffer.fill(0);
}

/** Whether all bytes are zero. */
export function isZero(bytes: Uint8Array): boolean {
  const whole = bytes.byteOffset % 4 === 0 ? bytes.length >>> 2 : 0;
  const words = new Uint32Array(bytes.buffer, whole === 0 ? 0 : bytes.byteOffset, whole);
  for (let index = 0; index < whole; index++) if (words[index] !== 0) return false;
  for (let index = whole * 4; index < bytes.length; index++) if (bytes[index] !== 0) return false;
  return true;
}

/**
 * Checks a request against a disk.
 * @throws DiskError `E_DISK_RANGE`
 */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  const isWhole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (isWhole && offset >= 0 && length >= 0 && offset + length <= size) return;
  throw new DiskError(
    "E_DISK_RANGE",
    `${name}: ${length} bytes at ${offset} reach outside the disk, which has ${size} bytes`,
  );
}

/** The error for a request to a disk that has been closed. */
export const closed = (name: string): DiskError =>
  new DiskError("E_DISK_CLOSED", `${name}: the disk is closed`);

/** The error for a write to a disk that is only read. */
export const readOnly = (name: string): DiskError =>
  new DiskError("E_DISK_READ_ONLY", `${name}: the disk is read-only`);
