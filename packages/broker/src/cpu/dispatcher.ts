/**
 * Turns the scheduler's decisions into grants in the shared table, and what VMs write there into calls of the
 * scheduler. One call of `poll` brings both up to date; the thread around it only waits.
 *
 * CPU time is read from the host, for the thread that runs a VM, when its turn ends and when a VM wakes, who may take
 * another's place. A reading costs more than a decision, as the caches are the guests': there is one a turn. What a thread used while
 * none of its VMs held a core (their messages, their output) is charged to the VM that held it last.
 */
import { stealOf } from "./accounts.js";
import { type ControlTable, Grant } from "./control-table.js";
import type { CpuScheduler, CpuWish } from "./scheduler.js";

/** What a dispatcher works with. */
export interface DispatcherOptions {
  readonly scheduler: CpuScheduler;
  readonly table: ControlTable;
  /**
   * CPU time that a thread of the host has used, in nanoseconds; undefined if the host does not say, when the time
   * between grant and release counts instead.
   */
  readonly threadTime: (thread: number) => number | undefined;
  /** No VM is on a thread any more whose time was asked for. */
  readonly forgetThread?: (thread: number) => void;
}

interface Entry {
  readonly name: string;
  readonly slot: number;
  /** The thread whose time was asked for, on its behalf, last; 0 for none. */
  thread: number;
  /** Whether the scheduler has given it a core and not had it back. */
  isRunning: boolean;
  /** What it wished when it was last looked at. */
  wish: CpuWish;
  /** Up to when it was charged, where CPU time is not known. */
  grantedAt: number;
  /** When the present turn began and ends. */
  turnBegan: number;
  turnEnds: number;
}

/** CPU time of one thread, and whom the next reading is charged to. */
interface ThreadAccount {
  reading: number;
  lastEntry: Entry | undefined;
}

/** Shortest wait in nanoseconds: timers of hosts are no finer. */
const SHORTEST_WAIT = 200_000;

/** Connects a scheduler with a table. Times are in nanoseconds. */
export class GrantDispatcher {
  private readonly entries = new Map<string, Entry>();
  private readonly threads = new Map<number, ThreadAccount>();
  /** The scheduler's count when accounts were last written. */
  private holds = 0;

  constructor(private readonly options: DispatcherOptions) {}

  /** A VM that the scheduler knows has this slot. */
  attach(name: string, slot: number): void {
    this.entries.set(name, {
      name,
      slot,
      thread: 0,
      isRunning: false,
      wish: "stopped",
      grantedAt: 0,
      turnBegan: 0,
      turnEnds: Infinity,
    });
  }

  /** Forgets a VM, as the caller has the scheduler do too. */
  detach(name: string): void {
    const entry = this.entries.get(name);
    this.entries.delete(name);
    for (const account of this.threads.values())
      if (account.lastEntry === entry) account.lastEntry = undefined;
    if (entry !== undefined) this.leaveThread(entry.thread);
  }

  /** A thread of which no VM is left is forgotten: another one may have its number some day. */
  private leaveThread(thread: number): void {
    if (thread === 0) return;
    for (const other of this.entries.values()) if (other.thread === thread) return;
    this.threads.delete(thread);
    this.options.forgetThread?.(thread);
  }

  /** CPU time of the thread that a VM is on; undefined if it is not known. */
  private timeOf(entry: Entry): number | undefined {
    const { table, threadTime } = this.options;
    const before = entry.thread;
    entry.thread = table.threadOf(entry.slot);
    if (before !== entry.thread) this.leaveThread(before);
    return entry.thread === 0 ? undefined : threadTime(entry.thread);
  }

  /**
   * Charges, takes back, grants.
   * @returns nanoseconds until the next call is due at the latest; Infinity if nothing is due but the bell
   */
  poll(now: number): number {
    const { scheduler } = this.options;
    for (const entry of this.entries.values()) this.follow(entry, now);
    const granted: Entry[] = [];
    for (let grant = scheduler.next(now); grant !== undefined; grant = scheduler.next(now)) {
      const entry = this.entries.get(grant.client)!;
      entry.isRunning = true;
      entry.grantedAt = entry.turnBegan = now;
      entry.turnEnds = now + grant.quantum;
      this.options.table.setTurn(entry.slot, 0);
      this.noteHolder(entry);
      this.publish(entry, now);
      granted.push(entry);
    }
    const wait = this.endTurns(now);
    this.publishHolds(now);
    // Last, for a thread that wakes may take this one's core.
    for (const { slot } of granted) this.options.table.setGrant(slot, Grant.given);
    return wait;
  }

  /** What a table says is ready from then on must not be limited when it is looked at again: sums would get smaller. */
  private publishHolds(now: number): void {
    const { holds } = this.options.scheduler.counters;
    if (holds === this.holds) return;
    this.holds = holds;
    for (const entry of this.entries.values())
      if (!entry.isRunning && entry.wish === "ready") this.publish(entry, now);
  }

