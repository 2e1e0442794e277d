/** qemu-img as the tests' other opinion of images. */
import { execFileSync, spawnSync } from "node:child_process";

/** The version of qemu-img; undefined if there is none. */
export const qemuImg: string | undefined = /version (\S+)/.exec(
  spawnSync("qemu-img", ["--version"], { encoding: "utf8" }).stdout ?? "",
)?.[1];

if (qemuImg === undefined && process.env.HYPERFILE_TEST_NO_SKIP === "1") {
  throw new Error(
    "qemu-img is not installed (qemu-utils), and HYPERFILE_TEST_NO_SKIP=1 lets no test be skipped",
  );
}

/** Runs it; fails with what it printed. */
export function runQemuImg(...args: string[]): string {
  return execFileSync("qemu-img", args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
  });
}

/** What its check finds: corruptions and leaks. */
export function qemuCheck(path: string): { corruptions: number; leaks: number; errors: number } {
  const { stdout, stderr } = spawnSync("qemu-img", ["check", "-f", "qcow2", "--output=json", path], {
    encoding: "utf8",
  });
  try {
    const report = JSON.parse(stdout);
    return { corruptions: report.corruptions ?? 0, leaks: report.leaks ?? 0, errors: report["check-errors"] };
  } catch {
    throw new Error(`qemu-img check: ${stderr}`);
  }
}
