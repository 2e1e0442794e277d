/** Gates of several VMs and the dispatcher behind them, in one thread: what goes without asking, what waits, what is counted. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { DiskChange } from "./allotment.js";
import { DiskDispatcher } from "./disk-dispatcher.js";
import { SharedDiskGate } from "./disk-gate.js";
import { DiskTable, MOST_SHOWN } from "./disk-table.js";
import { LEASE_MS, MClock } from "./mclock.js";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A request of a test's: begun, to be answered by the test. */
interface Job {
  readonly vm: string;
  answer(): void;
}

/** Gates over one table, whose time the test has in its hand. */
class Host {
  now = 1_000_000;
  rings = 0;
  readonly mclock = new MClock();
  readonly table: DiskTable;
  readonly dispatcher: DiskDispatcher;
  /** Requests at the store. */
  readonly atStore: Job[] = [];
  /** How requests ended, by VM. */
  readonly ended: string[] = [];
  private slots = 0;
  private heard = 0;
  /** When the scheduler's thread looks without being rung for. */
  private due = Infinity;

  constructor(depth: number) {
    this.table = DiskTable.allocate(16, depth);
    this.dispatcher = new DiskDispatcher(this.mclock, this.table);
  }

  add(vm: string, disk: DiskChange = {}): SharedDiskGate {
    const slot = this.slots++;
    this.mclock.addClient(vm, disk);
    this.table.clear(slot);
    this.dispatcher.attach(vm, slot);
    this.dispatcher.poll(this.now);
    const ring = () => void this.rings++;
    return new SharedDiskGate(this.table, slot, ring, () => this.now);
  }

  /** A request that ends when the test says so. */
  ask(vm: string, line: ReturnType<SharedDiskGate["line"]>, bytes = 4096): void {
    const job = () => new Promise<void>((resolve) => void this.atStore.push({ vm, answer: resolve }));
    line.run(bytes, job).then(
      () => this.ended.push(vm),
      (error: Error) => this.ended.push(`${vm}: ${error.message}`),
    );
  }

  /** Lets everything happen that can, as the scheduler's thread would. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 4; quiet++) {
      if (this.rings !== this.heard || this.now >= this.due) {
        this.heard = this.rings;
        this.due = this.now + this.dispatcher.poll(this.now);
        quiet = 0;
      }
      await turn();
    }
  }

  /** Time passes; the scheduler's thread looks. */
  async pass(milliseconds: number): Promise<void> {
    this.now += milliseconds;
    this.due = this.now;
    await this.settle();
  }

  /** Answers the requests at the store, and those that come then. */
  async answerAll(): Promise<void> {
    while (this.atStore.length > 0) {
      for (const { answer } of this.atStore.splice(0)) answer();
      await this.settle();
    }
  }

  count(vm: string): number {
    return this.atStore.filter((job) => job.vm === vm).length;
  }
}

it("a VM alone never rings, however much it has in flight", async () => {
  const host = new Host(4);
  const line = host.add("a").line();
  await host.pass(200);
  for (let round = 0; round < 50; round++) {
    for (let one = 0; one < 100; one++) host.ask("a", line);
    expect(host.atStore).toHaveLength(100);
    await host.answerAll();
    host.now += 3;
  }
  expect(host.ended).toHaveLength(5000);
  expect(host.rings).toBe(0);
  expect(host.table.inFlight()).toBe(0);
});

it("a VM that is alone again has as much in flight as it wants", async () => {
  const host = new Host(4);
  const one = host.add("one").line();
  const other = host.add("other").line();
  host.ask("other", other);
  await host.answerAll();
  for (let at = 0; at < 100; at++) host.ask("one", one);
  await host.settle();
  expect(host.atStore).toHaveLength(4);
  // It waits, so that all of it is asked for; what it asks is granted when the other one has been away for a while.
  await host.pass(200);
  expect(host.atStore.length).toBeGreaterThan(60);
  await host.answerAll();
  const { rings } = host;
  for (let at = 0; at < 100; at++) host.ask("one", one);
  expect(host.atStore).toHaveLength(100);
  await host.answerAll();
  expect(host.rings).toBe(rings);
  expect(host.table.inFlight()).toBe(0);
});

