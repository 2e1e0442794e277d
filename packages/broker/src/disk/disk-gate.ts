/**
 * A VM's side of the disks' scheduler: each request to its disks goes at once where it may, or waits for its turn. All
 * disks of a VM go through one gate, each by a line of its own.
 *
 * What waits does not hold the guest: it computes on, its requests are in flight. Who wants none in flight (a pause, a
 * snapshot, a clone) lets those that wait go early; they stay in their places until their turns come, so that what comes
 * after them pays for it.
 */
import type { DiskTable } from "./disk-table.js";
import { MOST_SHOWN } from "./disk-table.js";

/** Where the requests of one disk wait for their turns. */
export interface DiskLine {
  /** Does `job`, a request of so many bytes, when its turn has come. */
  run<T>(bytes: number, job: () => Promise<T>): Promise<T>;
  /** Lets all go that wait or come, until the result is called. */
  hasten(): () => void;
  /** What waits is not wanted any more: it rejects with an error. */
  cancel(error: Error): void;
}

/** What a VM's disks had to wait for their turns. */
export interface DiskWaits {
  /** Requests that did not go at once. */
  readonly operations: number;
  /** Milliseconds in which at least one waited. */
  readonly milliseconds: number;
}

/** A gate as a guest is given it. */
export interface DiskGate {
  /** A line for another disk. */
  line(): DiskLine;
  readonly waits: DiskWaits;
}

/** A gate that holds nothing back. */
export const openDiskGate: DiskGate = {
  line: () => ({ run: (_bytes, job) => job(), hasten: () => () => {}, cancel: () => {} }),
  waits: { operations: 0, milliseconds: 0 },
};

/** A request that waits. */
interface Entry {
  readonly bytes: number;
  readonly line: Line;
  /** Its number in the table; undefined before it is there. */
  number: number | undefined;
  /** What becomes of it, while nothing has: it is counted in the table when it goes in its turn. */
  go: ((isCounted: boolean) => void) | undefined;
  readonly fail: (error: Error) => void;
}

/** A gate in memory that is shared with the scheduler. */
export class SharedDiskGate implements DiskGate {
  /** In the order of their coming; the first of them are in the table. */
  private readonly entries: Entry[] = [];
  private shown = 0;
  private taken: number;
  private inFlight = 0;
  private isListening = false;
  private readonly started = { operations: 0, bytes: 0 };
  private waiting = 0;
  private waitingSince = 0;
  private waitedMs = 0;
  private waitedOperations = 0;

  /**
   * @param slot of the VM, which is clear
   * @param ring wakes the scheduler
   * @param now milliseconds, of a clock that all threads have
   */
  constructor(
    private readonly table: DiskTable,
    private readonly slot: number,
    private readonly ring: () => void,
    private readonly now: () => number,
  ) {
    this.taken = table.granted(slot);
  }

  line(): DiskLine {
    return new Line(this);
  }

  get waits(): DiskWaits {
    const running = this.waiting > 0 ? this.now() - this.waitingSince : 0;
    return { operations: this.waitedOperations, milliseconds: this.waitedMs + running };
  }

  /** Starts a request at once, if it may go; it is to be finished. */
  begin(bytes: number, isHastened: boolean): boolean {
    const { table, slot, started } = this;
    if (isHastened) table.start(slot, bytes, this.now);
    else if (this.entries.length > 0 || !table.tryStart(slot, bytes, started, this.inFlight, this.now))
      return false;
    started.operations++;
    started.bytes += bytes;
    this.inFlight++;
    return true;
  }

  /** A request that was begun, or went in its turn, is over. */
  finish(): void {
    this.inFlight--;
    if (this.table.finish(this.slot)) this.tellScheduler();
  }

  /** Waits for a turn; gives whether the request is to be finished. */
  wait(bytes: number, line: Line): Promise<boolean> {
    this.waitedOperations++;
    if (this.waiting++ === 0) this.waitingSince = this.now();
    return new Promise((resolve, reject) => {
      this.entries.push({ bytes, line, number: undefined, go: resolve, fail: reject });
      this.show();
      void this.listen();
    });
  }

  /** Lets the requests of a line go that wait. */
  letGo(line: Line): void {
    for (const entry of this.entries) if (entry.line === line) this.release(entry, false);
  }

  /** Forgets the requests of a line that wait. */
  cancel(line: Line, error: Error): void {
    const { entries } = this;
    for (let at = entries.length - 1; at >= 0; at--) {
      const entry = entries[at]!;
      if (entry.line !== line || entry.go === undefined) continue;
      entry.go = undefined;
      this.noteWaited();
      if (entry.number === undefined) entries.splice(at, 1);
      else this.table.withdraw(this.slot, entry.number);
      entry.fail(error);
    }
    this.tellScheduler();
  }

  private release(entry: Entry, isCounted: boolean): boolean {
    const { go } = entry;
    if (go === undefined) return false;
    entry.go = undefined;
    this.noteWaited();
    go(isCounted);
    return true;
  }

  private noteWaited(): void {
    if (--this.waiting === 0) this.waitedMs += this.now() - this.waitingSince;
  }

  /** Puts into the table what has room there. */
  private show(): void {
    const { entries, table, slot } = this;
    if (this.shown === Math.min(entries.length, MOST_SHOWN)) return;
    while (this.shown < entries.length && this.shown < MOST_SHOWN) {
      const entry = entries[this.shown++]!;
      entry.number = table.ask(slot, entry.bytes);
    }
    this.tellScheduler();
  }

  private tellScheduler(): void {
    this.table.noteRing();
    this.ring();
  }

  /** Hears of turns as long as something waits for one. */
  private async listen(): Promise<void> {
    if (this.isListening) return;
    this.isListening = true;
    while (this.entries.length > 0) {
      const granted = this.table.granted(this.slot);
      if (granted === this.taken) await this.table.untilGranted(this.slot, granted);
      else this.take(granted);
    }
    this.isListening = false;
  }

  private take(granted: number): void {
    const { table, slot } = this;
    while (this.taken !== granted) {
      this.taken = (this.taken + 1) | 0;
      const entry = this.entries.shift()!;
      this.shown--;
      table.use(slot, this.now);
      this.inFlight++;
      // The turn of one that has gone already, or is not wanted, is over at once.
      if (!this.release(entry, true)) this.finish();
    }
    this.show();
  }
}

class Line implements DiskLine {
  private hastening = 0;

  constructor(private readonly gate: SharedDiskGate) {}

  run<T>(bytes: number, job: () => Promise<T>): Promise<T> {
    if (this.gate.begin(bytes, this.hastening > 0)) return this.finishAfter(job);
    return this.gate.wait(bytes, this).then((isCounted) => (isCounted ? this.finishAfter(job) : job()));
  }

  hasten(): () => void {
    this.hastening++;
    this.gate.letGo(this);
    let isMine = true;
    return () => {
      if (isMine) this.hastening--;
      isMine = false;
    };
  }

  cancel(error: Error): void {
    this.gate.cancel(this, error);
  }

  private async finishAfter<T>(job: () => Promise<T>): Promise<T> {
    try {
      return await job();
    } finally {
      this.gate.finish();
    }
  }
}
