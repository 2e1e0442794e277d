/**
 * Priority of single threads. Linux schedules threads, and `setpriority(2)` with process 0 means the calling one; other
 * systems would take the whole process, so there nothing is changed.
 */
import { getPriority, setPriority } from "node:os";

/**
 * Steps of "nice" by which guests stand behind the daemon. Among themselves they stay equal. With 30 VMs, half of them
 * in loops, on two cores the daemon's own thread else waited for a core four times as long as it ran, and its slowest
 * answer took 1.7 s; five steps bring that to 0.9 s, ten to 0.6.
 */
export const GUEST_STEPS = 10;
/** Least priority of Linux. */
const LEAST = 19;

/** Puts the calling thread behind the process's others, for good: who has no privileges can't take it back. */
export function standBehind(steps = GUEST_STEPS): void {
  if (process.platform !== "linux") return;
  try {
    setPriority(Math.min(LEAST, getPriority() + steps));
  } catch {
    // A host that forbids it runs guests beside the daemon.
  }
}
