/** The history: one line of JSON for each run, so that figures can be followed over commits and computers. */
import { appendFile } from "node:fs/promises";
import type { BootRuns } from "./boot.js";
import type { DebianRuns } from "./debian/debian.js";
import { linuxProgramWork } from "./debian/workloads.js";
import type { Engine } from "./engines.js";
import { BenchError } from "./errors.js";
import { commit, loads, type MachineInfo, machineInfo } from "./machine-info.js";
import type { MicroResult } from "./micro.js";
import { compare } from "./report.js";
import type { ProgramRuns } from "./suite-run.js";

/** One line of the history. */
export interface HistoryRecord {
  /** When the run ended, ISO 8601. */
  readonly date: string;
  readonly commit: string | undefined;
  readonly machine: MachineInfo;
  /** Load averages before and after. */
  readonly loads: { readonly before: readonly number[]; readonly after: readonly number[] };
  /** Divisor of the programs' iterations; 1 for a full run. */
  readonly divisor: number;
  /** Versions by engine. */
  readonly engines: Readonly<Record<string, string>>;
  /** Seconds of each run, by instruction set, program and engine. */
  readonly programs: Readonly<
    Record<string, Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>>
  >;
  /** Geometric mean and least ratio, by `isa tier/reference`. */
  readonly comparisons: Readonly<
    Record<string, { readonly mean: number; readonly least: number | undefined }>
  >;
  /** Seconds of each boot, by engine. */
  readonly boot?: Readonly<Record<string, readonly number[]>>;
  /** Nanoseconds by micro-benchmark. */
  readonly micro?: Readonly<Record<string, number>>;
  /** Debian's programs: versions of their packages, seconds of each run by program and engine. */
  readonly debian?: {
    readonly versions: Readonly<Record<string, string>>;
    readonly programs: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
  };
}

/** What a run measured. */
export interface Measurements {
  readonly loadsBefore: readonly number[];
  readonly divisor: number;
  readonly engines: readonly Engine[];
  readonly results: readonly ProgramRuns[];
  readonly boot: readonly BootRuns[];
  readonly micro: readonly MicroResult[];
  readonly debian?: DebianRuns | undefined;
}

const round = (value: number): number => Number(value.toPrecision(5));

/** The line for a run that ended now. */
export function historyRecord(measured: Measurements): HistoryRecord {
  const { results, engines, boot, micro } = measured;
  const programs: Record<string, Record<string, Record<string, number[]>>> = {};
  for (const { program, isa, engines: runs } of results) {
    programs[isa] ??= {};
    programs[isa][program] = Object.fromEntries(
      [...runs].map(([name, { seconds }]) => [name, seconds.map(round)]),
    );
  }
  return {
    date: new Date().toISOString(),
    commit: commit(),
    machine: machineInfo(),
    loads: { before: measured.loadsBefore, after: loads() },
    divisor: measured.divisor,
    engines: Object.fromEntries(engines.map(({ name, version }) => [name, version])),
    programs,
    comparisons: Object.fromEntries(
      compare(results, engines)
        .filter(({ ratios }) => ratios.length > 0)
        .map(({ isa, tier, reference, geometricMean, slowest }) => [
          `${isa} ${tier}/${reference}`,
          { mean: round(geometricMean), least: slowest && round(slowest.ratio) },
        ]),
    ),
    ...(boot.length === 0
      ? {}
      : { boot: Object.fromEntries(boot.map(({ engine, seconds }) => [engine, seconds.map(round)])) }),
    ...(micro.length === 0
      ? {}
      : {
          micro: Object.fromEntries(
            micro.map(({ name, unit, nanoseconds }) => [`${name}: ${unit}`, round(nanoseconds)]),
          ),
        }),
    ...(measured.debian === undefined ? {} : { debian: debianRecord(measured.debian) }),
  };
}

function debianRecord({ results, v86Seconds, versions }: DebianRuns): NonNullable<HistoryRecord["debian"]> {
  const programs = results.map(({ workload, engines }) => {
    const seconds = Object.fromEntries(
      engines.map(({ engine, runs }) => [engine, runs.map((run) => round(run.seconds))]),
    );
    const isOwn = workload.name === linuxProgramWork.name && v86Seconds.length > 0;
    return [workload.name, { ...seconds, ...(isOwn ? { v86: v86Seconds.map(round) } : {}) }] as const;
  });
  return { versions, programs: Object.fromEntries(programs) };
}

/**
 * Appends a record to the history.
 * @throws BenchError `E_FILE` when the file can't be written
 */
export async function appendHistory(file: string, record: HistoryRecord): Promise<void> {
  try {
    await appendFile(file, `${JSON.stringify(record)}\n`);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new BenchError("E_FILE", `can't append to the history ${file}: ${reason}`, { cause: error });
  }
}
