/** The scheduler on simulated cores: shares, error bounds, wakes, limits, cheats, accounts. Times in milliseconds. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Behaviour, CpuSimulation } from "../../test/cpu-simulation.js";
import { stealOf } from "./accounts.js";
import { type Allotment, ResourceTree } from "./resource-tree.js";
import { CpuScheduler } from "./scheduler.js";

const QUANTUM = 10;

/** A simulation of VMs, by name, each with its allotment and behaviour. */
function host(
  cores: number,
  vms: Readonly<Record<string, { allotment?: Partial<Allotment>; behaviour?: Behaviour; pool?: string }>>,
  pools: (tree: ResourceTree) => void = () => {},
): CpuSimulation {
  const tree = new ResourceTree(cores, "cores");
  pools(tree);
  for (const [name, { allotment, pool }] of Object.entries(vms)) tree.addClient(name, allotment, pool);
  const scheduler = new CpuScheduler({ tree, cores, quantum: QUANTUM });
  const behaviours = new Map(Object.entries(vms).map(([name, { behaviour }]) => [name, behaviour ?? {}]));
  return new CpuSimulation(scheduler, behaviours);
}

const shares = (list: readonly number[]) =>
  Object.fromEntries(list.map((value, at) => [`vm${at}`, { allotment: { shares: value } }]));

describe("shares", () => {
  it("1:1:2:2:4:4:8:8 on two cores: each is always within its own part of a quantum", () => {
    const list = [1, 1, 2, 2, 4, 4, 8, 8];
    const overrun: Behaviour = { turn: ({ quantum }) => ({ used: quantum * 1.03, wish: "ready" }) };
    const simulation = host(
      2,
      Object.fromEntries(
        list.map((value, at) => [`vm${at}`, { allotment: { shares: value }, behaviour: overrun }]),
      ),
    );
    simulation.wakeAll();
    const worst = list.map(() => 0);
    simulation.onDecision = (now) => {
      for (const [at, value] of list.entries()) {
        const error = simulation.service.get(`vm${at}`)! - (now * 2 * value) / 30;
        worst[at] = Math.max(worst[at]!, Math.abs(error));
      }
    };
    simulation.runUntil(5000);
    for (const [at, value] of list.entries()) expect(worst[at]).toBeLessThanOrEqual((QUANTUM * value) / 8);
  });

  it("one core: the service error is at most a quantum at every decision (any shares, any overrun)", () => {
    const vm = fc.record({
      shares: fc.integer({ min: 1, max: 64 }),
      // Parts of a quantum that its turns take.
      turns: fc.array(fc.double({ min: 0.3, max: 1, noNaN: true }), { minLength: 1, maxLength: 5 }),
    });
    fc.assert(
      fc.property(fc.array(vm, { minLength: 1, maxLength: 8 }), (vms) => {
        const entries = vms.map(({ shares: value, turns }, at) => {
          let turn = 0;
          const behaviour: Behaviour = {
            turn: ({ quantum }) => ({ used: quantum * turns[turn++ % turns.length]!, wish: "ready" }),
          };
          return [`vm${at}`, { allotment: { shares: value }, behaviour }] as const;
        });
        const simulation = host(1, Object.fromEntries(entries));
        simulation.wakeAll();
        const sum = vms.reduce((all, one) => all + one.shares, 0);
        simulation.onDecision = (now) => {
          for (const [at, one] of vms.entries()) {
            const due = (now * one.shares) / sum;
            expect(Math.abs(simulation.service.get(`vm${at}`)! - due)).toBeLessThanOrEqual(
              QUANTUM * 1.000001,
            );
          }
        };
        simulation.runUntil(1000);
      }),
      { numRuns: 40 },
    );
  });

  it("several cores: the error stays within two quanta where no VM is due a whole core", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 4 }),
        fc.array(fc.integer({ min: 1, max: 16 }), { minLength: 4, maxLength: 12 }),
        (cores, list) => {
          const sum = list.reduce((all, value) => all + value, 0);
          fc.pre(list.every((value) => (value * cores) / sum <= 1));
          const simulation = host(cores, shares(list));
          simulation.wakeAll();
          let worst = 0;
          simulation.onDecision = (now) => {
            for (const [at, value] of list.entries()) {
              const due = (now * cores * value) / sum;
              worst = Math.max(worst, Math.abs(simulation.service.get(`vm${at}`)! - due));
            }
          };
          simulation.runUntil(2000);
          expect(worst).toBeLessThanOrEqual(2 * QUANTUM);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("a VM that is due more than a core gets a core, and the others the rest by shares", () => {
    const simulation = host(2, shares([100, 1, 3]));
    simulation.wakeAll();
    simulation.runUntil(4000);
    expect(simulation.service.get("vm0")).toBeGreaterThanOrEqual(4000 - QUANTUM);
    expect(simulation.service.get("vm1")).toBeCloseTo(1000, -1.5);
    expect(simulation.service.get("vm2")).toBeCloseTo(3000, -1.5);
  });

  it("change at once", () => {
    const simulation = host(1, shares([1, 1]));
    simulation.wakeAll();
    simulation.runUntil(1000);
    simulation.scheduler.configure("vm0", { shares: 3 }, "client", simulation.now);
    simulation.runUntil(2000);
    expect(Math.abs(simulation.service.get("vm0")! - 1250)).toBeLessThanOrEqual(QUANTUM);
  });

  it("an idle VM's part goes to the others, and it takes its own up again within its due", () => {
    const simulation = host(1, shares([1, 1, 2]));
    simulation.wakeAt(0, "vm0");
    simulation.wakeAt(0, "vm1");
    simulation.runUntil(1000);
    expect(Math.abs(simulation.service.get("vm0")! - 500)).toBeLessThanOrEqual(QUANTUM);
    simulation.wakeAt(1000, "vm2");
    simulation.runUntil(2000);
    // Having slept earned it nothing: it gets half from now on.
    expect(Math.abs(simulation.service.get("vm2")! - 500)).toBeLessThanOrEqual(QUANTUM);
  });
});

