/** The network cards of a machine. */
import { type VirtioDevice, type VirtioNetOptions, virtioNet } from "@hyperfile/devices/virtio";
import { MachineError } from "./errors.js";

/** A network card of a machine; Linux calls the first one `eth0`. Its network stays the caller's. */
export interface Nic extends VirtioNetOptions {}

/**
 * Devices for network cards.
 * @param isVirtual whether the machine is in virtual time, where a run repeats itself
 * @throws MachineError `E_NIC` for two cards of one address in one network, and for cards of a machine in virtual time;
 *   NetworkError for options that no card can have
 */
export function nicDevices(nics: readonly Nic[], isVirtual: boolean): readonly VirtioDevice[] {
  if (isVirtual && nics.length > 0)
    throw new MachineError(
      "E_NIC",
      "a machine in virtual time has no network: what comes in has the host's time",
    );
  nics.forEach(({ network, mac }, index) => {
    const same = nics.findIndex((each) => each.network === network && each.mac === mac);
    if (same !== index)
      throw new MachineError(
        "E_NIC",
        `network cards ${same} and ${index} have the address ${mac} in one network: give each its own`,
      );
  });
  return nics.map((nic) => virtioNet(nic).device);
}

/**
 * Network cards for a clone: those that it is given. It goes on with the original's addresses, which one network can't have
 * twice.
 * @throws MachineError `E_NIC` where the original has cards and the clone is given none, or not as many
 */
export function nicsOfClone(original: readonly Nic[], given: readonly Nic[] | undefined): readonly Nic[] {
  if (original.length === (given?.length ?? 0)) return given ?? [];
  throw new MachineError(
    "E_NIC",
    `the machine has ${original.length} network cards: give the clone as many, with the same addresses, in networks of its own`,
  );
}
