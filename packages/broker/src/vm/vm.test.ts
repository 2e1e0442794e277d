/** The run loop with a hart of the test's own, which does what it is told. */
import { expect, it } from "vitest";
import { VirtualClock } from "./clock.js";
import { type CpuGate, Vm } from "./vm.js";

const turn = () => new Promise((resolve) => setImmediate(resolve));

it("an idle VM that is woken for nothing asks for no core; one that has something to do asks for one", async () => {
  let ready = false;
  let ran = 0;
  const asked: string[] = [];
  const gate: CpuGate = {
    async acquire() {
      asked.push("acquire");
    },
    mayContinue: () => true,
    release: (wish) => asked.push(wish),
    cancel: () => {},
  };
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
