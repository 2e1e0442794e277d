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
}
