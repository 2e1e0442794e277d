/**
 * A file that remembers each of its operations, and can say what a computer finds of it that was killed at any of them:
 * what was flushed, and of what was not any part, torn at sectors.
 */
import type { ImageFile, MemoryFile } from "../src/disk/index.js";

type Operation =
  | { readonly kind: "write"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "truncate"; readonly size: number }
  | { readonly kind: "flush" };

const SECTOR = 512;

/** A file in memory with a log. */
export class CrashFile implements ImageFile {
  readonly name = "crash.qcow2";
  readonly isReadOnly = false;
  readonly log: Operation[] = [];
  private readonly start: MemoryFile;

  /** @param random how long operations take: none ends before those that began earlier have to */
  constructor(
    private readonly file: MemoryFile,
    private readonly random: (end: number) => number,
  ) {
    this.start = file.copy();
  }

  get size(): number {
    return this.file.size;
  }

  async read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    await this.wait();
    return this.file.read(offset, buffers);
  }

  async write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    await this.wait();
    this.log.push({ kind: "write", offset, bytes: Buffer.concat(buffers) });
    return this.file.write(offset, buffers);
  }

  async flush(): Promise<void> {
    await this.wait();
    this.log.push({ kind: "flush" });
  }

  async truncate(size: number): Promise<void> {
    await this.wait();
    this.log.push({ kind: "truncate", size });
    return this.file.truncate(size);
  }

  async close(): Promise<void> {}

  /** The file after a kill before operation `end`, by `random`. */
  async crash(end: number, random: (end: number) => number): Promise<MemoryFile> {
    const file = this.start.copy(this.name);
    const operations = this.log.slice(0, end);
    const flushed = operations.findLastIndex(({ kind }) => kind === "flush");
    // Of a hundred operations that were not flushed, so many are kept.
    const kept = [0, 30, 70, 100][random(4)]!;
    for (const [index, operation] of operations.entries()) {
      const isKept = () => index < flushed || random(100) < kept;
      if (operation.kind === "truncate" && isKept()) await file.truncate(operation.size);
      if (operation.kind !== "write") continue;
      const { offset, bytes } = operation;
      for (let at = 0; at < bytes.length; ) {
        const length = Math.min(bytes.length - at, SECTOR - ((offset + at) % SECTOR));
        if (isKept()) await file.write(offset + at, [bytes.subarray(at, at + length)]);
        at += length;
      }
    }
    return file;
  }

  private async wait(): Promise<void> {
    for (let turns = this.random(6); turns > 0; turns--) await Promise.resolve();
  }
}
