/** CPU times of real threads: the files that are open for them, and that none is left when nobody asks any more. */
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import { currentThread, ThreadTimes } from "./thread-time.js";

const times = new ThreadTimes();
afterEach(() => times.close());

/** Descriptors of this process that are open for a thread's times. */
const openFor = (thread: number): number =>
  readdirSync("/proc/self/fd").filter((file) => {
    try {
      return readlinkSync(`/proc/self/fd/${file}`).endsWith(`/task/${thread}/schedstat`);
    } catch {
      // Closed since it was listed.
      return false;
    }
  }).length;

describe.skipIf(!existsSync("/proc/thread-self/schedstat"))("a thread's time", () => {
  it("is read through one file, which is closed when the thread is forgotten", () => {
    const thread = currentThread();
    const first = times.read(thread)!;
    expect(first).toBeGreaterThan(0);
    for (let count = 0; count < 10; count++) expect(times.read(thread)).toBeGreaterThanOrEqual(first);
    expect(times.readWait(thread)).toBeGreaterThanOrEqual(0);
    expect([openFor(thread), times.open]).toEqual([1, 1]);
    times.forget(thread);
    expect([openFor(thread), times.open]).toEqual([0, 0]);
    // A second time is nothing, and who asks again has a file again.
    times.forget(thread);
    expect(times.read(thread)).toBeGreaterThanOrEqual(first);
    expect([openFor(thread), times.open]).toEqual([1, 1]);
    times.close();
    expect([openFor(thread), times.open]).toEqual([0, 0]);
  });

  it("of one that has ended is none, and its file is closed", async () => {
    const worker = new Worker(
      `const { parentPort } = require("node:worker_threads");
       parentPort.postMessage(require("node:fs").readlinkSync("/proc/thread-self"));
       parentPort.once("message", () => parentPort.close());`,
      { eval: true },
    );
    const name = await new Promise<string>((resolve) => worker.once("message", resolve));
    const thread = Number(name.split("/").pop());
    expect(times.read(thread)).toBeGreaterThan(0);
    expect(openFor(thread)).toBe(1);
    const ended = new Promise((resolve) => worker.once("exit", resolve));
    worker.postMessage("end");
    await ended;
    await expect.poll(() => times.read(thread), { timeout: 60_000 }).toBeUndefined();
    expect([openFor(thread), times.open]).toEqual([0, 0]);
  });
});
