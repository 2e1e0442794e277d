/**
 * A run: a daemon of its own, as users start it, with well-behaved VMs and guests without manners, and clients of which
 * half misbehave. It looks all the time at how long `ps` takes and at what the daemon holds of the host, and ends with
 * what was required and what was found.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { DaemonClient } from "@hyperfile/broker/client";
import { thrift } from "../../cli/src/fleet/thrift.js";
import { Chance } from "./chance.js";
import { castOf, DISK_FOLDER_BYTES, DISKS, writeFleet } from "./fleet-file.js";
import { act, type ClientSurroundings, watchBystander } from "./manners.js";
import { misbehave } from "./misbehaviour.js";
import { describeFigures, openFiles, type ProcessFigures, processFigures } from "./process-figures.js";
import { Tally } from "./tally.js";

/** The program, seen from the source and from the build. */
const program = fileURLToPath(new URL("../../cli/bin/hyperfile.mjs", import.meta.url));

/** How a run goes. */
export interface SoakOptions {
  readonly seconds: number;
  readonly vms: number;
  /** Host cores that all VMs together may use; all by default. */
  readonly cores?: number;
  /** Half of them misbehave. */
  readonly clients: number;
  readonly seed: number;
  /** Ends the run early; what was found until then is told. */
  readonly signal?: AbortSignal;
  /** Tells what happens, a line at a time. */
  readonly print: (line: string) => void;
}

/** A requirement and whether it was met. */
export interface Finding {
  readonly what: string;
  readonly figure: string;
  readonly pass: boolean;
}

