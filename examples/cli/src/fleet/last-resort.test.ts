/** Errors that nobody caught, and signals, in a process of the test's own. */
import { EventEmitter } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ERRORS_MS, endAtSignals, MOST_ERRORS, type ProcessPort, surviveErrors } from "./last-resort.js";

class FakeProcess extends EventEmitter implements ProcessPort {
  ends = 0;
  endNow(): void {
    this.ends++;
  }
}

describe("signals", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("end the daemon in order, and by force when that hangs", () => {
    const host = new FakeProcess();
    const [reasons, told]: string[][] = [[], []];
    endAtSignals(
      (reason) => reasons!.push(reason),
      (line) => told!.push(line),
      host,
      8000,
    );
    host.emit("SIGTERM");
    vi.advanceTimersByTime(7999);
    expect([reasons, told, host.ends]).toEqual([["signal SIGTERM"], [], 0]);
    vi.advanceTimersByTime(1);
    expect(host.ends).toBe(1);
    expect(told).toEqual([
      expect.stringMatching(
        /^hyperfile: the daemon ends \(\d{4}-[^)]*\): by force, since it has not ended within 8 s\n$/,
      ),
    ]);
  });

  it("end it by force at the second one, whichever they are", () => {
    const host = new FakeProcess();
    const told: string[] = [];
    endAtSignals(
      () => {},
      (line) => told.push(line),
      host,
      8000,
    );
    host.emit("SIGHUP");
    expect(host.ends).toBe(0);
    host.emit("SIGTERM");
    expect(host.ends).toBe(1);
    expect(told[0]).toMatch(/: by force, at a second signal, SIGTERM\n$/);
  });
});

it("errors that nobody caught are told with their place and noted, and the daemon goes on until they are too many", () => {
  const host = new FakeProcess();
  host.on("uncaughtException", () => {
    throw new Error("the program's own listener would end the process");
  });
  const [told, notes]: string[][] = [[], []];
  let closes = 0;
  surviveErrors(
    { note: (message) => notes!.push(message), close: () => closes++ },
    (text) => told!.push(text),
    host,
  );
  const time = vi.spyOn(performance, "now").mockReturnValue(0);
  for (let count = 1; count <= MOST_ERRORS; count++)
    host.emit("uncaughtException", new Error(`odd ${count}`));
  expect(notes).toHaveLength(MOST_ERRORS);
  expect(notes![0]).toBe("odd 1");
  expect(told![0]).toMatch(/^hyperfile: odd 1 \(\d{4}-.*\)\nError: odd 1\n +at /);
  // Those of long ago count no more.
  time.mockReturnValue(ERRORS_MS);
  host.emit("uncaughtException", new Error("later"));
  expect([closes, notes!.length]).toEqual([0, MOST_ERRORS + 1]);
  for (let count = 1; count < MOST_ERRORS; count++)
    host.emit("uncaughtException", new Error(`later ${count}`));
  expect(closes).toBe(0);
  host.emit("uncaughtException", new Error("one more"));
  expect([closes, notes!.length]).toEqual([1, 2 * MOST_ERRORS]);
  time.mockRestore();
});
