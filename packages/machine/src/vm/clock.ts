/**
 * Machine time. A tick is 100 ns (10 MHz), the time base of QEMU's `virt`. A real clock follows the host; a
 * virtual one counts retired instructions, so that a run repeats exactly.
 *
 * A guest works out the time of day from its ticks. So that it is right after the machine stood still (paused, saved and
 * restored, or with its host), a real clock makes up for that time, in steps: a kernel whose time jumps by more than
 * 20 s takes that for a hung CPU. It never goes back.
 */

/** Ticks a second. */
export const TICKS_PER_SECOND = 10_000_000;
const TICKS_PER_MILLISECOND = TICKS_PER_SECOND / 1000;

/** What a VM and its parts read the time from. */
export interface MachineClock {
  /** Ticks since power-on, an integer. */
  now(): number;
  /** Host milliseconds to sleep until `tick`; 0 where sleeping is pointless. */
  millisecondsUntil(tick: number): number;
  /**
   * The hart is idle until `tick`, or for ever if that is Infinity: a virtual clock goes there at once, a real one as far
   * as it is behind. Called before the host sleeps, and after it.
   */
  idleUntil(tick: number): void;
  /**
   * Called between two slices: a clock that is behind the host's comes closer.
   * @param retired guest instructions retired since power-on
   */
  follow(retired: number): void;
  /** The machine stood still (paused, stopped in a debugger): time must not have passed for the guest. */
  freeze(): void;
  /** The machine goes on after `freeze`. */
  resume(): void;
  /**
   * Makes up no more for time in which the machine stood still: somebody else sets the guest's time of day. Gives the
   * milliseconds by which that is behind, negative if it is ahead; 0 for a clock that makes up for none, or stands still.
   */
  leaveOut(): number;
  /** Makes up for so many milliseconds after all. */
  owe(milliseconds: number): void;
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

/** What a real clock does about time in which the machine stood still: makes up for it, or leaves it out. */
export type RealClockMode = "host" | "frozen";

/** The host's clocks, in milliseconds. */
export interface HostClocks {
  /** From any beginning, never back. */
  monotonic(): number;
  /** Since 1970. */
  wall(): number;
}

const hostClocks: HostClocks = { monotonic: () => performance.now(), wall: () => Date.now() };

/** Milliseconds by which guest time may jump: kernels complain of 20 s and more. */
const STEP = 8000;
/**
 * For how long a guest runs without waiting before the next step: it has to deal with the last, and a kernel's code may be
 * busy under a lock meanwhile. The instructions count where the guest is slow, as one is whose pages are still restored.
 */
const STEP_EVERY = { milliseconds: 4, instructions: 8_000_000 };
/** Milliseconds behind that are not made up for: less than anybody minds, more than clocks drift by in hours. */
const TOLERANCE = 250;
/** Milliseconds that an idle guest makes up for timer by timer; what is more comes at once. */
const MOST_IN_STEPS = 3_600_000;

/** A clock that follows the host's monotonic clock while the machine runs. */
export class RealClock implements MachineClock {
  /** Monotonic time of tick 0, later by all the time that was left out. */
  private start: number;
  /** Wall time of tick 0 by which the guest's time is right. */
  private epoch: number;
  /** The guest's time when somebody last looked, in milliseconds: it never goes below. */
  private seen = 0;
  /** Monotonic time of the last step, or when the guest last waited: then it has noticed all before. */
  private stepped: number;
  /** Guest instructions then; undefined until the next slice tells. */
  private steppedAt: number | undefined;
  /** The guest's time in milliseconds until which it waits: so far it did not stand still, however long nobody looked. */
  private idleTo = 0;
  private frozenAt: number | undefined;

  constructor(
    private readonly mode: RealClockMode = "host",
    private readonly host: HostClocks = hostClocks,
  ) {
    this.start = host.monotonic();
    this.stepped = this.start;
    this.epoch = host.wall();
  }

  now(): number {
    return Math.floor(this.milliseconds() * TICKS_PER_MILLISECOND);
  }

