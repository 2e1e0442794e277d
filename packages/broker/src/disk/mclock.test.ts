/** mClock on a simulated store: shares, limits, reservations, pools, latency; and rules for any load. Times in milliseconds. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type DiskLoad, DiskSimulation } from "../../test/disk-simulation.js";
import type { DiskChange } from "./allotment.js";
import { BURST_MS, COST_BYTES, MClock } from "./mclock.js";

interface SimulatedVm extends DiskLoad {
  readonly disk?: DiskChange;
  readonly pool?: string;
}

/** A store of 4 servers that take 4 ms for a request: 1,000 operations a second. */
function store(
  vms: Readonly<Record<string, SimulatedVm>>,
  { servers = 4, serviceMs = () => 4, pools = {} }: StoreOptions = {},
): { simulation: DiskSimulation; mclock: MClock } {
  const mclock = new MClock();
  for (const [name, { parent = "root", ...disk }] of Object.entries(pools))
    mclock.addPool(name, disk, parent);
  const simulation = new DiskSimulation(mclock, servers, serviceMs);
  for (const [name, { disk = {}, pool = "root", ...load }] of Object.entries(vms)) {
    mclock.addClient(name, disk, pool);
    simulation.add(name, { outstanding: 16, ...load });
  }
  return { simulation, mclock };
}

interface StoreOptions {
  readonly servers?: number;
  readonly serviceMs?: (bytes: number) => number;
  readonly pools?: Readonly<Record<string, DiskChange & { readonly parent?: string }>>;
}

const iops = (reservation: number, limit = Infinity): DiskChange => ({ iops: { reservation, limit } });
const within = (part: number, value: number, right: number): void => {
  expect(Math.abs(value / right - 1), `${value} is not about ${right}`).toBeLessThanOrEqual(part);
};

describe("shares", () => {
  it("1:2:4 divide a store within 1 %, and all of it is used", () => {
    const { simulation } = store({
      a: { disk: { shares: 1000 } },
      b: { disk: { shares: 2000 } },
      c: { disk: { shares: 4000 } },
    });
    simulation.runUntil(10_000);
    within(0.01, simulation.operations("a"), 10_000 / 7);
    within(0.01, simulation.operations("b"), 20_000 / 7);
    within(0.01, simulation.operations("c"), 40_000 / 7);
  });

  it("are of the store's time: who asks for much at once is served less often", () => {
    const { simulation } = store(
      { small: { sizes: [4096] }, large: { sizes: [15 * COST_BYTES] } },
      { servers: 1, serviceMs: (bytes) => 0.1 * (1 + bytes / COST_BYTES) },
    );
    simulation.runUntil(20_000);
    const time = 0.1 * simulation.operations("small") * (1 + 4096 / COST_BYTES);
    within(0.02, time, 10_000);
    within(0.02, 0.1 * 16 * simulation.operations("large"), 10_000);
  });

  it("who was idle has no credit, and who was alone no debt", () => {
    const { simulation } = store({ early: {}, late: { from: 5000 } });
    simulation.runUntil(10_000);
    within(0.01, simulation.operations("early", 0, 5000), 5000);
    for (const from of [5000, 6000, 9000]) {
      within(0.03, simulation.operations("early", from, from + 1000), 500);
      within(0.03, simulation.operations("late", from, from + 1000), 500);
    }
  });

  it("a change acts at once", () => {
    const { simulation, mclock } = store({ a: {}, b: {} });
    simulation.runUntil(2000);
    mclock.configure("a", { shares: 3000 }, "client", 2000);
    simulation.runUntil(4000);
    within(0.02, simulation.operations("a", 2000), 1500);
    mclock.configure("a", { shares: 1000, iops: { limit: 100 } }, "client", 4000);
    simulation.runUntil(6000);
    within(0.06, simulation.operations("a", 4000), 200);
    mclock.configure("a", { iops: { limit: Infinity } }, "client", 6000);
    simulation.runUntil(8000);
    within(0.03, simulation.operations("a", 6000), 1000);
  });
});

