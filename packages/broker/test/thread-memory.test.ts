/** The memory of a thread's VMs on real frames, in fake time: when it is looked at. */
import { PAGE_SIZE } from "@hyperfile/jit/engine";
import { FramePool, GuestMemory, LinearMemory } from "@hyperfile/jit/memory";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { CpuGate } from "../src/cpu/cpu-gate.js";
import { ThreadMemory } from "../src/lifecycle/thread-memory.js";

const RAM = 0x80000000;
const PAGES = 64;
const freeGate: CpuGate = {
  acquire: async () => {},
  mayContinue: () => true,
  release: () => {},
  cancel: () => {},
};

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it("pages that a VM writes long after it was given a core are found equal soon, however it goes on from slice to slice", async () => {
  const linear = LinearMemory.create({ bytes: 1000 * PAGE_SIZE });
  const frames = new FramePool(linear, PAGE_SIZE, 999);
  const balloon = {
    live: false,
    target: 0,
    actual: 0,
    statistics: {},
    setTarget: () => {},
    requestStatistics: () => {},
  };
  const memory = new ThreadMemory(undefined, () => {});
  const guests = ["a", "b"].map((vm) => {
    const guest = new GuestMemory({ pool: frames, ramBase: RAM, ramBytes: PAGES * PAGE_SIZE });
    memory.add(vm, { frames, memory: guest, balloon, reservedFrame: () => -1 });
    return guest;
  });
  const gate = memory.gate("a", freeGate);
  await gate.acquire();
  for (let slice = 0; slice < 100; slice++) {
    await vi.advanceTimersByTimeAsync(100);
    gate.mayContinue();
  }
  for (const guest of guests)
    for (let page = 0; page < PAGES; page++)
      guest.write(RAM + page * PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(page + 1));
  gate.release("idle");
  await vi.advanceTimersByTimeAsync(5000);
  expect(guests[0]!.usage().shared).toBe(PAGES * PAGE_SIZE);
  expect(frames.used).toBeLessThanOrEqual(PAGES + 1);
  for (const vm of ["a", "b"]) memory.remove(vm);
});
