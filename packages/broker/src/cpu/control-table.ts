/**
 * The memory that the scheduler's thread and the threads of the VMs share: a doorbell, a count of commands, and for each
 * VM a slot with its grant, its wish and its accounts. Taking and giving back a core is a few atomic operations on it.
 *
 * Who writes what: the scheduler sets a grant to `given` and to `revoked`, and the accounts; the VM's thread sets the
 * wish, and the grant to `none`, as it does at the end of a turn that the scheduler set because others wait. The VM's wish is `ready` as long as it holds a core. A VM that changes its mind while
 * it waits may find itself with a grant all the same: whoever sees a grant without the wish takes it back.
 */

import type { CpuAccounts, CpuState } from "./accounts.js";
import type { CpuGate } from "./cpu-gate.js";
import type { CpuWish } from "./scheduler.js";
import { untilChanged } from "./shared-wait.js";

/** Bytes of a slot. */
const SLOT_BYTES = 128;
/** Bytes before the first slot. */
const HEADER_BYTES = 128;

/** Values of a slot's grant. */
export const Grant = { none: 0, given: 1, revoked: 2 } as const;

/** Wishes by number. */
const wishes: readonly CpuWish[] = ["stopped", "idle", "waiting", "ready"];
/** States by number. */
const states: readonly CpuState[] = ["stopped", "idle", "waiting", "ready", "limited", "running"];
/** Order of the accounts in a slot. */
const accountNames = ["used", "preempted", "ready", "limited", "waiting", "idle", "stopped"] as const;

/** Positions in a slot, in words of 32 bits. */
const Word = { grant: 0, wish: 1, thread: 2, state: 3 } as const;
/** Positions in a slot, in words of 64 bits: when the state began, retired instructions, the accounts, the turn. */
const Wide = { since: 2, retired: 3, accounts: 4, turn: 11 } as const;

/** The shared memory. */
export class ControlTable {
  private readonly words: Int32Array;
  private readonly wide: Float64Array;

  /** @param buffer memory that {@link ControlTable.allocate} made, here or in another thread */
  constructor(readonly buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
    this.wide = new Float64Array(buffer);
  }

  /** Memory for that many VMs. */
  static allocate(slots: number): ControlTable {
    return new ControlTable(new SharedArrayBuffer(HEADER_BYTES + slots * SLOT_BYTES));
  }

  /** Number of slots. */
  get slots(): number {
    return (this.buffer.byteLength - HEADER_BYTES) / SLOT_BYTES;
  }

  /** Tells the scheduler to look. */
  ring(): void {
    Atomics.add(this.words, 0, 1);
    Atomics.notify(this.words, 0);
  }

  /** How often the bell was rung. */
  rings(): number {
    return Atomics.load(this.words, 0);
  }

  /** Tells the scheduler that there is another command for it, and rings. */
  announceCommand(): void {
    Atomics.add(this.words, 1, 1);
    this.ring();
  }

  /** How many commands were announced: to look for one is dearer than to see that there is none. */
  commands(): number {
    return Atomics.load(this.words, 1);
  }

  /** Blocks the calling thread until the bell is rung after `seen`, or for so many milliseconds. */
  listen(seen: number, milliseconds: number): void {
    Atomics.wait(this.words, 0, seen, milliseconds);
  }

  /** Empties a slot. */
  clear(slot: number): void {
    const first = this.at(slot);
    this.words.fill(0, first, first + SLOT_BYTES / 4);
  }

  grantOf(slot: number): number {
    return Atomics.load(this.words, this.at(slot) + Word.grant);
  }

  wishOf(slot: number): CpuWish {
    return wishes[Atomics.load(this.words, this.at(slot) + Word.wish)]!;
  }

  /** Number of the host's thread that runs the VM; 0 if it is not known. */
  threadOf(slot: number): number {
    return Atomics.load(this.words, this.at(slot) + Word.thread);
  }

  setThread(slot: number, thread: number): void {
    Atomics.store(this.words, this.at(slot) + Word.thread, thread);
  }

  /** Sets the grant and wakes the VM's thread. */
  setGrant(slot: number, grant: number): void {
    const at = this.at(slot) + Word.grant;
    Atomics.store(this.words, at, grant);
    Atomics.notify(this.words, at);
  }

