/**
 * A disk that is the bytes of a file. Zeros are only written where the file has other bytes, so that holes stay holes;
 * room that a host has given can't be given back by every host, so a discard does nothing.
 */
import { type BlockBackend, type Extent, isZero, lengthOf, readOnly } from "./block-backend.js";
import type { ImageFile } from "./image-file.js";
import { Requests } from "./requests.js";

/** Bytes of a file that are looked at in one step, or zeros that are written in one. */
const STEP_BYTES = 1 << 20;

/** A disk in a raw file. */
export class RawBackend implements BlockBackend {
  private readonly requests: Requests;
  private closing: Promise<void> | undefined;

  /** @param file it is closed with the disk */
  constructor(
    private readonly file: ImageFile,
    readonly size: number = file.size,
  ) {
    this.requests = new Requests(file.name, size);
  }

  get isReadOnly(): boolean {
    return this.file.isReadOnly;
  }

  read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.requests.run(offset, lengthOf(buffers), () => this.file.read(offset, buffers));
  }

  write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.change(offset, lengthOf(buffers), () => this.file.write(offset, buffers));
  }

  flush(): Promise<void> {
    return this.requests.run(0, 0, () => this.file.flush());
  }

  discard(offset: number, length: number): Promise<void> {
    return this.change(offset, length, async () => {});
  }

  writeZeroes(
    offset: number,
    length: number,
    { mayUnmap = true }: { readonly mayUnmap?: boolean } = {},
  ): Promise<void> {
    return this.change(offset, length, async () => {
      const zeros = new Uint8Array(Math.min(length, STEP_BYTES));
      const there = new Uint8Array(zeros.length);
      for (let done = 0; done < length; done += zeros.length) {
        const step = Math.min(zeros.length, length - done);
        const old = there.subarray(0, step);
        if (mayUnmap) await this.file.read(offset + done, [old]);
        if (!mayUnmap || !isZero(old)) await this.file.write(offset + done, [zeros.subarray(0, step)]);
      }
    });
  }

  extent(offset: number, length: number): Promise<Extent> {
    return this.requests.run(offset, length, async () => {
      const isHole = (await this.file.isHole?.()) ?? false;
      return { length, kind: isHole ? "zero" : "data", depth: 0, fileOffset: offset };
    });
  }

  close(): Promise<void> {
    this.closing ??= this.finish();
    return this.closing;
  }

  private async finish(): Promise<void> {
    await this.requests.close();
    try {
      if (!this.isReadOnly) await this.file.flush();
    } finally {
      await this.file.close();
    }
  }

  private async change(offset: number, length: number, job: () => Promise<void>): Promise<void> {
    if (this.isReadOnly) throw readOnly(this.file.name);
    return this.requests.run(offset, length, job);
  }
}
