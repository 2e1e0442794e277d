/**
 * Progress of long transfers on standard error: one line that redraws itself on a terminal, and a line at
 * the start and at every quarter elsewhere, so that a log stays short.
 */
import type { Progress } from "@hyperfile/machine/debian";
import { printableLine } from "./printable.js";

/** The part of a writable stream that progress needs. */
export interface ProgressOutput {
  /** Whether a line can be redrawn in place. */
  isTTY?: boolean | undefined;
  /** Width in characters, if known. */
  columns?: number | undefined;
  /** Writes text. */
  write(text: string): unknown;
}

/** A size in megabytes (10^6 bytes) as people read it. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 10e6 ? 1 : 0)} MB`;
}

/** Seconds after which the time left is worth a word, and what is done of the work then at least. */
const [ETA_SECONDS, ETA_SHARE] = [5, 0.02];

/** How long an operation goes on that has done a share of its work in some seconds; nothing while that is a guess. */
export function timeLeft(fraction: number, seconds: number): string {
  if (seconds < ETA_SECONDS || fraction < ETA_SHARE || fraction >= 1) return "";
  const left = (seconds * (1 - fraction)) / fraction;
  return left < 90 ? `, about ${Math.ceil(left)} s left` : `, about ${Math.ceil(left / 60)} min left`;
}

/** Progress that is shown on `output`, which is standard error in the program. */
export function showProgress(
  output: ProgressOutput,
  now: () => number = () => performance.now() / 1000,
): Progress {
  let title = "";
  let start = 0;
  let total: number | undefined;
  let shownPercent = -1;
  const line = (percent: number) => {
    const done = total === undefined ? "" : `${megabytes((total * percent) / 100)} of ${megabytes(total)}, `;
    return `hyperfile: ${title}: ${done}${percent}%${timeLeft(percent / 100, now() - start)}`;
  };
  const show = (percent: number) => {
    if (output.isTTY) {
      const width = Math.max(20, (output.columns ?? 80) - 1);
      output.write(`\r${line(percent).slice(0, width)}\x1b[K`);
    } else {
      output.write(`${line(percent)}\n`);
    }
    shownPercent = percent;
  };
  return {
    begin(newTitle, totalBytes) {
      title = printableLine(newTitle);
      total = totalBytes;
      start = now();
      shownPercent = -1;
      if (output.isTTY) show(0);
      else output.write(`hyperfile: ${title}${total === undefined ? "" : ` (${megabytes(total)})`}\n`);
    },
    update(fraction) {
      const percent = Math.max(0, Math.min(100, Math.floor(fraction * 100)));
      const isDue = output.isTTY ? percent !== shownPercent : percent >= Math.max(0, shownPercent) + 25;
      if (isDue && percent < 100) show(percent);
    },
    end() {
      if (output.isTTY) {
        show(100);
        output.write("\n");
      }
    },
  };
}
