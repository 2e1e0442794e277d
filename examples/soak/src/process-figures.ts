/** What a process holds of the host, from Linux's /proc. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Holdings of a process. */
export interface ProcessFigures {
  /** Resident memory in bytes. */
  readonly resident: number;
  /** Mappings of its address space; Linux allows 65,530. */
  readonly mappings: number;
  readonly threads: number;
  readonly files: number;
}

/** The holdings of a process now. @throws Error if it has ended */
export function processFigures(pid: number): ProcessFigures {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]);
  return {
    resident: field("VmRSS") * 1024,
    mappings: readFileSync(`/proc/${pid}/maps`, "latin1").split("\n").length - 1,
    threads: field("Threads"),
    files: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** One line of them. */
export function describeFigures({ resident, mappings, threads, files }: ProcessFigures): string {
  return `${(resident / 2 ** 20).toFixed(0)} MiB resident, ${mappings} mappings, ${threads} threads, ${files} files`;
}

/** What a process has open, with how many of each: files by their paths, the rest by its kind. */
export function openFiles(pid: number): string {
  const counts = new Map<string, number>();
  for (const number of readdirSync(`/proc/${pid}/fd`)) {
    let what: string;
    try {
      what = readlinkSync(`/proc/${pid}/fd/${number}`).replace(/\[\d+\]/, "");
    } catch {
      continue;
    }
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  return [...counts].map(([what, count]) => `${count} ${what}`).join(", ");
}
