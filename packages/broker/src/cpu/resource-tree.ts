/**
 * Nested resource pools with reservation, limit and shares, as VMware's users know them: admission control, and the
 * division of a capacity among the clients that want it. The unit is the caller's: cores for CPU, bytes for memory.
 *
 * A pool's reservation is taken from its parent when the pool is made; a client's when it is admitted (a VM's power
 * on). A pool may hand out what it has reserved; an *expandable* pool that has too little borrows the rest from its
 * parent, which may do the same, up to each pool's limit.
 *
 * Invariant: for every pool, the claims of its children are within its reservation, or within what its ancestors can
 * spare where it is expandable; so a reservation that was admitted can be honoured at any time.
 *
 * Every node keeps its claim and every pool the sum of its children's, so that a change costs a step for each pool
 * above it, however many nodes there are.
 */
import { ResourceError } from "./errors.js";
import { clientNamed, poolNamed } from "./named.js";
import { type Claim, waterFill } from "./water-fill.js";

/** What one client or pool may have of a resource. */
export interface Allotment {
  /** Proportion among its siblings; positive. */
  readonly shares: number;
  /** Guaranteed amount. */
  readonly reservation: number;
  /** Most that it ever gets; `Infinity` for no limit. */
  readonly limit: number;
}

/** What a pool may have. */
export interface PoolAllotment extends Allotment {
  /** Whether it may borrow from its parent for the reservations of its children. */
  readonly expandable: boolean;
}

/** Shares of a client that says nothing else: VMware's "normal" for one vCPU. */
export const NORMAL_SHARES = 1000;
/** No reservation, no limit, normal shares. */
export const DEFAULT_ALLOTMENT: Allotment = { shares: NORMAL_SHARES, reservation: 0, limit: Infinity };
/** The same for a pool, which may borrow. */
export const DEFAULT_POOL: PoolAllotment = {
  ...DEFAULT_ALLOTMENT,
  shares: 4 * NORMAL_SHARES,
  expandable: true,
};

/** How deep pools may be nested. */
export const MOST_POOL_DEPTH = 64;

interface Node {
  readonly name: string;
  readonly isPool: boolean;
  readonly parent: Node | undefined;
  /** Pools around it. */
  readonly depth: number;
  readonly children: Set<Node>;
  allotment: PoolAllotment;
  /** Clients: whether it counts for admission. */
  admitted: boolean;
  /** What it takes of its parent's reservation. */
  claim: number;
  /** What its children take of its own, and how often that has changed since it was added up. */
  claims: number;
  changes: number;
}

/** A pool or client as reports show it. */
export interface ResourceNode {
  readonly name: string;
  readonly isPool: boolean;
  /** Name of the pool around it; undefined for the root. */
  readonly parent: string | undefined;
  readonly allotment: PoolAllotment;
  readonly admitted: boolean;
  /** What it takes of its parent's reservation. */
  readonly claim: number;
}

/** Rounding of sums of decimal fractions must not refuse what fits exactly. */
const TOLERANCE = 1e-9;
/** Children up to which a sum is made anew with every change, so that it has no rounding of earlier ones. */
const FEW_CHILDREN = 64;

/** Pools and clients over one capacity. */
export class ResourceTree {
  private readonly pools = new Map<string, Node>();
  private readonly clients = new Map<string, Node>();
  private readonly root: Node;

  /**
   * @param capacity all that there is
   * @param unit word for messages, such as `cores`, or what makes a text of an amount
   * @param rootName name of the pool that holds everything
   */
  constructor(
    readonly capacity: number,
    private readonly unit: string | ((amount: number) => string),
    rootName = "root",
  ) {
    this.root = {
      name: rootName,
      isPool: true,
      parent: undefined,
      depth: 0,
      children: new Set(),
      allotment: { shares: 1, reservation: capacity, limit: capacity, expandable: false },
      admitted: true,
      claim: capacity,
      claims: 0,
      changes: 0,
    };
    this.pools.set(rootName, this.root);
  }

  /**
   * Makes a pool inside `parent`.
   * @throws ResourceError if the name is taken, the parent unknown or at the greatest depth (`E_POOL_DEPTH`), the figures
   *   impossible (`E_ALLOTMENT`), or the reservation can't be kept (`E_ADMISSION`)
   */
  addPool(name: string, allotment: Partial<PoolAllotment> = {}, parent = this.root.name): void {
    if (this.pools.has(name)) throw new ResourceError("E_NAME_TAKEN", `there is a pool ${name} already`);
    const node = this.makeNode(name, true, { ...DEFAULT_POOL, ...allotment }, parent);
    if (node.depth > MOST_POOL_DEPTH) {
      throw new ResourceError(
        "E_POOL_DEPTH",
        `pool ${name} would be in ${node.depth} others: ${MOST_POOL_DEPTH} are possible`,
      );
    }
    node.parent!.children.add(node);
    this.settle(node);
    const refusal = this.refusal(node);
    if (refusal !== undefined) {
      this.detach(node);
      throw refusal;
    }
    this.pools.set(name, node);
  }

