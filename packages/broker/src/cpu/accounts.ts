/**
 * Where a VM's time went. Every moment since a client was added is in exactly one account, so the sum is the time
 * that has passed; a VM that got nothing because it asked for nothing is told from one that had to stand back.
 */

/** Times in the scheduler's unit. */
export interface CpuAccounts {
  /** On a core and executing, as measured. */
  readonly used: number;
  /** On a core of ours by grant, while the host ran something else on it. */
  readonly preempted: number;
  /** Wanted to run, had no grant. */
  readonly ready: number;
  /** Wanted to run, held back by a limit of its own or of a pool. */
  readonly limited: number;
  /** Waited for a device's backend: a disk, a network. */
  readonly waiting: number;
  /** The guest had nothing to do. */
  readonly idle: number;
  /** Off or paused. */
  readonly stopped: number;
}

/** Time that a guest wanted and did not get: what it should be told as steal. */
export function stealOf(accounts: CpuAccounts): number {
  return accounts.ready + accounts.limited + accounts.preempted;
}

/** What a client is doing. */
export type CpuState = "stopped" | "idle" | "waiting" | "ready" | "limited" | "running";

type Mutable = { -readonly [Name in keyof CpuAccounts]: number };

/** One client's accounts. */
export class TimeAccounts {
  private readonly sums: Mutable = {
    used: 0,
    preempted: 0,
    ready: 0,
    limited: 0,
    waiting: 0,
    idle: 0,
    stopped: 0,
  };
  /** CPU time measured in the present grant. */
  private usedInGrant = 0;

  constructor(
    private current: CpuState,
    private since: number,
  ) {}

  /** What the client is doing. */
  get state(): CpuState {
    return this.current;
  }

  /** When that began. */
  get sinceWhen(): number {
    return this.since;
  }

  /** Enters another state. */
  enter(state: CpuState, now: number): void {
    this.settle(now);
    this.current = state;
  }

  /** Notes measured CPU time. */
  charge(used: number): void {
    this.sums.used += used;
    if (this.current === "running") this.usedInGrant += used;
  }

  /** The accounts up to `now`. */
  read(now: number): CpuAccounts {
    this.settle(now);
    return { ...this.sums };
  }

  private settle(now: number): void {
    const span = Math.max(0, now - this.since);
    if (this.current === "running") {
      // CPU time is read a little before or after the clock: what one reading lacks, the next one has.
      this.sums.preempted += span - this.usedInGrant;
      this.usedInGrant = 0;
    } else {
      this.sums[this.current] += span;
    }
    this.since = Math.max(this.since, now);
  }
}
