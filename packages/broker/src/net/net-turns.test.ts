/** Turns of cards with frames that wait, in virtual time. */
import { describe, expect, it } from "vitest";
import { changeNet, DEFAULT_NET, type NetChange, type NetDirection } from "./allotment.js";
import { type NetLine, NetTurns } from "./net-turns.js";

const FRAME = 1000;

/** A card that has so many frames to send. */
class Line implements NetLine {
  gone = 0;
  room = Infinity;

  constructor(
    readonly vm: string,
    public frames: number,
  ) {}

  waiting(): number {
    return this.frames * FRAME;
  }

  let(_: NetDirection, bytes: number): number {
    let went = 0;
    while (went < bytes && this.frames > 0 && this.room > 0) {
      went += FRAME;
      this.frames--;
      this.room--;
    }
    this.gone += went;
    return went;
  }
}

function world(limits: Readonly<Record<string, NetChange>>) {
  let now = 0;
  const turns = new NetTurns(() => now);
  for (const [name, change] of Object.entries(limits))
    turns.scheduler.obey(
      { kind: "add", name, pool: "root", slot: 0, allotment: changeNet(DEFAULT_NET, change) },
      now,
    );
  /** Lets time pass, as whoever has timers does; gives how often it looked. */
  const run = (milliseconds: number): number => {
    const end = now + milliseconds;
    for (let looks = 1; ; looks++) {
      const { bytes, due } = turns.take();
      if (bytes > 0) continue;
      if (due > end) {
        now = end;
        return looks;
      }
      now = Math.max(due, now + 1e-6);
    }
  };
  return { turns, run };
}

describe("cards of one VM", () => {
  it("have its turns one after the other, within its limit", () => {
    const { turns, run } = world({ a: { send: { limit: 100_000 } } });
    const lines = [new Line("a", 10_000), new Line("a", 10_000)] as const;
    for (const line of lines) expect(turns.wait(line, "send", FRAME)).toBe(line === lines[0]);
    run(1000);
    const before = lines.map(({ gone }) => gone);
    run(10_000);
    const [one, two] = lines.map(({ gone }, at) => gone - before[at]!) as [number, number];
    expect(Math.abs(one + two - 1_000_000)).toBeLessThan(20_000);
    expect(Math.abs(one - two)).toBeLessThan(10_000);
  });

  it("give a turn up that they have no use for, and ask again when they have", () => {
    const { turns, run } = world({ a: { send: { limit: 100_000 } } });
    const [full, other] = [new Line("a", 100), new Line("a", 100)];
    full.room = 0;
    turns.wait(full, "send", FRAME);
    turns.wait(other, "send", FRAME);
    expect(run(5000)).toBeLessThan(1000);
    expect([full.gone, other.gone]).toEqual([0, 100_000]);
    full.room = Infinity;
    turns.wait(full, "send", FRAME);
    run(5000);
    expect(full.gone).toBe(100_000);
  });

  it("have none any more when they are gone", () => {
    const { turns, run } = world({ a: { send: { limit: 100_000 } } });
    const [gone, other] = [new Line("a", 100), new Line("a", 10)];
    turns.wait(gone, "send", FRAME);
    turns.wait(other, "send", FRAME);
    turns.forget(gone);
    run(5000);
    expect([gone.gone, other.gone]).toEqual([0, 10_000]);
  });
});

it("nobody who waits for nothing is looked for", () => {
  const { turns, run } = world({ a: {}, b: {} });
  expect(turns.take()).toEqual({ bytes: 0, due: Infinity });
  turns.wait(new Line("a", 3), "receive", FRAME);
  run(1);
  expect(turns.take()).toEqual({ bytes: 0, due: Infinity });
});
