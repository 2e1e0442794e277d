/** Settings as the command line writes them, right and wrong. */
import { describe, expect, it } from "vitest";
import { parseSettings } from "./settings.js";

describe("settings", () => {
  it("are numbers of one unit", () => {
    expect(
      parseSettings([
        "cpu.shares=high",
        "cpu.limit=50%",
        "memory.limit=none",
        "memory.reservation=1.5M",
        "restart=always",
      ]),
    ).toEqual({
      cpu: { shares: 2000, limit: 0.5 },
      memory: { limit: Infinity, reservation: 1_572_864 },
      restart: "always",
    });
  });

  it.each([
    ["toString=", "there is no setting toString; settings: "],
    ["constructor=1", "there is no setting constructor; settings: "],
    ["__proto__=1", "there is no setting __proto__; settings: "],
    ["cpu.__proto__=1", "there is no setting cpu.__proto__; settings: "],
    ["cpu.constructor=1", "there is no setting cpu.constructor; settings: "],
    ["cpu.shars=1", "there is no setting cpu.shars; did you mean cpu.shares?"],
    ["cpu.shares=constructor", "cpu.shares=constructor is impossible: give a whole number from 1 to 1000000"],
    ["restart=toString", "restart=toString is impossible; valid: never, on-failure, always"],
    ["memory.limit=0K", "memory.limit=0K is impossible: give a size such as 256M, or none"],
    ["cpu.limit=0", "cpu.limit=0 is impossible: give a number of cores such as 0.5, or 50%, or none"],
    [`memory.limit=${"9".repeat(400)}G`, `memory.limit=${"9".repeat(60)}… is impossible`],
    [`cpu.limit=${"9".repeat(400)}`, `cpu.limit=${"9".repeat(60)}… is impossible`],
    ["=", "= is no setting: give NAME=VALUE, such as cpu.shares=4000"],
    ["\x1b[2J", "\\x1b[2J is no setting: give NAME=VALUE"],
  ])("%j is refused", (assignment, message) => {
    expect(() => parseSettings([assignment])).toThrow(message);
  });
});
