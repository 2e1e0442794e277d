import { expect, it } from "vitest";
import { SlicePlanner } from "./slice-planner.js";

/** Runs `count` slices on a hart that does so many instructions in a millisecond; gives the next slice's milliseconds. */
const settle = (planner: SlicePlanner, speed: number, count = 20): number => {
  for (let slice = 0; slice < count; slice++) planner.observe(planner.instructions / speed);
  return planner.instructions / speed;
};

it("comes to slices of about 0.4 ms at any usual speed, and follows it", () => {
  const planner = new SlicePlanner();
  for (const speed of [2_000_000, 300_000, 5_000_000, 150_000]) {
    const milliseconds = settle(planner, speed);
    expect(milliseconds).toBeGreaterThanOrEqual(0.2);
    expect(milliseconds).toBeLessThanOrEqual(0.8);
  }
});

it("keeps to its bounds on very slow and very fast harts", () => {
  const planner = new SlicePlanner();
  settle(planner, 1_000_000_000);
  expect(planner.instructions).toBe(4_000_000);
  settle(planner, 10);
  expect(planner.instructions).toBe(200);
});
