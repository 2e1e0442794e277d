/**
 * The pools of a host's projects, in all resources at once: what is refused in one of them changes none. A project's pools
 * lie inside a pool of its name.
 */
import { ResourceError } from "../cpu/errors.js";
import { DEFAULT_POOL, type PoolAllotment } from "../cpu/resource-tree.js";
import { changeDisk, DEFAULT_DISK_POOL, type DiskChange } from "../disk/allotment.js";
import { type HyperfileSpec, ROOT_POOL } from "../hyperfile/types.js";
import { changeNet, DEFAULT_NET_POOL, type NetChange } from "../net/allotment.js";
import type { EventLog } from "./events.js";

/** What a pool may have. */
export interface PoolResources {
  /** In cores. */
  readonly cpu: Partial<PoolAllotment>;
  /** In bytes. */
  readonly memory: Partial<PoolAllotment>;
  /** In operations and bytes a second. */
  readonly disk: DiskChange;
  /** In bytes a second. */
  readonly net: NetChange;
}

/** Where pools of one resource are kept: the scheduler, the memory's broker, the disks, the networks. */
export interface PoolKeeper<Resource extends keyof PoolResources = keyof PoolResources> {
  addPool(name: string, allotment: PoolResources[Resource], parent: string): void;
  removePool(name: string): void;
  configure(name: string, change: PoolResources[Resource], of: "pool"): void;
}

/** All of them. */
export type PoolKeepers = { readonly [Resource in keyof PoolResources]: PoolKeeper<Resource> };

const resources = ["cpu", "memory", "disk", "net"] as const satisfies readonly (keyof PoolResources)[];

/** A pool's name on the host. */
export const fullPool = (project: string, pool: string): string =>
  pool === ROOT_POOL ? project : `${project}/${pool}`;

/** Whether a change says something else than what is. */
function differ(one: unknown, change: unknown): boolean {
  if (typeof change !== "object" || change === null) return one !== change;
  const fields = Object.entries(change);
  return fields.some(([field, value]) => differ((one as Readonly<Record<string, unknown>>)[field], value));
}

/** The pools. */
export class PoolBook {
  private readonly pools = new Map<string, PoolResources>();

  constructor(
    private readonly keepers: PoolKeepers,
    private readonly events: EventLog,
  ) {}

  /** Changes a pool, by its name with its project before a slash. @throws ResourceError; nothing changes then */
  set(name: string, change: Partial<PoolResources>): void {
    const before = this.pools.get(name);
    this.all(
      (keeper, resource) => {
        const part = change[resource];
        if (part !== undefined) keeper.configure(name, part, "pool");
      },
      (keeper, resource) => {
        if (change[resource] !== undefined && before !== undefined)
          keeper.configure(name, before[resource], "pool");
      },
    );
    if (before !== undefined)
      this.pools.set(name, {
        cpu: { ...before.cpu, ...change.cpu },
        memory: { ...before.memory, ...change.memory },
        disk: changeDisk(before.disk, change.disk ?? {}),
        net: changeNet(before.net, change.net ?? {}),
      });
    this.events.add("pool.changed", name);
  }

  /** Makes a project's pools so; gives the names of those that were others before. @throws ResourceError */
  define(project: string, { host, pools }: HyperfileSpec): string[] {
    const whole: PoolResources = {
      cpu: { ...DEFAULT_POOL, limit: host.cores ?? Infinity },
      memory: { ...DEFAULT_POOL, limit: host.memoryBytes ?? Infinity },
      disk: DEFAULT_DISK_POOL,
      net: DEFAULT_NET_POOL,
    };
    const changed = this.defineOne(project, ROOT_POOL, whole) ? [project] : [];
    for (const pool of pools) {
      const name = fullPool(project, pool.name);
      if (this.defineOne(name, fullPool(project, pool.parent), pool)) changed.push(name);
    }
    return changed;
  }

  /** Forgets a project's pools, but for those that VMs are in: a clone under another name keeps its own. */
  remove(project: string): void {
    for (const name of [...this.pools.keys()].reverse())
      if (name === project || name.startsWith(`${project}/`)) this.removeOne(name);
  }

  /** Whether it was there already and has changed. */
  private defineOne(name: string, parent: string, { cpu, memory, disk, net }: PoolResources): boolean {
    const wanted: PoolResources = { cpu, memory, disk, net };
    const before = this.pools.get(name);
    if (before !== undefined) {
      if (!differ(before, wanted)) return false;
      this.set(name, wanted);
      return true;
    }
    this.all(
      (keeper, resource) => keeper.addPool(name, wanted[resource], parent),
      (keeper) => keeper.removePool(name),
    );
    this.events.add("pool.defined", name);
    this.pools.set(name, wanted);
    return false;
  }

  private removeOne(name: string): void {
    try {
      for (const resource of resources) this.keepers[resource].removePool(name);
      this.pools.delete(name);
      this.events.add("pool.removed", name);
    } catch (error) {
      if (!(error instanceof ResourceError)) throw error;
    }
  }

  /** Does something with all keepers, or undoes it where it was done. */
  private all(
    act: (keeper: PoolKeeper, resource: keyof PoolResources) => void,
    undo: (keeper: PoolKeeper, resource: keyof PoolResources) => void,
  ): void {
    const done: (keyof PoolResources)[] = [];
    try {
      for (const resource of resources) {
        act(this.keepers[resource] as PoolKeeper, resource);
        done.push(resource);
      }
    } catch (error) {
      for (const resource of done) undo(this.keepers[resource] as PoolKeeper, resource);
      throw error;
    }
  }
}
