/** The grants in shared memory, with the scheduler at one end and gates at the other; the host's times are the test's. */
import { beforeEach, describe, expect, it, vi } from "vitest";
import { ControlTable, Grant, SharedGate } from "./control-table.js";
import { GrantDispatcher, stealIn } from "./dispatcher.js";
import { ResourceTree } from "./resource-tree.js";
import { CpuScheduler } from "./scheduler.js";

const MS = 1e6;
const QUANTUM = 10 * MS;

let table: ControlTable;
let tree: ResourceTree;
let scheduler: CpuScheduler;
let dispatcher: GrantDispatcher;
let times: Map<number, number>;

beforeEach(() => {
  table = ControlTable.allocate(4);
  tree = new ResourceTree(1, "cores");
  scheduler = new CpuScheduler({ tree, cores: 1, quantum: QUANTUM });
  times = new Map();
  dispatcher = new GrantDispatcher({ scheduler, table, threadTime: (thread) => times.get(thread) });
});

function add(name: string, slot: number, thread = slot + 1, shared?: number): SharedGate {
  tree.addClient(name);
  scheduler.add(name, 0, shared);
  dispatcher.attach(name, slot);
  table.setThread(slot, thread);
  times.set(thread, times.get(thread) ?? 0);
  return new SharedGate(table, slot);
}

/** Asks for a core without waiting; tells whether it was granted by the next decision. */
async function ask(gate: SharedGate): Promise<{ granted: boolean }> {
  const result = { granted: false };
  void gate.acquire().then(() => {
    result.granted = true;
  });
  await Promise.resolve();
  return result;
}

/** Waits until a grant has reached who asked. */
const reach = (asked: { readonly granted: boolean }) =>
  vi.waitFor(() => expect(asked.granted).toBe(true), 10_000);

describe("a grant", () => {
  it("goes to a VM that asks, and comes back with what it wants next", async () => {
    const gate = add("vm", 0);
    expect(dispatcher.poll(0)).toBe(Infinity);
    const asked = await ask(gate);
    dispatcher.poll(0);
    await reach(asked);
    expect(gate.mayContinue()).toBe(true);
    times.set(1, 4 * MS);
    gate.release("idle");
    dispatcher.poll(5 * MS);
    expect(scheduler.stateOf("vm")).toBe("idle");
    expect(table.read(0, 9 * MS)).toMatchObject({
      state: "idle",
      accounts: { used: 4 * MS, preempted: 1 * MS, idle: 4 * MS, ready: 0 },
    });
  });

  it("is taken back at the end of a turn if somebody waits, and left where nobody does", async () => {
    const one = add("one", 0);
    const two = add("two", 1);
    await ask(one);
    dispatcher.poll(0);
    // Alone it keeps the core, however long.
    times.set(1, 30 * MS);
    dispatcher.poll(30 * MS);
    expect(one.mayContinue()).toBe(true);
    // The other one wakes without debt: it gets the core at once.
    const asked = await ask(two);
    dispatcher.poll(31 * MS);
    expect(one.mayContinue()).toBe(false);
    one.release("ready");
    dispatcher.poll(32 * MS);
    await reach(asked);
    expect(table.grantOf(0)).toBe(Grant.none);
    expect(table.read(0, 32 * MS)).toMatchObject({
      state: "ready",
      accounts: { used: 30 * MS, preempted: 2 * MS },
    });
    // Its first turn is a part of a quantum; at its end the first VM, which waits, gets the core.
    times.set(2, 3 * MS);
    dispatcher.poll(35 * MS);
    expect(two.mayContinue()).toBe(false);
    two.release("ready");
    dispatcher.poll(35 * MS);
    expect(table.grantOf(0)).toBe(Grant.given);
    expect(stealIn(table, 0, 36 * MS)).toBeCloseTo(2 * MS + 3 * MS);
    expect(stealIn(table, 1, 36 * MS)).toBeCloseTo(1 * MS + 1 * MS);
  });

  it("that a VM no longer wants is taken back, and the core is free", async () => {
    const one = add("one", 0);
    const two = add("two", 1);
    await ask(one);
    const waiting = await ask(two);
    dispatcher.poll(0);
    two.cancel();
    await reach(waiting);
    two.release("stopped");
    dispatcher.poll(1 * MS);
    expect(scheduler.stateOf("two")).toBe("stopped");
    expect(table.grantOf(1)).toBe(Grant.none);
    // A wish that is withdrawn at the moment of the grant leaves no core behind.
    one.release("ready");
    dispatcher.poll(2 * MS);
    expect(table.grantOf(0)).toBe(Grant.given);
    table.setWish(0, "stopped");
    dispatcher.poll(3 * MS);
    expect(scheduler.running()).toEqual([]);
    expect(table.grantOf(0)).toBe(Grant.none);
  });
});

