/** What a VM or pool may have of networks: bytes a second that it sends and receives, and its part of the rest. */
import { NORMAL_SHARES } from "../cpu/resource-tree.js";
import { type RateBounds, UNBOUNDED } from "../disk/allotment.js";

/** What one VM may have, for all its network cards together. */
export interface NetAllotment {
  /** Proportion among its siblings, in each direction by itself; positive. */
  readonly shares: number;
  /** Bytes a second from the VM. */
  readonly send: RateBounds;
  /** Bytes a second to the VM. */
  readonly receive: RateBounds;
}

/** What a pool may have. */
export interface NetPoolAllotment extends NetAllotment {
  /** Whether it may borrow from its parent for the reservations of its children. */
  readonly expandable: boolean;
}

/** A change of some of it. */
export interface NetChange {
  readonly shares?: number;
  readonly send?: Partial<RateBounds>;
  readonly receive?: Partial<RateBounds>;
  readonly expandable?: boolean;
}

/** No reservation, no limit, normal shares. */
export const DEFAULT_NET: NetAllotment = { shares: NORMAL_SHARES, send: UNBOUNDED, receive: UNBOUNDED };
/** The same for a pool, which may borrow. */
export const DEFAULT_NET_POOL: NetPoolAllotment = {
  ...DEFAULT_NET,
  shares: 4 * NORMAL_SHARES,
  expandable: true,
};

/** The directions, each with bounds. */
export const netDirections = ["send", "receive"] as const;
export type NetDirection = (typeof netDirections)[number];

/** An allotment with a change applied. */
export function changeNet<Kind extends NetChange>(before: Kind, change: NetChange): Kind {
  return {
    ...before,
    ...change,
    send: { ...before.send, ...change.send },
    receive: { ...before.receive, ...change.receive },
  };
}
