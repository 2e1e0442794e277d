/** Figures in Prometheus' text exposition format (version 0.0.4). */
import type { PoolView, VmView } from "../api/types.js";
import type { HostMemoryView } from "../memory/host-memory-broker.js";
import { reclamationStates } from "../memory/reclamation.js";
import { diskKinds, diskLatencies, diskSums, type LatencyHistogram } from "./disk-figures.js";

/** What the metrics are made from. */
export interface MetricsSource {
  readonly vms: readonly VmView[];
  readonly pools: readonly PoolView[];
  readonly memory: HostMemoryView;
  /** CPU seconds of the scheduler's own thread; undefined where the host does not say. */
  readonly schedulerSeconds: number | undefined;
  readonly version: string;
}

type Labels = Readonly<Record<string, string>>;
type Line = readonly [labels: Labels, value: number];

const states = ["off", "starting", "running", "paused", "stopping", "crashed"] as const;

/** The exposition. */
export function renderMetrics(source: MetricsSource): string {
  const { vms, pools, memory, schedulerSeconds, version } = source;
  const perVm = (pick: (vm: VmView) => readonly Line[]): Line[] =>
    vms.flatMap((vm) =>
      pick(vm).map(([labels, value]): Line => [{ vm: vm.name, project: vm.project, ...labels }, value]),
    );
  return [
    family("hyperfile_info", "gauge", "The daemon's version.", [[{ version }, 1]]),
    family(
      "hyperfile_vm_state",
      "gauge",
      "1 for the state that a VM is in.",
      perVm(({ state }) => states.map((name): Line => [{ state: name }, name === state ? 1 : 0])),
    ),
    family(
      "hyperfile_vm_cpu_seconds_total",
      "counter",
      "Where a VM's time went since it was started.",
      perVm(({ accounts }) =>
        Object.entries(accounts ?? {})
          .filter(([account]) => account !== "steal")
          .map(([account, seconds]): Line => [{ account }, seconds]),
      ),
    ),
    family(
      "hyperfile_vm_steal_seconds_total",
      "counter",
      "Time that a VM wanted to run and did not.",
      perVm(({ accounts }) => (accounts === undefined ? [] : [[{}, accounts.steal]])),
    ),
    family(
      "hyperfile_vm_silent_seconds",
      "gauge",
      "Time for which a VM's thread has not answered.",
      perVm(({ silentMs }) => (silentMs === undefined ? [] : [[{}, silentMs / 1000]])),
    ),
    family(
      "hyperfile_vm_instructions_total",
      "counter",
      "Guest instructions retired.",
      perVm(({ instructions }) => (instructions === undefined ? [] : [[{}, instructions]])),
    ),
    family(
      "hyperfile_vm_cpu_shares",
      "gauge",
      "A VM's CPU shares.",
      perVm(({ cpu }) => [[{}, cpu.shares]]),
    ),
    family(
      "hyperfile_vm_memory_bytes",
      "gauge",
      "A VM's memory by what became of it.",
      perVm(({ memory }) => Object.entries(memory ?? {}).map(([kind, bytes]): Line => [{ kind }, bytes])),
    ),
    family(
      "hyperfile_vm_events_total",
      "counter",
      "Counters of a VM's devices and engine.",
      perVm(({ counters }) =>
        Object.entries(counters ?? {}).map(([counter, value]): Line => [{ counter }, value]),
      ),
    ),
    histogram(
      "hyperfile_vm_disk_latency_seconds",
      "Time from a request of a VM's disks to its answer.",
      vms.flatMap(({ name, project, counters = {} }) =>
        diskKinds.flatMap((kind) => {
          const latencies = diskLatencies(counters, [kind]);
          return latencies === undefined ? [] : [{ labels: { vm: name, project, kind }, latencies }];
        }),
      ),
    ),
    family(
      "hyperfile_vm_disk_throttled_seconds_total",
      "counter",
      "Time in which requests of a VM's disks waited for their turns.",
      perVm(({ counters = {} }) =>
        diskLatencies(counters) === undefined ? [] : [[{}, diskSums(counters).throttled]],
      ),
    ),
    family(
      "hyperfile_vm_network_total",
      "counter",
      "Frames and bytes of a VM's network cards, and what a policy refused.",
      perVm(({ nics }) =>
        nics.flatMap(({ network = "", counters }, card) =>
          Object.entries(counters).map(
            ([counter, value]): Line => [{ card: String(card), network, counter }, value],
          ),
        ),
      ),
    ),
    family(
      "hyperfile_vm_restarts_total",
      "counter",
      "Times that a VM was started again because it had ended.",
      perVm(({ restarts }) => [[{}, restarts]]),
    ),
    family(
      "hyperfile_pool_reserved_cores",
      "gauge",
      "Cores that a pool takes of its parent's reservation.",
      pools.map(({ name, claim }): Line => [{ pool: name }, claim]),
    ),
    family(
      "hyperfile_pool_available_cores",
      "gauge",
      "Cores that a new VM of a pool could reserve.",
      pools.map(({ name, available }): Line => [{ pool: name }, available]),
    ),
    family("hyperfile_host_memory_bytes", "gauge", "Machine memory for guests.", [
      [{ kind: "total" }, memory.total],
      [{ kind: "free" }, memory.free],
    ]),
    family(
      "hyperfile_host_memory_state",
      "gauge",
      "1 for how hard memory is being reclaimed.",
      reclamationStates.map((state): Line => [{ state }, state === memory.state ? 1 : 0]),
    ),
    family(
      "hyperfile_scheduler_cpu_seconds_total",
      "counter",
      "CPU time of the scheduler's own thread.",
      schedulerSeconds === undefined ? [] : [[{}, schedulerSeconds]],
    ),
  ].join("");
}

function family(name: string, type: "gauge" | "counter", help: string, lines: readonly Line[]): string {
  if (lines.length === 0) return "";
  const body = lines.map(([labels, value]) => `${name}${labelText(labels)} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${body.join("")}`;
}

/** A histogram: its classes are each a part of the next, as Prometheus has them. */
function histogram(
  name: string,
  help: string,
  series: readonly { readonly labels: Labels; readonly latencies: LatencyHistogram }[],
): string {
  if (series.length === 0) return "";
  const lines = series.flatMap(({ labels, latencies: { classes, count, milliseconds } }) => {
    let below = 0;
    const buckets = classes.map(({ bound, count: here }) => {
      below += here;
      const le = bound === Infinity ? "+Inf" : String(bound / 1000);
      return `${name}_bucket${labelText({ ...labels, le })} ${below}\n`;
    });
    const own = labelText(labels);
    return [...buckets, `${name}_sum${own} ${milliseconds / 1000}\n`, `${name}_count${own} ${count}\n`];
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} histogram\n${lines.join("")}`;
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return parts.length === 0 ? "" : `{${parts.join(",")}}`;
}

const escapeLabel = (value: string): string =>
  value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
