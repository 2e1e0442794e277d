/** Requests to a disk: refused outside it and after its close, which waits for those in flight. */
import { checkRange, closed } from "./block-backend.js";

/** The requests of one disk. */
export class Requests {
  private readonly inFlight = new Set<Promise<unknown>>();
  private isClosed = false;

  /**
   * @param name of the disk, for errors
   * @param size of the disk in bytes
   */
  constructor(
    private readonly name: string,
    private readonly size: number,
  ) {}

  /** @throws DiskError `E_DISK_CLOSED`, or `E_DISK_RANGE` for bytes outside the disk */
  check(offset: number, length: number): void {
    if (this.isClosed) throw closed(this.name);
    checkRange(this.name, this.size, offset, length);
  }

  /** Does what was asked of a range. @throws DiskError as {@link Requests.check} does */
  async run<T>(offset: number, length: number, job: () => Promise<T>): Promise<T> {
    this.check(offset, length);
    const running = job();
    this.inFlight.add(running);
    try {
      return await running;
    } finally {
      this.inFlight.delete(running);
    }
  }

  /** Refuses further requests; resolves when those in flight have ended, however that was. */
  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.allSettled(this.inFlight);
  }
}
