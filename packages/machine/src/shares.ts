/** The folders that a machine shares with its host. */
import { type VirtioDevice, type VirtioFsOptions, virtioFs } from "@hyperfile/devices/virtio";
import { MachineError } from "./errors.js";

/** A folder of the host's in a machine, which stays the caller's to close after the last run. */
export interface Share extends Omit<VirtioFsOptions, "inOrder"> {}

/**
 * Devices for folders.
 * @param inOrder whether requests are served one by one
 * @throws MachineError `E_SHARE` for two folders with one tag, ShareError `E_SHARE_OPTION`
 */
export function shareDevices(shares: readonly Share[], inOrder: boolean): readonly VirtioDevice[] {
  const tags = new Set<string>();
  return shares.map((share) => {
    if (tags.has(share.tag))
      throw new MachineError("E_SHARE", `two folders have the tag ${share.tag}: give each its own`);
    tags.add(share.tag);
    return virtioFs({ ...share, inOrder });
  });
}
