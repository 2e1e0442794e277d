import { tiers } from "@hyperfile/jit";
import { describe, expect, it } from "vitest";
import { microBenchmarks, runMicro } from "./micro.js";
import { runChild } from "./processes.js";
import { runBench } from "./program.js";
import { programs } from "./suite.js";

async function bench(...args: string[]): Promise<{ status: number; output: string; errors: string }> {
  let output = "";
  let errors = "";
  const status = await runBench(args, {
    version: "1.2.3",
    write: (text) => void (output += text),
    error: (text) => void (errors += text),
  });
  return { status, output, errors };
}

describe("the command line", () => {
  it("lists the programs and its options", async () => {
    const listed = await bench("--list");
    expect(listed.status).toBe(0);
    expect(listed.output.trim().split("\n")).toHaveLength(programs.length);
    expect(await bench("--help")).toMatchObject({ status: 0, output: expect.stringContaining("--against") });
  });

  it.each([
    [["--programs", "nothing"], "there is no program nothing"],
    [["--tiers", "fast"], "there is no tier fast"],
    [["--against", "bochs"], "--against knows qemu and v86, not bochs"],
    [["--tiers", "", "--against", ""], "nothing to run"],
    [["--before", "nowhere"], "nowhere is no built checkout: run npm run setup in one"],
    [["--before", ".", "--debian"], "--before is for the suite and for --boot"],
    [["--runs", "0"], "Give a whole number"],
    [["--isa", "rv128"], "Allowed choices are"],
    [["--no-such"], "unknown option"],
    [["more"], "too many arguments"],
  ])("refuses %j in one line", async (args, message) => {
    const { status, errors } = await bench(...args);
    expect(status).toBe(2);
    expect(errors).toMatch(/^bench: [^\n]*\n$/);
    expect(errors).toContain(message);
  });
});

describe("a child process", () => {
  const script = (text: string) => ["-e", text];

  it("is ended when the awaited text appears", async () => {
    const endless = script("console.log('ready'); setInterval(() => {}, 1000)");
    const run = await runChild(process.execPath, endless, { timeout: 30, until: "ready" });
    expect(run.output).toBe("ready\n");
  });

  it.each([
    ["process.exit(3)", {}, /ended with status 3/],
    ["console.error('why'); process.exit(1)", {}, /status 1: why/],
    ["console.log('other')", { until: "ready" }, /ended before it printed "ready"/],
    ["setInterval(() => {}, 1000)", { timeout: 0.2 }, /took more than 0.2 s/],
  ])("that runs %s with %j fails", async (text, options, message) => {
    await expect(runChild(process.execPath, script(text), { timeout: 30, ...options })).rejects.toThrow(
      message,
    );
  });

  it("that can't be started fails", async () => {
    await expect(runChild("/nowhere/tool", [], { timeout: 1 })).rejects.toThrow(/can't be started/);
  });
});

describe("the micro-benchmarks", () => {
  it("run, each of them", () => {
    const benchmarks = microBenchmarks(tiers);
    expect(benchmarks.length).toBeGreaterThanOrEqual(12 + tiers.length);
    for (const { run } of benchmarks) run();
  });

  it("are measured by a unit", async () => {
    let calls = 0;
    const counting = { name: "count", unit: "one", units: 10, run: () => void calls++ };
    const told: string[] = [];
    const [result] = await runMicro([counting], 0.05, ({ name }) => told.push(name));
    expect(result).toMatchObject({ name: "count", unit: "one" });
    expect(result!.nanoseconds).toBeGreaterThan(0);
    expect(calls).toBeGreaterThan(0);
    expect(told).toEqual(["count"]);
  });

  it("that fail end the run", async () => {
    const broken = {
      name: "broken",
      unit: "one",
      units: 1,
      run: () => {
        throw new Error("no use");
      },
    };
    await expect(runMicro([broken], 0.05, () => {})).rejects.toThrow("no use");
  });
});
