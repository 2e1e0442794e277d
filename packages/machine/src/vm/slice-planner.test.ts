import { expect, it } from "vitest";
import { SlicePlanner } from "./slice-planner.js";

/** Runs `count` slices on a hart that does so many instructions in a millisecond; gives the next slice's milliseconds. */
const settle = (planner: SlicePlanner, speed: number, due = Infinity, count = 20): number => {
  for (let slice = 0; slice < count; slice++) {
    const instructions = planner.next(due);
    planner.observe(instructions, instructions / speed);
  }
  return planner.next(due) / speed;
};

it("comes to slices of about a millisecond at any usual speed, and follows it", () => {
  const planner = new SlicePlanner();
  for (const speed of [2_000_000, 300_000, 5_000_000, 150_000]) {
    const milliseconds = settle(planner, speed);
    expect(milliseconds).toBeGreaterThanOrEqual(0.5);
    expect(milliseconds).toBeLessThanOrEqual(2);
  }
});

it("keeps to its bounds on very slow and very fast harts", () => {
  const planner = new SlicePlanner();
  settle(planner, 1_000_000_000);
  expect(planner.next(Infinity)).toBe(8_000_000);
  settle(planner, 10);
  expect(planner.next(Infinity)).toBe(200);
});

it("ends a slice about when a timer is due, and learns a hart's speed from such slices as well", () => {
  const planner = new SlicePlanner();
  for (const speed of [2_000_000, 100_000]) {
    const milliseconds = settle(planner, speed, 0.2);
    expect(milliseconds).toBeGreaterThanOrEqual(0.1);
    expect(milliseconds).toBeLessThanOrEqual(0.4);
    // What is due in no time is not looked for all the time.
    expect(planner.next(1e-6) / speed).toBeGreaterThanOrEqual(0.025);
  }
});

it("takes no heed of a time that is past: the guest lets a timer's interrupt wait", () => {
  const planner = new SlicePlanner();
  expect(settle(planner, 1_000_000, 0)).toBeGreaterThanOrEqual(0.5);
});