  /** Asks for a grant back, if it is still given. */
  revoke(slot: number): void {
    Atomics.compareExchange(this.words, this.at(slot) + Word.grant, Grant.given, Grant.revoked);
  }

  setWish(slot: number, wish: CpuWish): void {
    Atomics.store(this.words, this.at(slot) + Word.wish, wishes.indexOf(wish));
  }

  /** Resolves when the slot's grant is other than `none`, or after a while. */
  granted(slot: number): Promise<void> {
    return untilChanged(this.words, this.at(slot) + Word.grant, Grant.none);
  }

  /** Nanoseconds after which the VM gives its core back by itself; 0 for none, as long as nobody waits for it. */
  turnOf(slot: number): number {
    return this.wide[this.wideAt(slot) + Wide.turn]!;
  }

  setTurn(slot: number, nanoseconds: number): void {
    this.wide[this.wideAt(slot) + Wide.turn] = nanoseconds;
  }

  /** Guest instructions that the VM has retired. */
  retiredOf(slot: number): number {
    return this.wide[this.wideAt(slot) + Wide.retired]!;
  }

  setRetired(slot: number, retired: number): void {
    this.wide[this.wideAt(slot) + Wide.retired] = retired;
  }

  /** Publishes a VM's accounts as they were at `since`, when its present state began or was last settled. */
  publish(slot: number, state: CpuState, since: number, accounts: CpuAccounts): void {
    const first = this.wideAt(slot);
    for (let at = 0; at < accountNames.length; at++)
      this.wide[first + Wide.accounts + at] = accounts[accountNames[at]!];
    this.wide[first + Wide.since] = since;
    Atomics.store(this.words, this.at(slot) + Word.state, states.indexOf(state));
  }

  /** A VM's state and accounts up to `now`, in nanoseconds; what has run since the last look is not in yet. */
  read(slot: number, now: number): { readonly state: CpuState; readonly accounts: CpuAccounts } {
    const first = this.wideAt(slot);
    const state = states[Atomics.load(this.words, this.at(slot) + Word.state)]!;
    const accounts = Object.fromEntries(
      accountNames.map((name, at) => [name, this.wide[first + Wide.accounts + at]!]),
    ) as Record<(typeof accountNames)[number], number>;
    if (state !== "running") accounts[state] += Math.max(0, now - this.wide[first + Wide.since]!);
    return { state, accounts };
  }

  private at(slot: number): number {
    return (HEADER_BYTES + slot * SLOT_BYTES) / 4;
  }

  private wideAt(slot: number): number {
    return (HEADER_BYTES + slot * SLOT_BYTES) / 8;
  }
}

/** A VM's side of its slot. */
export class SharedGate implements CpuGate {
  private cancelled = false;
  private since = 0;

  constructor(
    private readonly table: ControlTable,
    private readonly slot: number,
    /** Instructions retired so far. */
    private readonly retired: () => number = () => 0,
  ) {}

  async acquire(): Promise<void> {
    const { table, slot } = this;
    this.cancelled = false;
    // A turn that ended in `ready` was also the request for the next one, which may have come already.
    if (table.wishOf(slot) !== "ready") {
      table.setWish(slot, "ready");
      table.ring();
    }
    while (table.grantOf(slot) === Grant.none && !this.cancelled) await table.granted(slot);
    this.since = performance.now();
  }

  mayContinue(): boolean {
    // A turn that nobody contends for may last for minutes.
    this.table.setRetired(this.slot, this.retired());
    if (this.table.grantOf(this.slot) !== Grant.given) return false;
    // The end of a turn is left to the VM, which saves the scheduler from waking up for it.
    const turn = this.table.turnOf(this.slot);
    return turn === 0 || (performance.now() - this.since) * 1e6 < turn;
  }

  release(wish: CpuWish): void {
    const { table, slot } = this;
    table.setRetired(slot, this.retired());
    table.setWish(slot, wish);
    table.setGrant(slot, Grant.none);
    table.ring();
  }

  /** Ends a wait in `acquire`, as the VM is to pause or stop: it runs no further slice before it asks again. */
  cancel(): void {
    this.cancelled = true;
    // Only a change of the word ends the wait; without the wish behind it, the scheduler takes it back.
    if (this.table.grantOf(this.slot) !== Grant.none) return;
    this.table.setWish(this.slot, "stopped");
    this.table.setGrant(this.slot, Grant.revoked);
    this.table.ring();
  }
}
