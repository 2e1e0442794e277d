/**
 * The results as a picture: for each program a bar for each tier on a logarithmic scale, with the reference's speed as
 * the line at 1. Colours are legible on light and dark pages alike, so that the picture can stand in a README.
 */
import type { Comparison } from "./report.js";

const ROW = 13;
const GAP = 7;
const LEFT = 120;
const CHART = 520;
const RIGHT = 60;
const TOP = 58;
const BOTTOM = 30;
/** Least width of the scale, as factors of the reference's speed. */
const NARROWEST = [0.1, 2] as const;
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100];
const COLOURS = ["#2f81f7", "#d29922", "#3fb950", "#a371f7", "#db61a2"];
const INK = "#7d8590";
const FONT = "font-family='system-ui,sans-serif'";

const escapeXml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/**
 * Draws the comparisons of some tiers with one reference.
 * @param title the headline
 * @param series one for each colour of bar, at least one; all of the same reference
 */
export function drawChart(title: string, series: readonly Comparison[]): string {
  const programs = [...new Set(series.flatMap(({ ratios }) => ratios.map(({ program }) => program)))];
  const rows = [...programs, "geometric mean"];
  const ratioOf = (comparison: Comparison, row: string) =>
    row === rows.at(-1)
      ? comparison.geometricMean
      : comparison.ratios.find(({ program }) => program === row)?.ratio;
  const values = series.flatMap(({ ratios }) => ratios.map(({ ratio }) => ratio));
  const low = STEPS.findLast((step) => step <= Math.min(NARROWEST[0], ...values)) ?? STEPS[0]!;
  const high = STEPS.find((step) => step >= Math.max(NARROWEST[1], ...values)) ?? STEPS.at(-1)!;
  const x = (value: number) =>
    LEFT + (CHART * Math.log(Math.min(Math.max(value, low), high) / low)) / Math.log(high / low);
  const rowHeight = series.length * ROW + GAP;
  const height = TOP + rows.length * rowHeight + BOTTOM;
  const width = LEFT + CHART + RIGHT;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escapeXml(title)}</title>`,
    text(0, 18, title, `font-size='15' font-weight='600' fill='${INK}'`),
  ];
  series.forEach(({ isa, tier }, index) => {
    const at = index * 110;
    parts.push(`<rect x='${at}' y='30' width='10' height='10' fill='${COLOURS[index % COLOURS.length]}'/>`);
    parts.push(text(at + 15, 39, `${isa} ${tier}`, `font-size='12' fill='${INK}'`));
  });
  for (const step of STEPS.filter((value) => value >= low && value <= high)) {
    const line = step === 1 ? "stroke-width='1.5'" : "stroke-opacity='0.25'";
    const at = x(step).toFixed(1);
    parts.push(`<path d='M${at} ${TOP - 6}V${height - BOTTOM}' stroke='${INK}' ${line}/>`);
    parts.push(text(Number(at), height - 12, `${step}`, `font-size='11' text-anchor='middle' fill='${INK}'`));
  }
  rows.forEach((row, position) => {
    const y = TOP + position * rowHeight;
    const weight = row === rows.at(-1) ? "font-weight='600'" : "";
    const middle = y + (rowHeight - GAP) / 2 + 4;
    parts.push(text(LEFT - 8, middle, row, `font-size='12' text-anchor='end' fill='${INK}' ${weight}`));
    series.forEach((comparison, index) => {
      const value = ratioOf(comparison, row);
      if (value === undefined || Number.isNaN(value)) return;
      const top = y + index * ROW;
      const [from, to] = [Math.min(x(1), x(value)), Math.max(x(1), x(value))];
      parts.push(
        `<rect x='${from.toFixed(1)}' y='${top}' width='${Math.max(to - from, 1).toFixed(1)}' height='${ROW - 2}' fill='${COLOURS[index % COLOURS.length]}'/>`,
      );
      parts.push(text(LEFT + CHART + 8, top + ROW - 3, value.toFixed(2), `font-size='11' fill='${INK}'`));
    });
  });
  return `${parts.join("\n")}\n</svg>\n`;
}

function text(x: number, y: number, content: string, style: string): string {
  return `<text x='${x}' y='${y}' ${FONT} ${style}>${escapeXml(content)}</text>`;
}
