/**
 * The order in which VMs' requests go to a shared store: mClock (Gulati, Merchant, Varman, OSDI 2010) over nested pools.
 *
 * Every VM and pool has tags, times at which it is next due: by its *reservation*, by its *limit*, and in virtual time by
 * its *shares*. As long as somebody's reservation is due, the one that is due longest goes first. Else, where the store
 * has room, the smallest tag by shares goes, from the root down. Nobody goes before its limit and those of its pools allow.
 *
 * - What goes by a reservation is counted off that one and those of the pools around it; what goes by shares is not, so
 *   that who got more than its reservation is not made to wait for it later. Both count for the shares.
 * - Reservations and limits are each kept for operations and for bytes. Shares divide the store's time: a request costs 1,
 *   and 1 more for every {@link COST_BYTES}.
 * - A tag never lies so far behind that an idle VM saves up credit: by shares it begins where the others are, by
 *   reservation when its request came, and by limit at most {@link BURST_MS} ago.
 * - Among VMs of a pool the pool's limit goes by shares, too, since the pool's own tags decide for it as a whole.
 *
 * Times are in milliseconds, rates in amounts a second. Nothing here reads a clock, so that the same calls give the same
 * order. Whether the store has room is the caller's to know.
 */
import { ResourceError } from "../cpu/errors.js";
import { clientNamed, poolNamed } from "../cpu/named.js";
import {
  changeDisk,
  DEFAULT_DISK,
  DEFAULT_DISK_POOL,
  type DiskAllotment,
  type DiskChange,
} from "./allotment.js";

/** Bytes for which a request costs as much as for being a request. */
export const COST_BYTES = 65_536;
/** Time for which a VM may catch up what its limit had allowed and it did not use. */
export const BURST_MS = 100;
/** Time's worth of a limit that {@link MClock.lease} gives in advance. */
export const LEASE_MS = 10;
/** Time for which a reservation that the store could not keep is caught up. */
const MOST_ARREARS_MS = 1000;
/** Cost by which who has much by its reservation lies behind the others' shares at most. */
const MOST_LEAD = 256;

/** A request may go. */
export interface DiskGrant {
  readonly client: string;
  readonly bytes: number;
}

/** What the store takes: all that comes, only what a reservation is due for, or nothing. */
export type StoreRoom = "all" | "reserved" | "none";

/** Operations and bytes. */
export interface DiskAmount {
  readonly operations: number;
  readonly bytes: number;
}

/** Times of one kind, for both quantities. */
interface Tags {
  operations: number;
  bytes: number;
}

interface Node {
  readonly name: string;
  readonly isPool: boolean;
  readonly parent: Node | undefined;
  allotment: DiskAllotment;
  /** Children that have requests waiting. */
  readonly active: Set<Node>;
  readonly children: Set<Node>;
  /** Requests that wait in it. */
  backlog: number;
  /** When the first of them came, or one before it that it had to wait for. */
  since: number;
  readonly reserved: Tags;
  readonly limited: Tags;
  /** Tag by shares, among its siblings. */
  share: number;
  /** Virtual time of its children: the tag of the one that went last by shares. */
  virtual: number;
  /** Sizes of a client's requests in bytes, the first one at `head`. */
  queue: number[];
  head: number;
  /** The child that is next by shares, when it was looked for last. */
  best: Node | undefined;
}

/** Whose reservation is due longest, and since when. */
interface Found {
  due: Node | undefined;
  since: number;
}

/** The scheduler. */
export class MClock {
  private readonly pools = new Map<string, Node>();
  private readonly clients = new Map<string, Node>();
  private readonly root: Node;

  /**
   * @param rootName name of the pool that holds everything
   * @param requestCost what a request costs beside its bytes, for the shares
   */
  constructor(
    rootName = "root",
    private readonly requestCost = 1,
  ) {
    this.root = makeNode(rootName, true, undefined, DEFAULT_DISK);
    this.pools.set(rootName, this.root);
  }

  /** Makes a pool inside `parent`. @throws ResourceError if the name is taken or the parent unknown */
  addPool(name: string, change: DiskChange = {}, parent = this.root.name): void {
    if (this.pools.has(name)) throw new ResourceError("E_NAME_TAKEN", `there is a pool ${name} already`);
    this.pools.set(name, makeNode(name, true, this.pool(parent), changeDisk(DEFAULT_DISK_POOL, change)));
  }

