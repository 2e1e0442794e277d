/**
 * Runs the guest under QEMU and our tiers, a boot for each program: one engine after the other on the same program, so
 * that what else the computer does falls on all alike. The host's clock at the marks on the console is what counts.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hyperfileProgram } from "../cli.js";
import { BenchError } from "../errors.js";
import { median } from "../statistics.js";
import type { BenchGuest } from "./guest.js";
import { PARAMETER } from "./init-script.js";
import { type Clocks, ConsoleReader, type ConsoleRun } from "./markers.js";
import type { Workload } from "./workloads.js";

/** Seconds that one boot with its work may take. */
const TIMEOUT = 300;
const MEMORY = "1G";

/** The runs of one program under one engine. */
export interface WorkloadRuns {
  readonly engine: string;
  readonly runs: readonly ConsoleRun[];
  /** Median seconds on the host's clock; NaN without runs. */
  readonly seconds: number;
  /** Median seconds of processor time; NaN where the host doesn't tell. */
  readonly cpuSeconds: number;
  /** What went wrong, if anything did. */
  readonly failure: string | undefined;
}

/** The runs of one program. */
export interface WorkloadResult {
  readonly workload: Workload;
  readonly engines: readonly WorkloadRuns[];
}

/** Hundredths of a second, the unit of `/proc/PID/stat` (proc(5)). */
const TICKS = 100;

/** Seconds that a process has used, from its fields 14 and 15 in `/proc` (proc(5)); NaN where there is none. */
function cpuSeconds(pid: number | undefined): number {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  } catch {
    return Number.NaN;
  }
}

/** Runs an engine until it ends; gives what its console told. */
function watch(command: string, args: readonly string[]): Promise<readonly ConsoleRun[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    const clocks = (): Clocks => ({ wall: performance.now() / 1000, cpu: cpuSeconds(child.pid) });
    const reader = new ConsoleReader(clocks);
    let tail = "";
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill("SIGKILL");
    }, TIMEOUT * 1000);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      reader.write(text);
      tail = (tail + text).slice(-2000);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => (tail = (tail + text).slice(-2000)));
    child.on("error", (cause) => {
      clearTimeout(timer);
      reject(new BenchError("E_RUN", `${command} can't be started: ${cause.message}`, { cause }));
    });
    child.on("close", () => {
      clearTimeout(timer);
      if (reader.done) return resolve(reader.runs);
      const why = isLate ? `took more than ${TIMEOUT} s` : "ended before all was done";
      reject(new BenchError("E_RUN", `the guest ${why}: ${tail.trim().split("\n").at(-1) ?? ""}`));
    });
  });
}

/** The command that boots the guest under an engine. */
export function engineCommand(
  engine: string,
  kernel: string,
  initrd: string,
  append: string,
): { command: string; args: string[] } {
  const images = ["kernel", kernel, "initrd", initrd, "append", append];
  const options = (dashes: string) => images.map((word, index) => (index % 2 === 0 ? dashes + word : word));
  if (engine === "qemu") {
    const machine = ["-M", "virt", "-m", MEMORY, "-smp", "1", "-display", "none", "-serial", "stdio"];
    return {
      command: "qemu-system-riscv64",
      args: [...machine, "-monitor", "none", "-no-reboot", ...options("-")],
    };
  }
  const machine = ["--memory", MEMORY, "--tier", engine, "--no-tty"];
  return { command: process.execPath, args: [hyperfileProgram(), "run", ...machine, ...options("--")] };
}

/** Why a run's output is wrong, or undefined if it is right. */
export function problemOf(run: ConsoleRun, expected: readonly string[]): string | undefined {
  if (run.status !== 0) return `ended with status ${run.status}: ${run.result.at(-1) ?? ""}`;
  if (run.result.join("\n") !== expected.join("\n"))
    return `printed ${JSON.stringify(run.result.join("; "))}, not ${JSON.stringify(expected.join("; "))}`;
  return undefined;
}

/** Runs each program `runs` times under each engine. */
export async function runWorkloads(
  chosen: readonly Workload[],
  guest: BenchGuest,
  engines: readonly string[],
  runs: number,
  progress: (text: string) => void,
): Promise<readonly WorkloadResult[]> {
  const folder = await mkdtemp(join(tmpdir(), "hyperfile-bench-"));
  try {
    const initrd = join(folder, "initramfs.cpio");
    await writeFile(initrd, guest.initramfs);
    const results: WorkloadResult[] = [];
    for (const workload of chosen) {
      const expected = workload.expected(guest.inputs);
      const append = `console=ttyS0 quiet loglevel=3 ${PARAMETER}=${workload.name}`;
      const found = engines.map((engine) => ({
        engine,
        runs: [] as ConsoleRun[],
        failure: undefined as string | undefined,
      }));
      for (let round = 1; round <= runs; round++) {
        for (const entry of found) {
          const { command, args } = engineCommand(entry.engine, guest.kernel, initrd, append);
          try {
            const run = (await watch(command, args)).find(({ name }) => name === workload.name);
            if (run === undefined) throw new BenchError("E_RUN", "the guest did not report it");
            entry.runs.push(run);
            entry.failure ??= problemOf(run, expected);
            progress(
              `${workload.name} ${round}/${runs}, ${entry.engine}: ${run.seconds.toFixed(2)} s, ${run.guestSeconds.toFixed(2)} s by the guest's clock, ${run.cpuSeconds.toFixed(2)} s of CPU${entry.failure === undefined ? "" : `: ${entry.failure}`}`,
            );
          } catch (error) {
            entry.failure ??= error instanceof Error ? error.message : String(error);
            progress(`${workload.name} ${round}/${runs}, ${entry.engine}: ${entry.failure}`);
          }
        }
      }
      results.push({
        workload,
        engines: found.map((entry) => ({
          ...entry,
          seconds: median(entry.runs.map((run) => run.seconds)),
          cpuSeconds: median(entry.runs.map((run) => run.cpuSeconds)),
        })),
      });
    }
    return results;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