describe("limits", () => {
  it("of operations hold within 2 %, and what they leave is others'", () => {
    const { simulation } = store({ slow: { disk: { shares: 8000, ...iops(0, 150) } }, free: {} });
    simulation.runUntil(20_000);
    within(0.02, simulation.operations("slow"), 3000);
    within(0.02, simulation.operations("free"), 17_000);
  });

  it("of bytes hold within 2 %, also where one request is more than a second's worth", () => {
    const { simulation } = store({
      slow: { disk: { bandwidth: { limit: 500_000 } }, sizes: [4096, 1 << 20] },
    });
    simulation.runUntil(200_000);
    within(0.02, simulation.bytes("slow"), 100_000_000);
  });

  it("bind a VM that asks for one request at a time as they do others", () => {
    const { simulation } = store({ one: { outstanding: 1, disk: iops(0, 100) } });
    simulation.runUntil(20_000);
    within(0.02, simulation.operations("one"), 2000);
  });

  it("what was had under an old limit is waited for at the new one", () => {
    const { simulation, mclock } = store({ a: { disk: { bandwidth: { limit: 1000 } }, sizes: [1 << 20] } });
    simulation.runUntil(1000);
    expect(simulation.operations("a")).toBe(1);
    simulation.at(1000, () => mclock.configure("a", { bandwidth: { limit: 1 << 20 } }, "client", 1000));
    simulation.runUntil(11_000);
    expect(simulation.operations("a")).toBeGreaterThanOrEqual(10);
    expect(simulation.operations("a")).toBeLessThanOrEqual(12);
  });
});

describe("reservations", () => {
  it("are kept against any shares, and come out of the shares where these are more", () => {
    const { simulation } = store({
      kept: { disk: { shares: 100, ...iops(300) } },
      rich: { disk: { shares: 10_000, ...iops(300) } },
      other: { disk: { shares: 10_000 } },
    });
    simulation.runUntil(10_000);
    within(0.02, simulation.operations("kept"), 3000);
    within(0.02, simulation.operations("rich"), 3500);
    within(0.02, simulation.operations("other"), 3500);
  });

  it("of bytes are kept", () => {
    const { simulation } = store({
      kept: { disk: { shares: 10, bandwidth: { reservation: 2 << 20 } }, sizes: [16_384] },
      other: { disk: { shares: 10_000 } },
    });
    simulation.runUntil(10_000);
    within(0.02, simulation.bytes("kept"), 20 << 20);
  });

  it("what a VM got beyond its reservation is not taken from that later", () => {
    const { simulation } = store({
      kept: { disk: { shares: 10, ...iops(200) } },
      late: { from: 5000, disk: { shares: 10_000 } },
    });
    simulation.runUntil(10_000);
    within(0.01, simulation.operations("kept", 0, 5000), 5000);
    for (let from = 5000; from < 10_000; from += 500)
      within(0.04, simulation.operations("kept", from, from + 500), 100);
  });

  it("the slowest requests of a reserved VM take at most twice as long as alone", () => {
    const vm: SimulatedVm = { outstanding: 1, thinkMs: 7, disk: { shares: 100, ...iops(120) } };
    const alone = store({ vm });
    alone.simulation.runUntil(20_000);
    const greedy: SimulatedVm = { outstanding: 128, disk: { shares: 10_000 } };
    const beside = store({ vm, one: greedy, other: greedy });
    beside.simulation.runUntil(20_000);
    expect(alone.simulation.percentile("vm", 0.99)).toBe(4);
    expect(beside.simulation.percentile("vm", 0.99)).toBeLessThanOrEqual(8);
    // Without one it is far from that: the greedy ones are served by their shares.
    const without = store({ vm: { ...vm, disk: { shares: 100 } }, one: greedy, other: greedy });
    without.simulation.runUntil(20_000);
    expect(without.simulation.percentile("vm", 0.99)).toBeGreaterThan(40);
  });
});

