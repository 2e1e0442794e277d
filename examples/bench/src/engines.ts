/**
 * The machines that run the guest programs: our tiers, QEMU and v86. Each gives the seconds from the guest's first
 * instruction to its last, as well as an outsider can tell:
 *
 * - our tiers: wall time of the machine's run loop, as `hyperfile run --stats` reports it; the loading of Node and of
 *   the library is not in it, all translation is;
 * - QEMU: wall time of the whole process less that of the program `empty`, the median of its latest five runs, one of
 *   which comes just before;
 * - v86: wall time from `run()` to the line with the checksum, in a Node process of its own.
 */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { tiers } from "@hyperfile/jit";
import { hyperfileProgram } from "./cli.js";
import { BenchError } from "./errors.js";
import { runChild, toolVersion } from "./processes.js";
import { median } from "./statistics.js";
import { benchFolder, emptyProgram, type ImageIsa, type Isa, imagePath, parseResult } from "./suite.js";

/** A measured run. */
export interface Measurement {
  /** Seconds of the guest's run. */
  readonly seconds: number;
  /** What the program printed as its checksum. */
  readonly checksum: string;
}

/** Something that runs guest programs. */
export interface Engine {
  /** A tier's name, `qemu`, `v86` or `before`. */
  readonly name: string;
  /** Its version, for the history. */
  readonly version: string;
  /** Whether it is what we compare with. */
  readonly isReference: boolean;
  /** The instruction set that it runs where ours is `isa`. */
  imageIsa(isa: Isa): ImageIsa;
  /** Runs the image in a file. */
  run(name: string, image: string, isa: Isa): Promise<Measurement>;
}

/** Memory of every machine. */
const MEMORY_MEBIBYTES = 64;
/** Seconds that one run may take. */
const TIMEOUT = 300;
/** Runs of the program `empty` whose median is subtracted. */
const BASELINE_RUNS = 5;

function checksumOf(name: string, engine: string, output: string): string {
  const result = parseResult(name, output);
  if (result === undefined) {
    const said = output.trim().split("\n").at(-1);
    throw new BenchError("E_RUN", `${name} printed no checksum under ${engine}: ${said || "nothing"}`);
  }
  return result.checksum;
}

/** One of our tiers. */
export const tierEngine = (tier: string, version: string): Engine =>
  ownEngine({ name: tier, version, isReference: false }, tier, hyperfileProgram());

/**
 * The default tier of another checkout, such as one of an earlier commit: what a change does to speed shows as a ratio
 * in one run.
 * @throws BenchError `E_USAGE` if no built checkout is there
 */
export function earlierEngine(folder: string): Engine {
  const program = earlierProgram(folder);
  const commit = toolVersion("git", ["-C", folder, "rev-parse", "--short", "HEAD"]) ?? "unknown";
  return ownEngine({ name: "before", version: commit, isReference: true }, "auto", program);
}

/** The `hyperfile` program of another checkout. @throws BenchError `E_USAGE` if no built checkout is there */
export function earlierProgram(folder: string): string {
  const program = resolve(folder, "examples", "cli", "bin", "hyperfile.mjs");
  if (existsSync(program) && existsSync(resolve(folder, "examples", "cli", "dist"))) return program;
  throw new BenchError("E_USAGE", `${folder} is no built checkout: run npm run setup in one`);
}

