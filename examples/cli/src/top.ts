/** The text of `hyperfile top`: a profile as tables. */
import { type ProfileSymbol, type ProfileUnit, symbolText } from "@hyperfile/jit/trace";
import type { Profile } from "./profile-file.js";

/** What to show. */
export interface TopOptions {
  /** Rows of the table of code. */
  readonly rows: number;
  /** Whether the assembly of the rows is shown. */
  readonly assembly: boolean;
  /** Show only the code with this address, and its assembly. */
  readonly at: bigint | undefined;
  /** Finds the function that an address lies in; what the profile says is used if undefined. */
  readonly symbolAt: ((address: bigint) => ProfileSymbol | undefined) | undefined;
}

const percent = (part: number, whole: number): string =>
  `${(whole === 0 ? 0 : (100 * part) / whole).toFixed(1)} %`;
const count = (value: number): string => Math.round(value).toLocaleString("en-US");
const millions = (value: number): string => (value / 1e6).toFixed(1);

/** A number of the statistics, by its path; 0 if it isn't there. */
function statistic(profile: Profile, ...path: readonly string[]): number {
  let at: unknown = profile.statistics;
  for (const key of path) at = (at as Record<string, unknown> | undefined)?.[key];
  return typeof at === "number" ? at : 0;
}

/** The counters of a group that are not zero, as a list. */
function counters(profile: Profile, group: string, names: Readonly<Record<string, string>>): string {
  const parts = Object.entries(names)
    .map(([key, name]) => [name, statistic(profile, group, key)] as const)
    .filter(([, value]) => value !== 0)
    .sort(([, a], [, b]) => b - a);
  return parts.length === 0 ? "none" : parts.map(([name, value]) => `${name} ${count(value)}`).join(", ");
}

/** The lines of a profile. */
export function topLines(profile: Profile, options: TopOptions): string[] {
  const { symbolAt } = options;
  const units =
    symbolAt === undefined
      ? profile.report.units
      : profile.report.units.map((unit) => {
          const address = BigInt(unit.address);
          return { ...unit, symbol: symbolText(symbolAt(address), address) };
        });
  const chosen =
    options.at === undefined
      ? units.slice(0, options.rows)
      : units.filter((unit) => holds(unit, options.at!));
  const table = [
    "    time    Minsn  kind         mode  address             symbol",
    ...chosen.map((unit) => row(unit, profile.report.seconds)),
  ];
  if (chosen.length === 0) table.push("  no samples there");
  const listings = options.assembly || options.at !== undefined ? chosen.flatMap(listing) : [];
  return [...summary(profile), "", ...table, ...listings];
}

/** Whether a unit's assembly has the instruction at an address, or the unit begins there. */
const holds = (unit: ProfileUnit, at: bigint): boolean =>
  BigInt(unit.address) === at || (unit.assembly?.some(({ address }) => BigInt(address) === at) ?? false);

function summary(profile: Profile): string[] {
  const { report } = profile;
  const { interpreter, translations } = report.tiers;
  const state = profile.state === "running" ? `running as process ${profile.pid}` : "ended";
  const wall = statistic(profile, "wallSeconds");
  const idle = statistic(profile, "vm", "idleMilliseconds") / 1000;
  const instructions = interpreter.instructions + translations.instructions;
  const tierLine = (name: string, { instructions: run, seconds, samples }: typeof interpreter) =>
    `${name} ${percent(seconds, report.seconds)} of time, ${percent(run, instructions)} of instructions, ${count(samples)} samples`;
  const translated = [
    `${count(statistic(profile, "translations", "count"))} of ${count(statistic(profile, "translations", "instructions"))} instructions in ${statistic(profile, "translations", "compileSeconds").toFixed(3)} s`,
    `${count(statistic(profile, "regions", "modules"))} modules compiled in ${statistic(profile, "regions", "compileSeconds").toFixed(3)} s`,
    `${count(statistic(profile, "regions", "count"))} regions kept, ${count(statistic(profile, "regions", "dropped"))} dropped`,
  ];
  return [
    `${profile.program}: ${report.isa}, tier ${report.tier}, ${state}`,
    `time          ${wall.toFixed(1)} s, of it idle ${idle.toFixed(1)} s; process ${statistic(profile, "cpuSeconds").toFixed(1)} s of CPU`,
    `guest         ${millions(instructions)} million instructions, ${(instructions / 1e6 / Math.max(report.seconds, 1e-9)).toFixed(0)} MIPS while it ran`,
    `tiers         ${tierLine("interpreter", interpreter)}`,
    `              ${tierLine("translations", translations)}`,
    `              translating ${percent(report.translationSeconds, report.seconds)} of time`,
    `translations  ${translated.join("; ")}`,
    `exits         ${counters(profile, "exits", exitTitles)}`,
    `traps         ${counters(profile, "hart", trapTitles)}`,
    `TLB           ${counters(profile, "tlb", tlbTitles)}`,
  ];
}

const exitTitles = {
  budget: "budget",
  fetch: "fetch",
  hot: "hot code",
  crossing: "page crossing",
  chainEnd: "end of chain",
  redirect: "trap or change of mode",
};
const trapTitles = {
  exceptions: "exceptions",
  interrupts: "interrupts",
  ecalls: "ecall",
  sfence: "sfence.vma",
  fenceI: "fence.i",
  waits: "wfi",
};
const tlbTitles = { misses: "misses", fills: "fills", flushes: "flushes", pageFlushes: "page flushes" };

function row(unit: ProfileUnit, seconds: number): string {
  const columns = [
    percent(unit.seconds, seconds).padStart(8),
    millions(unit.instructions).padStart(8),
    ` ${unit.kind.padEnd(12)}`,
    unit.mode.padEnd(5),
    unit.address.padEnd(19),
    unit.symbol ?? "",
  ];
  return columns.join(" ").trimEnd();
}

function listing(unit: ProfileUnit): string[] {
  const size =
    unit.translatedInstructions === 0
      ? ""
      : `, made of ${unit.translatedInstructions} instructions${unit.codeBytes === 0 ? "" : `, ${unit.codeBytes} bytes of WebAssembly`}`;
  const head = `${unit.kind} at ${unit.address}${unit.symbol === undefined ? "" : ` (${unit.symbol})`}${size}`;
  if (unit.assembly === undefined) return ["", head, "  only the hottest code keeps its assembly"];
  return [
    "",
    head,
    ...unit.assembly.map(({ address, text, samples }) => {
      const share = samples === 0 ? "" : percent(samples, unit.samples);
      return `  ${share.padStart(7)}  ${address}: ${text}`;
    }),
  ];
}
