/** Finds the user's daemon, and starts it where a command needs one. */
import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ApiError, DaemonClient } from "@hyperfile/broker/client";
import { fileErrorReason, makeFolders, OWNER_ONLY } from "@hyperfile/broker/host";
import { CliError } from "../errors.js";
import { type Environment, socketPath, stateFolder } from "./places.js";
import { thrift } from "./thrift.js";

/** Longest wait for a daemon that was started, in milliseconds. */
const START_TIMEOUT = 20_000;

/** What a daemon tells the command that started it, once: that it answers, or in a line why it does not start. */
export type StartReport = { readonly ready: true } | { readonly problem: string };

/** A client of the user's daemon. */
export const daemonClient = (environment: Environment): DaemonClient =>
  new DaemonClient(socketPath(environment));

/** Whether a daemon answers that has a VM of this name. */
export async function isVm(environment: Environment, name: string): Promise<boolean> {
  try {
    return (await daemonClient(environment).vms()).some((vm) => vm.name === name);
  } catch (error) {
    if (error instanceof ApiError && error.code === "E_DAEMON_UNREACHABLE") return false;
    throw error;
  }
}

/**
 * A client of a daemon that answers: one is started if there is none.
 * @param program the command line that is this program
 * @throws CliError `E_DAEMON` (the promise rejects) with the reason if it doesn't start
 */
export async function clientOfRunningDaemon(
  environment: Environment,
  program: readonly string[],
): Promise<DaemonClient> {
  const client = daemonClient(environment);
  if (await answers(client)) return client;
  const log = join(stateFolder(environment), "daemon.log");
  const problem = await startDaemon(environment, program, log);
  // Another command may have started one at the same moment.
  if (problem === undefined || (await answers(client))) return client;
  throw new CliError("E_DAEMON", `the daemon does not start: ${problem}`);
}

/** Starts a daemon that outlives this program; gives what keeps it from answering. */
async function startDaemon(
  environment: Environment,
  program: readonly string[],
  path: string,
): Promise<string | undefined> {
  const log = await openLog(path);
  const output = log?.fd ?? "ignore";
  const [command = process.execPath, ...args] = program;
  const child = spawn(command, [...args, "daemon"], {
    detached: true,
    stdio: ["ignore", output, output, "ipc"],
    env: { ...thrift, ...environment } as NodeJS.ProcessEnv,
    cwd: "/",
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<string | undefined>((resolve) => {
      child.on("message", (report: StartReport) => resolve("problem" in report ? report.problem : undefined));
      child.on("error", (error) => resolve(fileErrorReason(error)));
      child.on("exit", (status, signal) =>
        resolve(`it ended with ${signal ?? `status ${status}`}: see ${path}`),
      );
      timer = setTimeout(
        () => resolve(`it has not answered for ${START_TIMEOUT / 1000} s: see ${path}`),
        START_TIMEOUT,
      );
    });
  } finally {
    clearTimeout(timer);
    if (child.connected) child.disconnect();
    child.unref();
    await log?.close();
  }
}

/** The daemon's log; undefined where it can't be written, of which the daemon will say more. */
async function openLog(path: string): Promise<FileHandle | undefined> {
  try {
    await makeFolders(dirname(path), OWNER_ONLY);
    return await open(
      path,
      constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NONBLOCK,
      0o600,
    );
  } catch {
    return undefined;
  }
}

async function answers(client: DaemonClient): Promise<boolean> {
  try {
    await client.version();
    return true;
  } catch {
    return false;
  }
}
