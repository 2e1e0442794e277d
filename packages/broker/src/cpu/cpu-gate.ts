/** Leave to run, as schedulers here give it to whatever runs guests. */

import type { CpuWish } from "./scheduler.js";

/** One guest's leave; its run loop asks, and nobody else. */
export interface CpuGate {
  /** Waits until the guest may run. */
  acquire(): Promise<void>;
  /** Whether it may run another slice; asked after each. */
  mayContinue(): boolean;
  /** Gives the core back: to go on soon, to sleep, to wait for a device's backend, or to stand still. */
  release(wish: CpuWish): void;
  /** Ends a wait for a core: the guest is to pause or stop. */
  cancel(): void;
}
