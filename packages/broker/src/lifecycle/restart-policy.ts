/**
 * When a VM that has ended is started again: as its `restart` says, after a pause that doubles each time, and not for
 * ever. A VM that has run long enough is well, and begins anew.
 */
import type { VmSpec } from "../hyperfile/types.js";
import type { GuestEnd } from "./guest-port.js";

/** Times in a row that a VM is started again. */
export const MOST_RESTARTS = 10;
/** Milliseconds before the first of them. */
const FIRST_PAUSE_MS = 100;
/** Milliseconds of a run after which earlier failures are forgotten: several times the longest pause. */
export const WELL_AFTER_MS = 300_000;

/** Counts the restarts of one VM. */
export class RestartPolicy {
  /** Restarts without a long run between them. */
  private inARow = 0;

  /**
   * A run is over.
   * @param ranMs how long it was
   * @returns milliseconds to wait before the next; `never` if there is to be none, `spent` if there were too many
   */
  next(restart: VmSpec["restart"], end: GuestEnd, ranMs: number): number | "never" | "spent" {
    const failed = end.kind === "error" || (end.kind === "off" && end.status !== 0);
    const again = restart === "always" ? end.kind !== "stopped" : restart === "on-failure" && failed;
    if (!again) return "never";
    if (ranMs >= WELL_AFTER_MS) this.inARow = 0;
    if (this.inARow >= MOST_RESTARTS) return "spent";
    return FIRST_PAUSE_MS * 2 ** this.inARow++;
  }

  /** A user has started the VM. */
  forget(): void {
    this.inARow = 0;
  }
}
