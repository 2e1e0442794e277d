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
        "disk.shares=low",
        "disk.iops.limit=none",
        "disk.iops.reservation=100",
        "disk.bandwidth.limit=20M",
        "net.send.limit=1M",
        "net.send.reservation=512K",
        "net.receive.limit=none",
        "restart=always",
      ]),
    ).toEqual({
      net: { send: { limit: 1_048_576, reservation: 524_288 }, receive: { limit: Infinity } },
      disk: {
        shares: 500,
        iops: { limit: Infinity, reservation: 100 },
        bandwidth: { limit: 20_971_520 },
      },
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
    [
      "disk.iops.limit=0",
      "disk.iops.limit=0 is impossible: give a whole number of operations a second such as 500, or none",
    ],
    [
      "disk.iops.reservation=0.5",
      "disk.iops.reservation=0.5 is impossible: give a whole number of operations a second",
    ],
    [
      "disk.bandwidth.limit=20",
      "disk.bandwidth.limit=20 is impossible: give bytes a second such as 20M, or none",
    ],
    ["net.limit=5M", "there is no setting net.limit; "],
    ["net.send.limit=5", "net.send.limit=5 is impossible: give bytes a second such as 20M, or none"],
    ["disk.iops=5", "there is no setting disk.iops; did you mean"],
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
