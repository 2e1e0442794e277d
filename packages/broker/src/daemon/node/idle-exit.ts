/**
 * Ends a daemon that nobody needs: one that has had neither a VM nor a client for so long. It looks only when something
 * has changed, and once more before the end.
 */
import { LongTimer } from "../../lifecycle/waiting.js";

/** A wait for the end. */
export class IdleExit {
  private timer: LongTimer | undefined;

  /**
   * @param afterMs milliseconds
   * @param isIdle whether there is neither a VM nor a client
   * @param end ends the daemon
   */
  constructor(
    private readonly afterMs: number,
    private readonly isIdle: () => boolean,
    private readonly end: () => void,
  ) {}

  /** VMs or clients may have come or gone. */
  look(): void {
    if (!this.isIdle()) this.stop();
    else
      this.timer ??= new LongTimer(this.afterMs, () => {
        this.timer = undefined;
        if (this.isIdle()) this.end();
      });
  }

  stop(): void {
    this.timer?.clear();
    this.timer = undefined;
  }
}
