/** A disk whose requests wait for their turns, which somebody else gives: a budget that several disks have together. */
import { type BlockBackend, lengthOf } from "./block-backend.js";
import { DiskFilter } from "./disk-filter.js";
import { DiskError } from "./errors.js";

/** Where the requests of one disk wait. */
export interface RequestLine {
  /** Does `job`, a request of so many bytes, when its turn has come. */
  run<T>(bytes: number, job: () => Promise<T>): Promise<T>;
  /** Lets all go that wait or come, until the result is called. */
  hasten(): () => void;
  /** What waits is not wanted any more: it rejects with an error. */
  cancel(error: Error): void;
}

/**
 * A disk with turns. Flushes and discards are requests without bytes; zeros count as what is written, since disks may have
 * to write them. When it is closed, requests that wait are given up.
 */
export class ThrottledDisk extends DiskFilter {
  /** @param disk is closed with this one */
  constructor(
    disk: BlockBackend,
    private readonly line: RequestLine,
  ) {
    super(disk);
  }

  override read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.line.run(lengthOf(buffers), () => this.disk.read(offset, buffers));
  }

  override write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.line.run(lengthOf(buffers), () => this.disk.write(offset, buffers));
  }

  override flush(): Promise<void> {
    return this.line.run(0, () => this.disk.flush());
  }

  override discard(offset: number, length: number): Promise<void> {
    return this.line.run(0, () => this.disk.discard(offset, length));
  }

  override writeZeroes(
    offset: number,
    length: number,
    options?: { readonly mayUnmap?: boolean },
  ): Promise<void> {
    return this.line.run(length, () => this.disk.writeZeroes(offset, length, options));
  }

  override hasten(): () => void {
    return this.line.hasten();
  }

  override cancel(): void {
    this.line.cancel(new DiskError("E_DISK_CANCELLED", "the request was given up before its turn"));
  }

  override close(): Promise<void> {
    this.cancel();
    return super.close();
  }
}
