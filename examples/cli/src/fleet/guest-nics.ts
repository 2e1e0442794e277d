/** The network cards of one VM in its thread: each at its end of a cable to the daemon's networks. */
import { CableMemory, CableToSwitch, noNetwork, SlotBell } from "@hyperfile/devices/net";
import type { Nic } from "@hyperfile/machine";
import type { Cables } from "./networks/messages.js";

/**
 * The cards.
 * @param cables as the daemon gave them
 * @param isCopy whether they are a clone's, whose guest has the addresses of its original until it takes its own
 */
export function guestNics(cables: unknown, isCopy = false): readonly Nic[] {
  if (cables === undefined) return [];
  const { bell, cards } = cables as Cables;
  const wake = new SlotBell(bell);
  return cards.map(({ mac, cable }) => ({
    mac,
    isCopy,
    network:
      cable === undefined ? noNetwork : new CableToSwitch(new CableMemory(cable.memory), wake, cable.slot),
  }));
}