  /** Forgets an empty pool. @throws ResourceError `E_POOL_UNKNOWN`, `E_POOL_BUSY` */
  removePool(name: string): void {
    const node = this.pool(name);
    if (node.children.size > 0 || node.parent === undefined)
      throw new ResourceError("E_POOL_BUSY", `pool ${name} still holds something: remove that first`);
    node.parent.children.delete(node);
    this.pools.delete(name);
  }

  /** Adds a client to a pool. @throws ResourceError as {@link addPool} */
  addClient(name: string, change: DiskChange = {}, pool = this.root.name): void {
    if (this.clients.has(name)) throw new ResourceError("E_NAME_TAKEN", `there is a VM ${name} already`);
    this.clients.set(name, makeNode(name, false, this.pool(pool), changeDisk(DEFAULT_DISK, change)));
  }

  /** Forgets a client and what waits for it. */
  removeClient(name: string): void {
    const node = this.client(name);
    this.leave(node, node.backlog);
    node.parent!.children.delete(node);
    this.clients.delete(name);
  }

  /** Changes what a client or pool may have, from now on. @throws ResourceError if there is none of the name */
  configure(name: string, change: DiskChange, of: "client" | "pool", now: number): void {
    const node = of === "pool" ? this.pool(name) : this.client(name);
    const before = node.allotment;
    node.allotment = changeDisk(before, change);
    // What was had in advance stays so much, and is waited for at the new rate.
    for (const [quantity, bounds] of [
      ["operations", "iops"],
      ["bytes", "bandwidth"],
    ] as const) {
      const ahead = Math.max(0, node.limited[quantity] - now) * finite(before[bounds].limit);
      node.limited[quantity] = now + ahead / node.allotment[bounds].limit;
      node.reserved[quantity] = Math.min(node.reserved[quantity], now);
    }
  }

  /** A client has a request of so many bytes. */
  arrive(name: string, bytes: number, now: number): void {
    const client = this.client(name);
    client.queue.push(bytes);
    for (let node: Node = client; ; node = node.parent) {
      if (node.backlog++ === 0) {
        node.since = now;
        if (node.parent !== undefined) {
          node.share = Math.max(node.share, node.parent.virtual);
          node.parent.active.add(node);
        }
      }
      if (node.parent === undefined) return;
    }
  }

  /** The request of a client that has waited longest is not wanted any more. */
  drop(name: string): void {
    const client = this.client(name);
    takeFirst(client);
    this.leave(client, 1);
  }

  /** The next request that may go, which goes with this call; undefined if none may. */
  next(now: number, room: StoreRoom): DiskGrant | undefined {
    if (room === "none" || this.root.backlog === 0) return undefined;
    const found: Found = { due: undefined, since: Infinity };
    look(this.root, now, found);
    const { due } = found;
    const from = due ?? (room === "all" ? this.root : undefined);
    let client = from;
    while (client?.isPool === true) client = client.best;
    if (client === undefined || from === undefined) return undefined;
    const bytes = takeFirst(client);
    this.charge(client.name, { operations: 1, bytes }, now);
    this.chargeShares(client, from, this.requestCost + bytes / COST_BYTES);
    for (let node = due; node?.parent !== undefined; node = node.parent) chargeReservation(node, bytes, now);
    this.leave(client, 1);
    return { client: client.name, bytes };
  }

  /** Whether a request waits that only the store holds back. */
  isHeldByStore(now: number): boolean {
    return look(this.root, now, { due: undefined, since: Infinity });
  }

  /** The earliest time at which more may go than now, with the store as it is; Infinity if none will. */
  nextTime(now: number, room: StoreRoom): number {
    let earliest = Infinity;
    const visit = (node: Node, heldUntil: number): void => {
      const allowed = Math.max(heldUntil, limitTag(node));
      const due = Math.max(allowed, reservationTag(node));
      if (room !== "all" && due > now) earliest = Math.min(earliest, due);
      if (node.isPool) for (const child of node.active) visit(child, allowed);
      else if (allowed > now) earliest = Math.min(earliest, allowed);
    };
    for (const child of this.root.active) visit(child, -Infinity);
    return earliest;
  }

  /** A client's requests of so much have gone without being asked for here: limits have to hold all the same. */
  charge(name: string, { operations, bytes }: DiskAmount, now: number): void {
    for (let node: Node = this.client(name); node.parent !== undefined; node = node.parent) {
      const { limited, allotment } = node;
      limited.operations = advance(limited.operations, now - BURST_MS, operations, allotment.iops.limit);
      limited.bytes = advance(limited.bytes, now - BURST_MS, bytes, allotment.bandwidth.limit);
    }
  }