describe("CPU time", () => {
  it("between two turns of a thread is charged to the VM that ran last on it", async () => {
    const gate = add("vm", 0);
    await ask(gate);
    dispatcher.poll(0);
    times.set(1, 2 * MS);
    gate.release("idle");
    dispatcher.poll(2 * MS);
    // It handles messages while it is idle.
    times.set(1, 3 * MS);
    await ask(gate);
    dispatcher.poll(10 * MS);
    times.set(1, 4 * MS);
    gate.release("idle");
    dispatcher.poll(11 * MS);
    expect(scheduler.accountsOf("vm", 11 * MS).used).toBe(4 * MS);
  });

  it("that a limit keeps from a VM is told as such from the beginning: no sum ever gets smaller", async () => {
    const gate = add("vm", 0);
    scheduler.configure("vm", { limit: 0.1 }, "client", 0);
    await ask(gate);
    dispatcher.poll(0);
    times.set(1, 10 * MS);
    gate.release("ready");
    dispatcher.poll(10 * MS);
    expect(table.read(0, 30 * MS)).toMatchObject({
      state: "limited",
      accounts: { used: 10 * MS, ready: 0, limited: 20 * MS },
    });
    dispatcher.poll(200 * MS);
    expect(table.read(0, 200 * MS)).toMatchObject({ state: "running", accounts: { ready: 0 } });
  });

  it("is the time between grant and release where the host doesn't say", async () => {
    const gate = add("vm", 0);
    times.clear();
    await ask(gate);
    dispatcher.poll(0);
    gate.release("idle");
    dispatcher.poll(7 * MS);
    expect(scheduler.accountsOf("vm", 7 * MS)).toMatchObject({ used: 7 * MS, preempted: 0 });
  });
});

describe("VMs on one thread", () => {
  it("take turns, though cores are free", async () => {
    tree = new ResourceTree(2, "cores");
    scheduler = new CpuScheduler({ tree, cores: 2, quantum: QUANTUM });
    dispatcher = new GrantDispatcher({ scheduler, table, threadTime: (thread) => times.get(thread) });
    const one = add("one", 0, 1, 77);
    const two = add("two", 1, 1, 77);
    await ask(one);
    await ask(two);
    dispatcher.poll(0);
    expect(scheduler.running()).toEqual(["one"]);
    one.release("ready");
    times.set(1, 3 * MS);
    dispatcher.poll(3 * MS);
    expect(scheduler.running()).toEqual(["two"]);
    expect(scheduler.accountsOf("one", 3 * MS).used).toBe(3 * MS);
    expect(scheduler.accountsOf("two", 3 * MS).used).toBe(0);
  });
});

it("forgets a thread when the last VM on it has gone, or moved to another", async () => {
  const forgotten: number[] = [];
  dispatcher = new GrantDispatcher({
    scheduler,
    table,
    threadTime: (thread) => times.get(thread),
    forgetThread: (thread) => void forgotten.push(thread),
  });
  const gates = [add("a", 0, 7), add("b", 1, 7), add("c", 2, 9)];
  for (const gate of gates) {
    await ask(gate);
    dispatcher.poll(0);
    gate.release("idle");
    dispatcher.poll(1 * MS);
  }
  const remove = (name: string) => {
    dispatcher.detach(name);
    scheduler.remove(name, 2 * MS);
    tree.removeClient(name);
  };
  remove("a");
  expect(forgotten).toEqual([]);
  remove("b");
  expect(forgotten).toEqual([7]);
  table.setThread(2, 11);
  times.set(11, 0);
  await ask(gates[2]!);
  dispatcher.poll(3 * MS);
  expect(forgotten).toEqual([7, 9]);
  gates[2]!.release("idle");
  dispatcher.poll(4 * MS);
  remove("c");
  expect(forgotten).toEqual([7, 9, 11]);
});