  /**
   * Adds a client to a pool; it reserves nothing until it is admitted.
   * @throws ResourceError as {@link addPool}, but for admission
   */
  addClient(name: string, allotment: Partial<Allotment> = {}, pool = this.root.name): void {
    if (this.clients.has(name)) throw new ResourceError("E_NAME_TAKEN", `there is a VM ${name} already`);
    const node = this.makeNode(name, false, { ...DEFAULT_ALLOTMENT, ...allotment, expandable: false }, pool);
    node.parent!.children.add(node);
    this.clients.set(name, node);
  }

  /**
   * Reserves what a client asks for.
   * @throws ResourceError `E_ADMISSION` if that can't be kept; nothing changes then
   */
  admit(name: string): void {
    const node = this.client(name);
    if (node.admitted) return;
    node.admitted = true;
    this.settle(node);
    const refusal = this.refusal(node);
    if (refusal === undefined) return;
    this.retire(name);
    throw refusal;
  }

  /** Gives back a client's reservation. */
  retire(name: string): void {
    const node = this.client(name);
    node.admitted = false;
    this.settle(node);
  }

  /**
   * Changes what a client or pool may have.
   * @throws ResourceError `E_ALLOTMENT` or `E_ADMISSION`; nothing changes then
   */
  configure(name: string, change: Partial<PoolAllotment>, kind: "client" | "pool" = "client"): void {
    const node = kind === "pool" ? this.pool(name) : this.client(name);
    const before = node.allotment;
    const after = { ...before, ...change };
    checkAllotment(node, after);
    node.allotment = after;
    this.settle(node);
    const refusal = this.refusal(node);
    if (refusal === undefined) return;
    node.allotment = before;
    this.settle(node);
    throw refusal;
  }

  /** Forgets a client. */
  removeClient(name: string): void {
    this.detach(this.client(name));
    this.clients.delete(name);
  }

  /**
   * Forgets an empty pool.
   * @throws ResourceError `E_POOL_BUSY` while something is inside, or for the root
   */
  removePool(name: string): void {
    const node = this.pool(name);
    if (node.parent === undefined)
      throw new ResourceError("E_POOL_BUSY", `pool ${name} holds everything else and stays`);
    const [inside] = node.children;
    if (inside !== undefined) {
      throw new ResourceError("E_POOL_BUSY", `pool ${name} still holds ${inside.name}: remove that first`);
    }
    this.detach(node);
    this.pools.delete(name);
  }

  hasPool(name: string): boolean {
    return this.pools.has(name);
  }

  hasClient(name: string): boolean {
    return this.clients.has(name);
  }

  /** What a client may have. */
  allotmentOf(name: string): Allotment {
    return this.client(name).allotment;
  }

  /** The limits above and at a client that are finite, each with the name of the pool or client that has it. */
  limitsOf(name: string): { readonly key: string; readonly limit: number }[] {
    const limits: { key: string; limit: number }[] = [];
    let node: Node | undefined = this.client(name);
    // The root's limit is the capacity, which the number of cores holds by itself.
    for (; node?.parent !== undefined; node = node.parent) {
      if (node.allotment.limit === Infinity) continue;
      limits.push({ key: `${node.isPool ? "pool" : "vm"} ${node.name}`, limit: node.allotment.limit });
    }
    return limits;
  }

  /** All pools and clients, pools before what they hold. */
  nodes(): ResourceNode[] {
    const list: ResourceNode[] = [];
    const visit = (node: Node): void => {
      const { name, isPool, allotment, admitted, claim } = node;
      list.push({ name, isPool, parent: node.parent?.name, allotment, admitted, claim });
      for (const child of node.children) visit(child);
    };
    visit(this.root);
    return list;
  }

  /** What a new client of a pool could reserve. */
  available(pool: string): number {
    return spare(this.pool(pool));
  }

  /**
   * Divides the capacity.
   * @param demand most that a client can use now, 0 for one that wants nothing
   * @returns the part of every client with a demand, by name
   */
  entitlements(demand: (client: string) => number): Map<string, number> {
    const claims = new Map<Node, Claim>();
    demandOf(this.root, demand, claims);
    const parts = new Map<string, number>();
    const divide = (amount: number, pool: Node): void => {
      const wanting = [...pool.children].filter((node) => claims.get(node)!.most > 0);
      const amounts = waterFill(
        amount,
        wanting.map((node) => claims.get(node)!),
      );
      for (const [at, node] of wanting.entries()) {
        if (node.isPool) divide(amounts[at]!, node);
        else parts.set(node.name, amounts[at]!);
      }
    };
    divide(this.capacity, this.root);
    return parts;
  }

  private makeNode(name: string, isPool: boolean, allotment: PoolAllotment, parent: string): Node {
    const around = this.pool(parent);
    const node: Node = {
      name,
      isPool,
      parent: around,
      depth: around.depth + 1,
      children: new Set(),
      allotment,
      admitted: isPool,
      claim: 0,
      claims: 0,
      changes: 0,
    };
    checkAllotment(node, allotment);
    return node;
  }