describe("pools", () => {
  it("divide by their shares, whatever the number of VMs inside", () => {
    const many = Object.fromEntries([0, 1, 2, 3].map((at) => [`many${at}`, { pool: "many" }]));
    const simulation = host(1, { ...many, one: { pool: "few" } }, (tree) => {
      tree.addPool("many", { shares: 1000 });
      tree.addPool("few", { shares: 1000 });
    });
    simulation.wakeAll();
    simulation.runUntil(4000);
    expect(Math.abs(simulation.service.get("one")! - 2000)).toBeLessThanOrEqual(2 * QUANTUM);
    for (let at = 0; at < 4; at++)
      expect(Math.abs(simulation.service.get(`many${at}`)! - 500)).toBeLessThanOrEqual(2 * QUANTUM);
  });

  it("reservations hold against any shares", () => {
    const simulation = host(2, {
      reserved: { allotment: { shares: 1, reservation: 0.75 } },
      ...shares([1000, 1000, 1000]),
    });
    simulation.wakeAll();
    simulation.runUntil(10_000);
    expect(simulation.service.get("reserved")).toBeGreaterThanOrEqual(7500 * 0.99);
  });

  it("a reservation of everything leaves the others what it doesn't use", () => {
    const simulation = host(1, {
      all: {
        allotment: { reservation: 1 },
        behaviour: { turn: () => ({ used: 5, wish: "idle" }), sleep: () => 5 },
      },
      other: {},
    });
    simulation.wakeAll();
    simulation.runUntil(2000);
    expect(simulation.service.get("all")).toBeGreaterThanOrEqual(900);
    expect(simulation.service.get("other")).toBeGreaterThanOrEqual(900);
  });

  it.each([
    [1, 2, [3000, 1000]],
    [1, 4, [3000, 1000, 500]],
    [1.5, 2, [1000, 1000, 1000]],
    [1.5, 4, [4000, 1000, 1000]],
    [2, 8, [1, 1, 2, 4, 8]],
  ])("a limit of %d cores on a host of %d is divided by shares among a pool's VMs", (limit, cores, list) => {
    const vms = Object.fromEntries(
      list.map((value, at) => [`vm${at}`, { allotment: { shares: value }, pool: "small" }]),
    );
    const simulation = host(cores, vms, (tree) => tree.addPool("small", { limit }));
    simulation.wakeAll();
    // The first turns, on all cores at once, overrun the limit: who is due a whole core can't make up for the pause.
    simulation.runUntil(500);
    const before = new Map(simulation.service);
    simulation.runUntil(5500);
    const rates = list.map((_, at) => simulation.scheduler.rateOf(`vm${at}`));
    expect(rates.reduce((sum, rate) => sum + rate, 0)).toBeCloseTo(limit);
    for (const [at, rate] of rates.entries())
      expect(
        Math.abs(simulation.service.get(`vm${at}`)! - before.get(`vm${at}`)! - 5000 * rate),
      ).toBeLessThanOrEqual(3 * QUANTUM);
  });

  it("limits of VMs and pools hold within 1 %, though cores are free", () => {
    const simulation = host(
      4,
      { capped: { allotment: { limit: 0.25 } }, a: { pool: "p" }, b: { pool: "p" }, c: { pool: "p" } },
      (tree) => tree.addPool("p", { limit: 1.5 }),
    );
    simulation.wakeAll();
    simulation.runUntil(10_000);
    const of = (name: string) => simulation.service.get(name)!;
    expect(Math.abs(of("capped") - 2500)).toBeLessThanOrEqual(25);
    expect(Math.abs(of("a") + of("b") + of("c") - 15_000)).toBeLessThanOrEqual(150);
    expect(Math.abs(of("a") - 5000)).toBeLessThanOrEqual(100);
    const { limited, ready } = simulation.scheduler.accountsOf("capped", simulation.now);
    expect(Math.abs(limited - 7500)).toBeLessThanOrEqual(50);
    expect(ready).toBe(0);
  });
});

