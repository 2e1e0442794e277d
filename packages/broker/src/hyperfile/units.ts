/** Quantities as a Hyperfile and the command line write them. */
import { NORMAL_SHARES } from "../cpu/resource-tree.js";

const sizeUnits: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };
const timeUnits: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
/** Words for numbers of shares. */
export const shareWords = { low: NORMAL_SHARES / 2, normal: NORMAL_SHARES, high: NORMAL_SHARES * 2 } as const;

/** The most that sizes and times can say: 1 PiB, and ten years. */
export const [MOST_SIZE, MOST_DURATION] = [2 ** 50, 87_600 * 3_600_000];

/** `256M` or `1.5GiB` in whole bytes; undefined for other text, and for more than {@link MOST_SIZE}. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([KMG])(?:i?B)?$/.exec(text);
  const bytes = match === null ? NaN : Math.round(Number(match[1]) * sizeUnits[match[2]!]!);
  return bytes <= MOST_SIZE ? bytes : undefined;
}

/** `10ms`, `30s`, `5m` or `1h` in milliseconds; undefined for other text, and for more than {@link MOST_DURATION}. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  const milliseconds = match === null ? NaN : Number(match[1]) * timeUnits[match[2]!]!;
  return milliseconds <= MOST_DURATION ? milliseconds : undefined;
}

/** A number of cores, or a part of one as `50%`; undefined for other values. */
export function parseCores(value: number | string): number | undefined {
  if (typeof value === "number") return value >= 0 && value < Infinity ? value : undefined;
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(value);
  const cores = match === null ? NaN : Number(match[1]) / (match[2] === "%" ? 100 : 1);
  return cores < Infinity ? cores : undefined;
}

/** Operations a second: a whole number; undefined for other values. */
export function parseIops(value: number | string): number | undefined {
  const number = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
  return Number.isSafeInteger(number) && (number as number) >= 0 ? (number as number) : undefined;
}

/** A number of shares, or a word for one; undefined for other values. */
export function parseShares(value: number | string): number | undefined {
  const number = Object.hasOwn(shareWords, value)
    ? shareWords[value as keyof typeof shareWords]
    : Number(value);
  return Number.isInteger(number) && number >= 1 && number <= 1_000_000 ? number : undefined;
}

/** Bytes in the largest unit that leaves a short number. */
export function formatSize(bytes: number): string {
  for (const [unit, size] of [
    ["G", sizeUnits.G!],
    ["M", sizeUnits.M!],
    ["K", sizeUnits.K!],
  ] as const) {
    if (bytes >= size) return `${Math.round((bytes / size) * 10) / 10}${unit}`;
  }
  return `${bytes}B`;
}
