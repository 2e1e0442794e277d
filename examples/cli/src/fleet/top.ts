/** The live view of all VMs and pools: what of each second they used, waited and were kept from, over the last minute. */
import type { Sample, VmSample } from "@hyperfile/broker/client";
import { formatSize } from "@hyperfile/broker/host";
import { sparkline, table } from "./tables.js";

/** Seconds that the sparklines go back. */
export const TOP_SECONDS = 60;
/** Bars of a sparkline. */
const BARS = 30;

/** A VM's use of the time between two samples, as parts of one core. */
interface Use {
  readonly used: number;
  readonly ready: number;
  readonly waiting: number;
  readonly steal: number;
  /** Bytes a second. */
  readonly io: number;
  /** Operations of its disks a second, and the part of the time in which some waited for their turns. */
  readonly operations: number;
  readonly throttled: number;
  /** Bytes a second that its network cards sent and received, and frames that they lost. */
  readonly sent: number;
  readonly received: number;
  readonly dropped: number;
  /** Guest instructions a second. */
  readonly rate: number;
}

function useBetween(before: VmSample, after: VmSample, seconds: number): Use {
  const part = (value: (sample: VmSample) => number) => Math.max(0, value(after) - value(before)) / seconds;
  return {
    used: part((sample) => sample.used),
    ready: part((sample) => sample.ready),
    waiting: part((sample) => sample.waiting),
    steal: part((sample) => sample.steal),
    io: part((sample) => sample.io),
    operations: part((sample) => sample.diskOperations),
    throttled: part((sample) => sample.throttled),
    sent: part((sample) => sample.netSent),
    received: part((sample) => sample.netReceived),
    dropped: part((sample) => sample.netDropped),
    rate: part((sample) => sample.instructions),
  };
}

/** The uses of one VM, from sample to sample; a restart begins anew. */
export function usesOf(
  samples: readonly Sample[],
  name: string,
): { readonly at: number; readonly use: Use }[] {
  const uses: { at: number; use: Use }[] = [];
  for (let at = 1; at < samples.length; at++) {
    const [before, after] = [samples[at - 1]!, samples[at]!];
    const [one, other] = [before.vms[name], after.vms[name]];
    if (one === undefined || other === undefined || after.at <= before.at || other.used < one.used) continue;
    uses.push({ at: after.at, use: useBetween(one, other, (after.at - before.at) / 1000) });
  }
  return uses;
}

const NO_USE: Use = {
  ...{ used: 0, ready: 0, waiting: 0, steal: 0, io: 0 },
  ...{ operations: 0, throttled: 0, sent: 0, received: 0, dropped: 0, rate: 0 },
};

/** Milliseconds in three digits. */
const latency = (milliseconds: number): string => String(Number(milliseconds.toPrecision(3)));

const percent = (part: number): string => `${(part * 100).toFixed(1)}`;

/**
 * The screen.
 * @param samples of the last minute
 * @param poolOf pool of a VM by name
 */
export function renderTop(samples: readonly Sample[], poolOf: ReadonlyMap<string, string>): string {
  const last = samples.at(-1);
  const names = Object.keys(last?.vms ?? {});
  if (last === undefined || names.length === 0) return "no VM is up\n";
  const rows = names.map((name) => {
    const uses = usesOf(samples, name);
    const use = uses.at(-1)?.use ?? NO_USE;
    return { name, pool: poolOf.get(name) ?? "", use, uses, sample: last.vms[name]! };
  });
  const vms = table(
    [
      "VM",
      "POOL",
      "CPU%",
      "RDY%",
      "WAIT%",
      "STEAL%",
      "MIPS",
      "IO/s",
      "IOPS",
      "P50ms",
      "P99ms",
      "THR%",
      "TX/s",
      "RX/s",
      "DROP/s",
      "REFUSED",
      "GRANTED",
      "TOUCHED",
      "BALLOON",
      "SHARED",
      "SWAPPED",
      "TARGET",
      "LAST MINUTE",
    ],
    rows.map(({ name, pool, use, uses, sample }) => [
      name,
      pool,
      percent(use.used),
      percent(use.ready),
      percent(use.waiting),
      percent(use.steal),
      (use.rate / 1e6).toFixed(0),
      formatSize(Math.round(use.io)),
      use.operations.toFixed(0),
      latency(sample.diskP50),
      latency(sample.diskP99),
      percent(use.throttled),
      formatSize(Math.round(use.sent)),
      formatSize(Math.round(use.received)),
      use.dropped.toFixed(0),
      String(sample.netRefused),
      formatSize(sample.granted),
      formatSize(sample.touched),
      formatSize(sample.ballooned),
      formatSize(sample.shared),
      formatSize(sample.swapped),
      formatSize(sample.target),
      sparkline(thin(uses.map((one) => one.use.used)), 1),
    ]),
  );
  return `${vms}\n${poolSums(rows)}`;
}

/** As many values as there are bars, each the mean of its part. */
function thin(values: readonly number[]): number[] {
  const size = Math.max(1, Math.ceil(values.length / BARS));
  const means: number[] = [];
  for (let at = 0; at < values.length; at += size) {
    const part = values.slice(at, at + size);
    means.push(part.reduce((sum, value) => sum + value, 0) / part.length);
  }
  return means;
}

function poolSums(
  rows: readonly { readonly pool: string; readonly use: Use; readonly sample: VmSample }[],
): string {
  const pools = [...new Set(rows.map(({ pool }) => pool))].sort();
  const sum = (pool: string, pick: (row: (typeof rows)[number]) => number) =>
    rows.filter((row) => row.pool === pool).reduce((all, row) => all + pick(row), 0);
  return table(
    ["POOL", "CPU%", "RDY%", "WAIT%", "STEAL%", "TOUCHED", "SHARED"],
    pools.map((pool) => [
      pool,
      percent(sum(pool, ({ use }) => use.used)),
      percent(sum(pool, ({ use }) => use.ready)),
      percent(sum(pool, ({ use }) => use.waiting)),
      percent(sum(pool, ({ use }) => use.steal)),
      formatSize(sum(pool, ({ sample }) => sample.touched)),
      formatSize(sum(pool, ({ sample }) => sample.shared)),
    ]),
  );
}
