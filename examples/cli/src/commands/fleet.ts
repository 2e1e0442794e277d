/**
 * The commands that act on the daemon: Hyperfiles up and down, VMs one by one. `up` starts the daemon where none runs;
 * the others need one.
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import { errorLine } from "../errors.js";
import type { FleetActions } from "../fleet/actions.js";
import type { DaemonFlags } from "../fleet/run-daemon.js";
import type { Streams } from "../session.js";
import { parseMemorySize, parseSeconds } from "./options.js";

/** What the commands need from outside. */
export interface FleetSurroundings {
  readonly streams: Streams;
  /** Writes text to standard output. */
  write(text: string): void;
  readonly version: string;
  /** Variables that say where the daemon is. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The command line that is this program, to start the daemon with. */
  readonly program: readonly string[];
}

const DEFAULT_EXEC_SECONDS = 60;
const DEFAULT_REPORT_SECONDS = 3600;
const DEFAULT_LOG_BYTES = 65_536;

/** Where the daemon is, for the help of the commands that start it. */
const placesHelp = `
Logs, snapshots and projects are in the folder HYPERFILE_STATE, else in ~/.local/state/hyperfile (XDG_STATE_HOME); the
daemon answers at the socket HYPERFILE_SOCKET, else in XDG_RUNTIME_DIR, or beside that. All commands look there.`;

/** A whole number from 1 to a billion. @throws InvalidArgumentError for anything else */
function parseCount(text: string): number {
  const count = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > 1e9) throw new InvalidArgumentError("Give a whole number from 1 to a billion.");
  return count;
}

/**
 * Runs one of the actions; gives the exit status.
 * @throws the action's error, unless it has been shown
 */
export async function runFleetAction(
  surroundings: FleetSurroundings,
  action: (actions: FleetActions) => Promise<unknown>,
): Promise<number> {
  const { FleetActions } = await import("../fleet/actions.js");
  try {
    const status = await action(new FleetActions(surroundings));
    return typeof status === "number" ? status : 0;
  } catch (error) {
    const { problems, code } = error as { problems?: readonly unknown[]; code?: string };
    if (code === "E_DAEMON_UNREACHABLE") {
      const remedy = "hyperfile up starts one, or says why not";
      surroundings.streams.error(`${errorLine(error)}; ${remedy}\n`);
      return 1;
    }
    if (problems === undefined || problems.length < 2) throw error;
    // A Hyperfile with several mistakes: all of them, a line each.
    const { problemLines } = await import("../fleet/problems.js");
    for (const line of problemLines(problems)) surroundings.streams.error(`hyperfile: ${line}\n`);
    return 1;
  }
}

