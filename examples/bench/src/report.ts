/** The results as text: a table for each instruction set, with speeds relative to the references. */
import type { Engine } from "./engines.js";
import type { MicroResult } from "./micro.js";
import { geometricMean } from "./statistics.js";
import type { Isa } from "./suite.js";
import { medianSeconds, type ProgramRuns } from "./suite-run.js";

/** How many times as fast as a reference a tier ran one program. */
export interface Ratio {
  readonly program: string;
  readonly ratio: number;
}

/** The speed of one tier against one reference. */
export interface Comparison {
  readonly isa: Isa;
  readonly tier: string;
  readonly reference: string;
  /** Programs that ran under both. */
  readonly ratios: readonly Ratio[];
  readonly geometricMean: number;
  readonly slowest: Ratio | undefined;
}

/** Compares every tier with every reference. */
export function compare(results: readonly ProgramRuns[], engines: readonly Engine[]): readonly Comparison[] {
  const isas = [...new Set(results.map((result) => result.isa))];
  const references = engines.filter((engine) => engine.isReference);
  const tiers = engines.filter((engine) => !engine.isReference);
  return isas.flatMap((isa) =>
    tiers.flatMap((tier) =>
      references.map((reference): Comparison => {
        const ratios = results
          .filter((result) => result.isa === isa)
          .map((result) => ({
            program: result.program,
            ratio: medianSeconds(result, reference.name) / medianSeconds(result, tier.name),
          }))
          .filter(({ ratio }) => Number.isFinite(ratio));
        return {
          isa,
          tier: tier.name,
          reference: reference.name,
          ratios,
          geometricMean: geometricMean(ratios.map(({ ratio }) => ratio)),
          slowest: [...ratios].sort((a, b) => a.ratio - b.ratio)[0],
        };
      }),
    ),
  );
}

/** Lays rows out in columns: the first to the left, the others to the right. */
export function layOut(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

const number = (value: number | undefined, digits: number): string =>
  value === undefined || Number.isNaN(value) ? "-" : value.toFixed(digits);

/** The table of one instruction set: median seconds, and each tier's speed with the reference as 1. */
export function suiteTable(isa: Isa, results: readonly ProgramRuns[], engines: readonly Engine[]): string {
  const comparisons = compare(results, engines).filter((comparison) => comparison.isa === isa);
  const rows = [
    [
      isa,
      ...engines.map((engine) => `${engine.name} s`),
      ...comparisons.map(({ tier, reference }) => `${tier}/${reference}`),
    ],
  ];
  for (const result of results.filter((candidate) => candidate.isa === isa)) {
    rows.push([
      result.program,
      ...engines.map((engine) => number(medianSeconds(result, engine.name), 3)),
      ...comparisons.map(({ ratios }) =>
        number(ratios.find(({ program }) => program === result.program)?.ratio, 2),
      ),
    ]);
  }
  rows.push([
    "geometric mean",
    ...engines.map(() => ""),
    ...comparisons.map((comparison) => number(comparison.geometricMean, 2)),
  ]);
  rows.push([
    "least",
    ...engines.map(() => ""),
    ...comparisons.map((comparison) => number(comparison.slowest?.ratio, 2)),
  ]);
  return layOut(rows);
}

/** One line for each failure. */
export function failures(results: readonly ProgramRuns[]): readonly string[] {
  return results.flatMap(({ program, isa, engines }) =>
    [...engines]
      .filter(([, runs]) => runs.failure !== undefined)
      .map(([engine, runs]) => `${program} ${isa} under ${engine}: ${runs.failure}`),
  );
}

/** The micro-benchmarks as a table. */
export function microTable(results: readonly MicroResult[]): string {
  const time = (nanoseconds: number) =>
    nanoseconds < 1000 ? `${nanoseconds.toFixed(1)} ns` : `${(nanoseconds / 1000).toFixed(2)} us`;
  return layOut([
    ["micro-benchmark", "time", "+-"],
    ...results.map(({ name, unit, nanoseconds, margin }) => [
      `${name}: ${unit}`,
      time(nanoseconds),
      `${margin.toFixed(1)} %`,
    ]),
  ]);
}
