/** VMs in threads of their own under the real scheduler, and what they got as the kernel accounts it. */
import { Worker } from "node:worker_threads";
import { HostScheduler } from "../src/cpu/node/host-scheduler.js";
import { ThreadTimes } from "../src/cpu/node/thread-time.js";
import type { Allotment } from "../src/cpu/resource-tree.js";
import type { GuestOrder, GuestResult, GuestThreadSettings } from "./guest-thread.js";

/** A VM of an experiment. */
export interface ThreadGuest
  extends Partial<Pick<GuestThreadSettings, "burn" | "sleep" | "empty" | "hostile">> {
  readonly name: string;
  readonly allotment?: Partial<Allotment>;
}

/** What a VM got: CPU time of its thread in milliseconds, by the kernel's accounts and by the scheduler's. */
export interface Got extends GuestResult {
  readonly cpu: number;
  readonly accounted: number;
}

/** What an experiment found; times are in milliseconds. */
export interface Outcome {
  readonly guests: ReadonlyMap<string, Got>;
  /** CPU time of all guests. */
  readonly total: number;
  readonly wall: number;
  /** CPU time of the scheduler's own thread. */
  readonly scheduler: number;
  /** Times that a VM was given a core. */
  readonly turns: number;
}

const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
/** Milliseconds of real time after which an experiment ends, however little CPU time the host has given. */
const LONGEST = 120_000;

/** Runs VMs until they have used so many milliseconds of CPU time together. */
export async function runThreads(
  guests: readonly ThreadGuest[],
  { cores, milliseconds, quantumMs }: { cores: number; milliseconds: number; quantumMs?: number },
): Promise<Outcome> {
  const host = await HostScheduler.start({
    cores,
    ...(quantumMs === undefined ? {} : { quantumMs }),
  });
  const times = new ThreadTimes();
  const running: { name: string; worker: Worker; thread: number }[] = [];
  for (const { name, allotment = {}, burn = 1000, sleep = 0, empty = false, hostile } of guests) {
    const settings: GuestThreadSettings = {
      table: host.table.buffer,
      slot: host.admit(name, "root", allotment),
      burn,
      sleep,
      empty,
      ...(hostile === undefined ? {} : { hostile }),
    };
    const worker = new Worker(new URL("./guest-thread.js", import.meta.url), { workerData: settings });
    const thread = await new Promise<number>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    running.push({ name, worker, thread });
  }
  const order = (worker: Worker, message: GuestOrder) => worker.postMessage(message);
  const answers = <T>(): Promise<T>[] =>
    running.map(
      ({ worker }) =>
        new Promise<T>((resolve, reject) => {
          worker.once("message", resolve);
          worker.once("error", reject);
        }),
    );
  // Starting and ending a VM is its thread's own work, which no scheduler sees: what counts is between two pauses.
  const standing = answers<string>();
  for (const { worker, thread } of running)
    order(worker, {
      kind: "load",
      others: running.map((other) => other.thread).filter((other) => other !== thread),
    });
  await Promise.all(standing);
  // A thread that has just answered may still be on its way to its event loop.
  await wait(100);
  const readings = () =>
    running.map(({ name, thread }) => ({
      cpu: times.read(thread)! / 1e6,
      accounted: host.report(name)!.accounts.used / 1e6,
    }));
  const before = readings();
  const schedulerBefore = host.overhead() ?? 0;
  const started = performance.now();
  for (const { worker } of running) order(worker, { kind: "go" });
  const used = () =>
    running.reduce((sum, { thread }, at) => sum + times.read(thread)! / 1e6 - before[at]!.cpu, 0);
  while (used() < milliseconds && performance.now() - started < LONGEST) await wait(10);
  for (const { worker } of running) order(worker, { kind: "pause" });
  const stands = ({ name }: { name: string }) => host.report(name)!.state === "stopped";
  while (!running.every(stands) && performance.now() - started < LONGEST) await wait(1);
  const wall = performance.now() - started;
  await wait(10);
  const after = readings();
  const scheduler = ((host.overhead() ?? 0) - schedulerBefore) / 1e6;
  const results = answers<GuestResult>();
  for (const { worker } of running) order(worker, { kind: "stop" });
  const ended = await Promise.all(results);
  const got = new Map<string, Got>();
  running.forEach(({ name }, at) => {
    got.set(name, {
      ...ended[at]!,
      cpu: after[at]!.cpu - before[at]!.cpu,
      accounted: after[at]!.accounted - before[at]!.accounted,
    });
  });
  times.close();
  await Promise.all(running.map(({ worker }) => worker.terminate()));
  await host.close();
  const all = [...got.values()];
  return {
    guests: got,
    total: all.reduce((sum, { cpu }) => sum + cpu, 0),
    wall,
    scheduler,
    turns: all.reduce((sum, { turns }) => sum + turns, 0),
  };
}