describe("pools", () => {
  it("are divided as VMs are, and what is in them is divided inside", () => {
    const { simulation } = store(
      { a: { pool: "one" }, b: { pool: "one", disk: { shares: 3000 } }, c: { pool: "two" }, d: {} },
      { pools: { one: { shares: 2000 }, inner: { shares: 1000 }, two: { shares: 1000, parent: "inner" } } },
    );
    simulation.runUntil(20_000);
    within(0.02, simulation.operations("a"), 2500);
    within(0.02, simulation.operations("b"), 7500);
    within(0.02, simulation.operations("c"), 5000);
    within(0.02, simulation.operations("d"), 5000);
  });

  it("limits hold for all that is inside, by shares, and reservations of what is inside come first", () => {
    const { simulation } = store(
      {
        a: { pool: "slow" },
        b: { pool: "slow", disk: { shares: 2000 } },
        c: { pool: "slow", disk: { shares: 1, ...iops(100) } },
        d: {},
      },
      { pools: { slow: { shares: 100_000, ...iops(0, 400) } } },
    );
    simulation.runUntil(20_000);
    within(0.02, simulation.operations("a"), 2000);
    within(0.02, simulation.operations("b"), 4000);
    within(0.02, simulation.operations("c"), 2000);
    within(0.02, simulation.operations("d"), 12_000);
  });

  it("reservations are kept for what is inside, by shares", () => {
    const { simulation } = store(
      {
        a: { pool: "kept" },
        b: { pool: "kept", disk: { shares: 3000 } },
        c: { disk: { shares: 100_000 } },
      },
      { pools: { kept: { shares: 1, ...iops(400) } } },
    );
    simulation.runUntil(10_000);
    within(0.02, simulation.operations("a"), 1000);
    within(0.02, simulation.operations("b"), 3000);
  });

  it("a VM's reservation is counted off that of its pool, not added to it", () => {
    const { simulation } = store(
      { a: { pool: "kept", disk: iops(300) }, b: { pool: "kept", disk: { shares: 1 } }, c: {} },
      { pools: { kept: { shares: 1, ...iops(400) } } },
    );
    simulation.runUntil(10_000);
    within(0.02, simulation.operations("a") + simulation.operations("b"), 4000);
  });
});