function ownEngine(
  identity: Pick<Engine, "name" | "version" | "isReference">,
  tier: string,
  program: string,
): Engine {
  return {
    ...identity,
    imageIsa: (isa) => isa,
    async run(name, image) {
      const folder = await mkdtemp(join(tmpdir(), "hyperfile-bench-"));
      try {
        const stats = join(folder, "stats.json");
        const options = ["--tier", tier, "--memory", `${MEMORY_MEBIBYTES}M`, "--stats", stats, "--no-tty"];
        const { output } = await runChild(process.execPath, [program, "run", ...options, "--elf", image], {
          timeout: TIMEOUT,
        });
        const { wallSeconds } = JSON.parse(await readFile(stats, "utf8")) as { wallSeconds: number };
        return { seconds: wallSeconds, checksum: checksumOf(name, identity.name, output) };
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

const qemuCommand = (isa: Isa): string => `qemu-system-riscv${isa.slice(2)}`;

/** QEMU's full-system emulator with one hart; undefined where it isn't installed. */
export function qemuEngine(isas: readonly Isa[]): Engine | undefined {
  const version = toolVersion(qemuCommand(isas[0]!));
  if (version === undefined) return undefined;
  const process = (isa: Isa, image: string) =>
    runChild(
      qemuCommand(isa),
      [
        ...["-M", "virt", "-m", `${MEMORY_MEBIBYTES}M`, "-display", "none", "-serial", "stdio"],
        ...["-monitor", "none", "-bios", "none", "-kernel", image],
      ],
      { timeout: TIMEOUT },
    );
  const empty = new Map<Isa, number[]>();
  /** The time of a machine without work, from its latest runs: measured beside each run, since load comes and goes. */
  const baseline = async (isa: Isa): Promise<number> => {
    const seconds = empty.get(isa) ?? [];
    do seconds.push((await process(isa, imagePath(emptyProgram.name, isa))).seconds);
    while (seconds.length < BASELINE_RUNS);
    empty.set(isa, seconds.slice(-BASELINE_RUNS));
    return median(empty.get(isa)!);
  };
  return {
    name: "qemu",
    version,
    isReference: true,
    imageIsa: (isa) => isa,
    async run(name, image, isa) {
      const start = await baseline(isa);
      const { seconds, output } = await process(isa, image);
      return { seconds: Math.max(seconds - start, 1e-3), checksum: checksumOf(name, "qemu", output) };
    },
  };
}

/** The npm package v86, on the same sources built for i386; undefined where it isn't installed. */
export async function v86Engine(): Promise<Engine | undefined> {
  let version: string;
  try {
    const manifest = createRequire(import.meta.url).resolve("v86/package.json");
    version = (JSON.parse(await readFile(manifest, "utf8")) as { version: string }).version;
  } catch {
    return undefined;
  }
  return {
    name: "v86",
    version,
    isReference: true,
    imageIsa: () => "i386",
    async run(name, image) {
      const child = join(benchFolder, "dist", "v86-child.js");
      const { output } = await runChild(process.execPath, [child, `${MEMORY_MEBIBYTES}`, image], {
        timeout: TIMEOUT,
      });
      const seconds = /^seconds=([\d.]+)$/m.exec(output)?.[1];
      if (seconds === undefined) throw new BenchError("E_RUN", `v86 reported no time for ${name}`);
      return { seconds: Number(seconds), checksum: checksumOf(name, "v86", output) };
    },
  };
}

/**
 * The engines that two comma-separated lists name.
 * @param earlier folder of another checkout to compare with, if there is one
 * @param missing is told of references that aren't installed
 * @throws BenchError `E_USAGE` for an unknown name
 */
export async function selectEngines(
  tierList: string,
  referenceList: string,
  isas: readonly Isa[],
  version: string,
  earlier: string | undefined,
  missing: (what: string) => void,
): Promise<readonly Engine[]> {
  const split = (list: string) =>
    list
      .split(",")
      .map((name) => name.trim())
      .filter(Boolean);
  const engines: Engine[] = earlier === undefined ? [] : [earlierEngine(earlier)];
  for (const name of split(referenceList)) {
    if (name !== "qemu" && name !== "v86")
      throw new BenchError("E_USAGE", `--against knows qemu and v86, not ${name}`);
    const engine = name === "qemu" ? qemuEngine(isas) : await v86Engine();
    if (engine === undefined) missing(name === "qemu" ? qemuCommand(isas[0]!) : "the npm package v86");
    else engines.push(engine);
  }
  for (const name of split(tierList)) {
    if (!(tiers as readonly string[]).includes(name))
      throw new BenchError("E_USAGE", `there is no tier ${name}; there are ${tiers.join(", ")}`);
    engines.push(tierEngine(name, version));
  }
  if (engines.length === 0) throw new BenchError("E_USAGE", "nothing to run: give --tiers or --against");
  return engines;
}

/** Writes an image with another number of iterations to `folder`; gives its path. */
export async function writeImage(
  folder: string,
  name: string,
  isa: ImageIsa,
  bytes: Uint8Array,
): Promise<string> {
  const path = join(folder, `${name}-${isa}.elf`);
  await writeFile(path, bytes);
  return path;
}
