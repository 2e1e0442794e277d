/** Child processes that print to a pipe: how long they take to end, or to print a certain text. */
import { spawn, spawnSync } from "node:child_process";
import { BenchError } from "./errors.js";

/** How to run a child. */
export interface ChildOptions {
  /** Seconds after which the child is ended and the run fails. */
  readonly timeout: number;
  /** Text upon whose appearance the child is ended: the run lasts until then. */
  readonly until?: string;
}

/** How a child's run went. */
export interface ChildRun {
  /** Seconds from the start of the process to its end, or to the awaited text. */
  readonly seconds: number;
  /** Everything that it printed. */
  readonly output: string;
}

/**
 * Runs a command to its end, or until it prints a text.
 * @throws BenchError `E_RUN` when it fails, is too slow, or ends without the text
 */
export function runChild(command: string, args: readonly string[], options: ChildOptions): Promise<ChildRun> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    const what = `${command.replace(/^.*\//, "")} ${args.at(-1) ?? ""}`;
    let output = "";
    let complaints = "";
    let reached: number | undefined;
    let isLate = false;
    const since = () => (performance.now() - started) / 1000;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill("SIGKILL");
    }, options.timeout * 1000);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (options.until === undefined || reached !== undefined || !output.includes(options.until)) return;
      reached = since();
      child.kill("SIGKILL");
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => (complaints += text));
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(new BenchError("E_RUN", `${command} can't be started: ${error.message}`, { cause: error }));
    });
    child.on("close", (status) => {
      clearTimeout(timer);
      const said = (complaints || output).trim().split("\n").at(-1) ?? "";
      if (reached !== undefined) resolve({ seconds: reached, output });
      else if (isLate) reject(new BenchError("E_RUN", `${what} took more than ${options.timeout} s`));
      else if (status !== 0)
        reject(new BenchError("E_RUN", `${what} ended with status ${status}${said && `: ${said}`}`));
      else if (options.until !== undefined)
        reject(new BenchError("E_RUN", `${what} ended before it printed "${options.until}"`));
      else resolve({ seconds: since(), output });
    });
  });
}

/**
 * The first line that a tool prints, about its version unless `args` ask for something else; undefined where it isn't
 * installed or fails.
 */
export function toolVersion(tool: string, args: readonly string[] = ["--version"]): string | undefined {
  const run = spawnSync(tool, args, { encoding: "utf8" });
  return run.status === 0 ? run.stdout.split("\n")[0]!.trim() : undefined;
}
