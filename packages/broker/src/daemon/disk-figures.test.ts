/** Latencies out of counters: sums over disks and kinds, what is new since a look, and the parts within which they lie. */
import { expect, it } from "vitest";
import { diskLatencies, diskSums, latenciesSince, latencyWithin } from "./disk-figures.js";
import { renderMetrics } from "./metrics.js";

const counters = {
  "disk0.read.operations": 100,
  "disk0.read.bytes": 4096,
  "disk0.read.milliseconds": 250,
  "disk0.read.within.1": 50,
  "disk0.read.within.2": 48,
  "disk0.read.within.more": 2,
  "disk1.write.operations": 10,
  "disk1.write.bytes": 512,
  "disk1.write.milliseconds": 15,
  "disk1.write.within.1": 0,
  "disk1.write.within.2": 10,
  "disk1.write.within.more": 0,
  "disks.throttled.milliseconds": 1500,
  "virtio0:block.reads": 100,
};

it("are added up over disks and kinds", () => {
  expect(diskSums(counters)).toEqual({ operations: 110, bytes: 4608, throttled: 1.5 });
  expect(diskLatencies(counters)).toEqual({
    classes: [
      { bound: 1, count: 50 },
      { bound: 2, count: 58 },
      { bound: Infinity, count: 2 },
    ],
    count: 110,
    milliseconds: 265,
  });
  expect(diskLatencies(counters, ["write"])).toMatchObject({ count: 10, milliseconds: 15 });
  expect(diskLatencies({ "virtio0:net.sent": 1 })).toBeUndefined();
});

it("tell within what time a part was answered, as far as classes can", () => {
  const all = diskLatencies(counters)!;
  expect(latencyWithin(all, 0.25)).toBeCloseTo(0.55);
  expect(latencyWithin(all, 0.5)).toBeCloseTo(1 + 5 / 58);
  expect(latencyWithin(all, 0.99)).toBe(2);
  const none = latenciesSince(all, all);
  expect([none.count, latencyWithin(none, 0.99)]).toEqual([0, 0]);
  const later = diskLatencies({ ...counters, "disk0.read.within.2": 58, "disk0.read.milliseconds": 265 })!;
  expect(latenciesSince(all, later)).toMatchObject({ count: 10, milliseconds: 15 });
  expect(latencyWithin(latenciesSince(all, later), 0.5)).toBe(1.5);
  // A VM that was started anew counts from nothing.
  expect(latenciesSince(later, all)).toEqual(all);
});

it("are a histogram of Prometheus's, whose classes hold those below them", () => {
  const allotment = { shares: 1, reservation: 0, limit: null };
  const rate = { reservation: 0, limit: null };
  const text = renderMetrics({
    vms: [
      {
        ...{ name: "a", project: "p", pool: "p", state: "running", restarts: 0, restart: "never" },
        ...{ memoryBytes: 1, cpu: allotment, memoryAllotment: allotment, nics: [], snapshots: [], counters },
        disk: { shares: 1, iops: rate, bandwidth: rate },
        net: { shares: 1, send: rate, receive: rate },
      },
    ],
    pools: [],
    memory: { total: 1, free: 1, state: "high" },
    schedulerSeconds: undefined,
    version: "1",
  });
  const lines = text.split("\n").filter((line) => line.includes("disk_"));
  expect(lines).toEqual([
    "# HELP hyperfile_vm_disk_latency_seconds Time from a request of a VM's disks to its answer.",
    "# TYPE hyperfile_vm_disk_latency_seconds histogram",
    'hyperfile_vm_disk_latency_seconds_bucket{vm="a",project="p",kind="read",le="0.001"} 50',
    'hyperfile_vm_disk_latency_seconds_bucket{vm="a",project="p",kind="read",le="0.002"} 98',
    'hyperfile_vm_disk_latency_seconds_bucket{vm="a",project="p",kind="read",le="+Inf"} 100',
    'hyperfile_vm_disk_latency_seconds_sum{vm="a",project="p",kind="read"} 0.25',
    'hyperfile_vm_disk_latency_seconds_count{vm="a",project="p",kind="read"} 100',
    'hyperfile_vm_disk_latency_seconds_bucket{vm="a",project="p",kind="write",le="0.001"} 0',
    'hyperfile_vm_disk_latency_seconds_bucket{vm="a",project="p",kind="write",le="0.002"} 10',
    'hyperfile_vm_disk_latency_seconds_bucket{vm="a",project="p",kind="write",le="+Inf"} 10',
    'hyperfile_vm_disk_latency_seconds_sum{vm="a",project="p",kind="write"} 0.015',
    'hyperfile_vm_disk_latency_seconds_count{vm="a",project="p",kind="write"} 10',
    "# HELP hyperfile_vm_disk_throttled_seconds_total Time in which requests of a VM's disks waited for their turns.",
    "# TYPE hyperfile_vm_disk_throttled_seconds_total counter",
    'hyperfile_vm_disk_throttled_seconds_total{vm="a",project="p"} 1.5',
  ]);
});
