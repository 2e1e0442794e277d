/**
 * The public riscv-tests, in every tier, each as a machine that ends by its word `tohost`: `run.mjs riscv-tests FOLDER`.
 *
 * FOLDER has their ELF files (`rv64ui-p-add` and so on), or is their source tree with its submodule, as
 * `git clone --recursive https://github.com/riscv-software-src/riscv-tests` brings it: then the suites of extensions that
 * the hart has are built with `riscv64-unknown-elf-gcc` and picolibc's headers, elsewhere. Loops are translated when they are
 * reached the second time, since few of them run often.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Tier, tiers } from "@hyperfile/jit";
import { standardHartIsa } from "@hyperfile/jit/riscv";
import { riscvVirt } from "@hyperfile/machine";
import { MEBIBYTE } from "./guests.js";

const RAM = 8 * MEBIBYTE;
/** Arrivals at a jump target until its region is made. */
const THRESHOLD = 2;
/** Most instructions of a test: the longest need a few hundred thousand. */
const MOST_INSTRUCTIONS = 20_000_000;
/** Names of tests: register width, mode and extension, environment (p: physical addresses, v: under page tables). */
const NAME = /^(rv(?:32|64)[usm]([a-z]+))-([pv])-[a-z0-9_-]+$/;
const COMPILER = "riscv64-unknown-elf-";
const FLAGS = "-static -mcmodel=medany -fvisibility=hidden -nostdlib -nostartfiles --specs=picolibc.specs";

/** A test. */
interface Program {
  readonly name: string;
  /** Its suite with its environment. */
  readonly suite: string;
  readonly bytes: Uint8Array;
}

/** Ends the program with one line. */
function fail(message: string): never {
  console.error(`riscv-tests: ${message}`);
  process.exit(2);
}

/** The tests whose ELF files a folder has, but for those of extensions that the hart lacks. */
function programsIn(folder: string): Program[] {
  return readdirSync(folder).flatMap((name) => {
    const [, suite, extension, environment] = NAME.exec(name) ?? [];
    if (suite === undefined || !standardHartIsa.has(extension!)) return [];
    return [{ name, suite: `${suite}-${environment}`, bytes: readFileSync(join(folder, name)) }];
  });
}

/** Builds the tests of a source tree into `target`; those that the compiler can't build are left out, and told. */
function build(tree: string, target: string): void {
  const isa = join(tree, "isa");
  const suites = readdirSync(isa).filter((name) => {
    const [, , extension] = NAME.exec(`${name}-p-any`) ?? [];
    return extension !== undefined && standardHartIsa.has(extension);
  });
  for (const xlen of [64, 32]) {
    const wanted = suites.filter((suite) => suite.startsWith(`rv${xlen}`)).map((suite) => `${suite}-%`);
    const makefile = join(target, `rv${xlen}.mk`);
    writeFileSync(makefile, `include ${isa}/Makefile\nbuild: $(filter ${wanted.join(" ")}, $(tests))\n`);
    const settings = [
      `src_dir=${isa}`,
      `XLEN=${xlen}`,
      `RISCV_PREFIX=${COMPILER}`,
      `RISCV_GCC_OPTS=${FLAGS}`,
    ];
    try {
      execFileSync("make", ["--silent", "--keep-going", "-f", makefile, ...settings, "build"], {
        cwd: target,
        stdio: ["ignore", "ignore", "pipe"],
      });
    } catch (error) {
      const { stderr = "", message } = error as { stderr?: Buffer | ""; message: string };
      console.log(`not all tests for rv${xlen} could be built:\n${stderr.toString() || message}`);
    }
  }
}

/** The tests of a folder, built if need be. */
function programsOf(folder: string): Program[] {
  if (!existsSync(folder) || !statSync(folder).isDirectory())
    fail(`${folder} is no folder: give one with ELF files of riscv-tests, or their source tree`);
  const isa = join(folder, "isa");
  const built = [folder, isa].filter((at) => existsSync(at)).flatMap(programsIn);
  if (built.length > 0) return built;
  if (!existsSync(join(isa, "Makefile")))
    fail(`${folder} has neither tests such as rv64ui-p-add nor isa/Makefile`);
  if (!existsSync(join(folder, "env", "p", "link.ld")))
    fail(`${folder}/env is empty: bring the submodule with git submodule update --init`);
  const target = mkdtempSync(join(tmpdir(), "hyperfile-riscv-tests-"));
  try {
    build(folder, target);
    return programsIn(target);
  } finally {
    rmSync(target, { recursive: true });
  }
}

/** Runs a test; how it ended if that is not well. */
async function faultOf({ name, bytes }: Program, tier: Tier): Promise<string | undefined> {
  let printed = "";
  const machine = riscvVirt({
    ramBytes: RAM,
    boot: { program: { name, bytes } },
    devices: [],
    clock: "virtual",
    console: { write: (text) => (printed += new TextDecoder().decode(text)) },
    tier,
    hotThreshold: THRESHOLD,
    instructions: MOST_INSTRUCTIONS,
    onReset: "end",
  });
  try {
    const end = await machine.run();
    if (end.kind === "off" && end.status === 0) return undefined;
    const how =
      end.kind === "off"
        ? `fails at its number ${end.status}`
        : end.kind === "stopped"
          ? `has not ended after ${machine.retired()} instructions`
          : end.message;
    return printed === "" ? how : `${how}: ${printed.trim()}`;
  } finally {
    machine.free();
  }
}

const [folder] = process.argv.slice(2);
if (folder === undefined)
  fail("give a folder with ELF files of riscv-tests, or their source tree: run.mjs riscv-tests FOLDER");
const programs = programsOf(resolve(folder));
programs.sort(({ name: one }, { name: other }) => (one < other ? -1 : 1));
const suites = new Set(programs.map(({ suite }) => suite));
const faults: string[] = [];
console.log(`${"suite".padEnd(14)} tests  ${tiers.map((tier) => tier.padStart(16)).join(" ")}`);
let runs = 0;
for (const suite of suites) {
  const members = programs.filter((program) => program.suite === suite);
  const passed: number[] = [];
  for (const tier of tiers) {
    let well = 0;
    for (const program of members) {
      runs++;
      const fault = await faultOf(program, tier);
      if (fault === undefined) well++;
      else faults.push(`${program.name} in tier ${tier} ${fault}`);
    }
    passed.push(well);
  }
  const cells = passed.map((count) => String(count).padStart(16));
  console.log(`${suite.padEnd(14)} ${String(members.length).padStart(5)}  ${cells.join(" ")}`);
}
for (const fault of faults) console.log(fault);
const failing = new Set(faults.map((fault) => fault.split(" ")[0])).size;
console.log(
  `\n${programs.length - failing} of ${programs.length} tests pass in every tier (${runs - faults.length} of ${runs} runs)`,
);
if (failing > 0 || programs.length === 0) process.exitCode = 1;