/** Adds the commands; `finish` gets the exit status of the one that ran. */
export function addFleetCommands(
  program: Command,
  surroundings: FleetSurroundings,
  finish: (status: number) => void,
): void {
  const act =
    <Args extends unknown[]>(action: (actions: FleetActions, ...args: Args) => Promise<unknown>) =>
    async (...args: Args): Promise<void> =>
      finish(await runFleetAction(surroundings, (actions) => action(actions, ...args)));
  const vmCommand = (name: string, description: string) =>
    program.command(name).description(description).argument("<vm>", "name of the VM");

  program
    .command("daemon")
    .description("run the daemon that keeps VMs; `up` starts it by itself")
    .option("--cores <count>", "cores to share out", parseCount)
    .option("--guest-memory <size>", "machine memory for all guests together", parseMemorySize)
    .option("--quantum <milliseconds>", "longest turn in CPU time (default: 40)", parseCount)
    .option(
      "--idle-exit <seconds>",
      "end after this time without any VM that is up, and any client",
      parseSeconds,
    )
    .addHelpText("after", placesHelp)
    .action(act((actions, flags: DaemonFlags) => actions.daemon(flags)));

  program
    .command("up")
    .description("start the VMs of a Hyperfile, and apply its changes to those that run")
    .argument("[file]", "Hyperfile; the one in this folder by default")
    .option("--restart", "start VMs again whose changes need it")
    .option("--check", "only check the file")
    .addHelpText("after", placesHelp)
    .action(
      act((actions, file: string | undefined, flags: { restart?: boolean; check?: boolean }) =>
        actions.up(file, flags),
      ),
    );

  program
    .command("down")
    .description("stop the VMs of a Hyperfile and forget them; logs and snapshots stay")
    .argument("[file]", "Hyperfile, or name of the project")
    .option("--force", "don't ask the guests")
    .option("--daemon", "end the daemon too")
    .action(
      act((actions, file: string | undefined, flags: { force?: boolean; daemon?: boolean }) =>
        actions.down(file, flags),
      ),
    );

  program
    .command("ps")
    .description("list the VMs")
    .option("--json", "as JSON")
    .option("--pools", "list the pools")
    .action(act((actions, flags: { json?: boolean; pools?: boolean }) => actions.ps(flags)));

  vmCommand("console", "connect this terminal with a VM's console; Ctrl-A x leaves").action(
    act((actions, vm: string) => actions.console(vm)),
  );

  vmCommand("exec", "run a command in a VM; its status becomes the status")
    .argument("<command...>", "command and its arguments")
    .option("--timeout <seconds>", "give up after this time", parseSeconds, DEFAULT_EXEC_SECONDS)
    .passThroughOptions()
    .action(
      act((actions, vm: string, words: string[], flags: { timeout: number }) =>
        actions.exec(vm, words, flags),
      ),
    );

  vmCommand("logs", "show the end of a VM's console log")
    .option("--bytes <count>", "how much of it", parseCount, DEFAULT_LOG_BYTES)
    .option("-f, --follow", "go on with what it prints")
    .action(
      act((actions, vm: string, flags: { bytes: number; follow?: boolean }) => actions.logs(vm, flags)),
    );

  vmCommand("stop", "stop a VM")
    .option("--force", "don't ask the guest")
    .action(
      act((actions, vm: string, { force = false }: { force?: boolean }) =>
        actions.onVm(vm, (client) => client.stop(vm, { force })),
      ),
    );
  vmCommand("pause", "halt a VM; `clock` of its Hyperfile says what its clock does afterwards").action(
    act((actions, vm: string) => actions.onVm(vm, (client) => client.pause(vm))),
  );
  vmCommand("resume", "let a paused VM go on").action(
    act((actions, vm: string) => actions.onVm(vm, (client) => client.resume(vm))),
  );
  vmCommand("reset", "power a VM off and on").action(
    act((actions, vm: string) => actions.onVm(vm, (client) => client.reset(vm))),
  );

  vmCommand("snapshot", "save a VM, which goes on")
    .argument("[name]", "name of the snapshot; the time by default")
    .action(act((actions, vm: string, name: string | undefined) => actions.snapshot(vm, name)));
  vmCommand("restore", "go back to a snapshot; a VM that can't runs on as it was")
    .argument("<snapshot>", "name of the snapshot")
    .action(
      act((actions, vm: string, snapshot: string) =>
        actions.onVm(vm, (client) => client.restore(vm, snapshot)),
      ),
    );
  vmCommand(
    "backup",
    "copy a disk of a VM, which goes on, to an image store: what has changed since the last time",
  )
    .argument(
      "<words...>",
      "[DISK] STORE NAME: number of the disk, 0 by default; the store's folder; a new name there",
    )
    .action(act((actions, vm: string, words: string[]) => actions.backup(vm, words)));
  vmCommand("clone", "copy a running VM")
    .argument("<name>", "name of the copy")
    .argument("[settings...]", "settings of the copy, such as cpu.shares=500")
    .action(
      act((actions, vm: string, name: string, settings: string[]) => actions.clone(vm, name, settings)),
    );

  program
    .command("set")
    .description("change settings at once, such as cpu.shares=4000")
    .argument("<vm>", "name of the VM, or pool:PROJECT/POOL")
    .argument("<settings...>", "NAME=VALUE")
    .action(act((actions, name: string, settings: string[]) => actions.set(name, settings)));

  vmCommand("rm", "forget a VM, with its log and snapshots")
    .option("--force", "even if it runs")
    .action(
      act((actions, vm: string, { force }: { force?: boolean }) =>
        actions.onVm(vm, (client) => client.remove(vm, force ?? false)),
      ),
    );

  program
    .command("events")
    .description("show what happened to VMs and pools, the last of it at the end")
    .argument("[vm]", "only of this VM, or pool as PROJECT/POOL")
    .option("--json", "as JSON, an event a line")
    .option("-f, --follow", "go on with what happens")
    .action(
      act((actions, name: string | undefined, flags: { json?: boolean; follow?: boolean }) =>
        actions.events(name, flags),
      ),
    );

  program
    .command("report")
    .description("write a page with plots of the last hour's run")
    .argument("<file>", "HTML file")
    .addOption(
      new Option("--seconds <count>", "how far back").argParser(parseCount).default(DEFAULT_REPORT_SECONDS),
    )
    .action(act((actions, file: string, flags: { seconds: number }) => actions.report(file, flags)));

  program
    .command("schema")
    .description("print the JSON schema of Hyperfiles, for editors")
    .action(act((actions) => actions.schema()));
}
