/**
 * The pools of a host's projects, in both resources at once: what is refused in one of them changes neither. A project's
 * pools lie inside a pool of its name.
 */
import { ResourceError } from "../cpu/errors.js";
import { DEFAULT_POOL, type PoolAllotment } from "../cpu/resource-tree.js";
import { type HyperfileSpec, ROOT_POOL } from "../hyperfile/types.js";
import type { EventLog } from "./events.js";

/** What a pool may have. */
export interface PoolResources {
  /** In cores. */
  readonly cpu: Partial<PoolAllotment>;
  /** In bytes. */
  readonly memory: Partial<PoolAllotment>;
}

/** Where pools are kept: the scheduler, and the memory's broker. */
export interface PoolKeeper {
  addPool(name: string, allotment: Partial<PoolAllotment>, parent: string): void;
  removePool(name: string): void;
  configure(name: string, change: Partial<PoolAllotment>, of: "pool"): void;
}

/** A pool's name on the host. */
export const fullPool = (project: string, pool: string): string =>
  pool === ROOT_POOL ? project : `${project}/${pool}`;

const differ = (one: Partial<PoolAllotment>, other: Partial<PoolAllotment>): boolean =>
  Object.entries(other).some(([field, value]) => one[field as keyof PoolAllotment] !== value);

/** The pools. */
export class PoolBook {
  private readonly pools = new Map<string, PoolResources>();

  constructor(
    private readonly cpu: PoolKeeper,
    private readonly memory: PoolKeeper,
    private readonly events: EventLog,
  ) {}

  /** Changes a pool, by its name with its project before a slash. @throws ResourceError; nothing changes then */
  set(name: string, change: Partial<PoolResources>): void {
    const before = this.pools.get(name);
    if (change.cpu !== undefined) this.cpu.configure(name, change.cpu, "pool");
    try {
      if (change.memory !== undefined) this.memory.configure(name, change.memory, "pool");
    } catch (error) {
      if (change.cpu !== undefined && before !== undefined) this.cpu.configure(name, before.cpu, "pool");
      throw error;
    }
    if (before !== undefined)
      this.pools.set(name, {
        cpu: { ...before.cpu, ...change.cpu },
        memory: { ...before.memory, ...change.memory },
      });
    this.events.add("pool.changed", name);
  }

  /** Makes a project's pools so; gives the names of those that were others before. @throws ResourceError */
  define(project: string, { host, pools }: HyperfileSpec): string[] {
    const whole: PoolResources = {
      cpu: { ...DEFAULT_POOL, limit: host.cores ?? Infinity },
      memory: { ...DEFAULT_POOL, limit: host.memoryBytes ?? Infinity },
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
  private defineOne(name: string, parent: string, { cpu, memory }: PoolResources): boolean {
    const before = this.pools.get(name);
    if (before !== undefined) {
      if (!differ(before.cpu, cpu) && !differ(before.memory, memory)) return false;
      this.set(name, { cpu, memory });
      return true;
    }
    this.cpu.addPool(name, cpu, parent);
    try {
      this.memory.addPool(name, memory, parent);
    } catch (error) {
      this.cpu.removePool(name);
      throw error;
    }
    this.events.add("pool.defined", name);
    this.pools.set(name, { cpu, memory });
    return false;
  }

  private removeOne(name: string): void {
    try {
      this.cpu.removePool(name);
      this.memory.removePool(name);
      this.pools.delete(name);
      this.events.add("pool.removed", name);
    } catch (error) {
      if (!(error instanceof ResourceError)) throw error;
    }
  }
}
