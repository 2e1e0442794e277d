/**
 * The commands that act on the daemon: Hyperfiles up and down, VMs one by one. `up` starts the daemon where none runs;
 * the others need one.
 */
import { readFile, writeFile } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";
import { basename, dirname, resolve } from "node:path";
import { hyperfileSchema, readHyperfile } from "@hyperfile/broker";
import { ApiError, Daemon, type DaemonClient, projectNameOf, type UpReport } from "@hyperfile/broker/node";
import { type Command, InvalidArgumentError, Option } from "commander";
import { CliError, fileErrorReason, systemErrorCode } from "../errors.js";
import {
  clientOfRunningDaemon,
  daemonClient,
  type Environment,
  socketPath,
  stateFolder,
} from "../fleet/daemon-client.js";
import { renderReport } from "../fleet/report.js";
import { poolTable, vmTable } from "../fleet/tables.js";
import { renderTop, TOP_SECONDS } from "../fleet/top.js";
import type { Streams } from "../session.js";
import { openTerminal } from "../terminal.js";
import { parseMemorySize, parseSeconds } from "./options.js";

/** What the commands need from outside. */
export interface FleetSurroundings {
  readonly streams: Streams;
  /** Writes text to standard output. */
  write(text: string): void;
  readonly version: string;
  readonly environment: Environment;
  /** The command line that is this program, to start the daemon with. */
  readonly program: readonly string[];
}

/** Names under which a Hyperfile is looked for. */
const fileNames = ["Hyperfile", "Hyperfile.yaml", "hyperfile.yaml", "hyperfile.yml"];
const DEFAULT_EXEC_SECONDS = 60;
/** Part of the host's memory that guests may have together. */
const MEMORY_PART = 0.8;
const REFRESH_MS = 1000;

/** A whole number from 1 to a billion. @throws InvalidArgumentError for anything else */
function parseCount(text: string): number {
  const count = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > 1e9) throw new InvalidArgumentError("Give a whole number from 1 to a billion.");
  return count;
}

