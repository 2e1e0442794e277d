/**
 * What VMs take of the host for themselves beside cores and memory, such as images that they write. The daemon has it, not
 * the VM's thread: so it is given back however that ends, and only when nothing of it runs any more.
 */
import type { ForwardSpec } from "../hyperfile/net-text.js";
import type { VmSpec } from "../hyperfile/types.js";

/** A network card of a VM that is up. */
export interface NicReport {
  /** Of its network; undefined for a cable that leads nowhere. */
  readonly network: string | undefined;
  readonly mac: string;
  /** Undefined where nobody knows. */
  readonly address: string | undefined;
  /** With the ports that they have. */
  readonly forwards: readonly ForwardSpec[];
  /** Frames and bytes that it sent and received, and what was dropped and refused, by name. */
  readonly counters: Readonly<Record<string, number>>;
}

/** The network cards of a VM that is up, as the daemon has them. */
export interface VmNetwork {
  /** What the VM's thread connects the cards with; it can be posted there. */
  readonly cables: unknown;
  /** The cards in their order, as they are now. */
  report(): readonly NicReport[];
  /**
   * Lets a port of the host lead to a card.
   * @returns the forward with the port that it has
   * @throws an error (the promise rejects) of one line if the port can't be had
   */
  addForward(card: number, forward: ForwardSpec): Promise<ForwardSpec>;
  /** Ends a forward, by the port that it has; connections that came by it go on. */
  removeForward(card: number, forward: ForwardSpec): Promise<void>;
}

/** What a VM has for itself while it is up. */
export interface HostClaim {
  /** Its network cards, if it has any. */
  readonly network?: VmNetwork;
  /**
   * The same for another VM as well, a clone, but for what is each VM's own, such as network cards: it is given back when
   * each has released its own. Rejects as {@link TakeClaim} does.
   */
  share(spec: VmSpec): Promise<HostClaim>;
  /** Gives it back; once, however often it is called. */
  release(): void;
}

/**
 * Takes what a VM needs, before it is made. Rejects with a one-line error for what others have, and leaves nothing then.
 * @param folder from which the files of the specification are named
 * @param project whose networks they are
 */
export type TakeClaim = (spec: VmSpec, folder: string, project: string) => Promise<HostClaim>;
