/** A disk in front of another, which it passes everything on to: what stands between overrides what it is there for. */
import { type BlockBackend, type Extent, lengthOf } from "./block-backend.js";

/** A disk in front of another. */
export abstract class DiskFilter implements BlockBackend {
  /** @param disk is closed with this one */
  constructor(protected readonly disk: BlockBackend) {}

  get size(): number {
    return this.disk.size;
  }

  get isReadOnly(): boolean {
    return this.disk.isReadOnly;
  }

  read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.disk.read(offset, buffers);
  }

  write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.change(offset, lengthOf(buffers), () => this.disk.write(offset, buffers));
  }

  flush(): Promise<void> {
    return this.disk.flush();
  }

  discard(offset: number, length: number): Promise<void> {
    return this.change(offset, length, () => this.disk.discard(offset, length));
  }

  writeZeroes(offset: number, length: number, options?: { readonly mayUnmap?: boolean }): Promise<void> {
    return this.change(offset, length, () => this.disk.writeZeroes(offset, length, options));
  }

  extent(offset: number, length: number): Promise<Extent> {
    return this.disk.extent(offset, length);
  }

  close(): Promise<void> {
    return this.disk.close();
  }

  hasten(): () => void {
    return this.disk.hasten?.() ?? (() => {});
  }

  cancel(): void {
    this.disk.cancel?.();
  }

  /** Does `job`, which changes a range of the disk below. */
  protected change(_offset: number, _length: number, job: () => Promise<void>): Promise<void> {
    return job();
  }
}
