/** A card's place in a network: its port, what its guest may reach, and what it has done. */
import type { Policy, PolicyQuestion } from "../nat/policy.js";
import type { Forward } from "../nat/user-network.js";
import type { SwitchPort } from "../switch/switch.js";
import type { PlacePolicy } from "./place-policy.js";

/** Places that are told of one card, at most: a guest may try every address there is. */
const MOST_TOLD = 10;

/** What a card is. */
export interface LanCardOptions {
  /** Name of its machine in the network. */
  readonly vm: string;
  /** As `52:54:00:12:34:56`. */
  readonly mac: string;
  /** The address that it is given; undefined where nobody knows. */
  readonly address: string | undefined;
  readonly policy: PlacePolicy;
}

/** A card that is connected. */
export class LanCard {
  readonly forwards = new Map<string, Forward>();
  /** Connections and datagrams that the policy refused. */
  refused = 0;
  private readonly told = new Set<string>();

  constructor(
    readonly options: LanCardOptions,
    readonly mac: number,
    readonly port: SwitchPort,
    /** Whether its guest may do something. */
    readonly judge: Policy,
  ) {}

  /** What it has done, by name: frames, bytes, and the milliseconds that what it got has waited for it. */
  figures(): Readonly<Record<LanFigure, number>> {
    const { received, bytesReceived, sent, bytesSent, drops, waitedMs } = this.port.counters;
    return {
      "frames.sent": received,
      "bytes.sent": bytesReceived,
      "frames.received": sent,
      "bytes.received": bytesSent,
      "frames.dropped": Object.values(drops).reduce((sum, count) => sum + count, 0),
      "wait.received": waitedMs,
      refused: this.refused,
    };
  }

  /** Says once of each place that it may not be reached; what is told, if anything. A line, whatever the guest has done. */
  tellOnce({ protocol, direction, address, port }: PolicyQuestion): string | undefined {
    const host = address.includes(":") ? `[${address}]` : address;
    const place = direction === "in" ? `in:${host}` : `${host}:${port}`;
    if (this.told.has(place) || this.told.size === MOST_TOLD) return undefined;
    this.told.add(place);
    const last = this.told.size === MOST_TOLD ? "; more of these are not told" : "";
    const what =
      direction === "in"
        ? `${address} may not use the forward to ${protocol} port ${port}`
        : `it may not reach ${protocol} ${place}`;
    return `${what}: policy: { allow: ["${place}"] } of its card lets it${last}`;
  }

  closeForwards(): void {
    for (const forward of this.forwards.values()) forward.close();
    this.forwards.clear();
  }
}

/** Names of figures. */
export type LanFigure =
  | "frames.sent"
  | "bytes.sent"
  | "frames.received"
  | "bytes.received"
  | "frames.dropped"
  | "wait.received"
  | "refused";
