/**
 * Settings that can be changed while a VM runs, as `hyperfile set VM cpu.shares=4000` names them, and the comparison of
 * two specifications: what of a change can be applied to a running VM, and what needs a new start.
 */
import type { Allotment } from "../cpu/resource-tree.js";
import { changeDisk, type DiskChange } from "../disk/allotment.js";
import { shortened } from "../hyperfile/message-text.js";
import { hint } from "../hyperfile/suggest.js";
import type { VmSpec } from "../hyperfile/types.js";
import { parseCores, parseIops, parseShares, parseSize } from "../hyperfile/units.js";
import { changeNet, type NetChange } from "../net/allotment.js";
import { LifecycleError } from "./errors.js";
import { bareNics } from "./forwards.js";

/** A change of a VM's settings. */
export interface VmChange {
  readonly cpu?: Partial<Allotment>;
  readonly memory?: Partial<Allotment>;
  readonly disk?: DiskChange;
  readonly net?: NetChange;
  readonly restart?: VmSpec["restart"];
}

type Parse = (text: string) => number | undefined;
const orNone =
  (parse: Parse): Parse =>
  (text) =>
    text === "none" ? Infinity : parse(text);

/** What can be set, each with its reader. */
const quantities = new Map<string, Parse>([
  ["cpu.shares", parseShares],
  ["cpu.reservation", parseCores],
  ["cpu.limit", orNone(parseCores)],
  ["memory.shares", parseShares],
  ["memory.reservation", parseSize],
  ["memory.limit", orNone(parseSize)],
  ["disk.shares", parseShares],
  ["disk.iops.reservation", parseIops],
  ["disk.iops.limit", orNone(parseIops)],
  ["disk.bandwidth.reservation", parseSize],
  ["disk.bandwidth.limit", orNone(parseSize)],
  ["net.shares", parseShares],
  ["net.send.reservation", parseSize],
  ["net.send.limit", orNone(parseSize)],
  ["net.receive.reservation", parseSize],
  ["net.receive.limit", orNone(parseSize)],
]);
const restarts = ["never", "on-failure", "always"] as const;

/** Names of the settings that can be changed while a VM runs. */
export const settingNames = [...quantities.keys(), "restart"];

/**
 * Reads assignments such as `cpu.shares=4000`; `none` stands for no limit.
 * @throws LifecycleError `E_SETTING` that names the setting, with the nearest valid one
 */
export function parseSettings(assignments: readonly string[]): VmChange {
  const change: {
    cpu?: Record<string, number>;
    memory?: Record<string, number>;
    disk?: Record<string, unknown>;
    net?: Record<string, unknown>;
    restart?: VmSpec["restart"];
  } = {};
  for (const assignment of assignments) {
    const [, name, text] = /^([^=]+)=(.*)$/.exec(assignment) ?? [];
    if (name === undefined || text === undefined)
      throw new LifecycleError(
        "E_SETTING",
        `${shortened(assignment)} is no setting: give NAME=VALUE, such as cpu.shares=4000`,
      );
    if (name === "restart") {
      const value = restarts.find((word) => word === text);
      if (value === undefined)
        throw new LifecycleError(
          "E_SETTING",
          `restart=${shortened(text)} is impossible; ${hint(text, restarts, "valid")}`,
        );
      change.restart = value;
      continue;
    }
    const parse = quantities.get(name);
    if (parse === undefined)
      throw new LifecycleError(
        "E_SETTING",
        `there is no setting ${shortened(name)}; ${hint(name, settingNames, "settings")}`,
      );
    const value = parse(text);
    // A limit of nothing would let a VM have nothing.
    if (value === undefined || (value === 0 && name.endsWith(".limit")))
      throw new LifecycleError(
        "E_SETTING",
        `${name}=${shortened(text)} is impossible: give ${example(name)}`,
      );
    const [resource, figure, bound] = name.split(".") as ["cpu" | "memory" | "disk" | "net", string, string?];
    if (bound === undefined) (change[resource] as object) = { ...change[resource], [figure]: value };
    else {
      const bounds = (change[resource] as Readonly<Record<string, object>> | undefined)?.[figure];
      (change[resource] as object) = { ...change[resource], [figure]: { ...bounds, [bound]: value } };
    }
  }
  return change as VmChange;
}

function example(name: string): string {
  if (name.endsWith("shares")) return "a whole number from 1 to 1000000, or low, normal or high";
  const none = name.endsWith("limit") ? ", or none" : "";
  if (name.startsWith("disk.iops")) return `a whole number of operations a second such as 500${none}`;
  if (/^disk\.bandwidth|^net\./.test(name)) return `bytes a second such as 20M${none}`;
  return name.startsWith("cpu")
    ? `a number of cores such as 0.5, or 50%${none}`
    : `a size such as 256M${none}`;
}

/** A specification with a change applied. */
export function applyChange(spec: VmSpec, change: VmChange): VmSpec {
  return {
    ...spec,
    cpu: { ...spec.cpu, ...change.cpu },
    memory: { ...spec.memory, ...change.memory },
    disk: changeDisk(spec.disk, change.disk ?? {}),
    net: changeNet(spec.net, change.net ?? {}),
    ...(change.restart === undefined ? {} : { restart: change.restart }),
  };
}

/** Fields of a VM that change without its noticing. */
const liveFields = new Set<keyof VmSpec>([
  "cpu",
  "memory",
  "disk",
  "net",
  "restart",
  "after",
  "autostart",
  "disposable",
  "shutdown",
  "provision",
]);

/** The fields in which two specifications differ, by whether a running VM can follow; of cards it can follow in forwards. */
export function compareSpecs(
  before: VmSpec,
  after: VmSpec,
): { readonly live: (keyof VmSpec | "forwards")[]; readonly needStart: (keyof VmSpec)[] } {
  const fields = (Object.keys(after) as (keyof VmSpec)[]).filter(
    (field) => !same(before[field], after[field]),
  );
  const isOfForwards = fields.includes("nics") && same(bareNics(before.nics), bareNics(after.nics));
  return {
    live: [
      ...fields.filter((field) => liveFields.has(field)),
      ...(isOfForwards ? ["forwards" as const] : []),
    ],
    needStart: fields.filter((field) => !liveFields.has(field) && !(field === "nics" && isOfForwards)),
  };
}

/** Whether two values of specifications are alike; JSON has no word for infinity. */
function same(one: unknown, other: unknown): boolean {
  const text = (value: unknown) =>
    JSON.stringify(value, (_, part: unknown) => (part === Infinity ? "infinity" : part));
  return text(one) === text(other);
}
