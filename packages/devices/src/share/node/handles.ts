/**
 * Handles of the host's on files and folders. A handle is a number that the host gives to the next file as soon as it is
 * free, and calls on it wait in a queue: so it is closed only when nobody uses it, or a call would reach another file.
 */
import { close } from "node:fs";
import { FolderError } from "../errors.js";

/** A handle, with those who use it. */
export class Handle {
  private users = 0;
  private isWanted = true;
  private isOpen = true;

  constructor(private readonly number: number) {}

  /** Does something with a handle that nobody else has, and closes it. */
  static async once<T>(number: number, job: (fd: number) => Promise<T>): Promise<T> {
    const handle = new Handle(number);
    try {
      return await handle.use(job);
    } finally {
      handle.release();
    }
  }

  /** Does something with the handle, which stays open till then. @throws FolderError `ESTALE` if it is closed */
  async use<T>(job: (fd: number) => Promise<T>): Promise<T> {
    if (!this.isOpen) throw new FolderError("ESTALE");
    this.users++;
    try {
      return await job(this.number);
    } finally {
      this.users--;
      if (!this.isWanted && this.users === 0) this.end();
    }
  }

  /** The number, for calls that are over when they return. @throws FolderError `ESTALE` if it is closed */
  get fd(): number {
    if (!this.isOpen) throw new FolderError("ESTALE");
    return this.number;
  }

  /** Closes it as soon as nobody uses it. */
  release(): void {
    if (!this.isWanted) return;
    this.isWanted = false;
    if (this.users === 0) this.end();
  }

  private end(): void {
    this.isOpen = false;
    // Data was written by then, or its write has failed; there is nobody to tell more.
    close(this.number, () => {});
  }
}
