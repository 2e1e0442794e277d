/**
 * Sets a guest's time of day through its agent. By itself a machine's clock lets the guest's time run faster until it is
 * right, which takes a busy guest a while; here the time of day is right at once, and the guest's monotonic clock, which
 * counts from its start, leaves the time out in which the machine stood still.
 */
import type { MachineClock } from "../vm/clock.js";

/**
 * Sets it, after a pause, a restore or for a clone; while the machine runs.
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
  try {
    return await agent.setClock(now());
  } catch (error) {
    clock.owe(left);
    throw error;
  }
}
