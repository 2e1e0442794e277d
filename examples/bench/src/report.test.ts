import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../test/tools.js";
import type { Engine, Measurement } from "./engines.js";
import { appendHistory, historyRecord } from "./history.js";
import { compare, failures, layOut, microTable, suiteTable } from "./report.js";
import { geometricMean, median } from "./statistics.js";
import { programs } from "./suite.js";
import { type ProgramRuns, runSuite } from "./suite-run.js";
import { drawChart } from "./svg.js";

/** An engine that gives set answers, in turn. */
function engine(name: string, answers: readonly (Measurement | Error)[], log: string[] = []): Engine {
  let next = 0;
  return {
    name,
    version: `${name} 1`,
    isReference: name === "qemu" || name === "v86",
    imageIsa: (isa) => isa,
    async run(program) {
      log.push(`${program} ${name}`);
      const answer = answers[next++ % answers.length]!;
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
}

const took = (seconds: number, checksum = "00000001"): Measurement => ({ seconds, checksum });
const suite = (engines: readonly Engine[], runs: number, count = 2): Promise<readonly ProgramRuns[]> =>
  runSuite({
    programs: programs.slice(0, count),
    isas: ["rv64"],
    engines,
    runs,
    divisor: 1,
    progress: () => {},
  });

describe("statistics", () => {
  it("have medians of odd and even counts, and none of nothing", () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([])]).toEqual([2, 2.5, Number.NaN]);
  });

  it("have geometric means", () => {
    expect(geometricMean([2, 8])).toBeCloseTo(4);
    expect(geometricMean([])).toBeNaN();
  });
});

describe("a run of the suite", () => {
  it("takes the engines in turn, round by round", async () => {
    const log: string[] = [];
    await suite([engine("qemu", [took(1)], log), engine("js", [took(1)], log)], 2);
    const [first, second] = programs;
    const round = [first, first, second, second].map(
      (program, index) => `${program!.name} ${index % 2 === 0 ? "qemu" : "js"}`,
    );
    expect(log).toEqual([...round, ...round]);
  });

  it("compares medians, and names the slowest program", async () => {
    const engines = [
      engine("qemu", [took(1), took(4), took(1), took(4), took(9), took(9)]),
      engine("js", [took(2), took(2)]),
    ];
    const results = await suite(engines, 3);
    const [comparison] = compare(results, engines);
    expect(comparison).toMatchObject({
      isa: "rv64",
      tier: "js",
      reference: "qemu",
      geometricMean: Math.sqrt(0.5 * 2),
      slowest: { program: programs[0]!.name, ratio: 0.5 },
    });
    expect(suiteTable("rv64", results, engines)).toMatch(
      /js\/qemu\n.*1\.000 +2\.000 +0\.50\n.*4\.000 +2\.000 +2\.00\n/,
    );
  });

  it("reports another checksum as a failure, and does not run that again", async () => {
    const log: string[] = [];
    const engines = [engine("qemu", [took(1)]), engine("js", [took(1, "00000002")], log)];
    const results = await suite(engines, 3, 1);
    expect(failures(results)).toEqual([
      `${programs[0]!.name} rv64 under js: checksum 00000002, but 00000001 under qemu`,
    ]);
    expect(log).toHaveLength(1);
    expect(compare(results, engines)[0]!.ratios).toEqual([]);
    expect(suiteTable("rv64", results, engines)).toContain("-");
  });

  it("goes on after an engine fails", async () => {
    const results = await suite([engine("v86", [new Error("broken")]), engine("js", [took(1)])], 1);
    expect(results.map((result) => result.engines.get("js")!.seconds)).toEqual([[1], [1]]);
    expect(failures(results)).toHaveLength(2);
  });
});

describe("the history", () => {
  it("gets one line of JSON a run, with what the figures mean", async () => {
    const file = join(await temporaryFolder(), "history.jsonl");
    const engines = [engine("qemu", [took(1)]), engine("js", [took(4)])];
    const results = await suite(engines, 2, 1);
    const boot = [{ engine: "qemu", seconds: [2], median: 2 }];
    const micro = [{ name: "decode", unit: "a word", nanoseconds: 12.34567, margin: 1 }];
    const measured = { loadsBefore: [1, 2, 3], divisor: 1, engines, results, boot, micro };
    await appendHistory(file, historyRecord(measured));
    await appendHistory(file, historyRecord({ ...measured, boot: [], micro: [] }));
    const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
    expect(lines).toHaveLength(2);
    expect(JSON.parse(lines[0]!)).toMatchObject({
      machine: { node: process.versions.node },
      loads: { before: [1, 2, 3] },
      engines: { qemu: "qemu 1", js: "js 1" },
      programs: { rv64: { [programs[0]!.name]: { qemu: [1, 1], js: [4, 4] } } },
      comparisons: { "rv64 js/qemu": { mean: 0.25, least: 0.25 } },
      boot: { qemu: [2] },
      micro: { "decode: a word": 12.346 },
    });
    expect(JSON.parse(lines[1]!)).not.toHaveProperty("boot");
  });

  it("that can't be written is an error that names the file", async () => {
    const folder = await temporaryFolder();
    const record = historyRecord({
      loadsBefore: [],
      divisor: 1,
      engines: [],
      results: [],
      boot: [],
      micro: [],
    });
    await expect(appendHistory(folder, record)).rejects.toThrow(`can't append to the history ${folder}`);
  });
});

describe("tables and pictures", () => {
  it("align columns", () => {
    expect(
      layOut([
        ["a", "bb"],
        ["ccc", "d"],
      ]),
    ).toBe("a    bb\nccc   d");
    expect(microTable([{ name: "n", unit: "u", nanoseconds: 1500, margin: 2 }])).toMatch(
      /n: u +1\.50 us +2\.0 %/,
    );
  });

  it("draw a bar for each tier and program, and escape names", async () => {
    const engines = [engine("qemu", [took(1)]), engine("js", [took(4)]), engine("auto", [took(0.5)])];
    const results = await suite(engines, 1);
    const picture = drawChart("a < b & c", compare(results, engines));
    expect(picture).toMatch(/^<svg [^>]*>\n<title>a &lt; b &amp; c<\/title>[\s\S]*<\/svg>\n$/);
    const bars = 2 * (2 + 1);
    const legend = 2;
    expect(picture.match(/<rect /g)).toHaveLength(bars + legend);
    expect(picture).not.toContain("NaN");
    for (const { name } of programs.slice(0, 2)) expect(picture).toContain(`>${name}</text>`);
  });
});
