/**
 * What VMs take of the host for themselves beside cores and memory, such as images that they write. The daemon has it, not
 * the VM's thread: so it is given back however that ends, and only when nothing of it runs any more.
 */
import type { VmSpec } from "../hyperfile/types.js";

/** What a VM has for itself while it is up. */
export interface HostClaim {
  /** The same for another VM as well, a clone: it is given back when each has released its own. */
  share(name: string): HostClaim;
  /** Gives it back; once, however often it is called. */
  release(): void;
}

/**
 * Takes what a VM needs, before it is made. Rejects with a one-line error for what others have, and leaves nothing then.
 * @param folder from which the files of the specification are named
 */
export type TakeClaim = (spec: VmSpec, folder: string) => Promise<HostClaim>;
