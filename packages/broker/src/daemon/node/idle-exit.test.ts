/** When a daemon ends by itself, in a time of the test's own. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { IdleExit } from "./idle-exit.js";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const HOUR = 3_600_000;

it("is after so long without a break, however long that is", () => {
  let [ends, isIdle] = [0, true];
  const exit = new IdleExit(
    1000 * HOUR,
    () => isIdle,
    () => ends++,
  );
  exit.look();
  vi.advanceTimersByTime(999 * HOUR);
  // Looking again begins nothing anew.
  exit.look();
  isIdle = false;
  exit.look();
  vi.advanceTimersByTime(2000 * HOUR);
  expect(ends).toBe(0);
  isIdle = true;
  exit.look();
  vi.advanceTimersByTime(999 * HOUR);
  expect(ends).toBe(0);
  vi.advanceTimersByTime(HOUR);
  expect(ends).toBe(1);
});

it("is not where something has come unseen, and waits anew from the next look on", () => {
  let [ends, isIdle] = [0, true];
  const exit = new IdleExit(
    1000,
    () => isIdle,
    () => ends++,
  );
  exit.look();
  isIdle = false;
  vi.advanceTimersByTime(5000);
  isIdle = true;
  exit.look();
  vi.advanceTimersByTime(999);
  expect(ends).toBe(0);
  exit.stop();
  vi.advanceTimersByTime(5000);
  expect(ends).toBe(0);
});
