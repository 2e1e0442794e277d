/** Timers longer than the host's, and promises with a limit of time. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { LongTimer, settlesWithin } from "./waiting.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it.each([0, 1, 600 * 3_600_000, 10 * 365 * 86_400_000])("a timer of %d ms ends then and not before", (ms) => {
  let calls = 0;
  new LongTimer(ms, () => calls++);
  if (ms > 0) vi.advanceTimersByTime(ms - 1);
  expect(calls).toBe(0);
  vi.advanceTimersByTime(1);
  expect(calls).toBe(1);
  vi.advanceTimersByTime(2 ** 32);
  expect(calls).toBe(1);
});

it("a timer that was taken back, or has no end, never calls", () => {
  let calls = 0;
  const timer = new LongTimer(2 ** 32, () => calls++);
  new LongTimer(Infinity, () => calls++);
  vi.advanceTimersByTime(2 ** 31 + 5);
  timer.clear();
  vi.advanceTimersByTime(2 ** 34);
  expect(calls).toBe(0);
});

it("a promise that is waited for leaves no timer, whichever comes first", async () => {
  expect(await settlesWithin(Promise.resolve(), 600 * 3_600_000)).toBe(true);
  expect(await settlesWithin(Promise.reject(new Error("no")), 1)).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
  const late = settlesWithin(new Promise(() => {}), 50);
  vi.advanceTimersByTime(50);
  expect(await late).toBe(false);
  expect(vi.getTimerCount()).toBe(0);
});
