/**
 * Execution of several VMs in one thread under the same scheduler: where there are no worker threads, and where a run
 * must repeat exactly. A VM's loop asks its gate for the core; one of them has it at a time.
 *
 * Time and use come from the caller: clock and CPU time of the host, or instructions. In deterministic mode both are
 * instructions retired by all VMs together, so that the order of turns depends on nothing but the guests.
 */
import type { CpuGate } from "./cpu-gate.js";
import type { CpuScheduler, CpuWish } from "./scheduler.js";

/** What an executor works with. */
export interface InlineExecutorOptions {
  /** A scheduler of one core that knows the VMs. */
  readonly scheduler: CpuScheduler;
  /** The scheduler's time. */
  readonly now: () => number;
  /** Time used by whatever runs in this thread, in the scheduler's unit; its differences are charged. */
  readonly used: () => number;
}

/** Shares one thread among VMs. */
export class InlineExecutor {
  private readonly waiting = new Map<string, () => void>();
  private current: string | undefined;
  private grantedAt = 0;
  private quantum = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: InlineExecutorOptions) {}

  /** The gate of a VM that the scheduler knows. */
  gate(name: string): CpuGate {
    return {
      acquire: () => this.acquire(name),
      mayContinue: () => this.options.used() - this.grantedAt < this.quantum,
      release: (wish) => this.release(name, wish),
      cancel: () => this.cancel(name),
    };
  }

  private acquire(name: string): Promise<void> {
    // After a turn that ended in `ready` the next one may have come already.
    if (this.current === name) return Promise.resolve();
    return new Promise((resolve) => {
      this.waiting.set(name, resolve);
      this.options.scheduler.wake(name, this.options.now());
      this.dispatch();
    });
  }

  private release(name: string, wish: CpuWish): void {
    const { scheduler, now, used } = this.options;
    if (this.current === name) {
      this.current = undefined;
      scheduler.charge(name, used() - this.grantedAt);
      scheduler.release(name, wish, now());
    } else if (wish !== "ready") {
      scheduler.sleep(name, wish, now());
    }
    this.dispatch();
  }

  private cancel(name: string): void {
    const resolve = this.waiting.get(name);
    if (resolve === undefined) return;
    this.waiting.delete(name);
    this.options.scheduler.sleep(name, "stopped", this.options.now());
    resolve();
  }

  /** Grants the core if it is free and somebody waits for it. */
  private dispatch(): void {
    const { scheduler, now, used } = this.options;
    if (this.current !== undefined) return;
    const time = now();
    const grant = scheduler.next(time);
    if (grant === undefined) {
      this.waitForRefill(time);
      return;
    }
    const resolve = this.waiting.get(grant.client);
    this.current = grant.client;
    this.grantedAt = used();
    this.quantum = grant.quantum;
    if (resolve !== undefined) {
      this.waiting.delete(grant.client);
      resolve();
    }
  }

  /**
   * A VM that a limit holds back goes on when time has passed, which in this thread nothing else announces.
   * @param time at which none could run: one that can since must not be left out
   */
  private waitForRefill(time: number): void {
    const at = this.options.scheduler.nextRefill(time);
    if (at === Infinity || this.timer !== undefined) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.dispatch();
    }, 1);
  }
}
