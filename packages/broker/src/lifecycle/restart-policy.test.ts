import { describe, expect, it } from "vitest";
import { MOST_RESTARTS, RestartPolicy, WELL_AFTER_MS } from "./restart-policy.js";

const crashed = { kind: "error", status: 1 } as const;
const off = { kind: "off", status: 0 } as const;
const failed = { kind: "off", status: 3 } as const;
const stopped = { kind: "stopped", status: 0 } as const;

describe("restarts", () => {
  it("follow what the specification says", () => {
    const isAgain = (restart: "never" | "on-failure" | "always") =>
      [crashed, failed, off, stopped].map((end) => new RestartPolicy().next(restart, end, 0) !== "never");
    expect(isAgain("never")).toEqual([false, false, false, false]);
    expect(isAgain("on-failure")).toEqual([true, true, false, false]);
    expect(isAgain("always")).toEqual([true, true, true, false]);
  });

  it("come after pauses that double, and end", () => {
    const policy = new RestartPolicy();
    const pauses = Array.from({ length: MOST_RESTARTS }, () => policy.next("always", crashed, 10));
    expect(pauses.slice(0, 4)).toEqual([100, 200, 400, 800]);
    expect(policy.next("always", crashed, 10)).toBe("spent");
    expect(policy.next("always", crashed, WELL_AFTER_MS - 1)).toBe("spent");
  });

  it("begin anew after a run that was long enough, or a start by a user", () => {
    const policy = new RestartPolicy();
    for (let count = 0; count < MOST_RESTARTS; count++) policy.next("on-failure", crashed, 10);
    expect(policy.next("on-failure", crashed, WELL_AFTER_MS)).toBe(100);
    expect(policy.next("on-failure", crashed, 10)).toBe(200);
    policy.forget();
    expect(policy.next("on-failure", crashed, 10)).toBe(100);
  });
});