/** Adds the commands; `finish` gets the exit status of the one that ran. */
export function addFleetCommands(
  program: Command,
  surroundings: FleetSurroundings,
  finish: (status: number) => void,
): void {
  const { write, environment, streams } = surroundings;
  const client = () => daemonClient(environment);
  /** Runs an action of a command, which succeeds unless it throws or gives a status. */
  const act =
    <Args extends unknown[]>(action: (...args: Args) => Promise<unknown>) =>
    async (...args: Args): Promise<void> => {
      try {
        const status = await action(...args);
        finish(typeof status === "number" ? status : 0);
      } catch (error) {
        if (!(error instanceof ApiError) || error.problems.length < 2) throw withRemedy(error);
        // A Hyperfile with several mistakes: all of them, a line each.
        for (const problem of error.problems) streams.error(`hyperfile: ${problem}\n`);
        finish(1);
      }
    };
  const vmCommand = (name: string, description: string) =>
    program.command(name).description(description).argument("<vm>", "name of the VM");

  program
    .command("daemon")
    .description("run the daemon that keeps VMs; `up` starts it by itself")
    .option("--cores <count>", "cores to share out", parseCount)
    .option("--guest-memory <size>", "memory for all guests together, for admission", parseMemorySize)
    .option("--quantum <milliseconds>", "CPU time of one turn", parseCount)
    .action(act((flags: DaemonFlags) => runDaemon(flags, surroundings)));

  program
    .command("up")
    .description("start the VMs of a Hyperfile, and apply its changes to those that run")
    .argument("[file]", `Hyperfile; ${fileNames.join(", ")} of this folder by default`)
    .option("--restart", "start VMs again whose changes need it")
    .option("--check", "only check the file")
    .action(
      act(async (file: string | undefined, flags: { restart?: boolean; check?: boolean }) => {
        const source = await readSource(file);
        if (flags.check) {
          const { vms } = readHyperfile(source.text, source.file, hostSize());
          write(`${source.file}: ${vms.length} ${vms.length === 1 ? "VM" : "VMs"}, no mistakes\n`);
          return;
        }
        const daemon = await clientOfRunningDaemon(environment, surroundings.program);
        write(upText(await daemon.up({ ...source, restart: flags.restart ?? false })));
      }),
    );

  program
    .command("down")
    .description("stop the VMs of a Hyperfile and forget them; logs and snapshots stay")
    .argument("[file]", "Hyperfile, or name of the project")
    .option("--force", "don't ask the guests")
    .option("--daemon", "end the daemon too")
    .action(
      act(async (file: string | undefined, flags: { force?: boolean; daemon?: boolean }) => {
        const daemon = client();
        const stopped = await daemon.down(await projectOf(file), flags.force).catch((error) => {
          // To end the daemon, a project need not be up.
          if (flags.daemon && error instanceof ApiError && error.code === "E_VM_UNKNOWN") return [];
          throw error;
        });
        for (const name of stopped) write(`${name} stopped\n`);
        if (flags.daemon) await daemon.shutdown();
      }),
    );

  program
    .command("ps")
    .description("list the VMs")
    .option("--json", "as JSON")
    .option("--pools", "list the pools")
    .action(
      act(async ({ json, pools }: { json?: boolean; pools?: boolean }) => {
        const list = pools ? await client().pools() : await client().vms();
        if (json) write(`${JSON.stringify(list, undefined, 2)}\n`);
        else write(pools ? poolTable(await client().pools()) : vmTable(await client().vms()));
      }),
    );

  vmCommand("console", "connect this terminal with a VM's console; Ctrl-A x leaves").action(
    act((vm: string) => attach(client(), vm, streams)),
  );

  vmCommand("exec", "run a command in a VM; its status becomes the status")
    .argument("<command...>", "command and its arguments")
    .option("--timeout <seconds>", "give up after this time", parseSeconds, DEFAULT_EXEC_SECONDS)
    .passThroughOptions()
    .action(
      act(async (vm: string, words: string[], { timeout }: { timeout: number }) => {
        const { status, output } = await client().exec(vm, words.join(" "), timeout * 1000);
        write(output);
        return status;
      }),
    );

  vmCommand("logs", "show the end of a VM's console log")
    .option("--bytes <count>", "how much of it", parseCount, 65_536)
    .option("-f, --follow", "go on with what it prints")
    .action(
      act(async (vm: string, { bytes, follow }: { bytes: number; follow?: boolean }) => {
        if (!follow) {
          streams.output.write(await client().logs(vm, bytes));
          return;
        }
        const connection = await client().console(vm, (part) => streams.output.write(part), { tail: bytes });
        await connection.closed;
      }),
    );

  vmCommand("poweron", "start a VM that is off").action(act((vm: string) => client().start(vm)));
  vmCommand("stop", "stop a VM")
    .option("--force", "don't ask the guest")
    .action(
      act((vm: string, { force }: { force?: boolean }) => client().stop(vm, { force: force ?? false })),
    );
  vmCommand("pause", "halt a VM; its clock stands still").action(act((vm: string) => client().pause(vm)));
  vmCommand("resume", "let a paused VM go on").action(act((vm: string) => client().resume(vm)));
  vmCommand("reset", "power a VM off and on").action(act((vm: string) => client().reset(vm)));

  vmCommand("snapshot", "save a VM, which goes on")
    .argument("[name]", "name of the snapshot; the time by default")
    .action(
      act(async (vm: string, name = new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-")) => {
        const { bytes } = await client().snapshot(vm, name);
        write(`${vm} saved as ${name}, ${bytes} bytes\n`);
      }),
    );
  vmCommand("restore", "go back to a snapshot")
    .argument("<snapshot>", "name of the snapshot")
    .action(
      act(async (vm: string, snapshot: string) => {
        const daemon = client();
        const { snapshots, state } = await daemon.vm(vm);
        // A name that does not exist must not cost the VM its present state.
        if (snapshots.some(({ name }) => name === snapshot) && state !== "off" && state !== "crashed")
          await daemon.stop(vm, { force: true });
        await daemon.start(vm, snapshot);
      }),
    );
  vmCommand("clone", "copy a running VM")
    .argument("<name>", "name of the copy")
    .argument("[settings...]", "settings of the copy, such as cpu.shares=500")
    .action(
      act(async (vm: string, name: string, settings: string[]) => {
        const { milliseconds } = await client().clone(vm, name, settings);
        write(`${name} is a copy of ${vm}, made in ${milliseconds.toFixed(1)} ms\n`);
      }),
    );

  program
    .command("set")
    .description("change settings at once, such as cpu.shares=4000")
    .argument("<vm>", "name of the VM, or pool:PROJECT/POOL")
    .argument("<settings...>", "NAME=VALUE")
    .action(
      act(async (name: string, settings: string[]) => {
        if (name.startsWith("pool:")) await client().setPool(name.slice("pool:".length), settings);
        else await client().set(name, settings);
      }),
    );

  vmCommand("rm", "forget a VM, with its log and snapshots")
    .option("--force", "even if it runs")
    .action(act((vm: string, { force }: { force?: boolean }) => client().remove(vm, force ?? false)));

  program
    .command("report")
    .description("write a page with plots of the last hour's run")
    .argument("<file>", "HTML file")
    .addOption(new Option("--seconds <count>", "how far back").argParser(parseCount).default(3600))
    .action(
      act(async (file: string, { seconds }: { seconds: number }) => {
        const daemon = client();
        const [vms, samples, { version }] = await Promise.all([
          daemon.vms(),
          daemon.history(seconds),
          daemon.version(),
        ]);
        const page = renderReport({ vms, samples, events: [], version, now: Date.now() });
        await writeFile(file, page).catch((error) => {
          throw new CliError("E_FILE", `can't write the report to ${file}: ${fileErrorReason(error)}`, {
            cause: error,
          });
        });
        write(`${file}: ${samples.length} samples of ${vms.length} VMs\n`);
      }),
    );

  program
    .command("schema")
    .description("print the JSON schema of Hyperfiles, for editors")
    .action(act(async () => write(`${JSON.stringify(hyperfileSchema, undefined, 2)}\n`)));
}

