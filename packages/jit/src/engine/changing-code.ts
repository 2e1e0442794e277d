/**
 * Code that changes, and how long it waits before it is translated again.
 *
 * A translation pays when it has run for a while. A guest that rewrites its code again and again (a compiler of its own,
 * a loader, an attack) would have the host compile for ever. So a frame whose translations were void because its code
 * changed waits longer each time: twice as many arrivals at its jump targets for each change after the first few.
 * Once it has waited, its code is translated as other code is, until it changes again.
 *
 * What a frame did long ago does not count: with every `AGE` units of budget that the guest uses, the frame's wait
 * halves. A kernel that patches its code a few times a day never waits. Since many frames may change, there is a
 * common allowance as well; when it is used up, frames that have changed wait at least `SCARCE` times as long. Code that
 * has never changed is not concerned: one VM's changes do not hold up another's code.
 *
 * Time is counted in units of budget, not in seconds: what is translated, and when, is the same in every run.
 */

/** Changes of a frame before it waits. */
const FREE_CHANGES = 3;
/** Greatest wait, as the power of two of what is usual: a billion arrivals at a jump target. */
const MOST_LEVELS = 16;
/** Budget units in which a frame's wait halves: a fraction of a second of a guest at full speed. */
const AGE = 2 ** 28;
/** Levels that a failed translation counts for. */
const FAILURE_LEVELS = 4;
/** Changes that all frames together may have at once, and the budget units in which one more is allowed. */
const ALLOWANCE = 1024;
const ALLOWANCE_PERIOD = 2 ** 22;
/** Least wait where the allowance is used up, as a power of two. */
const SCARCE = 6;
/** Most frames that are remembered; the one that has not changed for longest is forgotten. */
const CAPACITY = 4096;

interface Frame {
  /** Changes that count. */
  level: number;
  /** When `level` was right, in budget units. */
  at: number;
  /** Arrivals at the threshold that are still turned away. */
  wait: number;
  /** Whether a translation was made since the last change. */
  isTranslated: boolean;
}

/** What is known of changing code, by frame. */
export class ChangingCode {
  private readonly frames = new Map<number, Frame>();
  private allowance = ALLOWANCE;
  private allowanceAt = 0;

  /** @param now budget units that the guest has used */
  constructor(private readonly now: () => number) {}

  /** Frames that are remembered. */
  get size(): number {
    return this.frames.size;
  }

  /** Whether code in a frame that was arrived at often enough may be translated; asked once for each such arrival. */
  mayTranslate(frame: number): boolean {
    const known = this.frames.get(frame);
    if (known === undefined) return true;
    this.age(known);
    if (known.wait > 0) {
      known.wait--;
      return false;
    }
    known.isTranslated = true;
    return true;
  }

  /** A translation of code in the frame is void: the code has changed. */
  changed(frame: number): void {
    const known = this.frames.get(frame);
    if (known !== undefined && !known.isTranslated) return;
    this.regainAllowance();
    this.allowance = Math.max(0, this.allowance - 1);
    this.raise(frame, known, 1);
  }

  /** The host could not translate code in the frame. */
  failed(frame: number): void {
    this.raise(frame, this.frames.get(frame), FREE_CHANGES + FAILURE_LEVELS);
  }

  /** The frame is another page's from now on. */
  forget(frame: number): void {
    this.frames.delete(frame);
  }

  private raise(frame: number, known: Frame | undefined, levels: number): void {
    const entry = known ?? { level: 0, at: this.now(), wait: 0, isTranslated: false };
    this.age(entry);
    entry.level = Math.min(entry.level + levels, FREE_CHANGES + MOST_LEVELS);
    entry.isTranslated = false;
    const own = Math.max(0, entry.level - FREE_CHANGES);
    entry.wait = 2 ** (this.allowance > 0 ? own : Math.max(own, SCARCE)) - 1;
    this.frames.delete(frame);
    this.frames.set(frame, entry);
    if (this.frames.size <= CAPACITY) return;
    for (const oldest of this.frames.keys()) {
      this.frames.delete(oldest);
      return;
    }
  }

  private age(frame: Frame): void {
    const ages = Math.floor((this.now() - frame.at) / AGE);
    if (ages <= 0) return;
    frame.at += ages * AGE;
    frame.level = Math.max(0, frame.level - ages);
    frame.wait = Math.floor(frame.wait / 2 ** ages);
  }

  private regainAllowance(): void {
    const periods = Math.floor((this.now() - this.allowanceAt) / ALLOWANCE_PERIOD);
    if (periods <= 0) return;
    this.allowance = Math.min(ALLOWANCE, this.allowance + periods);
    this.allowanceAt += periods * ALLOWANCE_PERIOD;
  }
}
