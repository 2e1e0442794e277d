/** The real clock over host clocks of the test's own. */
import { describe, expect, it } from "vitest";
import { RealClock, TICKS_PER_SECOND, VirtualClock } from "./clock.js";

const SECOND = 1000;
const HOUR = 3_600_000;
/** Any date. */
const TODAY = 1_800_000_000_000;

/** A host whose time passes as it is told; a suspended one's monotonic clock stands still. */
class FakeHost {
  private mono = 5000;
  private date = TODAY;
  monotonic = () => this.mono;
  wall = () => this.date;

  pass(milliseconds: number): void {
    this.mono += milliseconds;
    this.date += milliseconds;
  }

  suspend(milliseconds: number): void {
    this.date += milliseconds;
  }
}

const seconds = (clock: RealClock) => clock.now() / TICKS_PER_SECOND;

/** Lets a busy guest run, looking at the time after each slice; gives host milliseconds until its time is right. */
function runUntilRight(clock: RealClock, host: FakeHost): { took: number; longest: number; steps: number } {
  let [before, took, longest, steps] = [clock.now(), 0, 0, 0];
  const wanted = () => (host.wall() - TODAY) / SECOND;
  while (wanted() - seconds(clock) > 0.3 && took < 10 * SECOND) {
    host.pass(0.5);
    took += 0.5;
    clock.follow(took * 800_000);
    const now = clock.now();
    expect(now).toBeGreaterThanOrEqual(before);
    longest = Math.max(longest, (now - before) / TICKS_PER_SECOND);
    if (now - before > TICKS_PER_SECOND) steps++;
    before = now;
  }
  return { took, longest, steps };
}

describe("a clock that follows the host", () => {
  it.each([
    [
      "a pause",
      (clock: RealClock, host: FakeHost) => {
        clock.freeze();
        host.pass(HOUR / 6);
        clock.resume();
      },
    ],
    ["a suspended host", (_: RealClock, host: FakeHost) => host.suspend(HOUR / 6)],
    ["a stopped process", (_: RealClock, host: FakeHost) => host.pass(HOUR / 6)],
    [
      "a snapshot",
      (clock: RealClock, host: FakeHost) => {
        const saved = clock.save();
        host.pass(HOUR / 6);
        clock.restore(saved);
      },
    ],
  ])("makes up for %s of ten minutes within a second, in steps that no kernel minds", (_, stand) => {
    const host = new FakeHost();
    const clock = new RealClock("host", host);
    host.pass(7 * SECOND);
    const before = clock.now();
    stand(clock, host);
    // The first look sees nothing of it.
    expect(clock.now() - before).toBeLessThanOrEqual(TICKS_PER_SECOND);
    const { took, longest, steps } = runUntilRight(clock, host);
    expect(took).toBeLessThan(SECOND);
    expect(longest).toBeLessThan(8.1);
    expect(steps).toBeGreaterThan(70);
    expect(Math.abs(seconds(clock) - (host.wall() - TODAY) / SECOND)).toBeLessThan(0.3);
  });

  it("makes up for a month at once where the guest is idle, but for an hour", () => {
    const host = new FakeHost();
    const clock = new RealClock("host", host);
    host.suspend(720 * HOUR);
    host.pass(5);
    clock.follow(0);
    host.pass(5);
    clock.follow(8_000_000);
    expect(seconds(clock)).toBeCloseTo(8, 1);
    clock.idleUntil(10 * TICKS_PER_SECOND);
    expect(seconds(clock)).toBeCloseTo(719 * 3600, 1);
  });

  it("gives a guest that is slow as many instructions to notice a step as others", () => {
    const host = new FakeHost();
    const clock = new RealClock("host", host);
    host.suspend(HOUR);
    let retired = 0;
    const run = (slices: number) => {
      for (let slice = 0; slice < slices; slice++) {
        host.pass(10);
        clock.follow((retired += 1000));
      }
      return Math.floor(seconds(clock) / 8);
    };
    expect(run(8000)).toBe(Math.floor(80 / 8));
    expect(run(2)).toBe(Math.floor(88 / 8));
  });

  it("goes to the next timer of a guest that is idle, and no further than the host is", () => {
    const host = new FakeHost();
    const clock = new RealClock("host", host);
    clock.idleUntil(50 * TICKS_PER_SECOND);
    expect(seconds(clock)).toBe(0);
    host.suspend(100 * SECOND);
    clock.idleUntil(40 * TICKS_PER_SECOND);
    expect(seconds(clock)).toBe(40);
    clock.idleUntil(40 * TICKS_PER_SECOND);
    expect(seconds(clock)).toBe(40);
    clock.idleUntil(Infinity);
    expect(seconds(clock)).toBe(100);
    clock.idleUntil(Infinity);
    expect(seconds(clock)).toBe(100);
  });

  it("stays where it is when the host's date is set back, and does not jump when it is set right again", () => {
    const host = new FakeHost();
    const clock = new RealClock("host", host);
    host.pass(SECOND);
    host.suspend(-HOUR);
    host.pass(SECOND);
    clock.follow(0);
    expect(seconds(clock)).toBe(2);
    host.suspend(HOUR);
    host.pass(SECOND);
    clock.follow(0);
    expect(seconds(clock)).toBe(3);
  });

  it("leaves alone what clocks drift by", () => {
    const host = new FakeHost();
    const clock = new RealClock("host", host);
    host.suspend(200);
    clock.follow(0);
    clock.idleUntil(Infinity);
    expect(seconds(clock)).toBe(0);
  });

  it("a copy made while the machine stands still has its time", () => {
    const host = new FakeHost();
    const clock = new RealClock("host", host);
    host.pass(5 * SECOND);
    clock.freeze();
    host.pass(2 * SECOND);
    const twin = new RealClock("host", host);
    twin.restore(clock.save());
    expect(seconds(twin)).toBe(5);
    runUntilRight(twin, host);
    expect(seconds(twin)).toBeGreaterThan(6.7);
  });
});

