/** The built program with a daemon of a test's own: its state, its surroundings, and its end. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The built program. */
export const program = fileURLToPath(new URL("../bin/hyperfile.mjs", import.meta.url));

/** How a run of the program ended. */
export interface RunResult {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

/** Variables of the environment; undefined takes one away. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** A test's runner has modules found that the program's own folders do not lead to. */
const asUser: Variables = { NODE_PATH: undefined };

/** Without the lines that say what a command waits for: how many there are is the host's speed. */
const withoutWaits = (errors: string): string => errors.replace(/^hyperfile: waiting for .*\n/gm, "");

/** Runs a command line to its end. */
export function runToEnd(
  [command = "", ...args]: readonly string[],
  { cwd, variables, input = "" }: { cwd: string; variables: Variables; input?: string },
): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...asUser, ...variables },
      timeout: 120_000,
      killSignal: "SIGKILL",
    });
    let [output, errors] = ["", ""];
    child.stdout.on("data", (part) => (output += part));
    child.stderr.on("data", (part) => (errors += part));
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, output, errors: withoutWaits(errors) }));
  });
}

/** A daemon in the foreground, whose surroundings are worse than others'. */
export class OwnDaemon {
  /** What it has told. */
  told = "";
  readonly ended: Promise<number | string | null>;
  private constructor(
    private readonly child: ChildProcess,
    readonly folder: string,
    readonly variables: Variables,
  ) {
    child.stderr!.on("data", (part) => (this.told += part));
    this.ended = new Promise((resolve) => {
      child.on("exit", (status, signal) => resolve(signal ?? status));
    });
  }

  /**
   * Starts one.
   * @param folder where commands are run, with the project's Hyperfile
   * @param state its state folder
   * @param before a command line before the program's, such as `prlimit`
   * @param ownSocket whether its socket is outside of the state folder, where it usually is
   * @param surroundings variables in place of those that say where its state and its socket are
   * @throws Error (the promise rejects) with what it told if it ends at once
   */
  static async start(
    folder: string,
    state: string,
    {
      before = [],
      args = [],
      ownSocket = true,
      surroundings = {},
    }: {
      before?: readonly string[];
      args?: readonly string[];
      ownSocket?: boolean;
      surroundings?: Variables;
    } = {},
  ): Promise<OwnDaemon> {
    const variables = {
      HYPERFILE_STATE: state,
      HYPERFILE_SOCKET: ownSocket ? join(folder, "daemon.sock") : undefined,
      XDG_RUNTIME_DIR: undefined,
      ...surroundings,
    };
    const [command, ...rest] = [...before, process.execPath, program, "daemon", ...args];
    const child = spawn(command!, rest, {
      cwd: folder,
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, ...asUser, ...variables },
    });
    const daemon = new OwnDaemon(child, folder, variables);
    let isOver = false;
    void daemon.ended.then(() => {
      isOver = true;
    });
    while (!daemon.told.includes("the daemon answers at")) {
      if (isOver) throw new Error(daemon.told);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return daemon;
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** A VM's log as it is in the state folder, also of one that is not known now: for who looks again and again. */
  log(vm: string): Promise<string> {
    const file = join(this.variables.HYPERFILE_STATE!, "vms", vm, "console.log");
    return readFile(file, "utf8").catch(() => "");
  }

  /** Runs the program as its user would. */
  run(...args: string[]): Promise<RunResult> {
    return runToEnd([process.execPath, program, ...args], { cwd: this.folder, variables: this.variables });
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Ends it, whatever it does. */
  async end(): Promise<void> {
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), 20_000);
    await this.ended;
    clearTimeout(timer);
  }
}
