/**
 * The commands that act on the daemon: Hyperfiles up and down, VMs one by one. `up` starts the daemon where none runs;
 * the others need one.
 */
import { parseSize } from "@hyperfile/broker/host";
import { type Command, InvalidArgumentError, Option } from "commander";
import { errorLine } from "../errors.js";
import type { FleetActions } from "../fleet/actions.js";
import type { CaptureFlags } from "../fleet/capture.js";
import type { ExecFlags } from "../fleet/exec.js";
import type { DaemonFlags } from "../fleet/run-daemon.js";
import type { Streams } from "../session.js";
import { addAllowed, addOrigin, parseWeb, webHelp } from "../web-flags.js";
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

const DEFAULT_REPORT_SECONDS = 3600;
const DEFAULT_LOG_BYTES = 65_536;

/** Where the daemon is, for the help of the commands that start it. */
const placesHelp = `
Logs, snapshots and projects are in the folder HYPERFILE_STATE, else in ~/.local/state/hyperfile (XDG_STATE_HOME); the
daemon answers at the socket HYPERFILE_SOCKET, else in XDG_RUNTIME_DIR, or beside that. All commands look there.`;

/** What exec does where. */
const execHelp = `
The command runs through the agent of the VM's guest, beside its console, as many at a time as there are. Its status is
this command's: 128 and the signal's number where a signal ended it, 127 where there is no such program, 126 where it
can't be run. Where a guest has no agent, the words are typed on its console, one command after another, and a line
on standard error says so.`;

/** What a capture shows. */
const captureHelp = `
NETWORK is a name under networks of a Hyperfile, or PROJECT/NETWORK where several projects have one of that name. Each frame is
there once, on the interface of the VM, or of the gateway, that has sent it; with --vm, what this VM sends and what it
gets. Frames are as guests send them: where a guest leaves checksums and cutting to segments to its card, as Linux
does, there is no checksum yet, and segments are longer than the MTU. It ends at Ctrl-C, at a limit, and when no VM of the
network is up any more. The network never waits: frames that come faster than they can be written are dropped and
counted, in the file as well. To look at once: hyperfile capture NETWORK - | tshark -r -`;

/** Adds a variable to those that were given. @throws InvalidArgumentError for what is none */
function parseVariable(text: string, before: readonly string[] = []): readonly string[] {
  if (!/^[^=\0]+=/.test(text)) throw new InvalidArgumentError("Write NAME=VALUE.");
  return [...before, text];
}

/** A whole number from 1 to a billion. @throws InvalidArgumentError for anything else */
function parseCount(text: string): number {
  const count = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > 1e9) throw new InvalidArgumentError("Give a whole number from 1 to a billion.");
  return count;
}

/** A card's number. @throws InvalidArgumentError for anything else */
function parseCard(text: string): number {
  if (!/^\d{1,2}$/.test(text)) throw new InvalidArgumentError("Cards are counted from 0.");
  return Number(text);
}

/** Bytes that are kept of a frame. @throws InvalidArgumentError for anything but 1 to 262144 */
function parseSnapLength(text: string): number {
  const bytes = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (bytes < 1 || bytes > 0x40000) throw new InvalidArgumentError("Give 1 to 262144 bytes.");
  return bytes;
}

/** Size of a capture. @throws InvalidArgumentError for anything but a size of at least 1K */
function parseCaptureSize(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined || bytes < 1024)
    throw new InvalidArgumentError("Give a number and a unit, such as 100M, of at least 1K.");
  return bytes;
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
    .option("--web [place]", "lead web pages out through this computer, at ADDRESS:PORT", parseWeb)
    .option(
      "--web-origin <origin>",
      "let pages of this site use it, beside those of this computer",
      addOrigin,
    )
    .option("--web-allow <place>", "let pages reach TO[:PORT[-PORT]], which is not public", addAllowed)
    .addHelpText("after", webHelp + placesHelp)
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
    .option("--nics", "list the network cards, with addresses, forwards and what went through them")
    .action(act((actions, flags: { json?: boolean; pools?: boolean; nics?: boolean }) => actions.ps(flags)));

  vmCommand("console", "connect this terminal with a VM's console; Ctrl-A x leaves").action(
    act((actions, vm: string) => actions.console(vm)),
  );

  vmCommand("exec", "run a command in a VM: with its streams, signals and status as if it ran here")
    .argument(
      "<command...>",
      "command and its arguments, passed as they are; sh -c '...' for a line of the shell",
    )
    .option("-t, --tty", "give it a terminal; Enter ~ . leaves one that does not answer")
    .option("-e, --env <name=value>", "a variable of its environment; may be repeated", parseVariable)
    .option("--cwd <folder>", "its working folder; the user's home by default")
    .option("-u, --user <user>", "USER or USER:GROUP, names or numbers; root by default")
    .option("-n, --no-input", "give it no input")
    .option("--timeout <seconds>", "end it after this time", parseSeconds)
    .addHelpText("after", execHelp)
    .passThroughOptions()
    .action(act((actions, vm: string, words: string[], flags: ExecFlags) => actions.exec(vm, words, flags)));

  vmCommand("shell", "run a shell in a VM on this terminal; Enter ~ . leaves one that does not answer")
    .option("-u, --user <user>", "USER or USER:GROUP, names or numbers; root by default")
    .action(
      act((actions, vm: string, { user }: { user?: string }) =>
        actions.exec(vm, [], { tty: true, input: true, ...(user === undefined ? {} : { user }) }),
      ),
    );

  program
    .command("cp")
    .description("copy files and folders into a VM, out of it, or from one into another")
    .argument(
      "<places...>",
      "SOURCE... TARGET: paths here, or VM:PATH; a folder that is there takes the sources",
    )
    .option("-q, --quiet", "show no progress")
    .action(act((actions, places: string[], flags: { quiet?: boolean }) => actions.copy(places, flags)));

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

  vmCommand("forward", "let ports of this computer lead to a VM: list, add or remove forwards")
    .argument("[words...]", "list; add FORWARD...; remove FORWARD..., such as 8022:22 or udp:0.0.0.0:53:53")
    .option("--card <number>", "network card that added ones lead to, from 0", parseCard)
    .action(
      act((actions, vm: string, words: string[], flags: { card?: number }) =>
        actions.forward(vm, words, flags),
      ),
    );

  program
    .command("capture")
    .description("write what passes a network of VMs to a pcapng file, for Wireshark and tcpdump")
    .argument("<network>", "name of the network")
    .argument("<file>", "a new file; - for standard output")
    .option("--vm <name>", "only what this VM sends and gets")
    .option("--seconds <count>", "end after this time", parseSeconds)
    .option("--bytes <size>", "end before the file is larger than this", parseCaptureSize)
    .option("--snaplen <bytes>", "keep so many bytes of a frame; all by default", parseSnapLength)
    .addHelpText("after", captureHelp)
    .action(
      act((actions, network: string, file: string, flags: CaptureFlags) =>
        actions.capture(network, file, flags),
      ),
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
