/** What VMs' network cards do, out of the figures that the networks have of them. */
import type { NicReport } from "../lifecycle/host-claim.js";

/** Sums over all cards of a VM. */
export interface NetSums {
  /** Bytes that went out, and came in. */
  readonly netSent: number;
  readonly netReceived: number;
  /** Frames that were lost on the way. */
  readonly netDropped: number;
  /** Connections and datagrams that a policy refused. */
  readonly netRefused: number;
}

/** The sums. */
export function netSums(nics: readonly Pick<NicReport, "counters">[]): NetSums {
  const sum = (name: string): number => nics.reduce((all, { counters }) => all + (counters[name] ?? 0), 0);
  return {
    netSent: sum("bytes.sent"),
    netReceived: sum("bytes.received"),
    netDropped: sum("frames.dropped"),
    netRefused: sum("refused"),
  };
}
