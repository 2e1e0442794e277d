/** The command line of `npm run bench`. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Tier, tiers } from "@hyperfile/jit";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { showProgress } from "../../cli/src/progress.js";
import { type BootRuns, runBoot } from "./boot.js";
import { type DebianRuns, runDebian } from "./debian/debian.js";
import { type Engine, earlierProgram, selectEngines } from "./engines.js";
import { BenchError } from "./errors.js";
import { appendHistory, historyRecord } from "./history.js";
import { loads, machineInfo } from "./machine-info.js";
import { type MicroResult, microBenchmarks, runMicro } from "./micro.js";
import { runNes } from "./nes.js";
import { compare, failures, layOut, microTable, suiteTable } from "./report.js";
import { benchFolder, type Isa, programs, selectPrograms } from "./suite.js";
import { type ProgramRuns, runSuite } from "./suite-run.js";
import { drawChart } from "./svg.js";

/** What the program needs from outside. */
export interface Surroundings {
  /** Writes results. */
  write(text: string): void;
  /** Writes progress and errors. */
  error(text: string): void;
  /** Version of the library under test. */
  readonly version: string;
}

/** The options, parsed. */
interface Flags {
  programs?: string;
  runs?: number;
  isa: "rv64" | "rv32" | "both";
  against: string;
  before?: string;
  tiers: string;
  micro?: boolean;
  boot?: boolean;
  debian?: boolean;
  suite: string;
  nes?: boolean;
  quick?: boolean;
  history?: string | boolean;
  svg?: string;
  list?: boolean;
}

/** Divisor of the iterations in a quick run. */
const QUICK_DIVISOR = 20;
const DEFAULT_RUNS = 3;
/** Seconds for which a micro-benchmark is measured, and in a quick run. */
const MICRO_SECONDS = 2;
const QUICK_MICRO_SECONDS = 0.1;

function parseRuns(text: string): number {
  const runs = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (runs < 1) throw new InvalidArgumentError("Give a whole number from 1 to 999.");
  return runs;
}

function buildProgram(action: (flags: Flags) => Promise<void>, surroundings: Surroundings): Command {
  return new Command("bench")
    .description("Measures guest programs under our tiers, QEMU and v86.")
    .option("--programs <names>", "programs to run, separated by commas; all by default")
    .option("--runs <number>", `runs of each (default: ${DEFAULT_RUNS}, with --quick 1)`, parseRuns)
    .addOption(new Option("--isa <isa>", "instruction set").choices(["rv64", "rv32", "both"]).default("both"))
    .option("--against <names>", "what to compare with, separated by commas; empty for nothing", "qemu,v86")
    .option("--before <folder>", "compare with another built checkout, too, such as one of an earlier commit")
    .option("--tiers <names>", `our tiers, separated by commas, of ${tiers.join(", ")}`, "auto,js")
    .option("--micro", "run the micro-benchmarks instead")
    .option("--boot", "measure Debian's boot to its init script instead")
    .option("--debian", "measure real programs out of Debian's packages instead")
    .option("--suite <name>", "Debian's suite that the programs come from", "trixie")
    .option("--nes", "measure the NES emulator jsnes with its own CPU and with ours instead")
    .option("--quick", `do one ${QUICK_DIVISOR}th of the work: a check of the suite, not a measurement`)
    .option("--history <file>", "append one line of JSON (default: history.jsonl; none for a quick run)")
    .option("--no-history", "append nothing")
    .option("--svg <file>", "draw a picture (default: results.svg when a full run has all programs)")
    .option("--list", "list the programs")
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: surroundings.write, writeErr: () => {} })
    .action(action);
}

async function listPrograms(write: (text: string) => void): Promise<void> {
  write(`${layOut(programs.map(({ name, about }) => [name, about.padEnd(48)]))}\n`);
}

