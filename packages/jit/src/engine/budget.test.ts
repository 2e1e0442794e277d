import { describe, expect, it } from "vitest";
import { Exit, HART_STRIDE, header } from "../memory/layout.js";
import { LinearMemory } from "../memory/linear-memory.js";
import { CallSites, callSite } from "../mmu/call-sites.js";
import { Budget, type Clock } from "./budget.js";

const PC = 0x400;

function make(passed = 0) {
  const memory = LinearMemory.create({ bytes: HART_STRIDE });
  const clock: Clock = { passed };
  const budget = new Budget(memory, 0, clock);
  const left = () => memory.i32[header.budget >> 2]!;
  const charge = (units: number) => {
    memory.i32[header.budget >> 2] = left() - units;
  };
  return { memory, clock, budget, left, charge };
}

describe("budget and time", () => {
  it("move together while code runs, and what is left of a slice does not pass", () => {
    const { budget, clock, charge, left } = make(1000);
    expect(budget.now).toBe(1000);
    budget.begin(50);
    charge(20);
    budget.use(3);
    expect([budget.now, left()]).toEqual([1023, 27]);
    budget.end();
    expect([clock.passed, budget.now, left()]).toEqual([1023, 1023, 0]);
    budget.use(7);
    expect(budget.now).toBe(1030);
  });

  it("part where the grant is used up without time, even to the last unit and beyond", () => {
    const { budget, charge, left } = make();
    budget.begin(10);
    charge(2);
    budget.forfeit(10);
    expect([budget.now, left()]).toEqual([2, -2]);
    budget.end();
    expect(budget.now).toBe(2);
    budget.forfeit(5);
    expect([budget.now, left()]).toEqual([2, 0]);
  });

  it("read exactly in a single instruction, whatever it costs", () => {
    const { budget, charge, left } = make(100);
    budget.begin(40);
    charge(9);
    const withheld = budget.isolate();
    expect([budget.now, left()]).toEqual([109, 1]);
    charge(5);
    expect(budget.now).toBe(114);
    budget.rejoin(withheld);
    expect([budget.now, left()]).toEqual([114, 26]);
  });

  it("are those of the one that has the slice, where several share a hart block", () => {
    const { memory, budget } = make(5);
    const other = new Budget(memory, 0, { passed: 70 });
    other.begin(30);
    memory.i32[header.budget >> 2] = 10;
    expect([budget.now, other.now]).toEqual([5, 90]);
  });
});

describe("a call site", () => {
  const site = callSite(0xffc, 4, 12, 3);
  const setUp = () => {
    const { memory, budget, charge, left } = make();
    const sites = new CallSites(memory, 0, PC, 8);
    memory.i32[PC >> 2] = 0xfffff010 | 0;
    memory.i32[(PC >> 2) + 1] = 6;
    budget.begin(100);
    charge(20);
    sites.enter(site);
    const state = () => ({
      pc: [memory.i32[PC >> 2]! >>> 0, memory.i32[(PC >> 2) + 1]!],
      now: budget.now,
      left: left(),
      exit: memory.i32[header.exit >> 2],
      late: memory.i32[header.late >> 2],
    });
    return { sites, state };
  };
  const here = { pc: [0xfffffffc, 6], exit: Exit.none, late: Exit.none };

  it("lets others see what has retired, and goes on as if nothing had been seen", () => {
    const { sites, state } = setUp();
    expect(state()).toEqual({ ...here, now: 20, left: 80 });
    sites.suspend(site);
    expect(state()).toEqual({ ...here, now: 8, left: 92 });
    sites.resume(site);
    expect(state()).toEqual({ ...here, now: 20, left: 80 });
  });

  it("leaves after its instruction, across a multiple of 4 GiB, with that one charged", () => {
    const { sites, state } = setUp();
    sites.leaveAfter(site);
    expect(state()).toEqual({ pc: [0, 7], now: 11, left: 89, exit: Exit.redirect, late: Exit.none });
  });

  it("keeps the strongest reason to leave until a late instruction ends", () => {
    const { sites, state } = setUp();
    sites.requestExit(Exit.wait);
    sites.requestExit(Exit.redirect);
    expect(sites.exit).toBe(Exit.wait);
    sites.leaveLate();
    expect(state()).toEqual({ ...here, now: 20, left: 80, late: Exit.wait });
    sites.settle(site);
    expect(state()).toEqual({ pc: [0, 7], now: 11, left: 89, exit: Exit.wait, late: Exit.none });
  });
});
