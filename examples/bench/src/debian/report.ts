/** The real programs' results as text: seconds under each engine, our speed with QEMU's as 1, whether the output is right. */
import { layOut } from "../report.js";
import { geometricMean } from "../statistics.js";
import type { WorkloadResult } from "./run.js";

const number = (value: number | undefined): string =>
  value === undefined || Number.isNaN(value) ? "-" : value.toFixed(2);

const secondsOf = ({ engines }: WorkloadResult, name: string): number =>
  engines.find(({ engine }) => engine === name)?.seconds ?? Number.NaN;

const cpuSecondsOf = ({ engines }: WorkloadResult, name: string): number =>
  engines.find(({ engine }) => engine === name)?.cpuSeconds ?? Number.NaN;

/** A row a program, followed by the geometric mean and the least ratio of each tier. */
export function workloadTable(results: readonly WorkloadResult[]): string {
  const names = results[0]?.engines.map(({ engine }) => engine) ?? [];
  const tiers = names.includes("qemu") ? names.filter((name) => name !== "qemu") : [];
  const ratios = (tier: string, of: typeof secondsOf) =>
    results.map((result) => of(result, "qemu") / of(result, tier));
  const finite = (values: readonly number[]) => values.filter(Number.isFinite);
  const columns = tiers.flatMap((tier) => [
    { title: `${tier}/qemu`, values: ratios(tier, secondsOf) },
    { title: "by CPU", values: ratios(tier, cpuSecondsOf) },
  ]);
  const summary = (title: string, of: (values: readonly number[]) => number) => [
    title,
    ...names.map(() => ""),
    ...columns.map(({ values }) => number(of(finite(values)))),
    "",
  ];
  return layOut([
    ["Debian", ...names.map((name) => `${name} s`), ...columns.map(({ title }) => title), "output"],
    ...results.map((result, row) => [
      result.workload.name,
      ...names.map((name) => number(secondsOf(result, name))),
      ...columns.map(({ values }) => number(values[row])),
      result.engines.every(({ failure }) => failure === undefined) ? "right" : "WRONG",
    ]),
    summary("geometric mean", geometricMean),
    summary("least", (values) => (values.length === 0 ? Number.NaN : Math.min(...values))),
  ]);
}

/** One line for each failure. */
export const workloadFailures = (results: readonly WorkloadResult[]): readonly string[] =>
  results.flatMap(({ workload, engines }) =>
    engines
      .filter(({ failure }) => failure !== undefined)
      .map(({ engine, failure }) => `${workload.name} under ${engine}: ${failure}`),
  );