/** Runs what the flags ask for; gives the exit status. */
async function run(flags: Flags, { write, error, version }: Surroundings): Promise<number> {
  if (flags.list) {
    await listPrograms(write);
    return 0;
  }
  if (flags.before !== undefined && (flags.debian || flags.micro || flags.nes))
    throw new BenchError("E_USAGE", "--before is for the suite and for --boot");
  const loadsBefore = loads();
  const isas: Isa[] = flags.isa === "both" ? ["rv64", "rv32"] : [flags.isa];
  const progress = (text: string) => error(`${text}\n`);
  const runs = flags.runs ?? (flags.quick ? 1 : DEFAULT_RUNS);
  const divisor = flags.quick ? QUICK_DIVISOR : 1;
  const chosen = flags.debian ? [] : selectPrograms(flags.programs);
  const engines = await selectEngines(flags.tiers, flags.against, isas, version, flags.before, (what) =>
    progress(`${what} is not installed: comparing without it`),
  );
  const tierNames = engines.filter((engine) => !engine.isReference).map((engine) => engine.name as Tier);
  const { cpu, cores, node } = machineInfo();
  write(`${cpu}, ${cores} cores, Node ${node}, load ${loadsBefore.join(" ")}\n`);
  if (flags.nes) {
    write(`\n${await runNes(flags.quick === true)}\n`);
    return 0;
  }

  let results: readonly ProgramRuns[] = [];
  let boot: readonly BootRuns[] = [];
  let micro: readonly MicroResult[] = [];
  if (flags.micro) {
    const seconds = flags.quick ? QUICK_MICRO_SECONDS : MICRO_SECONDS;
    micro = await runMicro(microBenchmarks(tierNames), seconds, ({ name, unit }) =>
      progress(`${name}: ${unit}`),
    );
    write(`\n${microTable(micro)}\n`);
  }
  if (flags.boot) {
    boot = await runBoot(
      tierNames,
      engines.some((engine) => engine.name === "qemu"),
      flags.before === undefined ? undefined : earlierProgram(flags.before),
      runs,
      progress,
    );
    write(`\n${bootTable(boot)}\n`);
  }
  let debian: DebianRuns | undefined;
  if (flags.debian) {
    debian = await runDebian({
      programs: flags.programs,
      suite: flags.suite,
      tiers: tierNames,
      references: engines.filter((engine) => engine.isReference).map((engine) => engine.name),
      runs,
      transfers: showProgress({ write: error }),
      progress,
    });
    if (debian === undefined) return 0;
    write(`\n${debian.table}\n`);
  }
  if (!flags.micro && !flags.boot && !flags.debian) {
    results = await runSuite({ programs: chosen, isas, engines, runs, divisor, progress });
    for (const isa of isas) write(`\n${suiteTable(isa, results, engines)}\n`);
    write("\nSeconds are medians; tier/reference is the tier's speed with the reference's as 1.\n");
    if (flags.quick) write("A quick run is mostly warm-up: it checks the suite and measures nothing.\n");
    const isWhole = !flags.quick && chosen.length === programs.length && isas.length === 2;
    const picture = flags.svg ?? (isWhole ? join(benchFolder, "results.svg") : undefined);
    if (picture !== undefined) await draw(picture, results, engines);
  }
  const history = typeof flags.history === "string" ? flags.history : join(benchFolder, "history.jsonl");
  const isRecorded = typeof flags.history === "string" || (flags.history !== false && !flags.quick);
  if (isRecorded)
    await appendHistory(
      history,
      historyRecord({ loadsBefore, divisor, engines, results, boot, micro, debian }),
    );
  const failed = [...failures(results), ...(debian?.failures ?? [])];
  if (failed.length > 0) error(`\nfailed:\n${failed.map((line) => `  ${line}\n`).join("")}`);
  return failed.length > 0 ? 1 : 0;
}

function bootTable(boot: readonly BootRuns[]): string {
  const qemu = boot.find(({ engine }) => engine === "qemu");
  return layOut([
    ["Debian to init", "s", ...(qemu ? ["times QEMU's"] : [])],
    ...boot.map(({ engine, median }) => [
      engine,
      median.toFixed(2),
      ...(qemu ? [(median / qemu.median).toFixed(2)] : []),
    ]),
  ]);
}

async function draw(
  file: string,
  results: readonly ProgramRuns[],
  engines: readonly Engine[],
): Promise<void> {
  const comparisons = compare(results, engines);
  const reference = comparisons[0]?.reference;
  if (reference === undefined) return;
  const series = comparisons.filter((comparison) => comparison.reference === reference);
  const title = `Speed of Hyperfile's tiers, ${reference === "qemu" ? "QEMU's full-system emulator" : reference} = 1`;
  try {
    await writeFile(file, drawChart(title, series));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BenchError("E_FILE", `can't write the picture ${file}: ${reason}`, { cause });
  }
}

/** Runs the command line `args` (without the program's name); gives the exit status and never rejects. */
export async function runBench(args: readonly string[], surroundings: Surroundings): Promise<number> {
  let status = 0;
  const program = buildProgram(async (flags) => {
    status = await run(flags, surroundings);
  }, surroundings);
  try {
    await program.parseAsync([...args], { from: "user" });
    return status;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const text = error instanceof Error ? error.message : String(error);
    surroundings.error(`bench: ${text.replace(/^error: /, "").replace(/\s*\n\s*/g, " ")}\n`);
    const isUsage =
      error instanceof CommanderError || (error instanceof BenchError && error.code === "E_USAGE");
    return isUsage ? 2 : 1;
  }
}
