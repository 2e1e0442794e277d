/** The device for sockets of a machine: streams between the host and the programs of its guest. */
import { type VirtioVsock, type VirtioVsockOptions, virtioVsock } from "@hyperfile/devices/virtio";
import { MachineError } from "./errors.js";

/**
 * The device, where there is to be one.
 * @param isVirtual whether the machine is in virtual time, where a run repeats itself
 * @throws MachineError `E_VSOCK` for a machine in virtual time; VsockError for an address that no guest can have
 */
export function socketDevice(
  options: VirtioVsockOptions | undefined,
  isVirtual: boolean,
): VirtioVsock | undefined {
  if (options === undefined) return undefined;
  if (isVirtual)
    throw new MachineError(
      "E_VSOCK",
      "a machine in virtual time has no sockets to the host: what comes in has the host's time",
    );
  return virtioVsock(options);
}
