/**
 * Reservations of disk operations and bytes a second, admitted before anything runs: one tree a quantity, changed together.
 * What a store can do is not known; what a pool may promise is what it has reserved, or its limit where it may borrow.
 */
import { type PoolAllotment, ResourceTree } from "../cpu/resource-tree.js";
import { formatSize } from "../hyperfile/units.js";
import {
  changeDisk,
  DEFAULT_DISK,
  DEFAULT_DISK_POOL,
  type DiskAllotment,
  type DiskChange,
  type DiskPoolAllotment,
  diskQuantities,
} from "./allotment.js";

type Quantity = (typeof diskQuantities)[number];

/** An amount of each quantity in words. */
const units: Readonly<Record<Quantity, (amount: number) => string>> = {
  iops: (amount) => `${amount} disk operations a second`,
  bandwidth: (amount) => `${formatSize(amount)} a second of disk bandwidth`,
};

/** Who may have what. */
export class DiskAdmission {
  private readonly trees: readonly { readonly quantity: Quantity; readonly tree: ResourceTree }[];
  private readonly pools = new Map<string, DiskPoolAllotment>();
  private readonly clients = new Map<string, DiskAllotment>();

  /** @param rootName name of the pool that holds everything */
  constructor(rootName = "root") {
    this.trees = diskQuantities.map((quantity) => ({
      quantity,
      tree: new ResourceTree(Infinity, units[quantity], rootName),
    }));
    this.pools.set(rootName, DEFAULT_DISK_POOL);
  }

  /** Makes a pool inside `parent`. @throws ResourceError as `ResourceTree.addPool`; nothing changes then */
  addPool(name: string, change: DiskChange, parent?: string): DiskPoolAllotment {
    const whole = changeDisk(DEFAULT_DISK_POOL, change);
    this.all(
      (tree, quantity) => tree.addPool(name, part(whole, quantity), parent),
      (tree) => tree.removePool(name),
    );
    this.pools.set(name, whole);
    return whole;
  }

  /** Forgets an empty pool. @throws ResourceError as `ResourceTree.removePool` */
  removePool(name: string): void {
    for (const { tree } of this.trees) tree.removePool(name);
    this.pools.delete(name);
  }

  /** Admits a VM. @throws ResourceError if a reservation can't be kept; nothing changes then */
  admit(name: string, change: DiskChange, pool?: string): DiskAllotment {
    const whole = changeDisk(DEFAULT_DISK, change);
    this.all(
      (tree, quantity) => {
        tree.addClient(name, part(whole, quantity), pool);
        try {
          tree.admit(name);
        } catch (error) {
          tree.removeClient(name);
          throw error;
        }
      },
      (tree) => tree.removeClient(name),
    );
    this.clients.set(name, whole);
    return whole;
  }

  /** Gives back a VM's reservations. */
  retire(name: string): void {
    if (!this.clients.delete(name)) return;
    for (const { tree } of this.trees) tree.removeClient(name);
  }

  has(name: string): boolean {
    return this.clients.has(name);
  }

  /** What an admitted VM may have. */
  allotmentOf(name: string): DiskAllotment | undefined {
    return this.clients.get(name);
  }

  /** Changes what a VM or pool may have. @throws ResourceError; nothing changes then */
  configure(name: string, change: DiskChange, of: "client" | "pool"): void {
    const known: Map<string, DiskAllotment> = of === "pool" ? this.pools : this.clients;
    const before = known.get(name);
    const after = changeDisk(before ?? DEFAULT_DISK_POOL, change);
    this.all(
      (tree, quantity) => tree.configure(name, part(after, quantity), of),
      (tree, quantity) => tree.configure(name, part(before!, quantity), of),
    );
    known.set(name, after);
  }

  /** What pools may have, by name. */
  poolAllotments(): ReadonlyMap<string, DiskPoolAllotment> {
    return this.pools;
  }

  /** Does something in both trees, or undoes it in those where it was done. */
  private all(
    act: (tree: ResourceTree, quantity: Quantity) => void,
    undo: (tree: ResourceTree, quantity: Quantity) => void,
  ): void {
    const done: (typeof this.trees)[number][] = [];
    try {
      for (const one of this.trees) {
        act(one.tree, one.quantity);
        done.push(one);
      }
    } catch (error) {
      for (const { tree, quantity } of done) undo(tree, quantity);
      throw error;
    }
  }
}

/** An allotment as the tree of one quantity has it. */
const part = (
  { shares, expandable, ...quantities }: DiskAllotment & { readonly expandable?: boolean },
  quantity: Quantity,
): Partial<PoolAllotment> => ({
  shares,
  ...quantities[quantity],
  ...(expandable === undefined ? {} : { expandable }),
});