  millisecondsUntil(tick: number): number {
    return Math.max(0, (tick - this.now()) / TICKS_PER_MILLISECOND);
  }

  /** While it is behind, idle time passes at once, and no kernel finds that it slept over a timer. */
  idleUntil(tick: number): void {
    this.milliseconds();
    this.idleTo = tick / TICKS_PER_MILLISECOND;
    const behind = this.behind();
    if (behind <= TOLERANCE) return;
    this.stepped = this.host.monotonic();
    this.steppedAt = undefined;
    const idle = this.idleTo - this.milliseconds();
    this.advance(Math.min(behind, Math.max(idle, behind - MOST_IN_STEPS, 0)));
  }

  follow(retired: number): void {
    this.milliseconds();
    this.idleTo = 0;
    const behind = this.behind();
    if (behind <= TOLERANCE) return;
    const now = this.host.monotonic();
    this.steppedAt ??= retired;
    // Others may have had the time.
    const ran = retired - this.steppedAt;
    if (ran < STEP_EVERY.instructions || now - this.stepped < STEP_EVERY.milliseconds) return;
    this.stepped = now;
    this.steppedAt = retired;
    this.advance(Math.min(behind, STEP));
  }

  freeze(): void {
    this.frozenAt ??= this.host.monotonic();
  }

  resume(): void {
    if (this.frozenAt === undefined) return;
    this.start += this.host.monotonic() - this.frozenAt;
    this.frozenAt = undefined;
  }

  leaveOut(): number {
    this.milliseconds();
    const behind = this.behind();
    this.epoch += behind;
    return behind;
  }

  owe(milliseconds: number): void {
    this.epoch -= milliseconds;
  }

  /** With the wall time that the ticks belong to, in milliseconds since 1970. */
  save(): { readonly ticks: number; readonly wall: number } {
    const ticks = this.now();
    const wall = this.mode === "host" ? this.epoch + ticks / TICKS_PER_MILLISECOND : this.host.wall();
    return { ticks, wall };
  }

  restore(state: { readonly [name: string]: unknown }): void {
    const milliseconds = ticksOf(state) / TICKS_PER_MILLISECOND;
    const { wall = this.host.wall() } = state;
    if (typeof wall !== "number" || !(Math.abs(wall) <= Number.MAX_SAFE_INTEGER))
      throw new RangeError("saved state of the clock: wall must be milliseconds since 1970");
    this.start = (this.frozenAt ?? this.host.monotonic()) - milliseconds;
    this.seen = milliseconds;
    this.idleTo = 0;
    this.epoch = wall - milliseconds;
  }

  /**
   * The guest's time. What passed since somebody last looked, or since the end of a wait, is left out if it is long: the
   * host stood still.
   */
  private milliseconds(): number {
    const now = (this.frozenAt ?? this.host.monotonic()) - this.start;
    const known = Math.max(this.seen, Math.min(this.idleTo, now));
    if (now - known > STEP) {
      this.start += now - known;
      this.seen = known;
    } else if (now > this.seen) this.seen = now;
    return this.seen;
  }

  /** By how much the guest's time of day is behind; negative if the host's was set back. */
  private behind(): number {
    if (this.mode === "frozen" || this.frozenAt !== undefined) return 0;
    return this.host.wall() - this.epoch - this.milliseconds();
  }

  private advance(milliseconds: number): void {
    this.start -= milliseconds;
    this.seen += milliseconds;
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
    if (tick !== Infinity) this.skipped += Math.max(0, tick - this.now());
  }

  follow(): void {
    // It knows no host.
  }

  freeze(): void {
    // Instructions are the only thing that moves this clock.
  }

  resume(): void {
    // See `freeze`.
  }

  leaveOut(): number {
    return 0;
  }

  owe(): void {
    // Nobody's time of day is missed.
  }

  save(): { readonly ticks: number } {
    return { ticks: this.now() };
  }

  /** The hart's count of instructions must be restored already. */
  restore(state: { readonly [name: string]: unknown }): void {
    this.skipped = ticksOf(state) - Math.floor(this.retired() / INSTRUCTIONS_PER_TICK);
  }
}
