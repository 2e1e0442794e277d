/**
 * A disk that knows what has been written since its last backup, and that can be backed up while it is written: the copy
 * is of the moment at which the backup began.
 *
 * Whoever writes to a unit that the backup has still to copy copies it first, so that nothing is kept in memory and the
 * guest waits for no more than one unit of what it writes. A write that had not resolved when the backup began may be in
 * it or not, as after a loss of power.
 *
 * Invariants, while a backup runs: a unit of `pending` has the bytes of the moment at which it began; nobody takes a unit
 * out of it who has not written it to the target. Who changes a unit or copies it has the lock of its range.
 */
import type { BlockBackend } from "./block-backend.js";
import { DiskFilter } from "./disk-filter.js";
import { DiskError } from "./errors.js";
import { RangeLocks } from "./turns.js";
import { UnitSet } from "./unit-set.js";

/** Bytes of a unit unless something else is asked for. */
const UNIT_BYTES = 64 << 10;

/** What a backup did. */
export interface BackupResult {
  /** Whether everything was copied, since it was not known what had changed. */
  readonly isWhole: boolean;
  /** Bytes that were copied, without those that read as zeros on a target that does. */
  readonly copiedBytes: number;
}

/** How a disk is backed up. */
export interface BackupOptions {
  /** Copies everything, whatever is known of the last backup. */
  readonly isWhole?: boolean;
  /** Told the share that is done, from 0 to 1. */
  readonly onProgress?: (share: number) => void;
}

interface Running {
  readonly target: BlockBackend;
  /** Units that are still to be copied. */
  readonly pending: UnitSet;
  copiedBytes: number;
  failure?: { readonly error: unknown };
}

/** A disk with backups. */
export class TrackedDisk extends DiskFilter {
  private readonly locks = new RangeLocks();
  private readonly units: number;
  readonly fork?: () => TrackedDisk;
  /** Units that were written since the last backup began; undefined where nothing is known of one. */
  private changed: UnitSet | undefined;
  private running: Running | undefined;

  /**
   * @param disk it is closed with this one
   * @param name for errors
   * @param unitBytes bytes of which it is known together whether they were written
   */
  constructor(
    disk: BlockBackend,
    private readonly name: string = "disk",
    private readonly unitBytes: number = UNIT_BYTES,
  ) {
    super(disk);
    this.units = Math.ceil(disk.size / unitBytes);
    const fork = disk.fork?.bind(disk);
    if (fork !== undefined) this.fork = () => new TrackedDisk(fork(), name, unitBytes);
  }

  /** Bytes that the next backup has to look at. */
  get changedBytes(): number {
    return Math.min(this.size, (this.changed?.size ?? this.units) * this.unitBytes);
  }

  /**
   * Makes `target` what this disk is at this moment. Where an earlier backup of this disk has succeeded, only what has
   * been written since is copied: then the target has to have the bytes of that one. The target is flushed, and stays the
   * caller's to close. A backup that fails leaves the disk and the next backup as they would have been without it.
   * @throws DiskError `E_DISK_BUSY` while another one runs; `E_DISK_RANGE` if the target has another size; and what
   * reading, or writing the target, throws
   */
  async backup(target: BlockBackend, options: BackupOptions = {}): Promise<BackupResult> {
    if (this.running !== undefined)
      throw new DiskError("E_DISK_BUSY", `${this.name}: a backup is being made; wait until it is done`);
    if (target.size !== this.size)
      throw new DiskError(
        "E_DISK_RANGE",
        `${this.name}: the target has ${target.size} bytes, and the disk ${this.size}`,
      );
    const isWhole = options.isWhole === true || this.changed === undefined;
    const before = this.changed;
    const units = isWhole ? UnitSet.all(this.units) : before!;
    const running: Running = { target, pending: units.copy(), copiedBytes: 0 };
    this.running = running;
    this.changed = new UnitSet(this.units);
    try {
      let done = 0;
      for (const unit of units) {
        if (running.pending.has(unit))
          await this.locks.run(unit, unit + 1, true, () => this.copy(running, unit));
        if (running.failure !== undefined) throw running.failure.error;
        options.onProgress?.(++done / units.size);
      }
      await target.flush();
      return { isWhole, copiedBytes: running.copiedBytes };
    } catch (error) {
      // What it had to copy is still to be copied, and so is what has been written meanwhile.
      for (const unit of before ?? []) this.changed.add(unit);
      if (before === undefined) this.changed = undefined;
      throw error;
    } finally {
      this.running = undefined;
    }
  }

  /** Copies a unit, whose lock the caller has, if that is still to be done. */
  private async copy(running: Running, unit: number): Promise<void> {
    if (!running.pending.has(unit)) return;
    const at = unit * this.unitBytes;
    const length = Math.min(this.unitBytes, this.size - at);
    const isZero = await this.isZero(at, length);
    if (isZero) await running.target.writeZeroes(at, length);
    else {
      const bytes = new Uint8Array(length);
      await this.disk.read(at, [bytes]);
      await running.target.write(at, [bytes]);
      running.copiedBytes += length;
    }
    running.pending.delete(unit);
  }

  private async isZero(at: number, length: number): Promise<boolean> {
    const { kind, length: here } = await this.disk.extent(at, length);
    return kind === "zero" && here >= length;
  }

  protected override change(offset: number, length: number, job: () => Promise<void>): Promise<void> {
    const first = Math.floor(offset / this.unitBytes);
    const end = Math.ceil((offset + length) / this.unitBytes);
    // What the disk refuses changes nothing.
    if (!(first >= 0 && end <= this.units)) return job();
    return this.locks.run(first, end, true, async () => {
      const { running } = this;
      if (running !== undefined && running.failure === undefined) await this.preserve(running, first, end);
      this.note(first, end);
      await job();
      // A backup may have begun meanwhile, for which this write comes late.
      this.note(first, end);
    });
  }

  /** Copies units that are about to change. A backup that can't be made does not hold its disk: it fails. */
  private async preserve(running: Running, first: number, end: number): Promise<void> {
    try {
      for (let unit = first; unit < end; unit++) await this.copy(running, unit);
    } catch (error) {
      running.failure ??= { error };
    }
  }

  private note(first: number, end: number): void {
    if (this.changed === undefined) return;
    for (let unit = first; unit < end; unit++) this.changed.add(unit);
  }
}