describe("for any VMs", () => {
  const size = fc.constantFrom(0, 512, 4096, 65_536, 1 << 20);
  const vm = fc.record({
    shares: fc.integer({ min: 1, max: 50 }),
    limit: fc.option(fc.integer({ min: 20, max: 600 }), { nil: undefined }),
    bandwidth: fc.option(fc.integer({ min: 50_000, max: 5_000_000 }), { nil: undefined }),
    reservation: fc.integer({ min: 0, max: 80 }),
    outstanding: fc.integer({ min: 1, max: 20 }),
    sizes: fc.array(size, { minLength: 1, maxLength: 4 }),
    thinkMs: fc.constantFrom(0, 0, 0, 1, 30, 400),
    pool: fc.constantFrom("root", "pool", "inner"),
  });
  const vms = fc.array(vm, { minLength: 1, maxLength: 6 });
  const poolLimit = fc.integer({ min: 50, max: 600 });

  const setUp = (list: readonly (typeof vm extends fc.Arbitrary<infer Vm> ? Vm : never)[], limit: number) =>
    store(
      Object.fromEntries(
        list.map(({ shares, limit: most, bandwidth, reservation, ...load }, at) => [
          `vm${at}`,
          {
            ...load,
            disk: {
              shares,
              iops: { reservation: Math.min(reservation, most ?? Infinity), limit: most ?? Infinity },
              bandwidth: { limit: bandwidth ?? Infinity },
            },
          },
        ]),
      ),
      { pools: { pool: iops(0, limit), inner: { parent: "pool" } } },
    );

  /** The most above a rate that starts come to in any window, in the unit of the amounts. */
  function excess(starts: readonly { readonly at: number; readonly amount: number }[], rate: number): number {
    // Leaky bucket: its greatest level is the greatest excess of any window.
    let [level, before, most] = [0, 0, 0];
    for (const { at, amount } of starts) {
      level = Math.max(0, level - ((at - before) * rate) / 1000) + amount;
      before = at;
      most = Math.max(most, level);
    }
    return most;
  }

  it("no window of time has more than a limit allows, but for a burst and one request", () => {
    fc.assert(
      fc.property(vms, poolLimit, (list, limit) => {
        const { simulation } = setUp(list, limit);
        simulation.runUntil(3000);
        const all: { at: number; amount: number }[] = [];
        for (const [at, { limit: most, bandwidth, pool, sizes }] of list.entries()) {
          const { starts } = simulation.served.get(`vm${at}`)!;
          const ones = starts.map((start) => ({ at: start.at, amount: 1 }));
          if (pool !== "root") all.push(...ones);
          if (most !== undefined)
            expect(excess(ones, most)).toBeLessThanOrEqual((most * BURST_MS) / 1000 + 1 + 1e-6);
          if (bandwidth === undefined) continue;
          const bytes = starts.map((start) => ({ at: start.at, amount: start.bytes }));
          const greatest = Math.max(...sizes);
          expect(excess(bytes, bandwidth)).toBeLessThanOrEqual((bandwidth * BURST_MS) / 1000 + greatest + 1);
        }
        all.sort((one, other) => one.at - other.at);
        expect(excess(all, limit)).toBeLessThanOrEqual((limit * BURST_MS) / 1000 + 1 + 1e-6);
      }),
      { numRuns: 40 },
    );
  });

  it("a reservation is kept where its VM asks for it and they fit", () => {
    fc.assert(
      fc.property(vms, (list) => {
        // Six times 80 fit the store's 1,000.
        const { simulation } = setUp(
          list.map((one) => ({ ...one, thinkMs: 0, bandwidth: undefined, pool: "root", outstanding: 16 })),
          600,
        );
        simulation.runUntil(3000);
        for (const [at, { reservation, limit = Infinity }] of list.entries())
          expect(simulation.operations(`vm${at}`)).toBeGreaterThanOrEqual(
            0.97 * 3 * Math.min(reservation, limit) - 2,
          );
      }),
      { numRuns: 40 },
    );
  });

  it("the store never has a free place while a request may go", () => {
    fc.assert(
      fc.property(vms, poolLimit, (list, limit) => {
        const { simulation, mclock } = setUp(list, limit);
        for (let time = 7; time < 2000; time += 13) {
          simulation.runUntil(time);
          if (simulation.idleServers > 0) expect(mclock.isHeldByStore(time)).toBe(false);
        }
        expect(simulation.decisions).toBeGreaterThan(0);
      }),
      { numRuns: 40 },
    );
  });

  it("shares divide the store within 5 %", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 2, maxLength: 6 }), (shares) => {
        const { simulation } = store(
          Object.fromEntries(
            shares.map((value, at) => [`vm${at}`, { disk: { shares: value }, outstanding: 64 }]),
          ),
        );
        simulation.runUntil(8000);
        const sum = shares.reduce((all, one) => all + one);
        for (const [at, value] of shares.entries())
          within(0.05, simulation.operations(`vm${at}`), (8000 * value) / sum);
      }),
      { numRuns: 20 },
    );
  });
});

it("what is dropped or removed is not served, and mistakes have their errors", () => {
  const mclock = new MClock();
  mclock.addPool("pool");
  mclock.addClient("a", {}, "pool");
  mclock.addClient("b");
  for (const bytes of [1, 2, 3]) mclock.arrive("a", bytes, 0);
  mclock.arrive("b", 4, 0);
  mclock.drop("a");
  expect(mclock.waiting("a")).toBe(2);
  expect(mclock.next(0, "none")).toBeUndefined();
  expect(mclock.next(0, "reserved")).toBeUndefined();
  const grants = [mclock.next(0, "all"), mclock.next(0, "all")];
  expect(grants).toEqual(
    expect.arrayContaining([
      { client: "a", bytes: 2 },
      { client: "b", bytes: 4 },
    ]),
  );
  expect(() => mclock.removePool("pool")).toThrow(/still holds/);
  mclock.removeClient("a");
  mclock.removePool("pool");
  expect(mclock.next(0, "all")).toBeUndefined();
  expect(mclock.nextTime(0, "none")).toBe(Infinity);
  expect(() => mclock.addClient("b")).toThrow(/there is a VM b already/);
  expect(() => mclock.arrive("a", 1, 0)).toThrow(/there is no VM a/);
  expect(() => mclock.addClient("c", {}, "pool")).toThrow(/there is no pool pool/);
});
