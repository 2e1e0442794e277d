/** `npm run bench -- --debian`: real programs out of Debian's packages under QEMU and our tiers. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { meansDebianIsUnavailable, type Progress } from "@hyperfile/machine/debian";
import { v86Engine, writeImage } from "../engines.js";
import { median } from "../statistics.js";
import { readImage, withIterations } from "../suite.js";
import { type BenchGuest, prepareBenchGuest } from "./guest.js";
import { workloadFailures, workloadTable } from "./report.js";
import { runWorkloads, type WorkloadResult } from "./run.js";
import { linuxProgramWork, selectWorkloads } from "./workloads.js";

/** What to measure. */
export interface DebianOptions {
  /** Names of programs, separated by commas; all if undefined. */
  readonly programs: string | undefined;
  /** The suite that the programs come from, such as `trixie`. */
  readonly suite: string;
  /** Our tiers. */
  readonly tiers: readonly string[];
  /** References: `qemu`, `v86`. */
  readonly references: readonly string[];
  readonly runs: number;
  /** Where transfers report how far they are. */
  readonly transfers: Progress;
  /** Told of each run. */
  progress(text: string): void;
}

/** What was measured. */
export interface DebianRuns {
  readonly results: readonly WorkloadResult[];
  /** Seconds of v86 for the suite's program, built for i386, without an operating system. */
  readonly v86Seconds: readonly number[];
  /** Versions of the programs' packages, by name. */
  readonly versions: Readonly<Record<string, string>>;
  /** The table. */
  readonly table: string;
  /** One line for each failure. */
  readonly failures: readonly string[];
}

/** Runs the suite's program under v86 with as much work as its Linux process does. */
async function measureV86(runs: number, progress: (text: string) => void): Promise<readonly number[]> {
  const engine = await v86Engine();
  if (engine === undefined) return [];
  const { name, iterations } = linuxProgramWork;
  const folder = await mkdtemp(join(tmpdir(), "hyperfile-bench-"));
  try {
    const image = withIterations(await readImage(name, "i386"), name, iterations);
    const path = await writeImage(folder, name, "i386", image);
    const seconds: number[] = [];
    for (let run = 1; run <= runs; run++) {
      seconds.push((await engine.run(name, path, "rv64")).seconds);
      progress(`${name} ${run}/${runs}, v86: ${seconds.at(-1)!.toFixed(2)} s`);
    }
    return seconds;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Measures; gives undefined, after a line that says why, where Debian can't be had.
 * @throws BenchError `E_USAGE` for an unknown program
 */
export async function runDebian(options: DebianOptions): Promise<DebianRuns | undefined> {
  const { tiers, references, runs, progress } = options;
  const chosen = selectWorkloads(options.programs);
  let guest: BenchGuest;
  try {
    guest = await prepareBenchGuest(options.suite, options.transfers);
  } catch (error) {
    if (!meansDebianIsUnavailable(error)) throw error;
    progress(`no Debian programs: ${error.message}`);
    return undefined;
  }
  const engines = [...(references.includes("qemu") ? ["qemu"] : []), ...tiers];
  const results = await runWorkloads(chosen, guest, engines, runs, progress);
  const own = results.find(({ workload }) => workload.name === linuxProgramWork.name);
  const v86Seconds = own && references.includes("v86") ? await measureV86(runs, progress) : [];
  const lines = [workloadTable(results)];
  for (const { engine, seconds } of own && v86Seconds.length > 0 ? own.engines : []) {
    const ratio = median(v86Seconds) / seconds;
    lines.push(
      `${linuxProgramWork.name}: ${engine} under Debian is ${ratio.toFixed(2)} times as fast as v86 without an operating system (${median(v86Seconds).toFixed(2)} s)`,
    );
  }
  return {
    results,
    v86Seconds,
    versions: guest.versions,
    table: lines.join("\n"),
    failures: workloadFailures(results),
  };
}
