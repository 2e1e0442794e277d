/**
 * The host's event loop as a VM needs it: letting other work run between slices, and sleeping while the guest is
 * idle until a deadline or until something (a key, a packet) wakes it. Works in Node and in browsers.
 */

/** Lets the host's event loop run once; a macrotask, so that input and timers get their turn. */
export function yieldToHost(): Promise<void> {
  return new Promise((resolve) => {
    const { setImmediate } = globalThis as { setImmediate?: (callback: () => void) => unknown };
    if (setImmediate !== undefined) {
      setImmediate(resolve);
      return;
    }
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve();
    };
    channel.port2.postMessage(null);
  });
}

/** A sleep that can be ended early. */
export class Sleeper {
  private wakeUp: (() => void) | undefined;
  private pending = false;

  /** Sleeps at most `milliseconds`; returns at once if `wake` was called since the last sleep. */
  sleep(milliseconds: number): Promise<void> {
    if (this.pending || milliseconds <= 0) {
      this.pending = false;
      return yieldToHost();
    }
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.wakeUp?.(), Math.min(milliseconds, 0x7fffffff));
      this.wakeUp = () => {
        this.wakeUp = undefined;
        this.pending = false;
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Ends the sleep, if there is one. */
  interrupt(): void {
    this.wakeUp?.();
  }

  /** Ends the sleep, or the next one before it begins. */
  wake(): void {
    this.pending = true;
    this.wakeUp?.();
  }
}
