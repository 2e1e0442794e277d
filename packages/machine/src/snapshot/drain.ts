/**
 * Waiting for a machine's devices, for so long and no longer: what is to be saved, cloned or left standing has no request in
 * flight, and a backend that does not answer keeps nobody waiting for ever.
 */
import { DRAIN_MS } from "@hyperfile/devices/virtio";
import { MachineError } from "../errors.js";

/** Longest delay of the host's timers in milliseconds; a longer one would be over at once. */
const LONGEST_DELAY = 0x7fffffff;

/** What is asked of a machine whose devices may have work in hand. */
export interface DrainedMachine {
  /**
   * Waits until no device has work in hand for the guest, and holds new work back until it is released; there is nothing to
   * wait for unless given. Parts may refuse to be saved meanwhile.
   */
  readonly drain?: () => { readonly drained: Promise<void>; release(): void };
  /** Requests that devices have in hand, by device, for messages. */
  readonly inFlight?: () => Readonly<Record<string, number>>;
  /** Milliseconds to wait at most; ten seconds unless given. */
  readonly drainMs?: number;
}

/**
 * Waits until no device of a machine that stands still has work in hand, and holds new work back until the result is called.
 * @throws MachineError `E_DEVICES_BUSY` (the promise rejects), which names the devices, if they do not answer in time;
 *   nothing is held back then
 */
export async function drainMachine(machine: DrainedMachine): Promise<() => void> {
  const drain = machine.drain?.();
  if (drain === undefined) return () => {};
  const { drainMs = DRAIN_MS } = machine;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const giveUp = () => reject(busyError(machine.inFlight?.() ?? {}, drainMs));
    timer = setTimeout(giveUp, Math.min(drainMs, LONGEST_DELAY));
  });
  try {
    await Promise.race([drain.drained, late]);
    return () => drain.release();
  } catch (error) {
    drain.release();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Does something with a machine that stands still, such as saving it, while none of its devices has work in hand. */
export async function whileDrained<T>(machine: DrainedMachine, act: () => T | Promise<T>): Promise<T> {
  const release = await drainMachine(machine);
  try {
    return await act();
  } finally {
    release();
  }
}

function busyError(inFlight: Readonly<Record<string, number>>, milliseconds: number): MachineError {
  const devices = Object.entries(inFlight).map(
    ([name, count]) => `${name} has ${count} request${count === 1 ? "" : "s"} in flight`,
  );
  const which = devices.length === 0 ? "a device has requests in flight" : devices.join(", ");
  return new MachineError(
    "E_DEVICES_BUSY",
    `${which}, not answered within ${milliseconds / 1000} s: mend what is behind it, give it more time (drain), or stop the machine`,
  );
}
