import { describe, expect, it } from "vitest";
import type { VmSample } from "../api/types.js";
import { History } from "./history.js";

const sample = (used: number): VmSample => ({
  used,
  ready: 2,
  waiting: 3,
  idle: 4,
  steal: 5,
  instructions: 2 ** 52 + 1,
  io: 6,
  diskOperations: 15,
  diskBytes: 16,
  throttled: 17,
  netSent: 20,
  netReceived: 21,
  netDropped: 22,
  netRefused: 23,
  diskP50: 18,
  diskP99: 19,
  granted: 7,
  touched: 8,
  ballooned: 9,
  shared: 10,
  swapped: 11,
  target: 12,
  active: 13,
});

describe("the history", () => {
  it("gives back what it was given, from a time on, for an hour", () => {
    const history = new History();
    for (let at = 1; at <= 4000; at++)
      history.add({ at: at * 1000, vms: { [at % 2 === 0 ? "even" : "constructor"]: sample(at) } });
    const last = [...history.since(3_999_000)];
    expect(last.map(({ at, vms }) => [at, Object.entries(vms)])).toEqual([
      [3_999_000, [["constructor", sample(3999)]]],
      [4_000_000, [["even", sample(4000)]]],
    ]);
    const all = [...history.since(0)];
    expect(all.length).toBeGreaterThan(3500);
    expect(all.length).toBeLessThanOrEqual(3600);
    expect(all.at(-1)!.at - all[0]!.at).toBe((all.length - 1) * 1000);
  });

  it("of many VMs takes as much memory as it may, and is shorter", () => {
    const history = new History(5 * 2 ** 19);
    const vms = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`vm${at}`, sample(at)]));
    for (let at = 0; at < 600; at++) history.add({ at, vms });
    expect(history.bytes).toBeLessThanOrEqual(5 * 2 ** 19);
    const all = [...history.since(0)];
    expect(all.length).toBeGreaterThanOrEqual(120);
    expect(all.at(-1)!.vms.vm99).toEqual(sample(99));
  });

  it("has nothing of VMs that were forgotten", () => {
    const history = new History();
    for (let vm = 0; vm < 1000; vm++) {
      history.add({ at: vm, vms: { [`vm${vm}`]: sample(vm), kept: sample(0) } });
      history.drop(`vm${vm}`);
    }
    expect(history.bytes).toBeLessThan(2 ** 19);
    expect(Object.keys([...history.since(0)].at(-1)!.vms)).toEqual(["kept"]);
    history.drop("kept");
    expect(history.bytes).toBe(0);
  });
});