describe("cheats", () => {
  it("giving the core back just before a turn ends gains nothing", () => {
    const dodger: Behaviour = {
      turn: ({ quantum }) => ({ used: quantum * 0.95, wish: "idle" }),
      sleep: () => 0.01 * QUANTUM,
    };
    const simulation = host(1, { dodger: { behaviour: dodger }, honest: {} });
    simulation.wakeAll();
    simulation.runUntil(10_000);
    expect(simulation.service.get("dodger")).toBeLessThanOrEqual(5000 + QUANTUM);
    expect(simulation.service.get("honest")).toBeGreaterThanOrEqual(5000 - QUANTUM);
  });

  it("neither does any other pattern of turns and sleeps", () => {
    const pattern = fc.array(
      fc.record({
        used: fc.double({ min: 0.01, max: 1, noNaN: true }),
        sleep: fc.double({ min: 0, max: 20, noNaN: true }),
      }),
      { minLength: 1, maxLength: 6 },
    );
    fc.assert(
      fc.property(pattern, (steps) => {
        let step = 0;
        const cheat: Behaviour = {
          turn: ({ quantum }) => ({ used: quantum * steps[step % steps.length]!.used, wish: "idle" }),
          sleep: () => steps[step++ % steps.length]!.sleep,
        };
        const simulation = host(1, { cheat: { behaviour: cheat }, honest: {} });
        simulation.wakeAll();
        simulation.runUntil(3000);
        expect(simulation.service.get("cheat")).toBeLessThanOrEqual(1500 + 2 * QUANTUM);
      }),
      { numRuns: 40 },
    );
  });

  it("running over the quantum is paid back", () => {
    const slow: Behaviour = { turn: ({ quantum }) => ({ used: 4 * quantum, wish: "ready" }) };
    const simulation = host(1, { slow: { behaviour: slow }, honest: {} });
    simulation.wakeAll();
    simulation.runUntil(10_000);
    expect(Math.abs(simulation.service.get("honest")! - 5000)).toBeLessThanOrEqual(4 * QUANTUM);
  });
});

