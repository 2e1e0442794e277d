/** A page with plots of a run: CPU, steal, memory and I/O of every VM over time. One file, no scripts, no network. */
import type { FleetEvent, Sample, VmView } from "@hyperfile/broker";
import { usesOf } from "./top.js";

/** What a report is made from. */
export interface ReportSource {
  readonly vms: readonly VmView[];
  readonly samples: readonly Sample[];
  readonly events: readonly FleetEvent[];
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly now: number;
}

interface Series {
  readonly name: string;
  readonly points: readonly (readonly [at: number, value: number])[];
}

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [860, 220, 60, 24];
/** Colours that people with any colour vision can tell apart (Okabe and Ito). */
const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f00"];

/** The page. */
export function renderReport(source: ReportSource): string {
  const { vms, samples, events, version, now } = source;
  const names = [...new Set(samples.flatMap((sample) => Object.keys(sample.vms)))];
  const use = (pick: (use: ReturnType<typeof usesOf>[number]["use"]) => number): Series[] =>
    names.map((name) => ({
      name,
      points: usesOf(samples, name).map((one) => [one.at, pick(one.use)] as const),
    }));
  const memory: Series[] = names.map((name) => ({
    name,
    points: samples.flatMap(({ at, vms: all }) =>
      all[name] === undefined ? [] : [[at, all[name]!.touched / 2 ** 20] as const],
    ),
  }));
  const latency: Series[] = names.map((name) => ({
    name,
    points: samples.flatMap(({ at, vms: all }) =>
      all[name] === undefined ? [] : [[at, all[name]!.diskP99] as const],
    ),
  }));
  const plots = [
    plot(
      "CPU used, % of a core",
      scaled(
        use((one) => one.used),
        100,
      ),
    ),
    plot(
      "Steal (wanted to run and did not), % of the time",
      scaled(
        use((one) => one.steal),
        100,
      ),
    ),
    plot(
      "Waiting for devices, % of the time",
      scaled(
        use((one) => one.waiting),
        100,
      ),
    ),
    plot("Memory touched, MiB", memory),
    plot(
      "Devices, KiB a second",
      scaled(
        use((one) => one.io),
        1 / 1024,
      ),
    ),
    plot(
      "Disk operations a second",
      use((one) => one.operations),
    ),
    plot(
      "Network, KiB a second sent and received",
      scaled(
        use((one) => one.sent + one.received),
        1 / 1024,
      ),
    ),
    plot(
      "Network frames lost a second",
      use((one) => one.dropped),
    ),
    plot("Disk latency, ms: 99 of 100 operations of each second took at most", latency),
    plot(
      "Disk requests waiting for their turns, % of the time",
      scaled(
        use((one) => one.throttled),
        100,
      ),
    ),
  ];
  const head = [
    "VM",
    "pool",
    "state",
    "CPU s",
    "ready s",
    "steal s",
    "idle s",
    "million instructions",
    "refused",
  ];
  const rows = vms.map(({ name, pool, state, accounts, instructions, nics }) => [
    name,
    pool,
    state,
    ...[accounts?.used, accounts?.ready, accounts?.steal, accounts?.idle].map(
      (value) => value?.toFixed(2) ?? "",
    ),
    instructions === undefined ? "" : (instructions / 1e6).toFixed(0),
    nics.length === 0 ? "" : String(nics.reduce((sum, { counters }) => sum + (counters.refused ?? 0), 0)),
  ]);
  const cells = (row: readonly string[], tag: string) =>
    `<tr>${row.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  const eventRows = events.map(({ at, kind, name, message = "" }) =>
    cells([new Date(at).toISOString(), kind, name, message], "td"),
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Hyperfile report</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; max-width: 900px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { text-align: left; padding: 0.2em 0.9em 0.2em 0; border-bottom: 1px solid #ccc; }
svg { width: 100%; height: auto; }
text { font: 11px system-ui, sans-serif; fill: #555; }
</style>
<h1>Hyperfile report</h1>
<p>${escapeHtml(new Date(now).toISOString())}, hyperfile ${escapeHtml(version)}, ${samples.length} samples</p>
<table>${cells(head, "th")}${rows.map((row) => cells(row, "td")).join("")}</table>
${plots.join("\n")}
<h2>Events</h2>
<table>${cells(["time", "event", "of", ""], "th")}${eventRows.join("")}</table>
</html>
`;
}

const scaled = (series: readonly Series[], factor: number): Series[] =>
  series.map(({ name, points }) => ({
    name,
    points: points.map(([at, value]) => [at, value * factor] as const),
  }));

function plot(title: string, series: readonly Series[]): string {
  const all = series.flatMap(({ points }) => points);
  const heading = `<h2>${escapeHtml(title)}</h2>`;
  if (all.length < 2) return `${heading}<p>Too few samples.</p>`;
  const times = all.map(([at]) => at);
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const most = niceCeiling(Math.max(...all.map(([, value]) => value)));
  const x = (at: number) => LEFT + ((at - from) / Math.max(1, to - from)) * (WIDTH - LEFT - 10);
  const y = (value: number) => (HEIGHT - BOTTOM) * (1 - value / most) + 6;
  const lines = series.map(({ points }, at) => {
    const path = points.map(([when, value]) => `${x(when).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    return `<polyline fill="none" stroke="${colours[at % colours.length]}" stroke-width="1.5" points="${path}"/>`;
  });
  const legend = series.map(
    ({ name }, at) =>
      `<span style="color:${colours[at % colours.length]}">&#9644;</span> ${escapeHtml(name)}`,
  );
  const grid = [0, 0.5, 1].map((part) => {
    const height = y(most * part).toFixed(1);
    return `<line x1="${LEFT}" x2="${WIDTH - 10}" y1="${height}" y2="${height}" stroke="#ddd"/><text x="${LEFT - 6}" y="${height}" text-anchor="end" dominant-baseline="middle">${Number((most * part).toPrecision(3))}</text>`;
  });
  const seconds = ((to - from) / 1000).toFixed(0);
  return `${heading}
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(title)}">${grid.join("")}${lines.join("")}<text x="${LEFT}" y="${HEIGHT - 4}">0 s</text><text x="${WIDTH - 10}" y="${HEIGHT - 4}" text-anchor="end">${seconds} s</text></svg>
<p>${legend.join(" &emsp; ")}</p>`;
}

/** The next of 1, 2, 5, 10, ... */
function niceCeiling(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? value;
}

const escapeHtml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