  /** What a client may have without asking, until it has had it: as much as its limits allow for a while. */
  lease(name: string, now: number): DiskAmount {
    let [operations, bytes] = [Infinity, Infinity];
    for (let node: Node = this.client(name); node.parent !== undefined; node = node.parent) {
      const { iops, bandwidth } = node.allotment;
      if (iops.limit === Infinity && bandwidth.limit === Infinity) continue;
      // Where others wait for what a limit allows, it goes by shares.
      if (node.backlog > 0 || limitTag(node) > now) return { operations: 0, bytes: 0 };
      operations = Math.min(operations, Math.floor((iops.limit * LEASE_MS) / 1000));
      bytes = Math.min(bytes, (bandwidth.limit * LEASE_MS) / 1000);
    }
    return { operations, bytes };
  }

  /** Requests of a client that wait. */
  waiting(name: string): number {
    return this.client(name).backlog;
  }

  /** @param from where the choice by shares began */
  private chargeShares(client: Node, from: Node, cost: number): void {
    let isByShares = client !== from;
    for (let node = client; node.parent !== undefined; node = node.parent) {
      const { parent, allotment } = node;
      const start = Math.max(node.share, parent.virtual);
      if (isByShares) parent.virtual = start;
      const most = parent.virtual + Math.max(MOST_LEAD, cost) / allotment.shares;
      node.share = Math.min(start + cost / allotment.shares, most);
      if (parent === from) isByShares = false;
    }
  }

  private leave(client: Node, requests: number): void {
    if (requests === 0) return;
    for (let node: Node | undefined = client; node !== undefined; node = node.parent) {
      node.backlog -= requests;
      if (node.backlog === 0) node.parent?.active.delete(node);
    }
  }

  private pool(name: string): Node {
    return poolNamed(this.pools, name);
  }

  private client(name: string): Node {
    return clientNamed(this.clients, name);
  }
}

/** Finds who is next by shares in every pool, and whose reservation is due longest. Whether something may go. */
function look(node: Node, now: number, found: Found): boolean {
  if (node.backlog === 0 || limitTag(node) > now) return false;
  if (node.isPool) {
    node.best = undefined;
    for (const child of node.active)
      if (look(child, now, found) && (node.best === undefined || child.share < node.best.share))
        node.best = child;
    if (node.best === undefined) return false;
  }
  const tag = reservationTag(node);
  if (tag <= now && tag < found.since) {
    found.due = node;
    found.since = tag;
  }
  return true;
}

function makeNode(name: string, isPool: boolean, parent: Node | undefined, allotment: DiskAllotment): Node {
  const node: Node = {
    name,
    isPool,
    parent,
    allotment,
    active: new Set(),
    children: new Set(),
    backlog: 0,
    since: 0,
    reserved: { operations: -Infinity, bytes: -Infinity },
    limited: { operations: -Infinity, bytes: -Infinity },
    share: 0,
    virtual: 0,
    queue: [],
    head: 0,
    best: undefined,
  };
  parent?.children.add(node);
  return node;
}

/** A tag after an amount at a rate; it was not before `least`. */
const advance = (tag: number, least: number, amount: number, rate: number): number =>
  Math.max(tag, least) + (amount * 1000) / rate;

const finite = (rate: number): number => (rate === Infinity ? 0 : rate);

/** From when on the limits of a node let it go on. */
function limitTag({ limited, allotment: { iops, bandwidth } }: Node): number {
  return Math.max(
    iops.limit === Infinity ? -Infinity : limited.operations,
    bandwidth.limit === Infinity ? -Infinity : limited.bytes,
  );
}

/** From when on one of a node's reservations is due; Infinity if it has none. */
function reservationTag({ reserved, since, allotment: { iops, bandwidth } }: Node): number {
  return Math.min(
    iops.reservation === 0 ? Infinity : Math.max(reserved.operations, since),
    bandwidth.reservation === 0 ? Infinity : Math.max(reserved.bytes, since),
  );
}

function chargeReservation({ reserved, since, allotment }: Node, bytes: number, now: number): void {
  const { iops, bandwidth } = allotment;
  const least = Math.max(since, now - MOST_ARREARS_MS);
  if (iops.reservation > 0) reserved.operations = advance(reserved.operations, least, 1, iops.reservation);
  if (bandwidth.reservation > 0)
    reserved.bytes = advance(reserved.bytes, least, bytes, bandwidth.reservation);
}

/** Takes the size of a client's first request. */
function takeFirst(client: Node): number {
  const bytes = client.queue[client.head++]!;
  if (client.head === client.queue.length) {
    client.queue = [];
    client.head = 0;
  }
  return bytes;
}
