/**
 * Machine time. A tick is 100 ns (10 MHz), the time base of QEMU's `virt`. A real clock follows the host; a
 * virtual one counts retired instructions, so that a run repeats exactly.
 */

/** Ticks a second. */
export const TICKS_PER_SECOND = 10_000_000;

/** What a VM and its parts read the time from. */
export interface MachineClock {
  /** Ticks since power-on, an integer. */
  now(): number;
  /** Host milliseconds to sleep until `tick`; 0 where sleeping is pointless. */
  millisecondsUntil(tick: number): number;
  /** The hart is idle until `tick`: a virtual clock goes there at once. */
  idleUntil(tick: number): void;
  /** The machine stood still (paused, stopped in a debugger): time must not have passed for the guest. */
  freeze(): void;
  /** The machine goes on after `freeze`. */
  resume(): void;
  /** The time, for a snapshot. */
  save(): { readonly ticks: number };
  /**
   * Sets the clock to a time that `save` gave.
   * @throws RangeError if it is none
   */
  restore(state: { readonly [name: string]: unknown }): void;
}

function ticksOf({ ticks }: { readonly [name: string]: unknown }): number {
  if (typeof ticks === "number" && Number.isSafeInteger(ticks) && ticks >= 0) return ticks;
  throw new RangeError("saved state of the clock: ticks must be an integer from 0 on");
}

/** A clock that follows the host's monotonic clock. */
export class RealClock implements MachineClock {
  private start = performance.now();
  private frozenAt: number | undefined;

  now(): number {
    return Math.floor(((this.frozenAt ?? performance.now()) - this.start) * (TICKS_PER_SECOND / 1000));
  }

  millisecondsUntil(tick: number): number {
    return Math.max(0, ((tick - this.now()) * 1000) / TICKS_PER_SECOND);
  }

  idleUntil(): void {
    // Real time passes by itself.
  }

  freeze(): void {
    this.frozenAt ??= performance.now();
  }

  resume(): void {
    if (this.frozenAt === undefined) return;
    this.start += performance.now() - this.frozenAt;
    this.frozenAt = undefined;
  }

  save(): { readonly ticks: number } {
    return { ticks: this.now() };
  }

  restore(state: { readonly [name: string]: unknown }): void {
    this.start = (this.frozenAt ?? performance.now()) - (ticksOf(state) * 1000) / TICKS_PER_SECOND;
  }
}

/** Guest instructions that make one tick of virtual time: 100 million instructions a second. */
export const INSTRUCTIONS_PER_TICK = 10;

/** A clock that counts instructions; idle time is skipped. */
export class VirtualClock implements MachineClock {
  private skipped = 0;

  /** @param retired guest instructions retired since power-on */
  constructor(private readonly retired: () => number) {}

  now(): number {
    return Math.floor(this.retired() / INSTRUCTIONS_PER_TICK) + this.skipped;
  }

  millisecondsUntil(): number {
    return 0;
  }

  idleUntil(tick: number): void {
    this.skipped += Math.max(0, tick - this.now());
  }

  freeze(): void {
    // Instructions are the only thing that moves this clock.
  }

  resume(): void {
    // See `freeze`.
  }

  save(): { readonly ticks: number } {
    return { ticks: this.now() };
  }

  /** The hart's count of instructions must be restored already. */
  restore(state: { readonly [name: string]: unknown }): void {
    this.skipped = ticksOf(state) - Math.floor(this.retired() / INSTRUCTIONS_PER_TICK);
  }
}
