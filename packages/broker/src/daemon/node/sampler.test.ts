/** Which VMs the sampler asks, and how often, in a time of the test's own. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { EventLog } from "../../lifecycle/events.js";
import type { Fleet } from "../../lifecycle/node/fleet.js";
import { History } from "../history.js";
import { Sampler } from "./sampler.js";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A VM that counts how often it is asked. */
class Asked {
  readonly isUp = true;
  asked = 0;
  retired = 1;

  constructor(readonly name: string) {}

  nics() {
    return [];
  }

  async figures() {
    this.asked++;
    const memory = { granted: 0, touched: 0, ballooned: 0, shared: 0, swapped: 0 };
    return { last: { memory, counters: {}, retired: this.retired }, silentMs: undefined };
  }
}

function sampled(vms: Asked[]) {
  const events = new EventLog();
  const accounts = { used: 0, ready: 0, waiting: 0, idle: 0, overhead: 0 };
  const fleet = {
    events,
    list: () => vms,
    cpuOf: (name: string) => ({
      accounts,
      state: "idle",
      retired: vms.find((vm) => vm.name === name)?.retired,
    }),
    memory: { report: () => undefined },
  };
  const history = new History();
  let ticks = 0;
  const sampler = new Sampler(fleet as unknown as Fleet, history, 1000, () => ticks++);
  return { sampler, history, events, ticks: () => ticks };
}

it("asks a VM that runs at each tick, one that has not run since only at every 30th, and has samples of both", async () => {
  const [idle, busy] = [new Asked("idle"), new Asked("busy")];
  const { sampler, history } = sampled([idle, busy]);
  sampler.start();
  const begin = Date.now();
  for (let tick = 0; tick < 61; tick++) {
    busy.retired += 1000;
    await vi.advanceTimersByTimeAsync(1000);
  }
  sampler.stop();
  // At the first tick, the 31st and the 61st.
  expect([idle.asked, busy.asked]).toEqual([3, 61]);
  const samples = [...history.since(begin)];
  expect(samples.length).toBeGreaterThan(50);
  for (const { vms } of samples) expect(Object.keys(vms).sort()).toEqual(["busy", "idle"]);
});

it("has no ticks without a VM, and begins again with the next one", async () => {
  const vms: Asked[] = [];
  const { sampler, events, ticks } = sampled(vms);
  sampler.start();
  await vi.advanceTimersByTimeAsync(60_000);
  expect([ticks(), vi.getTimerCount()]).toEqual([1, 0]);
  const vm = new Asked("a");
  vms.push(vm);
  events.add("vm.running", "a");
  await vi.advanceTimersByTimeAsync(2000);
  expect([ticks(), vm.asked]).toEqual([3, 1]);
  vms.pop();
  await vi.advanceTimersByTimeAsync(60_000);
  expect([ticks(), vi.getTimerCount()]).toEqual([4, 0]);
  sampler.stop();
});
