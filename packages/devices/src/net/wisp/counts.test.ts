import fc from "fast-check";
import { expect, test } from "vitest";
import { Grant } from "./counts.js";

/** Runs both ends of a stream, whose words cross; gives how much was kept, and how much went. */
function run(window: number, isOpened: boolean, steps: readonly (readonly [move: number, times: number])[]) {
  const grant = new Grant(window);
  /** The other side's count, and what is under way in each direction. */
  let count = window;
  let [packets, kept, most, went] = [0, 0, 0, 0];
  const counts: number[] = isOpened ? [grant.open()] : [];
  const pass = (): void => {
    const more = grant.pass();
    kept--;
    went++;
    if (more !== undefined) counts.push(more);
  };
  const moves = [
    () => {
      if (count > 0) {
        count--;
        packets++;
      }
    },
    () => {
      if (packets > 0) {
        packets--;
        kept++;
        expect(grant.take()).toBe(true);
      }
    },
    () => {
      if (kept > 0) pass();
    },
    () => {
      const next = counts.shift();
      if (next !== undefined) count = next;
    },
  ];
  for (const [move, times] of steps)
    for (let time = 0; time < times; time++) {
      moves[move]!();
      most = Math.max(most, kept + packets);
    }
  // Whoever may send nothing is told of more when all was taken: it never comes to a stop.
  const before = went;
  for (let round = 0; round < 4 * window; round++) for (const move of moves) move();
  return { most, moved: went - before };
}

test("a side that counts is never told that it sent too much, keeps no more than two windows busy, and never stops", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 3, 8, 32),
      fc.boolean(),
      fc.array(fc.tuple(fc.nat({ max: 3 }), fc.integer({ min: 1, max: 40 })), { maxLength: 60 }),
      (window, isOpened, steps) => {
        const { most, moved } = run(window, isOpened, steps);
        expect(most).toBeLessThanOrEqual(2 * window);
        expect(moved).toBeGreaterThanOrEqual(window);
      },
    ),
    { numRuns: 1000 },
  );
});

test("a side that does not count is noticed, and what can be kept of it is bounded", () => {
  for (const taken of [0, 1, 7, 1000]) {
    const grant = new Grant(8);
    for (let at = 0; at < taken; at++) {
      expect(grant.take()).toBe(true);
      grant.pass();
    }
    let more = 0;
    while (grant.take()) more++;
    expect(more).toBeLessThanOrEqual(16);
    expect(more).toBeGreaterThanOrEqual(4);
  }
});

test("a side that sends all that it may after each word has no more under way each time", () => {
  const window = 32;
  const grant = new Grant(window);
  let [packets, count] = [0, window];
  for (let round = 0; round < 100; round++) {
    packets += count;
    count = 0;
    expect(packets).toBeLessThanOrEqual(2 * window);
    expect(packets).toBeGreaterThanOrEqual(window / 2);
    const words: number[] = [];
    for (; packets > 0; packets--) {
      expect(grant.take()).toBe(true);
      const more = grant.pass();
      if (more !== undefined) words.push(more);
    }
    for (const word of words) {
      packets += count;
      count = word;
    }
  }
});
