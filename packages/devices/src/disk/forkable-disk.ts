/**
 * A disk that is written in place and can be forked all the same, at once and without a copy: whoever writes to a chunk
 * that a fork may still read keeps the chunk as it was first (copy before write). A fork is an overlay in memory over the
 * disk as it was at its moment.
 *
 * Moments form a line from the oldest to the newest. A chunk is kept once, at the newest moment, by its first write after
 * that; an older moment finds it there, since it did not change in between. Forks without a write between them have one
 * moment. A moment that nobody has any more gives what it kept to the one before it, or away.
 *
 * Invariants: a chunk that no moment from `m` on has kept is on the disk as it was at `m`. Who keeps a chunk has its
 * range's lock alone, and who reads one from the disk for a moment shares it.
 */
import { type BlockBackend, type Extent, lengthOf, readOnly, sliceOf } from "./block-backend.js";
import { DiskFilter } from "./disk-filter.js";
import { DiskError } from "./errors.js";
import { OverlayBackend } from "./overlay-backend.js";
import { CHUNK_BYTES } from "./sparse-bytes.js";
import { RangeLocks } from "./turns.js";

/** Bytes that are kept for forks, unless something else is asked for. */
const DEFAULT_LIMIT = 2 ** 30;

/** How a disk is forked. */
export interface ForkableOptions {
  /** For errors. */
  readonly name?: string;
  /** Memory for chunks that are kept for forks; beyond it the forks fail, and never the disk. 1 GiB by default. */
  readonly limitBytes?: number;
  /** Memory that the changes of one fork may take, at most; none by default. */
  readonly forkLimitBytes?: number;
}

/** A disk as it was. */
interface Moment {
  readonly kept: Map<number, Uint8Array>;
  /** Forks that read it. */
  users: number;
  before: Moment | undefined;
  after: Moment | undefined;
  /** Why it can't be read any more. */
  failure: DiskError | undefined;
}

/** A disk with forks. */
export class ForkableDisk extends DiskFilter {
  private readonly locks = new RangeLocks();
  private readonly name: string;
  private readonly limit: number;
  private newest: Moment | undefined;
  private keptChunks = 0;
  private users = 1;
  private isClosed = false;

  /** @param disk is closed when this one and all forks are */
  constructor(
    disk: BlockBackend,
    private readonly options: ForkableOptions = {},
  ) {
    super(disk);
    this.name = options.name ?? "disk";
    this.limit = options.limitBytes ?? DEFAULT_LIMIT;
  }

  /** Memory that chunks take which are kept for forks. */
  get keptBytes(): number {
    return this.keptChunks * CHUNK_BYTES;
  }

