/** Time as networks see it, so that tests can have it their way. */

/** A timer that was started. */
export interface Timer {
  /** Stops it; without effect when it is over. */
  cancel(): void;
}

/** A clock with timers. */
export interface Timers {
  /** Milliseconds of a clock that never goes back, with any origin. */
  now(): number;
  /** Calls `action` once, not before `milliseconds` have passed and never before this has returned. */
  after(milliseconds: number, action: () => void): Timer;
}

/** The host's time. In Node a process does not stay for these timers alone. */
export const hostTimers: Timers = {
  now: () => performance.now(),
  after: (milliseconds, action) => {
    const timer = setTimeout(action, milliseconds);
    (timer as { unref?: () => void }).unref?.();
    return { cancel: () => clearTimeout(timer) };
  },
};
