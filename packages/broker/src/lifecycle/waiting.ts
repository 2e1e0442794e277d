/** Waiting with an end: promises with a limit of time, timers of any length, and a turn of the host's event loop. */

/** Longest delay of the host's timers in milliseconds; a longer one would be over at once. */
const LONGEST_DELAY = 0x7fffffff;

/** Calls back after any number of milliseconds, months included; Infinity is never. */
export class LongTimer {
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** @param callback must not throw */
  constructor(
    milliseconds: number,
    private readonly callback: () => void,
  ) {
    this.arm(milliseconds);
  }

  /** Takes the call back. */
  clear(): void {
    clearTimeout(this.timer);
  }

  private arm(left: number): void {
    if (left === Infinity) return;
    const delay = Math.min(left, LONGEST_DELAY);
    this.timer = setTimeout(() => {
      if (left > delay) this.arm(left - delay);
      else this.callback();
    }, delay);
  }
}

/** Whether a promise is settled, in whatever way, within so many milliseconds. */
export function settlesWithin(promise: Promise<unknown>, milliseconds: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = new LongTimer(milliseconds, () => resolve(false));
    const settled = () => {
      timer.clear();
      resolve(true);
    };
    promise.then(settled, settled);
  });
}

/** Lets the host's event loop turn once: what had failed already is known then. */
export function hostTurn(): Promise<void> {
  // Browsers have no `setImmediate`.
  const { setImmediate: soon = setTimeout } = globalThis as {
    setImmediate?: (callback: () => void) => unknown;
  };
  return new Promise((resolve) => {
    soon(resolve);
  });
}