  /** Makes what was written durable; the disk below stays open for forks. */
  override async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    if (this.users === 1) await this.leave();
    else {
      // Nobody writes any more: what is there stays as it is for the forks.
      try {
        if (!this.isReadOnly) await this.disk.flush();
      } finally {
        await this.leave();
      }
    }
  }

  /** A disk with the bytes that this one has now; see `BlockBackend.fork`. */
  fork(): BlockBackend {
    const { newest } = this;
    let moment = newest;
    if (moment === undefined || moment.kept.size > 0 || moment.failure !== undefined) {
      moment = { kept: new Map(), users: 0, before: newest, after: undefined, failure: undefined };
      if (newest !== undefined) newest.after = moment;
      this.newest = moment;
    }
    return this.forkOf(moment);
  }

  private forkOf(moment: Moment): DiskFork {
    const { forkLimitBytes } = this.options;
    const overlay = new OverlayBackend(new MomentReader(this, moment), {
      name: this.name,
      ...(forkLimitBytes === undefined ? {} : { limitBytes: forkLimitBytes }),
    });
    return new DiskFork(this, moment, overlay);
  }

  /** Fills `buffers` from one chunk as it was. */
  async readAt(moment: Moment, index: number, start: number, buffers: readonly Uint8Array[]): Promise<void> {
    await this.locks.run(index, index + 1, false, async () => {
      if (moment.failure !== undefined) throw moment.failure;
      const kept = keptIn(moment, index);
      if (kept === undefined) return this.disk.read(start, buffers);
      let at = start - index * CHUNK_BYTES;
      for (const buffer of buffers) {
        buffer.set(kept.subarray(at, at + buffer.length));
        at += buffer.length;
      }
    });
  }

  /** What is at a place of one chunk as it was. */
  async extentAt(moment: Moment, offset: number, length: number): Promise<Extent> {
    const index = Math.floor(offset / CHUNK_BYTES);
    const here = Math.min(length, (index + 1) * CHUNK_BYTES - offset);
    return this.locks.run(index, index + 1, false, async () => {
      if (moment.failure !== undefined) throw moment.failure;
      if (keptIn(moment, index) !== undefined) return { length: here, kind: "data", depth: 0 };
      return this.disk.extent(offset, here);
    });
  }

  /** A fork is there. */
  join(moment: Moment): void {
    moment.users++;
    this.users++;
  }

  /** A fork has been closed. */
  async forget(moment: Moment): Promise<void> {
    moment.users--;
    if (moment.users === 0) this.remove(moment);
    await this.leave();
  }

  private async leave(): Promise<void> {
    this.users--;
    if (this.users === 0) await this.disk.close();
  }

  private remove(moment: Moment): void {
    const { before, after, kept } = moment;
    for (const [index, bytes] of kept) {
      if (before === undefined || before.kept.has(index) || before.failure !== undefined) this.keptChunks--;
      else before.kept.set(index, bytes);
    }
    kept.clear();
    if (before !== undefined) before.after = after;
    if (after !== undefined) after.before = before;
    if (this.newest === moment) this.newest = before;
  }

  protected override change(offset: number, length: number, job: () => Promise<void>): Promise<void> {
    const first = Math.floor(offset / CHUNK_BYTES);
    const end = Math.ceil((offset + length) / CHUNK_BYTES);
    // What the disk refuses changes nothing.
    if (!(first >= 0 && offset + length <= this.size) || !this.isToKeep(first, end)) return job();
    return this.locks.run(first, end, true, async () => {
      for (let index = first; index < end; index++) await this.keep(index);
      await job();
    });
  }

  private isToKeep(first: number, end: number): boolean {
    const { newest } = this;
    if (newest === undefined || newest.failure !== undefined) return false;
    for (let index = first; index < end; index++) if (!newest.kept.has(index)) return true;
    return false;
  }

  /** Keeps a chunk, whose lock the caller has. Forks for which that fails don't hold the disk: they fail. */
  private async keep(index: number): Promise<void> {
    if (!this.isToKeep(index, index + 1)) return;
    if ((this.keptChunks + 1) * CHUNK_BYTES > this.limit) {
      this.failAll(
        new DiskError(
          "E_DISK_FULL",
          `${this.name}: the original has overwritten more than the ${this.limit} bytes that are kept for its clones; stop the clones, and clone it again`,
        ),
      );
      return;
    }
    const at = index * CHUNK_BYTES;
    const bytes = new Uint8Array(Math.min(CHUNK_BYTES, this.size - at));
    // Counted before it is read, so that many writes at once keep to the limit.
    this.keptChunks++;
    try {
      await this.disk.read(at, [bytes]);
    } catch (cause) {
      this.keptChunks--;
      this.failAll(
        new DiskError(
          "E_DISK_IO",
          `${this.name}: can't be read for its clones: ${(cause as Error).message}`,
          {},
          { cause },
        ),
      );
      return;
    }
    // It may have been forked, or its newest fork closed, while the chunk was read: that is what it was at all moments
    // that have not kept it.
    if (this.isToKeep(index, index + 1)) this.newest!.kept.set(index, bytes);
    else this.keptChunks--;
  }

  private failAll(failure: DiskError): void {
    for (let moment = this.newest; moment !== undefined; moment = moment.before) {
      this.keptChunks -= moment.kept.size;
      moment.kept.clear();
      moment.failure = failure;
    }
  }
}

/** The chunk as the moment, or one after it, has kept it. */
function keptIn(moment: Moment, index: number): Uint8Array | undefined {
  for (let each: Moment | undefined = moment; each !== undefined; each = each.after) {
    const bytes = each.kept.get(index);
    if (bytes !== undefined) return bytes;
  }
  return undefined;
}

/** A disk at one moment, as overlays read it. */
class MomentReader implements BlockBackend {
  readonly isReadOnly = true;
  readonly size: number;

  constructor(
    private readonly origin: ForkableDisk,
    private readonly moment: Moment,
  ) {
    this.size = origin.size;
  }

  async read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const length = lengthOf(buffers);
    for (let done = 0; done < length; ) {
      const start = offset + done;
      const index = Math.floor(start / CHUNK_BYTES);
      const here = Math.min(length - done, (index + 1) * CHUNK_BYTES - start);
      await this.origin.readAt(this.moment, index, start, sliceOf(buffers, done, here));
      done += here;
    }
  }

  extent(offset: number, length: number): Promise<Extent> {
    return this.origin.extentAt(this.moment, offset, length);
  }

  async write(): Promise<void> {
    throw readOnly("a moment");
  }

  async discard(): Promise<void> {
    throw readOnly("a moment");
  }

  async writeZeroes(): Promise<void> {
    throw readOnly("a moment");
  }

  async flush(): Promise<void> {}

  async close(): Promise<void> {}
}

/** A fork: what it has written lies in memory, over the moment. */
class DiskFork implements BlockBackend {
  readonly isReadOnly = false;
  private isClosed = false;

  constructor(
    private readonly origin: ForkableDisk,
    private readonly moment: Moment,
    private readonly overlay: OverlayBackend,
  ) {
    origin.join(moment);
  }

  get size(): number {
    return this.overlay.size;
  }

  read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.overlay.read(offset, buffers);
  }

  write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.overlay.write(offset, buffers);
  }

  flush(): Promise<void> {
    return this.overlay.flush();
  }

  discard(offset: number, length: number): Promise<void> {
    return this.overlay.discard(offset, length);
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.overlay.writeZeroes(offset, length);
  }

  extent(offset: number, length: number): Promise<Extent> {
    return this.overlay.extent(offset, length);
  }

  fork(): BlockBackend {
    return new DiskFork(this.origin, this.moment, this.overlay.fork());
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    await this.overlay.close();
    await this.origin.forget(this.moment);
  }
}