describe.each(["host", "frozen"] as const)("while a guest waits, a clock in mode %s", (mode) => {
  it.each([60, Infinity])("goes on, however long nobody looks (a wait of %d s)", (wait) => {
    const host = new FakeHost();
    const clock = new RealClock(mode, host);
    host.pass(SECOND);
    clock.idleUntil(wait * TICKS_PER_SECOND);
    host.pass(59 * SECOND);
    expect(seconds(clock)).toBe(60);
    // Some timers are late.
    host.pass(2 * SECOND);
    clock.idleUntil(wait * TICKS_PER_SECOND);
    clock.follow(0);
    expect(seconds(clock)).toBe(62);
  });

  it("stops at the end of the wait, if the host stood still beyond that", () => {
    const host = new FakeHost();
    const clock = new RealClock(mode, host);
    clock.idleUntil(60 * TICKS_PER_SECOND);
    host.pass(HOUR);
    expect(seconds(clock)).toBe(60);
  });

  it("takes a stop after the wait for one", () => {
    const host = new FakeHost();
    const clock = new RealClock(mode, host);
    clock.idleUntil(60 * TICKS_PER_SECOND);
    host.pass(10 * SECOND);
    // A key has ended the wait.
    clock.follow(0);
    host.pass(HOUR);
    expect(seconds(clock)).toBe(10);
  });
});

describe("a frozen clock", () => {
  it("leaves out the time in which the machine stood still, whatever the reason", () => {
    const host = new FakeHost();
    const clock = new RealClock("frozen", host);
    host.pass(3 * SECOND);
    clock.freeze();
    host.pass(HOUR);
    clock.resume();
    host.suspend(HOUR);
    expect(seconds(clock)).toBe(3);
    host.pass(HOUR);
    expect(seconds(clock)).toBe(3);
    clock.restore(clock.save());
    for (let slice = 0; slice < 100; slice++) {
      clock.follow(0);
      clock.idleUntil(Infinity);
    }
    expect(seconds(clock)).toBe(3);
    host.pass(SECOND);
    expect(seconds(clock)).toBe(4);
  });

  it("what it saved is made up for by one that follows, from the moment of saving on", () => {
    const host = new FakeHost();
    const frozen = new RealClock("frozen", host);
    host.suspend(HOUR);
    host.pass(SECOND);
    const saved = frozen.save();
    host.pass(60 * SECOND);
    const clock = new RealClock("host", host);
    clock.restore(saved);
    clock.idleUntil(Infinity);
    expect(seconds(clock)).toBe(61);
  });
});

it("saved times of another shape are refused, and ones without a date go on from now", () => {
  const clock = new RealClock("host", new FakeHost());
  for (const state of [
    {},
    { ticks: -1 },
    { ticks: 1.5 },
    { ticks: 1, wall: "now" },
    { ticks: 1, wall: Infinity },
    { ticks: 1, wall: Number.NaN },
  ])
    expect(() => clock.restore(state)).toThrow(RangeError);
  clock.restore({ ticks: TICKS_PER_SECOND });
  clock.idleUntil(Infinity);
  expect(seconds(clock)).toBe(1);
});

it("a virtual clock knows no host: only instructions and timers move it", () => {
  let retired = 0;
  const clock = new VirtualClock(() => retired);
  clock.follow();
  clock.idleUntil(Infinity);
  expect(clock.now()).toBe(0);
  retired = 100;
  expect(clock.now()).toBe(10);
  clock.idleUntil(25);
  expect(clock.now()).toBe(25);
});

describe("a guest whose time of day somebody else sets", () => {
  it("has no time made up for, until it is owed again", () => {
    const host = new FakeHost();
    const clock = new RealClock("host", host);
    host.pass(2 * SECOND);
    clock.now();
    host.suspend(HOUR);
    expect(clock.leaveOut()).toBe(HOUR);
    expect(clock.leaveOut()).toBe(0);
    clock.idleUntil(Infinity);
    expect(seconds(clock)).toBe(2);
    // Of what comes afterwards nothing is left out, nor of a snapshot's time.
    host.suspend(HOUR / 60);
    clock.idleUntil(Infinity);
    expect(seconds(clock)).toBe(62);
    expect(clock.save().wall).toBe(host.wall());
    clock.owe(HOUR);
    clock.idleUntil(Infinity);
    expect(seconds(clock)).toBe(3662);
  });

  it("is ahead where the host was set back", () => {
    const host = new FakeHost();
    const clock = new RealClock("host", host);
    host.suspend(-HOUR);
    expect(clock.leaveOut()).toBe(-HOUR);
    host.suspend(10 * SECOND);
    clock.idleUntil(Infinity);
    expect(seconds(clock)).toBe(10);
  });

  it("has none that could be left out while it stands still, or where none is made up for", () => {
    const host = new FakeHost();
    const [paused, frozen] = [new RealClock("host", host), new RealClock("frozen", host)];
    paused.freeze();
    host.suspend(HOUR);
    expect([paused.leaveOut(), frozen.leaveOut(), new VirtualClock(() => 5).leaveOut()]).toEqual([0, 0, 0]);
    paused.resume();
    expect(paused.leaveOut()).toBe(HOUR);
  });
});
