/** What a VM or pool may have of the store under all disks: operations and bytes a second, and its part of the rest. */
import { NORMAL_SHARES } from "../cpu/resource-tree.js";

/** Guaranteed and greatest amount of something, a second. */
export interface RateBounds {
  /** Guaranteed as long as it is asked for; 0 for nothing. */
  readonly reservation: number;
  /** Most that it ever gets; `Infinity` for no limit. */
  readonly limit: number;
}

/** What one VM may have. */
export interface DiskAllotment {
  /** Proportion among its siblings; positive. */
  readonly shares: number;
  /** Operations a second: reads, writes, flushes, discards, of at most 1 MiB each. */
  readonly iops: RateBounds;
  /** Bytes a second, read and written. */
  readonly bandwidth: RateBounds;
}

/** What a pool may have. */
export interface DiskPoolAllotment extends DiskAllotment {
  /** Whether it may borrow from its parent for the reservations of its children. */
  readonly expandable: boolean;
}

/** A change of some of it. */
export interface DiskChange {
  readonly shares?: number;
  readonly iops?: Partial<RateBounds>;
  readonly bandwidth?: Partial<RateBounds>;
  readonly expandable?: boolean;
}

/** No reservation and no limit. */
export const UNBOUNDED: RateBounds = { reservation: 0, limit: Infinity };
/** No reservation, no limit, normal shares. */
export const DEFAULT_DISK: DiskAllotment = { shares: NORMAL_SHARES, iops: UNBOUNDED, bandwidth: UNBOUNDED };
/** The same for a pool, which may borrow. */
export const DEFAULT_DISK_POOL: DiskPoolAllotment = {
  ...DEFAULT_DISK,
  shares: 4 * NORMAL_SHARES,
  expandable: true,
};

/** The quantities of an allotment that have bounds. */
export const diskQuantities = ["iops", "bandwidth"] as const;

/** An allotment with a change applied. */
export function changeDisk<Kind extends DiskChange>(before: Kind, change: DiskChange): Kind {
  return {
    ...before,
    ...change,
    iops: { ...before.iops, ...change.iops },
    bandwidth: { ...before.bandwidth, ...change.bandwidth },
  };
}