describe("waking", () => {
  it("a VM that wakes without debt is served within a quantum, whatever the load and its shares", () => {
    const sleeper: Behaviour = { turn: () => ({ used: 0.2, wish: "idle" }), sleep: () => 37 };
    const simulation = host(2, {
      sleeper: { allotment: { shares: 100 }, behaviour: sleeper },
      ...shares([1000, 1000, 1000, 4000]),
    });
    simulation.wakeAll();
    simulation.runUntil(5000);
    expect(simulation.wakeLatency.get("sleeper")).toBeLessThanOrEqual(QUANTUM);
    expect(simulation.scheduler.counters.preemptions).toBeGreaterThan(0);
  });

  it("ten that wake together are all served within one quantum of each other's turns", () => {
    const sleeper: Behaviour = { turn: () => ({ used: 0.5, wish: "idle" }), sleep: (now) => 50 - (now % 50) };
    const sleepers = Object.fromEntries(
      [...Array(10).keys()].map((at) => [`s${at}`, { behaviour: sleeper }]),
    );
    const simulation = host(1, { ...sleepers, hog: {} });
    simulation.wakeAll();
    simulation.runUntil(2000);
    for (let at = 0; at < 10; at++) expect(simulation.wakeLatency.get(`s${at}`)).toBeLessThanOrEqual(QUANTUM);
  });
});

describe("accounts", () => {
  it("add up to the time that has passed, and tell idle, waiting and ready apart", () => {
    const disk: Behaviour = { turn: () => ({ used: 2, wish: "waiting" }), sleep: () => 8 };
    const simulation = host(1, { disk: { behaviour: disk }, hog: {}, off: {} });
    simulation.wakeAt(0, "disk");
    simulation.wakeAt(0, "hog");
    simulation.runUntil(1000);
    const sum = (name: string) =>
      Object.values(simulation.scheduler.accountsOf(name, simulation.now)).reduce(
        (all, part) => all + part,
        0,
      );
    for (const name of ["disk", "hog", "off"]) expect(sum(name)).toBeCloseTo(1000, 6);
    const hog = simulation.scheduler.accountsOf("hog", simulation.now);
    expect(hog.idle + hog.waiting).toBe(0);
    expect(stealOf(hog)).toBeCloseTo(1000 - hog.used, 6);
    const disked = simulation.scheduler.accountsOf("disk", simulation.now);
    expect(disked.waiting).toBeGreaterThan(700);
    expect(disked.idle).toBe(0);
    expect(simulation.scheduler.accountsOf("off", simulation.now).stopped).toBe(1000);
    expect(simulation.scheduler.rateOf("off")).toBe(0);
  });

  it("count as preempted what the host took of a grant", () => {
    const tree = new ResourceTree(1, "cores");
    tree.addClient("vm");
    const scheduler = new CpuScheduler({ tree, cores: 1, quantum: QUANTUM });
    scheduler.add("vm", 0);
    scheduler.wake("vm", 0);
    expect(scheduler.next(0)).toEqual({ client: "vm", core: 0, quantum: QUANTUM / 4 });
    scheduler.charge("vm", 1);
    scheduler.release("vm", "ready", 4);
    expect(scheduler.accountsOf("vm", 4)).toMatchObject({ used: 1, preempted: 3, ready: 0 });
    expect(scheduler.stateOf("vm")).toBe("ready");
    expect(scheduler.lagOf("vm")).toBe(0);
  });

  it("survive removal of a running VM: its core is free at once", () => {
    const simulation = host(1, shares([1, 1]));
    simulation.wakeAll();
    simulation.runUntil(100);
    const { scheduler } = simulation;
    const [name] = scheduler.running();
    scheduler.remove(name!, simulation.now);
    expect(scheduler.hasFreeCore).toBe(true);
    expect(() => scheduler.stateOf(name!)).toThrow(/no VM/);
    scheduler.remove(name!, simulation.now);
  });
});
