/** The run loop with a hart of the test's own, which does what it is told. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { RealClock, TICKS_PER_SECOND, VirtualClock } from "./clock.js";
import { type CpuGate, Vm } from "./vm.js";

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A gate that grants at once and notes what it was asked. */
function grantingGate(): { readonly asked: string[]; readonly gate: CpuGate } {
  const asked: string[] = [];
  const gate: CpuGate = {
    async acquire() {
      asked.push("acquire");
    },
    mayContinue: () => true,
    release: (wish) => asked.push(wish),
    cancel: () => {},
  };
  return { asked, gate };
}

it("an idle VM that is woken for nothing asks for no core; one that has something to do asks for one", async () => {
  let ready = false;
  let ran = 0;
  const { asked, gate } = grantingGate();
  const hart = {
    run: () => {
      ran++;
      ready = false;
      return "wait" as const;
    },
    pollTimer: () => {},
    deadline: () => Infinity,
    wakeReady: () => ready,
    retired: () => ran,
  };
  const board = { tick: () => {}, deadline: () => Infinity, flush: () => {}, reset: () => {} };
  const vm = new Vm({ hart, board, clock: new VirtualClock(() => ran), load: () => {}, gate });
  const end = vm.run();
  for (let wake = 0; wake < 3; wake++) {
    await turn();
    vm.wake();
  }
  await turn();
  expect(asked).toEqual(["acquire", "idle"]);
  expect(vm.counters.sleeps).toBeGreaterThan(3);
  ready = true;
  vm.wake();
  while (ran < 2) await turn();
  expect(asked).toEqual(["acquire", "idle", "acquire", "idle"]);
  // The turn that sees the reset is followed by one that boots.
  vm.requestPower({ kind: "reset" });
  while (ran < 4) await turn();
  expect(vm.counters.resets).toBe(1);
  vm.stop("the test is over");
  expect(await end).toEqual({ kind: "stopped", reason: "the test is over" });
  expect(asked.at(-1)).toBe("stopped");
});

describe("an idle VM", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  /** A VM whose hart waits until `seconds` of its time, on a host whose time is the fake timers'. */
  function sleeping(at: number) {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] });
    let [ran, suspended] = [0, 0];
    const host = { monotonic: () => performance.now() - suspended, wall: () => Date.now() };
    const clock = new RealClock("host", host);
    const seconds = () => clock.now() / TICKS_PER_SECOND;
    const ranAt: number[] = [];
    let isKey = false;
    const hart = {
      run: () => {
        ran++;
        isKey = false;
        ranAt.push(Math.round(seconds()));
        return "wait" as const;
      },
      pollTimer: () => {},
      deadline: () => (ran === 1 ? at * TICKS_PER_SECOND : Infinity),
      wakeReady: () => isKey || (ran === 1 && seconds() >= at),
      retired: () => ran,
    };
    const board = { tick: () => {}, deadline: () => Infinity, flush: () => {}, reset: () => {} };
    const vm = new Vm({ hart, board, clock, load: () => {} });
    return {
      vm,
      ranAt,
      end: vm.run(),
      press: () => {
        isKey = true;
        vm.wake();
      },
      suspend: (milliseconds: number) => {
        suspended += milliseconds;
        vi.setSystemTime(Date.now() + milliseconds);
      },
    };
  }

  it.each([
    [Infinity, 1, [0]],
    [1800, 2, [0, 1800]],
  ])("sleeps until its timer at %d s, and is not woken before", async (at, sleeps, expected) => {
    const { vm, end, ranAt } = sleeping(at);
    await turn();
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(vm.counters.sleeps).toBe(sleeps);
    expect(ranAt).toEqual(expected);
    vm.stop("the test is over");
    await end;
  });

  it("has the right time with the first key after its host was suspended", async () => {
    const { vm, end, ranAt, press, suspend } = sleeping(Infinity);
    await turn();
    await vi.advanceTimersByTimeAsync(1000);
    suspend(600_000);
    press();
    while (ranAt.length < 2) await turn();
    expect(ranAt.slice(0, 2)).toEqual([0, 601]);
    vm.stop("the test is over");
    await end;
  });
});

