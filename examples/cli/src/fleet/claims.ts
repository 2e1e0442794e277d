/** What a VM takes of the host: its images, and its places in networks. Both or nothing. */
import type { HostClaim, TakeClaim, VmNetwork } from "@hyperfile/broker";
import type { HostNetworks, NetworkClaim } from "./networks/host-networks.js";

/** Takes images first: they fail sooner, and more often. */
export function claimsOf(takeDisks: TakeClaim, networks: HostNetworks): TakeClaim {
  const joined = (disks: HostClaim, network: NetworkClaim | undefined, project: string): HostClaim => ({
    ...(network === undefined ? {} : { network: network satisfies VmNetwork }),
    share: async (spec) => {
      const shared = await disks.share(spec);
      return joined(shared, await released(shared, () => networks.take(spec, project)), project);
    },
    release: () => {
      network?.release();
      disks.release();
    },
  });
  return async (spec, folder, project) => {
    const disks = await takeDisks(spec, folder, project);
    return joined(disks, await released(disks, () => networks.take(spec, project)), project);
  };
}

/** Does something; if that fails, a claim is given back. */
async function released<Result>(claim: HostClaim, act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    claim.release();
    throw error;
  }
}
