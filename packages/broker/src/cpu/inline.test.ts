/** Several VMs in one thread: real run loops around harts that only count. */
import { VirtualClock, Vm } from "@hyperfile/machine/vm";
import { describe, expect, it } from "vitest";
import { InlineExecutor } from "./inline.js";
import { type Allotment, ResourceTree } from "./resource-tree.js";
import { CpuScheduler } from "./scheduler.js";

const QUANTUM = 100_000;

/** VMs whose harts count instructions and never stop, in deterministic mode; `log` has the order of turns. */
function host(allotments: Readonly<Record<string, Partial<Allotment>>>, stopAt: number) {
  const tree = new ResourceTree(1, "cores");
  const scheduler = new CpuScheduler({ tree, cores: 1, quantum: QUANTUM });
  let total = 0;
  const executor = new InlineExecutor({ scheduler, now: () => total, used: () => total });
  const log: string[] = [];
  const retired: Record<string, number> = {};
  const vms: Record<string, Vm> = {};
  for (const [name, allotment] of Object.entries(allotments)) {
    tree.addClient(name, allotment);
    scheduler.add(name, 0);
    retired[name] = 0;
    vms[name] = new Vm({
      hart: {
        run(budget) {
          if (log.at(-1) !== name) log.push(name);
          retired[name] = retired[name]! + budget;
          total += budget;
          if (total >= stopAt) for (const vm of Object.values(vms)) vm.stop("over");
          return "budget";
        },
        pollTimer() {},
        deadline: () => Infinity,
        wakeReady: () => false,
        retired: () => retired[name]!,
      },
      board: { tick() {}, deadline: () => Infinity, flush() {}, reset() {} },
      clock: new VirtualClock(() => retired[name]!),
      load() {},
      slice: 10_000,
      gate: executor.gate(name),
    });
  }
  const run = () => Promise.all(Object.values(vms).map((vm) => vm.run()));
  return { run, vms, retired, log, scheduler };
}

describe("inline execution", () => {
  it("divides instructions by shares within a quantum, and the same way each time", async () => {
    const logs: string[][] = [];
    for (let repetition = 0; repetition < 2; repetition++) {
      const { run, retired, log } = host({ a: { shares: 1 }, b: { shares: 2 }, c: { shares: 5 } }, 8_000_000);
      const ends = await run();
      expect(ends).toEqual(Array(3).fill({ kind: "stopped", reason: "over" }));
      expect(Math.abs(retired.a! - 1_000_000)).toBeLessThanOrEqual(QUANTUM);
      expect(Math.abs(retired.b! - 2_000_000)).toBeLessThanOrEqual(QUANTUM);
      expect(Math.abs(retired.c! - 5_000_000)).toBeLessThanOrEqual(QUANTUM);
      logs.push(log);
    }
    expect(logs[0]).toEqual(logs[1]);
    expect(logs[0]!.length).toBeGreaterThan(20);
  });

  it("keeps a paused VM off the core and lets the others have all of it", async () => {
    const { run, vms, retired, scheduler } = host({ a: {}, b: {} }, 3_000_000);
    vms.a!.pause();
    const ended = run();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(retired.a).toBe(0);
    expect(scheduler.stateOf("a")).toBe("stopped");
    vms.a!.stop("enough");
    await ended;
    expect(retired.b).toBeGreaterThanOrEqual(2_900_000);
  });
});

it("lets a VM under a limit go on whose time comes while it is looked for", async () => {
  const tree = new ResourceTree(1, "cores");
  tree.addClient("a", { limit: 0.5 });
  const scheduler = new CpuScheduler({ tree, cores: 1, quantum: 1 });
  // Every look at the clock finds it a little later.
  let time = 0;
  const now = () => (time += 0.05);
  let used = 0;
  const executor = new InlineExecutor({ scheduler, now, used: () => used });
  scheduler.add("a", 0);
  const gate = executor.gate("a");
  for (let turn = 0; turn < 200; turn++) {
    await gate.acquire();
    used += 0.3 + 0.001 * (turn % 50);
    gate.release("ready");
  }
  gate.release("stopped");
  // A limit of a half, but for what may be caught up.
  expect(used / time).toBeLessThan(0.55);
});
