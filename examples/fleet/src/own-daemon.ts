/**
 * A daemon for one run of an example: its state lies in a temporary folder, so that its VMs and the user's never meet,
 * and both are gone when the run ends, however it ends.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { DaemonClient } from "@hyperfile/broker/node";

/** The program, seen from an example's source and from its build. */
const program = fileURLToPath(new URL("../../cli/bin/hyperfile.mjs", import.meta.url));

/** A daemon of the run's own. */
export interface OwnDaemon {
  readonly client: DaemonClient;
  /**
   * Runs `hyperfile` with these arguments against this daemon; gives what it printed.
   * @throws Error with the program's message if its status is not 0
   */
  hyperfile(...args: string[]): Promise<string>;
}

/**
 * Brings a Hyperfile up in a daemon of its own, calls `use`, and ends the daemon with all its VMs.
 * @throws Error with the messages of `hyperfile up`, and what `use` throws
 */
export async function withOwnDaemon(
  hyperfileText: string,
  use: (daemon: OwnDaemon) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "hf-"));
  const state = join(folder, "state");
  const file = join(folder, "Hyperfile");
  const hyperfile = (...args: string[]) => run(args, { ...process.env, HYPERFILE_STATE: state });
  // Ctrl-C ends the commands that are under way, and with their errors the run.
  const interrupted = new Promise<never>((_, reject) => {
    process.once("SIGINT", () => reject(new Error("interrupted")));
  });
  try {
    await writeFile(file, hyperfileText);
    await Promise.race([
      interrupted,
      (async () => {
        await hyperfile("up", file);
        await use({ client: new DaemonClient(join(state, "daemon.sock")), hyperfile });
      })(),
    ]);
  } finally {
    // Where no daemon came up there is none to end.
    await hyperfile("down", file, "--force", "--daemon").catch(() => {});
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

function run(args: readonly string[], environment: NodeJS.ProcessEnv): Promise<string> {
  const { HYPERFILE_SOCKET: _, ...env } = environment;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
    let [output, errors] = ["", ""];
    child.stdout.on("data", (part) => (output += part));
    child.stderr.on("data", (part) => (errors += part));
    child.on("error", reject);
    child.on("close", (status) => {
      if (status === 0) resolve(output);
      else reject(new Error(errors.trim() || `hyperfile ${args[0]} ended with status ${status}`));
    });
  });
}

/**
 * The kernel that an example's guests boot: Debian where `npm start` has fetched it into the cache, else the embedded
 * guest, after `notice` was told why.
 */
export function chooseKernel(isEmbedded: boolean, notice: (text: string) => void): "debian" | "embedded" {
  if (isEmbedded) return "embedded";
  const { XDG_CACHE_HOME: base } = process.env;
  const cache = join(base !== undefined && isAbsolute(base) ? base : join(homedir(), ".cache"), "hyperfile");
  if (existsSync(join(cache, "debian-trixie-riscv64", "manifest.json"))) return "debian";
  notice(`Debian's files are not in ${cache}: npm start fetches them. The embedded guest stands in.`);
  return "embedded";
}

/** The positive number that follows `name` among a program's arguments, or `otherwise`. @throws Error for another value */
export function numberOption(args: readonly string[], name: string, otherwise: number): number {
  const at = args.indexOf(name);
  if (at < 0) return otherwise;
  const value = Number(args[at + 1]);
  if (!(value > 0)) throw new Error(`${name} needs a number above 0`);
  return value;
}