/** Options of `daemon`. */
interface DaemonFlags {
  readonly cores?: number;
  readonly guestMemory?: number;
  readonly quantum?: number;
}

const hostSize = () => ({
  cores: availableParallelism(),
  memoryBytes: Math.floor(totalmem() * MEMORY_PART),
});

async function runDaemon(
  flags: DaemonFlags,
  { environment, version, streams }: FleetSurroundings,
): Promise<void> {
  const size = hostSize();
  const socket = socketPath(environment);
  const daemon = await Daemon.start({
    socket,
    folder: stateFolder(environment),
    threadProgram: new URL("./vm-thread.js", import.meta.url),
    version,
    cores: flags.cores ?? size.cores,
    memoryBytes: flags.guestMemory ?? size.memoryBytes,
    ...(flags.quantum === undefined ? {} : { quantumMs: flags.quantum }),
  });
  streams.error(`hyperfile: the daemon answers at ${socket}\n`);
  const end = () => void daemon.close();
  process.once("SIGINT", end);
  process.once("SIGTERM", end);
  await daemon.closed;
  process.off("SIGINT", end);
  process.off("SIGTERM", end);
}

/**
 * Shows all VMs, again and again on a terminal.
 * @throws ApiError if no daemon answers
 */
export async function fleetTop({ write, environment, streams }: FleetSurroundings): Promise<number> {
  const client = daemonClient(environment);
  const screen = async () => {
    const [samples, vms] = await Promise.all([client.history(TOP_SECONDS), client.vms()]);
    return renderTop(samples, new Map(vms.map(({ name, pool }) => [name, pool])));
  };
  if (streams.output.columns === undefined) {
    write(await screen());
    return 0;
  }
  let over = false;
  const end = () => {
    over = true;
  };
  process.once("SIGINT", end);
  while (!over) {
    write(`\x1b[H\x1b[2J${await screen()}\nCtrl-C ends\n`);
    await new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
  }
  process.off("SIGINT", end);
  return 0;
}

async function attach(client: DaemonClient, vm: string, streams: Streams): Promise<number> {
  let write: (bytes: Uint8Array) => void = (bytes) => void streams.output.write(bytes);
  const connection = await client.console(vm, (bytes) => write(bytes), { tail: 4096 });
  const terminal = openTerminal({
    input: streams.input,
    output: streams.output,
    isRaw: true,
    send: (bytes) => {
      connection.send(bytes);
      return bytes.length;
    },
    resize: (columns, rows) => connection.resize(columns, rows),
    quit: () => connection.close(),
    notice: (text) => streams.error(text),
  });
  write = (bytes) => terminal.write(bytes);
  await connection.closed;
  terminal.close();
  return 0;
}

interface Source {
  readonly text: string;
  readonly file: string;
  readonly folder: string;
}

async function readSource(file: string | undefined): Promise<Source> {
  const candidates = file === undefined ? fileNames : [file];
  for (const name of candidates) {
    try {
      const text = await readFile(name, "utf8");
      return { text, file: name, folder: dirname(resolve(name)) };
    } catch (error) {
      if (file === undefined && systemErrorCode(error) === "ENOENT") continue;
      throw new CliError("E_FILE", `can't read the Hyperfile ${name}: ${fileErrorReason(error)}`, {
        cause: error,
      });
    }
  }
  throw new CliError(
    "E_FILE",
    `there is no Hyperfile here: make one of ${fileNames.join(", ")}, or name a file`,
  );
}

/** The project of a Hyperfile, or the name itself where there is no such file. */
async function projectOf(file: string | undefined): Promise<string> {
  try {
    const source = await readSource(file);
    const { name } = readHyperfile(source.text, source.file, hostSize());
    return name ?? projectNameOf(source.folder);
  } catch (error) {
    if (file !== undefined && error instanceof CliError && /no such file/.test(error.message))
      return basename(file);
    throw error;
  }
}

function upText({ project, actions }: UpReport): string {
  const lines = actions.map(
    ({ name, action, detail }) => `${name} ${action}${detail === undefined ? "" : `: ${detail}`}\n`,
  );
  return `${project}:\n${lines.map((line) => `  ${line}`).join("")}`;
}

/** An error of the daemon's with what to do about it. */
function withRemedy(error: unknown): unknown {
  if (error instanceof ApiError && error.code === "E_DAEMON_UNREACHABLE" && !error.message.includes("see "))
    return new ApiError(error.code, `${error.message}: hyperfile up starts one`);
  return error;
}