it("VMs that leave room never ring either", async () => {
  const host = new Host(8);
  const lines = ["a", "b", "c"].map((name) => ({ name, line: host.add(name).line() }));
  for (let round = 0; round < 100; round++) {
    for (const { name, line } of lines) for (let one = 0; one < 2; one++) host.ask(name, line);
    expect(host.atStore).toHaveLength(6);
    await host.answerAll();
  }
  expect(host.rings).toBe(0);
});

it("where several want more than the store takes, it has no more in hand, and shares decide", async () => {
  const host = new Host(4);
  const one = host.add("one", { shares: 1000 }).line();
  const three = host.add("three", { shares: 3000 }).line();
  for (let at = 0; at < 300; at++) {
    host.ask("one", one);
    host.ask("three", three);
  }
  await host.settle();
  while (host.ended.length < 200) {
    expect(host.atStore.length).toBeLessThanOrEqual(4);
    expect(host.atStore.length).toBe(host.table.inFlight());
    host.atStore.shift()!.answer();
    await host.settle();
  }
  const part = host.ended.filter((vm) => vm === "three").length / host.ended.length;
  expect(Math.abs(part - 0.75)).toBeLessThan(0.03);
  await host.answerAll();
  expect(host.ended).toHaveLength(600);
  expect(host.table.inFlight()).toBe(0);
  // Nobody waits any more: nobody rings.
  const { rings } = host;
  host.ask("one", one);
  await host.answerAll();
  expect(host.rings).toBe(rings);
});

it("a limit holds from the first request, without a ring for each", async () => {
  const host = new Host(100);
  const line = host.add("a", { iops: { limit: 1000 } }).line();
  for (let at = 0; at < 1500; at++) host.ask("a", line);
  await host.settle();
  const burst = host.atStore.length;
  expect(burst).toBeLessThanOrEqual(101);
  let most = 0;
  for (let ms = 0; ms < 1000; ms += 2) {
    await host.answerAll();
    await host.pass(2);
    most = Math.max(most, host.atStore.length);
  }
  await host.answerAll();
  expect(Math.abs(host.ended.length - 1000)).toBeLessThanOrEqual(burst + 20);
  expect(most).toBeLessThanOrEqual(2 + 1);
  // One that stays below its limit asks now and then: a lease is for so long.
  for (let ms = 0; ms < 1000; ms += 20) {
    await host.pass(20);
    await host.answerAll();
  }
  const before = host.rings;
  for (let at = 0; at < 1000; at++) {
    host.ask("a", line);
    await host.settle();
    await host.answerAll();
    host.now += 2;
  }
  await host.pass(1);
  await host.answerAll();
  expect(host.ended).toHaveLength(2500);
  expect(host.rings - before).toBeLessThanOrEqual(1000 / LEASE_MS + 10);
  expect(host.rings - before).toBeGreaterThan(10);
});

it("a limit that is set acts on the next request, and one that is taken away at once", async () => {
  const host = new Host(100);
  const gate = host.add("a");
  const line = gate.line();
  for (let at = 0; at < 50; at++) host.ask("a", line);
  await host.answerAll();
  expect(host.ended).toHaveLength(50);
  host.dispatcher.configure("a", { iops: { limit: 10 } }, "client", host.now);
  await host.pass(0);
  for (let at = 0; at < 50; at++) host.ask("a", line);
  await host.settle();
  expect(host.atStore.length).toBeLessThanOrEqual(2);
  await host.answerAll();
  await host.pass(1000);
  await host.answerAll();
  expect(host.ended.length).toBeLessThanOrEqual(63);
  expect(gate.waits.operations).toBeGreaterThanOrEqual(48);
  expect(gate.waits.milliseconds).toBe(1000);
  host.dispatcher.configure("a", { iops: { limit: Infinity } }, "client", host.now);
  await host.pass(0);
  await host.answerAll();
  expect(host.ended).toHaveLength(100);
});

it("who wants none in flight has what waits go early, and what comes later pays for it", async () => {
  const host = new Host(100);
  const gate = host.add("a", { iops: { limit: 10 } });
  const [line, other] = [gate.line(), gate.line()];
  for (let at = 0; at < MOST_SHOWN + 40; at++) host.ask("a", line);
  host.ask("b", other);
  await host.settle();
  const before = host.atStore.length;
  expect(before).toBeLessThanOrEqual(2);
  const release = line.hasten();
  host.ask("a", line);
  await host.settle();
  expect(host.count("a")).toBe(MOST_SHOWN + 41);
  release();
  release();
  await host.answerAll();
  expect(host.ended).toHaveLength(MOST_SHOWN + 41);
  // About 105 have gone: for ten seconds nothing else does.
  host.ask("a", line);
  for (let ms = 0; ms < 9800; ms += 100) await host.pass(100);
  expect(host.atStore).toEqual([]);
  for (let ms = 0; ms < 1500; ms += 100) await host.pass(100);
  await host.answerAll();
  expect(host.ended).toHaveLength(MOST_SHOWN + 43);
  expect(host.table.inFlight()).toBe(0);
});

