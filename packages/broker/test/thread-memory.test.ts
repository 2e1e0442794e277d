/** The memory of a thread's VMs on real frames, in fake time: when it is looked at. */
import { PAGE_SIZE } from "@hyperfile/jit/engine";
import { FramePool, GuestMemory, LinearMemory } from "@hyperfile/jit/memory";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { CpuGate } from "../src/cpu/cpu-gate.js";
import { ThreadMemory } from "../src/lifecycle/thread-memory.js";
import { MemoryShortageError } from "../src/memory/errors.js";

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

const balloon = {
  live: false,
  target: 0,
  actual: 0,
  statistics: {},
  setTarget: () => {},
  requestStatistics: () => {},
};

/** VMs of a thread that has so many frames. */
function thread(frames: number, ...names: string[]) {
  const pool = new FramePool(LinearMemory.create({ bytes: (frames + 1) * PAGE_SIZE }), PAGE_SIZE, frames);
  const memory = new ThreadMemory(undefined, () => {});
  const guests = names.map((vm) => {
    const guest = new GuestMemory({ pool, ramBase: RAM, ramBytes: PAGES * PAGE_SIZE });
    memory.add(vm, { frames: pool, memory: guest, balloon, reservedFrame: () => -1 });
    return guest;
  });
  return { pool, memory, guests };
}

it("pages that a VM writes long after it was given a core are found equal soon, however it goes on from slice to slice", async () => {
  const { pool, memory, guests } = thread(999, "a", "b");
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
  expect(pool.used).toBeLessThanOrEqual(PAGES + 1);
  for (const vm of ["a", "b"]) memory.remove(vm);
});

it("a VM that there is no memory for ends with a line that names it, when its turn is over; others go on", async () => {
  const { memory, guests } = thread(PAGES, "a", "b");
  const [a, b] = guests;
  const fill = (guest: GuestMemory) => {
    let done = 0;
    for (let page = 0; page < PAGES; page++)
      if (guest.write(RAM + page * PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(page + 1))) done++;
    return done;
  };
  const released: string[] = [];
  const gates = ["a", "b"].map((vm) =>
    memory.gate(vm, { ...freeGate, release: (wish) => released.push(`${vm} ${wish}`) }),
  );
  await gates[0]!.acquire();
  expect(fill(a!)).toBeGreaterThan(PAGES / 2);
  gates[0]!.release("idle");
  await gates[1]!.acquire();
  expect(fill(b!)).toBeLessThan(PAGES);
  expect(() => gates[1]!.mayContinue()).toThrow(
    /^no memory is left for VM b, .*: give VMs more memory or swap space/,
  );
  expect(() => gates[1]!.release("stopped")).toThrow(MemoryShortageError);
  expect(gates[0]!.mayContinue()).toBe(true);
  expect(released).toEqual(["a idle", "b stopped"]);
  for (const vm of ["a", "b"]) memory.remove(vm);
});
