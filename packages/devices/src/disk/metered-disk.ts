/** A disk that counts what is asked of it, and how long the answers take: reads, writes and flushes each for themselves. */
import { type BlockBackend, lengthOf } from "./block-backend.js";
import { DiskFilter } from "./disk-filter.js";
import { DiskError } from "./errors.js";

/** Upper bounds of the latency histogram's classes in milliseconds; the last class has none. */
export const LATENCY_BOUNDS_MS: readonly number[] = [
  0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000,
];

/** What is counted of one kind of operation. */
export interface DiskFigures {
  /** Those that were answered, failures included. */
  operations: number;
  failures: number;
  bytes: number;
  /** Milliseconds from question to answer, all together. */
  milliseconds: number;
  /** Operations by the class of their latency; one more class than there are bounds. */
  readonly latencies: number[];
}

const noFigures = (): DiskFigures => ({
  operations: 0,
  failures: 0,
  bytes: 0,
  milliseconds: 0,
  latencies: Array<number>(LATENCY_BOUNDS_MS.length + 1).fill(0),
});

/** A disk whose operations are counted. Forks count for themselves. */
export class MeteredDisk extends DiskFilter {
  readonly figures = { read: noFigures(), write: noFigures(), flush: noFigures() };
  readonly fork?: () => MeteredDisk;

  /** @param disk is closed with this one */
  constructor(
    disk: BlockBackend,
    private readonly now: () => number = () => performance.now(),
  ) {
    super(disk);
    const fork = disk.fork?.bind(disk);
    if (fork !== undefined) this.fork = () => new MeteredDisk(fork(), now);
  }

  override read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.count(this.figures.read, lengthOf(buffers), () => this.disk.read(offset, buffers));
  }

  override write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.count(this.figures.write, lengthOf(buffers), () => this.disk.write(offset, buffers));
  }

  override flush(): Promise<void> {
    return this.count(this.figures.flush, 0, () => this.disk.flush());
  }

  private async count(figures: DiskFigures, bytes: number, job: () => Promise<void>): Promise<void> {
    const began = this.now();
    try {
      await job();
      figures.bytes += bytes;
    } catch (error) {
      // What is not wanted any more has no answer.
      if (error instanceof DiskError && error.code === "E_DISK_CANCELLED") throw error;
      figures.failures++;
      this.note(figures, began);
      throw error;
    }
    this.note(figures, began);
  }

  private note(figures: DiskFigures, began: number): void {
    const took = this.now() - began;
    const above = LATENCY_BOUNDS_MS.findIndex((bound) => took <= bound);
    figures.operations++;
    figures.milliseconds += took;
    figures.latencies[above < 0 ? LATENCY_BOUNDS_MS.length : above]!++;
  }
}
