/**
 * Runs the guest programs under all engines, round-robin, so that whatever else the computer does falls on all of
 * them alike, and compares their checksums.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, writeImage } from "./engines.js";
import { median } from "./statistics.js";
import { type Isa, imagePath, iterationsOf, type Program, readImage, withIterations } from "./suite.js";

/** The runs of one program under one engine. */
export interface EngineRuns {
  /** Seconds of each run. */
  readonly seconds: number[];
  /** Why runs failed, if any did. */
  failure?: string;
}

/** The runs of one program. */
export interface ProgramRuns {
  readonly program: string;
  readonly isa: Isa;
  readonly iterations: number;
  /** By the engine's name. */
  readonly engines: Map<string, EngineRuns>;
}

/** How to run the suite. */
export interface SuiteOptions {
  readonly programs: readonly Program[];
  readonly isas: readonly Isa[];
  readonly engines: readonly Engine[];
  /** Runs of each program under each engine. */
  readonly runs: number;
  /** Divides the number of iterations of every program. */
  readonly divisor: number;
  /** Is told what runs now, and of each result. */
  progress(text: string): void;
}

/** The median time of a program under an engine; NaN where every run failed. */
export const medianSeconds = (runs: ProgramRuns, engine: string): number =>
  median(runs.engines.get(engine)?.seconds ?? []);

/** Runs the suite. Failures of single runs are part of the result. */
export async function runSuite(options: SuiteOptions): Promise<readonly ProgramRuns[]> {
  const folder = await mkdtemp(join(tmpdir(), "hyperfile-bench-"));
  try {
    const results = await prepare(options);
    const expected = new Map<string, { readonly checksum: string; readonly engine: string }>();
    const total = options.runs * results.length * options.engines.length;
    let done = 0;
    for (let round = 1; round <= options.runs; round++) {
      for (const result of results) {
        for (const engine of options.engines) {
          const { program, isa } = result;
          const entry = result.engines.get(engine.name)!;
          done++;
          const title = `[${done}/${total}] run ${round}, ${program} ${isa}, ${engine.name}`;
          if (entry.failure !== undefined) {
            options.progress(`${title}: left out after a failure`);
            continue;
          }
          try {
            const image = await imageFor(folder, result, engine, options.divisor);
            const { seconds, checksum } = await engine.run(program, image, isa);
            const first = expected.get(program);
            if (first === undefined) expected.set(program, { checksum, engine: engine.name });
            else if (first.checksum !== checksum)
              throw new Error(`checksum ${checksum}, but ${first.checksum} under ${first.engine}`);
            entry.seconds.push(seconds);
            options.progress(`${title}: ${seconds.toFixed(3)} s`);
          } catch (error) {
            entry.failure = error instanceof Error ? error.message : String(error);
            options.progress(`${title}: failed: ${entry.failure}`);
          }
        }
      }
    }
    return results;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function prepare(options: SuiteOptions): Promise<ProgramRuns[]> {
  const results: ProgramRuns[] = [];
  for (const isa of options.isas) {
    for (const { name } of options.programs) {
      const full = iterationsOf(await readImage(name, isa), name);
      results.push({
        program: name,
        isa,
        iterations: Math.max(1, Math.floor(full / options.divisor)),
        engines: new Map(options.engines.map((engine) => [engine.name, { seconds: [] }])),
      });
    }
  }
  return results;
}

async function imageFor(folder: string, runs: ProgramRuns, engine: Engine, divisor: number): Promise<string> {
  const isa = engine.imageIsa(runs.isa);
  if (divisor === 1) return imagePath(runs.program, isa);
  const image = withIterations(await readImage(runs.program, isa), runs.program, runs.iterations);
  return writeImage(folder, runs.program, isa, image);
}