it("what is cancelled waits no more and costs nothing; another disk's requests stay", async () => {
  const host = new Host(100);
  const gate = host.add("a", { iops: { limit: 10 } });
  const [line, other] = [gate.line(), gate.line()];
  for (let at = 0; at < 2; at++) host.ask("a", line);
  await host.settle();
  await host.answerAll();
  const done = host.ended.length;
  for (let at = 0; at < MOST_SHOWN + 20; at++) host.ask("a", line);
  host.ask("b", other);
  await host.settle();
  line.cancel(new Error("void"));
  await host.settle();
  const cancelled = host.ended.filter((how) => how === "a: void").length;
  expect(cancelled).toBeGreaterThan(MOST_SHOWN + 15);
  await host.answerAll();
  for (let ms = 0; ms < 400; ms += 20) await host.pass(20);
  await host.answerAll();
  expect(host.ended.filter((how) => how === "b")).toHaveLength(1);
  expect(host.ended.length).toBe(done + MOST_SHOWN + 21);
  expect(host.table.inFlight()).toBe(0);
});

it("a VM that is killed with requests in flight takes no room of the store with it", async () => {
  const host = new Host(4);
  const victim = host.add("victim").line();
  const other = host.add("other").line();
  for (let at = 0; at < 10; at++) {
    host.ask("victim", victim);
    host.ask("other", other);
  }
  await host.settle();
  host.dispatcher.detach("victim");
  host.mclock.removeClient("victim");
  await host.pass(0);
  host.atStore.splice(0, Infinity, ...host.atStore.filter(({ vm }) => vm === "other"));
  expect(host.atStore).toHaveLength(host.table.inFlight());
  await host.answerAll();
  expect(host.ended.filter((vm) => vm === "other")).toHaveLength(10);
  expect(host.table.inFlight()).toBe(0);
});

it("whatever VMs do, each request ends once, in flight are never more than may be, and nothing is left", async () => {
  const step = fc.record({
    vm: fc.integer({ min: 0, max: 2 }),
    act: fc.constantFrom(
      "ask",
      "ask",
      "ask",
      "ask",
      "answer",
      "answer",
      "pass",
      "hasten",
      "release",
      "cancel",
    ),
    count: fc.integer({ min: 1, max: 40 }),
  });
  const limit = fc.constantFrom(Infinity, Infinity, 50, 2000);
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40 }),
      fc.array(limit, { minLength: 3, maxLength: 3 }),
      async (steps, limits) => {
        const host = new Host(4);
        const vms = limits.map((most, at) => {
          const line = host.add(`${at}`, { iops: { limit: most, reservation: at === 0 ? 20 : 0 } }).line();
          return { line, releases: [] as (() => void)[] };
        });
        let asked = 0;
        for (const { vm, act, count } of steps) {
          const { line, releases } = vms[vm]!;
          if (act === "ask") {
            asked += count;
            for (let at = 0; at < count; at++) host.ask(`${vm}`, line);
          } else if (act === "answer") for (const { answer } of host.atStore.splice(0, count)) answer();
          else if (act === "pass") host.now += count * 3;
          else if (act === "hasten") releases.push(line.hasten());
          else if (act === "release") for (const release of releases.splice(0)) release();
          else line.cancel(new Error("void"));
          await host.pass(0);
          expect(host.ended.length + host.atStore.length).toBeLessThanOrEqual(asked);
        }
        for (const { releases } of vms) for (const release of releases) release();
        for (let left = 2000; left > 0 && host.ended.length < asked; left--) {
          for (const { answer } of host.atStore.splice(0)) answer();
          await host.pass(100);
        }
        expect(host.ended).toHaveLength(asked);
        expect(host.table.inFlight()).toBe(0);
      },
    ),
    { numRuns: 25 },
  );
});