const PS_EVERY_MS = 500;
/** Milliseconds between two looks at whether this process itself stands still. */
const STALL_LOOK_MS = 10;
const FIGURES_EVERY_MS = 5000;
const PRINT_EVERY_MS = 30_000;
const START_TIMEOUT_MS = 30_000;
/** Milliseconds in which `ps` has to answer. */
const PS_LIMIT_MS = 1000;
/** A shorter run says nothing of growth: caches are still filling. */
const LEAST_SECONDS_FOR_GROWTH = 600;

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Runs; gives what was required with what was found. @throws Error if the daemon can't be started */
export async function soak(options: SoakOptions): Promise<{ findings: readonly Finding[]; tally: Tally }> {
  const { seconds, vms, clients, seed, signal, print } = options;
  const folder = await mkdtemp(join(tmpdir(), "hf-soak-"));
  const state = join(folder, "state");
  const disks = join(folder, DISKS);
  await mkdir(disks);
  // Guests fill it. Where this process may not mount, they fill their disks only.
  const isSmall = host("mount", "-t", "tmpfs", "-o", `size=${DISK_FOLDER_BYTES}`, "none", disks);
  const daemon = spawn(process.execPath, [program, "daemon"], {
    // As `up` starts it.
    env: { ...thrift, ...process.env, HYPERFILE_STATE: state, HYPERFILE_SOCKET: undefined },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = listen(daemon);
  const findings: Finding[] = [];
  const note = (what: string, figure: string, pass: boolean) => {
    findings.push({ what, figure, pass });
    print(`${pass ? "PASS" : "FAIL"}  ${what}: ${figure}`);
  };
  const tally = new Tally();
  try {
    const client = new DaemonClient(join(state, "daemon.sock"));
    await answered(client, said);
    const pid = daemon.pid!;
    const atFirst = processFigures(pid);
    print(`daemon ${pid} at rest: ${describeFigures(atFirst)}`);
    const cast = castOf(vms);
    const file = await writeFleet(folder, cast, options.cores);
    await client.up({ text: await readFile(file, "utf8"), file, folder });
    // Some of them have ended before their start is answered.
    for (const name of cast.hostile)
      await client.start(name).catch(() => tally.count("start of one that ended at once"));

    const until = performance.now() + seconds * 1000;
    const isAlive = () => daemon.exitCode === null && daemon.signalCode === null;
    const goesOn = () => performance.now() < until && isAlive() && signal?.aborted !== true;
    const surroundings: ClientSurroundings = { client, cast, tally, goesOn };
    const watch = new Watch(pid, client, tally, print);
    const polite = Math.ceil(clients / 2);
    await Promise.all([
      watch.run(goesOn),
      ...cast.bystanders.map((name, at) => watchBystander(surroundings, name, new Chance(seed + 1000 + at))),
      ...Array.from({ length: polite }, (_, at) => act(surroundings, at, new Chance(seed + 1 + at))),
      ...Array.from({ length: clients - polite }, (_, at) =>
        misbehave(surroundings, new Chance(seed + 501 + at)),
      ),
    ]);

    note("the daemon lives", isAlive() ? "yes" : `it ended: ${said().slice(-300)}`, isAlive());
    const problems = tally.problems();
    note(
      "nothing that must not happen",
      problems.length === 0 ? "none" : problems.join("; ").slice(0, 2000),
      problems.length === 0,
    );
    const right = tally.of("bystander's digest right");
    note("bystanders' digests are right", `${right} of ${right}`, right > 0);
    note(
      `ps answers within ${PS_LIMIT_MS} ms`,
      `${watch.describeAnswers()}, ${watch.late} late`,
      watch.answers.length > 0 && watch.late === 0,
    );
    if (seconds >= LEAST_SECONDS_FOR_GROWTH) watch.noteGrowth(note);
    if (isAlive()) await noteRest(client, pid, state, atFirst, note);
    return { findings, tally };
  } finally {
    daemon.kill("SIGTERM");
    const killer = setTimeout(() => daemon.kill("SIGKILL"), 15_000);
    if (daemon.exitCode === null && daemon.signalCode === null)
      await new Promise((resolve) => daemon.once("exit", resolve));
    clearTimeout(killer);
    if (isSmall) host("umount", "-l", disks);
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Runs a program of the host's; gives whether it was successful. */
const host = (program: string, ...args: string[]): boolean =>
  spawnSync(program, args, { stdio: "ignore" }).status === 0;

/** Collects what a process prints. */
function listen(child: ChildProcess): () => string {
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (part: Buffer) => {
      text = (text + part.toString()).slice(-10_000);
    });
  return () => text;
}

async function answered(client: DaemonClient, said: () => string): Promise<void> {
  const until = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      await client.version();
      return;
    } catch (error) {
      if (performance.now() > until) throw new Error(`the daemon does not start: ${said() || error}`);
      await pause(100);
    }
  }
}

/** Looks at the daemon while a run goes on. */
class Watch {
  /** Milliseconds that each answer took, less the longest time in which this process did not look for it. */
  readonly answers: number[] = [];
  private ownStall = 0;
  private readonly samples: ProcessFigures[] = [];

  constructor(
    private readonly pid: number,
    private readonly client: DaemonClient,
    private readonly tally: Tally,
    private readonly print: (line: string) => void,
  ) {}

  get late(): number {
    return this.answers.filter((took) => took > PS_LIMIT_MS).length;
  }

  describeAnswers(): string {
    const sorted = [...this.answers].sort((one, other) => one - other);
    const [half, most, slowest] = [0.5, 0.99, 1].map((part) =>
      (sorted[Math.ceil(part * sorted.length) - 1] ?? Number.NaN).toFixed(0),
    );
    const own = this.ownStall.toFixed(0);
    return `${sorted.length} answers, median ${half} ms, 99 of 100 within ${most}, slowest ${slowest} (without this process's own standstills of up to ${own})`;
  }

  async run(goesOn: () => boolean): Promise<void> {
    let [nextFigures, nextLine] = [performance.now(), performance.now() + PRINT_EVERY_MS];
    // Its clients' work is done on the thread that takes the answer.
    const delay = monitorEventLoopDelay({ resolution: STALL_LOOK_MS });
    delay.enable();
    while (goesOn()) {
      const asked = performance.now();
      delay.reset();
      try {
        const vms = await this.client.vms();
        const took = performance.now() - asked;
        const stall = delay.count === 0 ? 0 : Math.min(took, Math.max(0, delay.max / 1e6 - STALL_LOOK_MS));
        this.ownStall = Math.max(this.ownStall, stall);
        this.answers.push(took - stall);
        if (performance.now() >= nextFigures) {
          nextFigures = performance.now() + FIGURES_EVERY_MS;
          this.samples.push(processFigures(this.pid));
        }
        if (performance.now() >= nextLine) {
          nextLine = performance.now() + PRINT_EVERY_MS;
          const up = vms.filter(({ state }) => state === "running").length;
          this.print(
            `${vms.length} VMs, ${up} running; ${describeFigures(this.samples.at(-1)!)}; ps: ${this.describeAnswers()}`,
          );
        }
      } catch (error) {
        this.tally.wrong(`ps: ${(error as Error).message}`);
      }
      await pause(PS_EVERY_MS);
    }
    delay.disable();
  }

  /** Compares the last quarter of the run with the second one. */
  noteGrowth(note: (what: string, figure: string, pass: boolean) => void): void {
    const quarter = Math.floor(this.samples.length / 4);
    const [early, end] = [this.samples.slice(quarter, 2 * quarter), this.samples.slice(-quarter)];
    const slack = { resident: 64 * 2 ** 20, mappings: 200, threads: 4, files: 20 } as const;
    for (const field of Object.keys(slack) as (keyof ProcessFigures)[]) {
      const [before, after] = [early, end].map((part) => median(part.map((sample) => sample[field])));
      const limit = before! * 1.1 + slack[field];
      const shown = (value: number) =>
        field === "resident" ? `${(value / 2 ** 20).toFixed(0)} MiB` : value.toFixed(0);
      note(
        `${field} flat`,
        `median ${shown(before!)} in the second quarter, ${shown(after!)} in the last`,
        after! <= limit,
      );
    }
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[values.length >> 1] ?? Number.NaN;
}

/** After `down` the daemon has given back what it took. */
async function noteRest(
  client: DaemonClient,
  pid: number,
  state: string,
  atFirst: ProcessFigures,
  note: (what: string, figure: string, pass: boolean) => void,
): Promise<void> {
  await client.down("soak", true);
  for (const { name } of await client.vms()) await client.remove(name, true);
  const settled = () => {
    const now = processFigures(pid);
    return now.threads <= atFirst.threads + 1 && now.files <= atFirst.files + 2;
  };
  for (let tries = 0; tries < 100 && !settled(); tries++) await pause(200);
  const now = processFigures(pid);
  note(
    "threads and files are given back",
    `${now.threads} threads (${atFirst.threads} at first), ${now.files} files (${atFirst.files} at first)${settled() ? "" : `: ${openFiles(pid)}`}`,
    settled(),
  );
  const left = (await readdir(state, { recursive: true })).filter((name) => /in-progress|\.swap/.test(name));
  note("no half-written file is left", left.length === 0 ? "none" : left.join(", "), left.length === 0);
}