describe("a VM whose output is not taken", () => {
  /** A hart that prints in each slice, and is held after the third. */
  function flood() {
    let ran = 0;
    const { asked, gate } = grantingGate();
    const hart = {
      run: () => {
        if (++ran % 3 === 0) vm.hold();
        return "stop" as const;
      },
      pollTimer: () => {},
      deadline: () => Infinity,
      wakeReady: () => true,
      retired: () => ran,
    };
    let resets = 0;
    const board = { tick: () => {}, deadline: () => Infinity, flush: () => {}, reset: () => void resets++ };
    const vm: Vm = new Vm({ hart, board, clock: new VirtualClock(() => ran), load: () => {}, gate });
    const end = vm.run();
    const settle = async () => {
      for (let count = 0; count < 5; count++) await turn();
    };
    return { vm, end, asked, settle, ran: () => ran, resets: () => resets };
  }

  it("gives its core back and runs no slice more until it is taken; idle and ready are others", async () => {
    const { vm, end, asked, settle, ran } = flood();
    await settle();
    expect(ran()).toBe(3);
    expect(asked).toEqual(["acquire", "waiting"]);
    vm.wake();
    await settle();
    expect(ran()).toBe(3);
    vm.release();
    await settle();
    expect(ran()).toBe(6);
    expect(asked).toEqual(["acquire", "waiting", "acquire", "waiting"]);
    expect(vm.counters.holds).toBe(2);
    vm.stop("enough");
    expect(await end).toEqual({ kind: "stopped", reason: "enough" });
    expect(ran()).toBe(6);
  });

  it("can be paused and resumed, and is held after that as before; a reset is not kept waiting", async () => {
    const { vm, end, asked, settle, ran, resets } = flood();
    await settle();
    vm.pause();
    await settle();
    expect(asked.at(-1)).toBe("stopped");
    vm.resume();
    await settle();
    expect([ran(), asked.at(-1)]).toEqual([3, "waiting"]);
    vm.requestPower({ kind: "reset" });
    await settle();
    expect([ran(), resets()]).toEqual([4, 1]);
    vm.stop("enough");
    await end;
  });
});

it.each(["with", "without"])(
  "an interrupt that a device raises while the VM sleeps %s a gate wakes it at once",
  async (kind) => {
    let pending = false;
    const seen: boolean[] = [];
    const hart = {
      run: () => {
        seen.push(pending);
        pending = false;
        return "wait" as const;
      },
      pollTimer: () => {},
      deadline: () => Infinity,
      wakeReady: () => pending,
      retired: () => seen.length,
    };
    const gate: CpuGate = {
      acquire: async () => {},
      mayContinue: () => true,
      release: () => {},
      cancel: () => {},
    };
    const board = { tick: () => {}, deadline: () => Infinity, flush: () => {}, reset: () => {} };
    const vm = new Vm({
      hart,
      board,
      clock: new RealClock(),
      load: () => {},
      ...(kind === "with" ? { gate } : {}),
    });
    const end = vm.run();
    for (let interrupt = 1; interrupt <= 5; interrupt++) {
      // By now it sleeps, and would for a second.
      while (vm.counters.sleeps < interrupt) await turn();
      await turn();
      pending = true;
      vm.interrupt();
      // It is awake before anything else of the host gets a turn twice.
      await turn();
      await turn();
      expect(seen).toHaveLength(interrupt + 1);
      expect(seen.at(-1)).toBe(true);
    }
    // One for nothing costs a look, and no core.
    vm.interrupt();
    await turn();
    await turn();
    expect(seen).toHaveLength(6);
    vm.stop("over");
    expect(await end).toEqual({ kind: "stopped", reason: "over" });
  },
);

it("an interrupt that comes as the VM is about to sleep is not slept over", async () => {
  let pending = false;
  let runs = 0;
  const hart = {
    run: () => {
      pending = false;
      if (++runs === 3) vm.stop("over");
      return "wait" as const;
    },
    pollTimer: () => {},
    deadline: () => Infinity,
    wakeReady: () => pending,
    retired: () => runs,
  };
  const flush = () => {
    if (runs > 0) {
      pending = true;
      vm.interrupt();
    }
  };
  const board = { tick: () => {}, deadline: () => Infinity, flush, reset: () => {} };
  const vm: Vm = new Vm({ hart, board, clock: new RealClock(), load: () => {} });
  await vm.run();
  expect(vm.counters.sleeps).toBe(0);
});

it("a VM that several let stand still does, with its clock, until the last of them takes it back", async () => {
  let ran = 0;
  const stood: string[] = [];
  const clock = new VirtualClock(() => ran);
  clock.freeze = () => void stood.push("freeze");
  clock.resume = () => void stood.push("resume");
  const vm = new Vm({
    hart: {
      run: () => {
        ran++;
        return "budget";
      },
      pollTimer() {},
      deadline: () => Infinity,
      wakeReady: () => true,
      retired: () => ran,
    },
    board: { tick() {}, deadline: () => Infinity, flush() {}, reset() {} },
    clock,
    load() {},
    visitEvery: 0,
  });
  const end = vm.run();
  const isRunning = async () => {
    const before = ran;
    for (let turns = 0; turns < 5; turns++) await turn();
    return ran > before;
  };
  expect(await isRunning()).toBe(true);
  vm.pause();
  vm.pause();
  const release = vm.standStill();
  expect(await isRunning()).toBe(false);
  vm.resume();
  expect(await isRunning()).toBe(false);
  vm.pause();
  release();
  release();
  expect(await isRunning()).toBe(false);
  vm.resume();
  expect(await isRunning()).toBe(true);
  // A release and another hold in one turn let nothing through.
  const first = vm.standStill();
  await turn();
  first();
  const second = vm.standStill();
  expect(await isRunning()).toBe(false);
  second();
  expect(stood).toEqual(["freeze", "resume", "freeze", "resume", "freeze", "resume"]);
  vm.standStill();
  vm.stop("the test is over");
  expect(await end).toEqual({ kind: "stopped", reason: "the test is over" });
});
