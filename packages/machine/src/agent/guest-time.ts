/**
 * Sets a guest's time of day through its agent. By itself a machine's clock lets the guest's time run faster until it is
 * right, which takes a busy guest a while; here the time of day is right at once, and the guest's monotonic clock, which
 * counts from its start, leaves the time out in which the machine stood still.
 */
import type { MachineClock } from "../vm/clock.js";

/** Milliseconds after which what a guest was told is old: it is told anew, as often as this at most in all. */
const [OLD_MS, MOST_TIMES] = [250, 10];

/**
 * Sets it, after a pause, a restore or for a clone; while the machine runs. Such a guest may hear of it seconds late, and
 * would be late by that for good: it is told again until it hears at once.
 * @param now milliseconds since 1970
 * @returns by how many milliseconds the time of day was put forward
 * @throws AgentError (the promise rejects) where the agent could not; the machine's clock makes up for the time then
 */
export async function setGuestTime(
  agent: { setClock(milliseconds: number): Promise<number> },
  clock: Pick<MachineClock, "leaveOut" | "owe">,
  now: () => number = Date.now,
): Promise<number> {
  const left = clock.leaveOut();
  let forward = 0;
  for (let times = 1; ; times++) {
    const told = now();
    try {
      forward += await agent.setClock(told);
    } catch (error) {
      // What it was told before holds, though it was old.
      if (times > 1) return forward;
      clock.owe(left);
      throw error;
    }
    if (now() - told <= OLD_MS || times === MOST_TIMES) return forward;
  }
}
