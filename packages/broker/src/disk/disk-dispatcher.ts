/**
 * Turns the order of mClock into grants in the shared table, and what VMs write there into calls of mClock. One call of
 * `poll` brings both up to date; the thread around it only waits.
 *
 * While several VMs want more than the store takes at once, every request is asked for and granted. Else VMs start their
 * requests themselves, those with a limit as far as their leases go; what they took is charged when they ask next.
 */
import type { DiskChange } from "./allotment.js";
import { type DiskTable, VOID } from "./disk-table.js";
import type { MClock, StoreRoom } from "./mclock.js";

/** By how much more than the store's depth may be in flight for the sake of reservations. */
const RESERVED_DEPTH = 2;
/** Shortest wait in milliseconds: timers of hosts are no finer. */
const SHORTEST_WAIT = 0.2;

interface Entry {
  readonly name: string;
  readonly slot: number;
  /** Requests that it had asked for, and had been granted, when it was looked at last. */
  asked: number;
  granted: number;
  /** What it had started without asking then, by the table's count and in all. */
  started: number;
  startedOperations: number;
  startedBytes: number;
  /** Its lease is to be written anew. */
  isDue: boolean;
}

/** Connects mClock with a table. Times are in milliseconds. */
export class DiskDispatcher {
  private readonly entries = new Map<string, Entry>();
  /** VMs that are to be told of grants. */
  private readonly granted = new Set<Entry>();

  constructor(
    private readonly mclock: MClock,
    private readonly table: DiskTable,
  ) {}

  /** A VM that mClock knows has this slot, which was cleared. */
  attach(name: string, slot: number): void {
    const { table } = this;
    this.entries.set(name, {
      name,
      slot,
      asked: 0,
      granted: table.granted(slot),
      started: 0,
      startedOperations: 0,
      startedBytes: 0,
      isDue: true,
    });
  }

  /** Forgets a VM, as the caller has mClock do too. */
  detach(name: string): void {
    const entry = this.entries.get(name);
    if (entry === undefined) return;
    this.entries.delete(name);
    this.table.release(entry.slot, this.entries.size === 0);
  }

  /** Changes what a VM or pool may have; leases that are out are taken back. */
  configure(name: string, change: DiskChange, of: "client" | "pool", now: number): void {
    for (const entry of this.entries.values()) {
      this.charge(entry, now);
      entry.isDue = true;
    }
    this.mclock.configure(name, change, of, now);
  }

  /**
   * Charges, grants, leases.
   * @returns milliseconds until the next call is due at the latest; Infinity if nothing is due but the bell
   */
  poll(now: number): number {
    const { mclock, table, granted } = this;
    for (const entry of this.entries.values()) this.follow(entry, now);
    for (;;) {
      this.grantAll(now);
      const isHeld = mclock.isHeldByStore(now);
      table.setContended(isHeld);
      // A request that was over before that was written has told nobody.
      if (!isHeld || this.room(now) !== "all") break;
    }
    for (const entry of this.entries.values()) if (entry.isDue) this.lease(entry, now);
    for (const { slot } of granted) table.tell(slot);
    granted.clear();
    return Math.max(SHORTEST_WAIT, mclock.nextTime(now, this.room(now)) - now);
  }

  private room(now: number): StoreRoom {
    const { table } = this;
    const inFlight = table.inFlight();
    if (inFlight < table.depth || this.hasOneUser(inFlight, now)) return "all";
    return inFlight < RESERVED_DEPTH * table.depth ? "reserved" : "none";
  }

  /** Whether all that waits and is in flight is one VM's, and was for a while: then nobody has to be kept from the store. */
  private hasOneUser(inFlight: number, now: number): boolean {
    let user: Entry | undefined;
    for (const entry of this.entries.values()) {
      if (entry.asked === entry.granted) continue;
      if (user !== undefined) return false;
      user = entry;
    }
    if (user === undefined) return false;
    return this.table.inFlightOf(user.slot) === inFlight && this.table.isAlone(user.slot, now);
  }

  /** Follows what a VM wrote into its slot. Most have written nothing: that must cost next to nothing. */
  private follow(entry: Entry, now: number): void {
    const { table, mclock } = this;
    const { name, slot } = entry;
    this.charge(entry, now);
    const asked = table.asked(slot);
    if (asked !== entry.asked) {
      entry.isDue = true;
      for (; entry.asked !== asked; entry.asked = (entry.asked + 1) | 0)
        mclock.arrive(name, table.sizeOf(slot, entry.asked), now);
    }
    this.dropVoid(entry);
  }

  /** Charges what a VM has started without asking. */
  private charge(entry: Entry, now: number): void {
    const { table, mclock } = this;
    const started = table.started(entry.slot);
    if (started === entry.started) return;
    const bytes = table.startedBytes(entry.slot);
    const operations = (started - entry.started) | 0;
    mclock.charge(entry.name, { operations, bytes: bytes - entry.startedBytes }, now);
    entry.started = started;
    entry.startedOperations += operations;
    entry.startedBytes = bytes;
  }

  /** What a VM does not want any more is over as it comes to the front. */
  private dropVoid(entry: Entry): void {
    const { table, mclock } = this;
    while (entry.granted !== entry.asked && table.sizeOf(entry.slot, entry.granted) === VOID) {
      mclock.drop(entry.name);
      this.grant(entry);
    }
  }

  private grantAll(now: number): void {
    for (;;) {
      const next = this.mclock.next(now, this.room(now));
      if (next === undefined) return;
      const entry = this.entries.get(next.client)!;
      this.grant(entry);
      this.dropVoid(entry);
    }
  }

  private grant(entry: Entry): void {
    entry.granted = (entry.granted + 1) | 0;
    this.table.grant(entry.slot);
    this.granted.add(entry);
  }

  private lease(entry: Entry, now: number): void {
    const { operations, bytes } = this.mclock.lease(entry.name, now);
    this.table.setLease(entry.slot, entry.startedOperations + operations, entry.startedBytes + bytes);
    entry.isDue = false;
  }
}
