/** Real threads under the real scheduler's thread. Proportions are of CPU time as the kernel accounts it. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import { HostScheduler } from "./host-scheduler.js";

let host: HostScheduler | undefined;
const threads: Worker[] = [];
afterEach(async () => {
  await Promise.all(threads.splice(0).map((thread) => thread.terminate()));
  await host?.close();
  host = undefined;
});

const program = new URL("../../../test/burn-thread.mjs", import.meta.url);
const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function burn(
  slot: number,
  sleep: { sleepEvery: number; sleepFor: number } = { sleepEvery: 0, sleepFor: 0 },
): Worker {
  const thread = new Worker(program, { workerData: { buffer: host!.table.buffer, slot, ...sleep } });
  threads.push(thread);
  return thread;
}

/** Waits until the VMs together have used so many nanoseconds. */
async function untilUsed(names: readonly string[], nanoseconds: number): Promise<number[]> {
  for (;;) {
    const used = names.map((name) => host!.report(name)!.accounts.used);
    if (used.reduce((all, one) => all + one, 0) >= nanoseconds) return used;
    await wait(5);
  }
}

describe("threads of a host", () => {
  it("get CPU time by shares; a change of shares acts at once", async () => {
    host = await HostScheduler.start({ cores: 1, quantumMs: 5 });
    const names = ["a", "b", "c"];
    for (const [at, name] of names.entries()) burn(host.admit(name, "root", { shares: 1000 * (at + 1) }));
    const [a, b, c] = (await untilUsed(names, 600e6)) as [number, number, number];
    const sum = a + b + c;
    // Two quanta and two ticks of the kernel's beside each part, and a turn that is not reported yet.
    const error = 28e6;
    for (const [at, used] of [a, b, c].entries())
      expect(Math.abs(used - (sum * (at + 1)) / 6)).toBeLessThanOrEqual(error);
    host.configure("a", { shares: 5000 }, "client");
    const [a2, b2, c2] = (await untilUsed(names, sum + 400e6)) as [number, number, number];
    expect(Math.abs(a2 - a - (a2 + b2 + c2 - sum) / 2)).toBeLessThanOrEqual(2 * error);
    expect(host.report("a")?.allotment.shares).toBe(5000);
  });

  it("that fail leave the others all they had", async () => {
    host = await HostScheduler.start({ cores: 1 });
    const failing = burn(host.admit("failing", "root", {}));
    const failed = new Promise<Error>((resolve) => failing.once("error", resolve));
    burn(host.admit("other", "root", {}));
    await untilUsed(["failing", "other"], 50e6);
    failing.postMessage("fail");
    expect((await failed).message).toBe("the thread was told to fail");
    host.retire("failing");
    const before = host.report("other")!.accounts;
    await untilUsed(["other"], before.used + 100e6);
    const after = host.report("other")!.accounts;
    // Alone now, it waits for nobody but the host.
    expect(after.ready - before.ready).toBeLessThanOrEqual(20e6);
    expect(host.report("failing")).toBeUndefined();
  });

  it("are refused where a reservation can't be kept, and can come when one has gone", async () => {
    host = await HostScheduler.start({ cores: 2 });
    host.addPool("p", { reservation: 1, expandable: false }, "root");
    host.admit("one", "p", { reservation: 0.75 });
    expect(() => host!.admit("two", "p", { reservation: 0.5 })).toThrow(/VM two can't be admitted/);
    expect(host.report("two")).toBeUndefined();
    host.retire("one");
    host.admit("two", "p", { reservation: 0.5 });
    expect(() => host!.configure("two", { reservation: 1.5 }, "client")).toThrow(/can't be admitted/);
    expect(() => host!.removePool("p")).toThrow(/still holds two/);
    host.retire("two");
    host.removePool("p");
    expect(host.nodes().map(({ name }) => name)).toEqual(["root"]);
  });

  it("that sleep are told from those that wait for a core", async () => {
    host = await HostScheduler.start({ cores: Math.min(2, availableParallelism()) });
    burn(host.admit("sleepy", "root", {}), { sleepEvery: 2, sleepFor: 8 });
    await untilUsed(["sleepy"], 40e6);
    const { state, accounts } = host.report("sleepy")!;
    expect(["idle", "ready", "running"]).toContain(state);
    expect(accounts.idle).toBeGreaterThan(accounts.ready);
    expect(host.overhead()).toBeGreaterThan(0);
  });
});
