/** Finds the user's daemon, and starts it where a command needs one. */
import { spawn } from "node:child_process";
import { mkdirSync, openSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { ApiError, DaemonClient } from "@hyperfile/broker/client";

/** Variables of the environment that say where things are. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Folder for logs, snapshots and projects: `HYPERFILE_STATE`, else the user's folder for state (XDG). */
export function stateFolder(environment: Environment): string {
  const { HYPERFILE_STATE, XDG_STATE_HOME } = environment;
  return HYPERFILE_STATE ?? join(XDG_STATE_HOME ?? join(homedir(), ".local", "state"), "hyperfile");
}

/** The daemon's socket: `HYPERFILE_SOCKET`, else in the user's runtime folder, else beside the state. */
export function socketPath(environment: Environment): string {
  const { HYPERFILE_SOCKET, HYPERFILE_STATE, XDG_RUNTIME_DIR } = environment;
  if (HYPERFILE_SOCKET !== undefined) return HYPERFILE_SOCKET;
  if (HYPERFILE_STATE !== undefined || XDG_RUNTIME_DIR === undefined)
    return join(stateFolder(environment), "daemon.sock");
  return join(XDG_RUNTIME_DIR, "hyperfile", "daemon.sock");
}

/** Longest wait for a daemon that was started, in milliseconds, and between two attempts. */
const [START_TIMEOUT, RETRY] = [20_000, 50];

/** A client of the user's daemon. */
export const daemonClient = (environment: Environment): DaemonClient =>
  new DaemonClient(socketPath(environment));

/**
 * A client of a daemon that answers: one is started if there is none.
 * @param program the command line that is this program
 * @throws ApiError `E_DAEMON_UNREACHABLE` if it doesn't answer in time; its log says why
 */
export async function clientOfRunningDaemon(
  environment: Environment,
  program: readonly string[],
): Promise<DaemonClient> {
  const client = daemonClient(environment);
  if (await answers(client)) return client;
  const folder = stateFolder(environment);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const log = join(folder, "daemon.log");
  const output = openSync(log, "a", 0o600);
  const [command = process.execPath, ...args] = program;
  const child = spawn(command, [...args, "daemon"], {
    detached: true,
    stdio: ["ignore", output, output],
    env: environment as NodeJS.ProcessEnv,
    cwd: "/",
  });
  let ended = false;
  child.on("exit", () => {
    ended = true;
  });
  child.unref();
  const started = performance.now();
  while (performance.now() - started < START_TIMEOUT && !ended) {
    if (await answers(client)) return client;
    await new Promise((resolve) => setTimeout(resolve, RETRY));
  }
  // Another command may have started one at the same moment.
  if (await answers(client)) return client;
  throw new ApiError("E_DAEMON_UNREACHABLE", `the daemon does not start: see ${log}`);
}

async function answers(client: DaemonClient): Promise<boolean> {
  try {
    await client.version();
    return true;
  } catch {
    return false;
  }
}
