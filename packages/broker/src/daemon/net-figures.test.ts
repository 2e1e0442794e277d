/** Figures of network cards: sums, samples and metrics. */
import { expect, it } from "vitest";
import type { VmView } from "../api/types.js";
import { renderMetrics } from "./metrics.js";
import { netSums } from "./net-figures.js";
import { sampleOf } from "./views.js";

const counters = {
  ...{ "frames.sent": 3, "bytes.sent": 300, "frames.received": 4, "bytes.received": 5000 },
  ...{ "frames.dropped": 6, refused: 7 },
};
const nics = [
  { network: "lan", mac: "52:54:00:00:00:01", address: "10.0.2.15", forwards: [], counters },
  { network: undefined, mac: "52:54:00:00:00:02", address: undefined, forwards: [], counters: {} },
];

it("are summed over all cards, and are what went through devices, where frames are no bytes", () => {
  expect(netSums([nics[0]!, nics[0]!])).toEqual({
    ...{ netSent: 600, netReceived: 10_000, netDropped: 12, netRefused: 14 },
  });
  const account = { used: 1, preempted: 0, ready: 0, limited: 0, waiting: 0, idle: 0, stopped: 0, steal: 0 };
  const memory = { granted: 1, touched: 1, ballooned: 0, shared: 0, swapped: 0, target: 1, active: 1 };
  const sample = sampleOf(
    { accounts: account, memory, counters: { "net.sent": 99, "net.received": 99, "console.sent": 5 } },
    {},
    nics,
  );
  expect(sample).toMatchObject({ io: 5305, netSent: 300, netReceived: 5000, netDropped: 6, netRefused: 7 });
});

it("are told to Prometheus card by card", () => {
  const none = { shares: 1, reservation: 0, limit: null };
  const rate = { reservation: 0, limit: null };
  const { network, mac, address, forwards } = nics[0]!;
  const vm: VmView = {
    ...{
      name: "a",
      project: "p",
      pool: "p",
      state: "running",
      restarts: 0,
      restart: "never",
      memoryBytes: 1,
    },
    ...{ cpu: none, memoryAllotment: none, disk: { shares: 1, iops: rate, bandwidth: rate }, snapshots: [] },
    net: { shares: 1, send: rate, receive: rate },
    nics: [{ ...{ network: network!, mac, address: address!, forwards }, counters }],
  };
  const memory = { total: 1, free: 1, state: "high" } as const;
  const text = renderMetrics({ vms: [vm], pools: [], memory, schedulerSeconds: undefined, version: "1" });
  const labels = 'vm="a",project="p",card="0",network="lan"';
  expect(text.split("\n").filter((line) => line.startsWith("hyperfile_vm_network"))).toEqual([
    `hyperfile_vm_network_total{${labels},counter="frames.sent"} 3`,
    `hyperfile_vm_network_total{${labels},counter="bytes.sent"} 300`,
    `hyperfile_vm_network_total{${labels},counter="frames.received"} 4`,
    `hyperfile_vm_network_total{${labels},counter="bytes.received"} 5000`,
    `hyperfile_vm_network_total{${labels},counter="frames.dropped"} 6`,
    `hyperfile_vm_network_total{${labels},counter="refused"} 7`,
  ]);
});