  /** Writes the accounts of all VMs to the table. */
  publishAll(now: number): void {
    this.chargeRunning(now);
    for (const entry of this.entries.values()) this.publish(entry, now);
  }

  /** Charges all that hold a core. */
  private chargeRunning(now: number): void {
    for (const name of this.options.scheduler.running()) {
      const entry = this.entries.get(name);
      if (entry !== undefined) this.charge(entry, now);
    }
  }

  /** Reads the time of a VM's thread and charges what is new. */
  private charge(entry: Entry, now: number): void {
    const { scheduler } = this.options;
    const time = this.timeOf(entry);
    if (time === undefined) {
      scheduler.charge(entry.name, Math.max(0, now - entry.grantedAt));
      entry.grantedAt = now;
      return;
    }
    const account = this.accountOf(entry.thread, time);
    scheduler.charge(entry.name, Math.max(0, time - account.reading));
    account.reading = time;
  }

  /** A VM was given a core: what its thread used before is its predecessor's. */
  private noteHolder(entry: Entry): void {
    const { table, scheduler } = this.options;
    const thread = table.threadOf(entry.slot);
    // What it used since its own last turn is charged with this one.
    if (thread === 0 || this.threads.get(thread)?.lastEntry === entry) return;
    const time = this.timeOf(entry);
    if (time === undefined) return;
    const account = this.accountOf(thread, time);
    const { lastEntry } = account;
    if (lastEntry !== undefined && this.entries.get(lastEntry.name) === lastEntry)
      scheduler.charge(lastEntry.name, Math.max(0, time - account.reading));
    account.reading = time;
    account.lastEntry = entry;
  }

  private accountOf(thread: number, time: number): ThreadAccount {
    let account = this.threads.get(thread);
    if (account === undefined) {
      account = { reading: time, lastEntry: undefined };
      this.threads.set(thread, account);
    }
    return account;
  }

  /** Follows what a VM wrote into its slot. Most have written nothing: that must cost next to nothing. */
  private follow(entry: Entry, now: number): void {
    const { table, scheduler } = this.options;
    const { name, slot } = entry;
    const wish = table.wishOf(slot);
    const grant = table.grantOf(slot);
    if (entry.isRunning) {
      if (grant !== Grant.none && wish === "ready") return;
      if (grant !== Grant.none) table.setGrant(slot, Grant.none);
      this.charge(entry, now);
      scheduler.release(name, wish, now);
      entry.isRunning = false;
      entry.wish = wish;
      entry.turnEnds = Infinity;
      this.publish(entry, now);
      return;
    }
    // A VM that gave up waiting ended its wait with a grant of its own making.
    if (grant !== Grant.none && wish !== "ready") table.setGrant(slot, Grant.none);
    if (wish === entry.wish) return;
    entry.wish = wish;
    if (wish !== "ready") {
      scheduler.sleep(name, wish, now);
      this.publish(entry, now);
      return;
    }
    this.chargeRunning(now);
    const evicted = scheduler.wake(name, now);
    this.publish(entry, now);
    const other = evicted === undefined ? undefined : this.entries.get(evicted);
    if (other !== undefined) this.revoke(other);
  }

  /** Takes cores back whose turn is over while somebody waits; gives the nanoseconds until the next such look. */
  private endTurns(now: number): number {
    const { scheduler, table } = this.options;
    let wanted = false;
    for (const { isRunning, wish } of this.entries.values()) wanted ||= !isRunning && wish === "ready";
    const patience = wanted ? scheduler.quantum : 0;
    let next = wanted ? scheduler.nextRefill(now) - now : Infinity;
    let contended: boolean | undefined;
    for (const entry of this.entries.values()) {
      if (!entry.isRunning) continue;
      if (wanted && entry.turnEnds !== Infinity) table.setTurn(entry.slot, entry.turnEnds - entry.turnBegan);
      // The VM ends its turn by itself; it is seen to a turn later.
      if (entry.turnEnds + patience <= now) {
        this.charge(entry, now);
        contended ??= scheduler.hasCandidate(now);
        if (contended || scheduler.isOverLimit(entry.name, now)) {
          this.revoke(entry);
          continue;
        }
        // Nobody waits for the core: the VM keeps it, and is looked at again after as long a turn.
        entry.turnEnds = now + scheduler.quantum;
        this.publish(entry, now);
      }
      next = Math.min(next, entry.turnEnds + patience - now);
    }
    return Math.max(next, SHORTEST_WAIT);
  }

  private revoke(entry: Entry): void {
    entry.turnEnds = Infinity;
    this.options.table.revoke(entry.slot);
  }

  private publish({ name, slot }: Entry, now: number): void {
    const { scheduler, table } = this.options;
    const accounts = scheduler.accountsOf(name, now);
    table.publish(slot, scheduler.stateOf(name), now, accounts);
  }
}

/** Time that a VM wanted and did not get, as its slot has it, in nanoseconds. */
export function stealIn(table: ControlTable, slot: number, now: number): number {
  return stealOf(table.read(slot, now).accounts);
}
