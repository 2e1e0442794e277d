/**
 * Reservations of amounts a second, admitted before anything runs: one tree a quantity, changed together. What the host can
 * do is not known; what a pool may promise is what it has reserved, or its limit where it may borrow.
 */
import { type PoolAllotment, ResourceTree } from "../cpu/resource-tree.js";
import type { RateBounds } from "./allotment.js";

/** What a VM may have: shares, and bounds for each quantity. */
export type RateAllotment<Quantity extends string> = { readonly shares: number } & {
  readonly [Each in Quantity]: RateBounds;
};
type PoolOf<Quantity extends string> = RateAllotment<Quantity> & { readonly expandable: boolean };
/** A change of some of it. */
export type RateChange<Quantity extends string> = {
  readonly shares?: number;
  readonly expandable?: boolean;
} & { readonly [Each in Quantity]?: Partial<RateBounds> };

/** What is admitted. */
export interface Rates<Quantity extends string> {
  /** Each quantity, with an amount of it in words. */
  readonly units: Readonly<Record<Quantity, (amount: number) => string>>;
  /** What a VM and a pool have that say nothing. */
  readonly usual: RateAllotment<Quantity>;
  readonly usualPool: PoolOf<Quantity>;
  change<Kind extends RateAllotment<Quantity>>(before: Kind, change: RateChange<Quantity>): Kind;
}

/** Who may have what. */
export class RateAdmission<Quantity extends string> {
  private readonly trees: readonly { readonly quantity: Quantity; readonly tree: ResourceTree }[];
  private readonly pools = new Map<string, PoolOf<Quantity>>();
  private readonly clients = new Map<string, RateAllotment<Quantity>>();

  /** @param rootName name of the pool that holds everything */
  constructor(
    private readonly rates: Rates<Quantity>,
    rootName = "root",
  ) {
    this.trees = (Object.keys(rates.units) as Quantity[]).map((quantity) => ({
      quantity,
      tree: new ResourceTree(Infinity, rates.units[quantity], rootName),
    }));
    this.pools.set(rootName, rates.usualPool);
  }

  /** Makes a pool inside `parent`. @throws ResourceError as `ResourceTree.addPool`; nothing changes then */
  addPool(name: string, change: RateChange<Quantity>, parent?: string): PoolOf<Quantity> {
    const whole = this.rates.change(this.rates.usualPool, change);
    this.all(
      (tree, quantity) => tree.addPool(name, this.part(whole, quantity), parent),
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
  admit(name: string, change: RateChange<Quantity>, pool?: string): RateAllotment<Quantity> {
    const whole = this.rates.change(this.rates.usual, change);
    this.all(
      (tree, quantity) => {
        tree.addClient(name, this.part(whole, quantity), pool);
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
  allotmentOf(name: string): RateAllotment<Quantity> | undefined {
    return this.clients.get(name);
  }

  /** Changes what a VM or pool may have. @throws ResourceError; nothing changes then */
  configure(name: string, change: RateChange<Quantity>, of: "client" | "pool"): void {
    const known: Map<string, RateAllotment<Quantity>> = of === "pool" ? this.pools : this.clients;
    const before = known.get(name);
    const after = this.rates.change(before ?? this.rates.usualPool, change);
    this.all(
      (tree, quantity) => tree.configure(name, this.part(after, quantity), of),
      (tree, quantity) => tree.configure(name, this.part(before!, quantity), of),
    );
    known.set(name, after);
  }

  /** What pools may have, by name. */
  poolAllotments(): ReadonlyMap<string, PoolOf<Quantity>> {
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

  /** An allotment as the tree of one quantity has it. */
  private part(
    allotment: RateAllotment<Quantity> & { readonly expandable?: boolean },
    quantity: Quantity,
  ): Partial<PoolAllotment> {
    const { shares, expandable } = allotment;
    return { shares, ...allotment[quantity], ...(expandable === undefined ? {} : { expandable }) };
  }
}
