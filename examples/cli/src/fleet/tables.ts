/** Tables and figures for terminals. */
import type { PoolView, VmView } from "@hyperfile/broker/client";
import { formatSize } from "@hyperfile/broker/host";
import { printableLine } from "../printable.js";

/** Lines of a table whose columns are as wide as they need; numbers go to the right. */
export function table(head: readonly string[], content: readonly (readonly string[])[]): string {
  const rows = content.map((cells) => cells.map(printableLine));
  const widths = head.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => (row[at] ?? "").length)),
  );
  const isNumber = head.map((_, at) => rows.length > 0 && rows.every((row) => /^[-\d.]/.test(row[at] ?? "")));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, at) => (isNumber[at] ? cell.padStart(widths[at]!) : cell.padEnd(widths[at]!)))
      .join("  ")
      .trimEnd();
  return [head, ...rows].map((row) => `${line(row)}\n`).join("");
}

const sparks = "▁▂▃▄▅▆▇█";

/** Values as a row of bars; `most` is the value of a full bar. */
export function sparkline(values: readonly number[], most: number): string {
  return values
    .map(
      (value) => sparks[Math.max(0, Math.min(sparks.length - 1, Math.floor((value / most) * sparks.length)))],
    )
    .join("");
}

/** Seconds as people read them. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(2)}s`;
  if (seconds < 600) return `${seconds.toFixed(0)}s`;
  return seconds < 36_000 ? `${(seconds / 60).toFixed(0)}m` : `${(seconds / 3600).toFixed(0)}h`;
}

const cores = (value: number | null): string => (value === null ? "none" : String(value));

/** What there is to say of a VM: that it does not answer, how it ended. */
function noteOn({ silentMs, message, state, status }: VmView): string {
  if (silentMs !== undefined) return `has not answered for ${duration(silentMs / 1000)}`;
  return message ?? (state === "off" && status !== undefined ? `status ${status}` : "");
}

/** The table of `hyperfile ps`. */
export function vmTable(vms: readonly VmView[]): string {
  const rows = vms.map((vm) => [
    vm.name,
    vm.project,
    vm.pool.slice(vm.project.length + 1) || "-",
    vm.state,
    vm.accounts === undefined ? "-" : duration(vm.accounts.used),
    String(vm.cpu.shares),
    cores(vm.cpu.reservation),
    cores(vm.cpu.limit),
    formatSize(vm.memoryBytes),
    vm.memory === undefined ? "-" : formatSize(vm.memory.touched),
    vm.nics.flatMap(({ address }) => address ?? []).join(",") || "-",
    vm.snapshots.map(({ name }) => name).join(",") || "-",
    noteOn(vm),
  ]);
  return table(
    [
      "NAME",
      "PROJECT",
      "POOL",
      "STATE",
      "CPU",
      "SHARES",
      "RESERVED",
      "LIMIT",
      "MEMORY",
      "TOUCHED",
      "ADDRESS",
      "SNAPSHOTS",
      "",
    ],
    rows,
  );
}

/** The table of `hyperfile ps --nics`. */
export function nicTable(vms: readonly VmView[]): string {
  const rows = vms.flatMap(({ name, nics }) =>
    nics.map(({ network = "none", mac, address = "-", forwards, counters }) => {
      const figure = (counter: string) => counters[counter] ?? 0;
      return [
        ...[name, network, mac, address, forwards.join(" ") || "-"],
        ...[formatSize(figure("bytes.sent")), formatSize(figure("bytes.received"))],
        ...[String(figure("frames.dropped")), String(figure("refused"))],
      ];
    }),
  );
  return table(
    ["VM", "NETWORK", "MAC", "ADDRESS", "FORWARDS", "SENT", "RECEIVED", "DROPPED", "REFUSED"],
    rows,
  );
}

/** The table of pools of `hyperfile ps --pools`. */
export function poolTable(pools: readonly PoolView[]): string {
  return table(
    ["POOL", "PARENT", "SHARES", "RESERVED", "LIMIT", "CLAIM", "AVAILABLE"],
    pools.map(({ name, parent = "-", cpu, claim, available }) => [
      name,
      parent,
      String(cpu.shares),
      cores(cpu.reservation),
      cores(cpu.limit),
      claim.toFixed(2),
      available.toFixed(2),
    ]),
  );
}