  /** Brings the claims at a node and above it up to date. */
  private settle(node: Node): void {
    for (let at: Node = node; ; at = at.parent) {
      const before = at.claim;
      at.claim = claimOf(at);
      if (at.claim === before || at.parent === undefined) return;
      addUp(at.parent, at.claim - before);
    }
  }

  private detach(node: Node): void {
    const parent = node.parent!;
    parent.children.delete(node);
    addUp(parent, -node.claim);
    this.settle(parent);
  }

  private pool(name: string): Node {
    return poolNamed(this.pools, name);
  }

  private client(name: string): Node {
    return clientNamed(this.clients, name);
  }

  /** Why the tree as it stands with `node` in it can't keep its promises; undefined if it can. */
  private refusal(node: Node): ResourceError | undefined {
    for (
      let pool: Node | undefined = node.isPool ? node : node.parent;
      pool !== undefined;
      pool = pool.parent
    ) {
      const { reservation, limit, expandable } = pool.allotment;
      const { claims } = pool;
      const most = expandable ? limit : reservation;
      if (claims <= most + TOLERANCE) continue;
      const wanted = pool === node ? claims : childOnPath(node, pool).claim;
      const left = Math.max(0, most - (claims - wanted));
      const why = expandable
        ? `its limit is ${this.shown(limit)}`
        : pool.parent === undefined
          ? `the host has ${this.shown(limit)}`
          : "it can't borrow";
      return new ResourceError(
        "E_ADMISSION",
        `${node.isPool ? "pool" : "VM"} ${node.name} can't be admitted: a reservation of ${this.shown(wanted)} is needed in pool ${pool.name}, which has ${typeof this.unit === "string" ? round(left) : this.unit(left)} left, and ${why}; lower a reservation or stop a VM`,
      );
    }
    return undefined;
  }

  private shown(amount: number): string {
    return typeof this.unit === "string" ? `${round(amount)} ${this.unit}` : this.unit(amount);
  }
}

const round = (value: number): number => Math.round(value * 1000) / 1000;

/** The child of `pool` that is `node` or holds it. */
function childOnPath(node: Node, pool: Node): Node {
  let child = node;
  while (child.parent !== pool) child = child.parent!;
  return child;
}

/** What a node takes of its parent's reservation. */
function claimOf(node: Node): number {
  const { reservation, expandable } = node.allotment;
  if (node.parent === undefined) return reservation;
  if (!node.isPool) return node.admitted ? reservation : 0;
  return expandable ? Math.max(reservation, node.claims) : reservation;
}

/** One of a pool's children claims so much more. */
function addUp(pool: Node, change: number): void {
  pool.claims += change;
  pool.changes++;
  if (pool.children.size > FEW_CHILDREN && pool.changes < pool.children.size) return;
  pool.changes = 0;
  pool.claims = 0;
  for (const { claim } of pool.children) pool.claims += claim;
}

/** What a node can use of its parent, and everything in it of its own; each client is asked once. */
function demandOf(node: Node, demand: (client: string) => number, claims: Map<Node, Claim>): Claim {
  const { shares, reservation, limit } = node.allotment;
  let claim: Claim;
  if (node.isPool) {
    let [least, most] = [0, 0];
    for (const child of node.children) {
      const part = demandOf(child, demand, claims);
      least += part.least;
      most += part.most;
    }
    most = Math.min(most, limit);
    claim = { shares, least: Math.min(Math.max(least, reservation), most), most };
  } else {
    const most = Math.min(limit, demand(node.name));
    claim = { shares, least: Math.min(reservation, most), most };
  }
  claims.set(node, claim);
  return claim;
}

/** What a pool can still promise. */
function spare(pool: Node): number {
  const { reservation, limit, expandable } = pool.allotment;
  const { claims } = pool;
  const own = Math.max(0, reservation - claims);
  if (!expandable || pool.parent === undefined) return own;
  return Math.max(0, Math.min(own + spare(pool.parent), limit - claims));
}

function checkAllotment(node: Node, { shares, reservation, limit }: Allotment): void {
  const what = `${node.isPool ? "pool" : "VM"} ${node.name}`;
  if (!(shares > 0 && shares < Infinity))
    throw new ResourceError(
      "E_ALLOTMENT",
      `${what}: shares of ${shares} are impossible: give a positive number`,
    );
  if (!(reservation >= 0 && reservation < Infinity)) {
    throw new ResourceError(
      "E_ALLOTMENT",
      `${what}: a reservation of ${reservation} is impossible: give 0 or more`,
    );
  }
  if (!(limit > 0))
    throw new ResourceError("E_ALLOTMENT", `${what}: a limit of ${limit} is impossible: give more than 0`);
  if (reservation > limit) {
    throw new ResourceError(
      "E_ALLOTMENT",
      `${what}: the reservation of ${reservation} is above the limit of ${limit}`,
    );
  }
}
