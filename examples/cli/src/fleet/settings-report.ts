/** What `hyperfile set` tells: each setting before and after, and what bounds it where that is less. */
import type {
  AllotmentView,
  DiskAllotmentView,
  NetAllotmentView,
  PoolView,
  VmView,
} from "@hyperfile/broker/client";
import { formatSize } from "@hyperfile/broker/host";

/** A VM's or pool's settings. */
export interface SettingsOwner {
  /** As the user named it. */
  readonly name: string;
  readonly cpu: AllotmentView;
  readonly memory: AllotmentView;
  readonly disk: DiskAllotmentView;
  readonly net: NetAllotmentView;
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
  disk: vm.disk,
  net: vm.net,
  restart: vm.restart,
  memoryBytes: vm.memoryBytes,
  parent: vm.pool,
});

/** A pool as an owner of settings. */
export const ownerOfPool = (pool: PoolView): SettingsOwner => ({
  name: pool.name,
  cpu: pool.cpu,
  memory: pool.memory,
  disk: pool.disk,
  net: pool.net,
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
  return name === "restart" ? (owner.restart ?? "") : shown(name, quantityOf(owner, name));
}

/** What an owner has of a quantity, such as `disk.iops.limit`. */
function quantityOf(
  { cpu, memory, disk, net }: Pick<SettingsOwner, "cpu" | "memory" | "disk" | "net">,
  name: string,
) {
  let value: unknown = { cpu, memory, disk, net };
  for (const part of name.split(".")) value = (value as Readonly<Record<string, unknown>>)[part];
  return value as number | null;
}

function shown(name: string, value: number | null): string {
  if (value === null) return "none";
  const isBytes = /^memory\.(?!shares)|^disk\.bandwidth\.|^net\.(?!shares)/.test(name);
  return isBytes ? formatSize(value) : String(value);
}

/** What is in effect of a limit where something around it allows less. */
function boundOf(name: string, owner: SettingsOwner, pools: readonly PoolView[]): string {
  if (!name.endsWith(".limit")) return "";
  const byName = new Map(pools.map((pool) => [pool.name, pool]));
  let least = quantityOf(owner, name) ?? Infinity;
  let by: string | undefined;
  if (name === "memory.limit" && owner.memoryBytes !== undefined && owner.memoryBytes < least) {
    least = owner.memoryBytes;
    by = "all the memory that it has";
  }
  let pool = owner.parent === undefined ? undefined : byName.get(owner.parent);
  for (; pool !== undefined; pool = pool.parent === undefined ? undefined : byName.get(pool.parent)) {
    const limit = quantityOf(pool, name) ?? Infinity;
    if (limit >= least) continue;
    least = limit;
    by = pool.parent === undefined ? "all that there is" : `the limit of pool ${pool.name}`;
  }
  return by === undefined ? "" : ` (in effect ${shown(name, least)}: ${by})`;
}
