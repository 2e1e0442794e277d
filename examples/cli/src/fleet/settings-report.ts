/** What `hyperfile set` tells: each setting before and after, and what bounds it where that is less. */
import { type AllotmentView, formatSize, type PoolView, type VmView } from "@hyperfile/broker/client";

/** A VM's or pool's settings. */
export interface SettingsOwner {
  /** As the user named it. */
  readonly name: string;
  readonly cpu: AllotmentView;
  readonly memory: AllotmentView;
  readonly restart?: string;
  /** The memory of a VM, above which no limit has a meaning. */
  readonly memoryBytes?: number;
  /** Name of the pool around it. */
  readonly parent: string | undefined;
}

/** A VM as an owner of settings. */
export const ownerOfVm = (vm: VmView): SettingsOwner => ({
  name: vm.name,
  cpu: vm.cpu,
  memory: vm.memoryAllotment,
  restart: vm.restart,
  memoryBytes: vm.memoryBytes,
  parent: vm.pool,
});

/** A pool as an owner of settings. */
export const ownerOfPool = (pool: PoolView): SettingsOwner => ({
  name: pool.name,
  cpu: pool.cpu,
  memory: pool.memory,
  parent: pool.parent,
});

/**
 * A line for each setting.
 * @param pools all pools, for the bounds that they set
 */
export function settingsReport(
  names: readonly string[],
  before: SettingsOwner,
  after: SettingsOwner,
  pools: readonly PoolView[],
): string {
  const lines = [...new Set(names)].map((name) => {
    const [old, now] = [settingOf(before, name), settingOf(after, name)];
    const change = old === now ? `stays ${now}` : `${old} -> ${now}`;
    return `${after.name}: ${name} ${change}${boundOf(name, after, pools)}\n`;
  });
  return lines.join("");
}

function settingOf(owner: SettingsOwner, name: string): string {
  const [resource, figure] = name.split(".");
  if (resource === "restart") return owner.restart ?? "";
  const value = owner[resource as "cpu" | "memory"][figure as keyof AllotmentView];
  return shown(name, value);
}

function shown(name: string, value: number | null): string {
  if (value === null) return "none";
  return name.startsWith("memory.") && !name.endsWith("shares") ? formatSize(value) : String(value);
}

/** What is in effect of a limit where something around it allows less. */
function boundOf(name: string, owner: SettingsOwner, pools: readonly PoolView[]): string {
  if (name !== "cpu.limit" && name !== "memory.limit") return "";
  const resource = name === "cpu.limit" ? "cpu" : "memory";
  const byName = new Map(pools.map((pool) => [pool.name, pool]));
  let least = owner[resource].limit ?? Infinity;
  let by: string | undefined;
  if (resource === "memory" && owner.memoryBytes !== undefined && owner.memoryBytes < least) {
    least = owner.memoryBytes;
    by = "all the memory that it has";
  }
  let pool = owner.parent === undefined ? undefined : byName.get(owner.parent);
  for (; pool !== undefined; pool = pool.parent === undefined ? undefined : byName.get(pool.parent)) {
    const limit = pool[resource].limit ?? Infinity;
    if (limit >= least) continue;
    least = limit;
    by = pool.parent === undefined ? "all that there is" : `the limit of pool ${pool.name}`;
  }
  return by === undefined ? "" : ` (in effect ${shown(name, least)}: ${by})`;
}
