import { expect, it } from "vitest";
import { ChangingCode } from "./changing-code.js";

const FRAME = 0x5000;
/** Half the time that halves a wait. */
const HALF_AGE = 2 ** 27;

/** A clock that tests set, and code that is changed as soon as it was translated. */
function tracked() {
  const clock = { now: 0 };
  const code = new ChangingCode(() => clock.now);
  /** Arrivals until the frame's code may be translated; then it changes. */
  const rewrite = (frame = FRAME) => {
    for (let arrivals = 1; arrivals < 1_000_000; arrivals++) {
      if (!code.mayTranslate(frame)) continue;
      code.changed(frame);
      return arrivals;
    }
    throw new Error("it waits for ever");
  };
  return { clock, code, rewrite };
}

it("lets code change a few times, then has it wait twice as long each time", () => {
  const { rewrite } = tracked();
  expect(Array.from({ length: 9 }, () => rewrite())).toEqual([1, 1, 1, 1, 2, 4, 8, 16, 32]);
});

it("has all of a frame's code wait, and none of another's", () => {
  const { code, rewrite } = tracked();
  for (let change = 0; change < 8; change++) rewrite();
  expect(code.mayTranslate(FRAME)).toBe(false);
  expect(code.mayTranslate(FRAME + 0x1000)).toBe(true);
});

it("counts what goes at one store once, and lets the frame's code be translated once it has waited", () => {
  const { code, rewrite } = tracked();
  expect(code.mayTranslate(FRAME)).toBe(true);
  for (let region = 0; region < 50; region++) code.changed(FRAME);
  expect(rewrite()).toBe(1);
  for (let change = 0; change < 4; change++) rewrite();
  while (!code.mayTranslate(FRAME));
  for (let head = 0; head < 100; head++) expect(code.mayTranslate(FRAME)).toBe(true);
});

it("forgets with time: a frame that waits waits half as long, and in the end not at all", () => {
  const { clock, code, rewrite } = tracked();
  for (let change = 0; change < 13; change++) rewrite();
  clock.now += 2 * HALF_AGE * 4 + HALF_AGE;
  let arrivals = 1;
  while (!code.mayTranslate(FRAME)) arrivals++;
  // It would have been 1,024.
  expect(arrivals).toBe(1024 / 16);
  clock.now += 2 * HALF_AGE * 30;
  expect([rewrite(), rewrite(), rewrite(), rewrite(), rewrite()]).toEqual([1, 1, 1, 1, 2]);
});

it("never punishes code that changes rarely, however long it runs", () => {
  const { clock, rewrite } = tracked();
  for (let change = 0; change < 10_000; change++) {
    expect(rewrite()).toBe(1);
    clock.now += 2 * HALF_AGE;
  }
});

it("has a common allowance for many frames that change, which comes back", () => {
  const { clock, code, rewrite } = tracked();
  const frames = Array.from({ length: 1024 }, (_, index) => index * 0x1000);
  for (const frame of frames) expect(rewrite(frame)).toBe(1);
  // All is spent: changed frames wait, others do not.
  expect(rewrite(0)).toBe(1);
  expect(rewrite(0)).toBe(64);
  expect(code.mayTranslate(0x7fff000)).toBe(true);
  clock.now += 2 ** 32;
  rewrite(0x3000);
  expect(rewrite(0x3000)).toBe(1);
});

it("has code that could not be translated wait, and try again", () => {
  const { code, rewrite } = tracked();
  code.failed(FRAME);
  expect(rewrite()).toBe(16);
});

it("remembers a bounded number of frames, and none that is another page's now", () => {
  const { code, rewrite } = tracked();
  for (let frame = 0; frame < 10_000; frame++) rewrite(frame * 0x1000);
  expect(code.size).toBe(4096);
  code.forget(9_999 * 0x1000);
  expect(code.size).toBe(4095);
  expect(code.mayTranslate(9_999 * 0x1000)).toBe(true);
});
