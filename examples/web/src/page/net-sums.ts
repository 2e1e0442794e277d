/** What the network cards of a machine have done, all together. */
import type { InlineVmFigures } from "@hyperfile/broker/inline";

/** The sums since it was powered on. */
export interface NetSums {
  /** Bytes. */
  readonly sent: number;
  readonly received: number;
  readonly framesSent: number;
  readonly framesReceived: number;
  readonly dropped: number;
  /** Milliseconds that what was sent waited for a turn, and what was received for the machine. */
  readonly waited: number;
}

/** The sums; undefined for a machine without cards. */
export function netSums({ nics }: Pick<InlineVmFigures, "nics">): NetSums | undefined {
  if (nics.length === 0) return undefined;
  const sum = (name: string): number => nics.reduce((all, { counters }) => all + (counters[name] ?? 0), 0);
  return {
    ...{ sent: sum("bytes.sent"), received: sum("bytes.received") },
    ...{ framesSent: sum("frames.sent"), framesReceived: sum("frames.received") },
    ...{ dropped: sum("frames.dropped"), waited: sum("wait.sent") + sum("wait.received") },
  };
}
