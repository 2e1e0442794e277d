/** What a measurement was made on: without this, figures of two runs can't be compared. */
import { spawnSync } from "node:child_process";
import { cpus, loadavg, totalmem } from "node:os";
import { benchFolder } from "./suite.js";

/** The computer and its software. */
export interface MachineInfo {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGibibytes: number;
  readonly platform: string;
  readonly node: string;
  readonly v8: string;
}

/** Describes this computer. */
export const machineInfo = (): MachineInfo => ({
  cpu: cpus()[0]?.model.trim() ?? "unknown",
  cores: cpus().length,
  memoryGibibytes: Math.round(totalmem() / 2 ** 30),
  platform: `${process.platform}-${process.arch}`,
  node: process.versions.node,
  v8: process.versions.v8,
});

/** The load averages over 1, 5 and 15 minutes. */
export const loads = (): number[] => loadavg().map((load) => Math.round(load * 100) / 100);

/** The checkout's commit, with `+` when files differ from it; undefined outside of a checkout. */
export function commit(): string | undefined {
  const git = (...args: string[]) => spawnSync("git", args, { cwd: benchFolder, encoding: "utf8" });
  const head = git("rev-parse", "--short=12", "HEAD");
  if (head.status !== 0) return undefined;
  const changes = git("status", "--porcelain", "--untracked-files=no").stdout.trim();
  return `${head.stdout.trim()}${changes === "" ? "" : "+"}`;
}
