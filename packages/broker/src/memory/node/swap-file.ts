/**
 * Swap space in a file. It has no name once it is open, so that nothing of a guest is left behind, however the
 * process ends; only its owner could have opened it before.
 */
import { closeSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { fileErrorReason } from "../../files/file-reason.js";
import { SwapError } from "../errors.js";
import { PAGE_SIZE } from "../ports.js";
import type { SwapBackend } from "../swap-store.js";

/** A file of pages. */
export class SwapFile implements SwapBackend {
  private readonly file: number;
  private readonly buffer = new Uint8Array(PAGE_SIZE);

  /**
   * @param path where to make the file; nothing may be there
   * @throws Error as `openSync` does
   */
  constructor(path: string) {
    this.file = openSync(path, "wx+", 0o600);
    unlinkSync(path);
  }

  write(slot: number, page: Uint8Array): boolean {
    // A copy, since a guest's memory may be shared with other threads.
    this.buffer.set(page);
    try {
      return writeSync(this.file, this.buffer, 0, PAGE_SIZE, slot * PAGE_SIZE) === PAGE_SIZE;
    } catch {
      // The disk is full: the page stays where it is.
      return false;
    }
  }

  /** @throws SwapError if the file has been cut off, or the disk fails */
  read(slot: number, target: Uint8Array): void {
    for (let done = 0; done < PAGE_SIZE; ) {
      const count = this.readPart(slot, done);
      if (count === 0)
        throw new SwapError(`the swap file ends before slot ${slot}: it was cut off from outside`);
      done += count;
    }
    target.set(this.buffer);
  }

  private readPart(slot: number, done: number): number {
    try {
      return readSync(this.file, this.buffer, done, PAGE_SIZE - done, slot * PAGE_SIZE + done);
    } catch (error) {
      throw new SwapError(`slot ${slot} of the swap file can't be read: ${fileErrorReason(error)}`, {
        cause: error,
      });
    }
  }

  /** Gives the space back. */
  close(): void {
    closeSync(this.file);
  }
}
