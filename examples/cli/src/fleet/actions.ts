/** What the commands on the daemon do. Loaded when one of them runs: the others start without it. */
import { closeSync, existsSync, writeFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import {
  ApiError,
  type ConsoleConnection,
  type DaemonClient,
  type FleetEvent,
  type PoolView,
  type UpReport,
} from "@hyperfile/broker/client";
import { fileErrorReason, readRegularFile } from "@hyperfile/broker/host";
import { guestKinds } from "@hyperfile/machine/guests";
import type { FleetSurroundings } from "../commands/fleet.js";
import { CliError, errorLine, systemErrorCode } from "../errors.js";
import { openOutput, requireRegular } from "../output-file.js";
import { printableLine } from "../printable.js";
import type { Streams } from "../session.js";
import { openTerminal } from "../terminal.js";
import type { CaptureFlags } from "./capture.js";
import { clientOfRunningDaemon, daemonClient, type StartReport } from "./daemon-client.js";
import type { ExecFlags } from "./exec.js";
import { hostSize } from "./host-size.js";
import { renderReport } from "./report.js";
import type { DaemonFlags } from "./run-daemon.js";
import { ownerOfPool, ownerOfVm, type SettingsOwner, settingsReport } from "./settings-report.js";
import { nicTable, poolTable, vmTable } from "./tables.js";
import { renderTop, TOP_SECONDS } from "./top.js";
import { type Subject, telling } from "./waiting.js";

/** Bytes of a Hyperfile: the daemon takes no larger request. */
const MOST_HYPERFILE_BYTES = 2 ** 21;
/** Names under which a Hyperfile is looked for. */
const fileNames = ["Hyperfile", "Hyperfile.yaml", "hyperfile.yaml", "hyperfile.yml"];
const REFRESH_MS = 1000;
/** Seconds for a command that is typed on a console, unless told otherwise: it may wait for a prompt that never comes. */
const CONSOLE_EXEC_SECONDS = 60;
/** Moves to the upper left corner, and clears the screen (ECMA-48, CUP and ED). */
const CLEAR_SCREEN = Buffer.from("\x1b[H\x1b[2J");
/** What tells a pool from a VM on the command line. */
const POOL_PREFIX = "pool:";
const MOST_HISTORY_SECONDS = 3600;

/** The actions of one run of the program. */
export class FleetActions {
  constructor(private readonly surroundings: FleetSurroundings) {}

  private get client(): DaemonClient {
    return daemonClient(this.surroundings.environment);
  }

  /** Asks the daemon for something that is done with a VM; what it waits for is told. */
  onVm<Result>(vm: string, ask: (client: DaemonClient) => Promise<Result>): Promise<Result> {
    return this.waiting({ vm }, this.client, ask);
  }

  private waiting<Result>(
    of: Subject,
    client: DaemonClient,
    ask: (client: DaemonClient) => Promise<Result>,
  ): Promise<Result> {
    return telling(client, of, (line) => this.surroundings.streams.error(line), ask(client));
  }

  async daemon(flags: DaemonFlags): Promise<number> {
    const { runDaemon } = await import("./run-daemon.js");
    try {
      return await runDaemon(this.surroundings, flags, () => reportStart({ ready: true }));
    } catch (error) {
      await reportStart({ problem: (error as Error).message });
      throw error;
    }
  }

  /** Gives status 1 if one of the VMs has failed, whatever became of the others. */
  async up(file: string | undefined, flags: { restart?: boolean; check?: boolean }): Promise<number> {
    const { write, environment, program, streams } = this.surroundings;
    const source = await readSource(file);
    if (flags.check) {
      const isFile = (path: string) => existsSync(resolve(source.folder, path));
      const { readHyperfile } = await import("@hyperfile/broker");
      const { vms } = await readHyperfile(source.text, source.file, hostSize(), isFile);
      write(`${source.file}: ${vms.length} ${vms.length === 1 ? "VM" : "VMs"}, no mistakes\n`);
      return 0;
    }
    const daemon = await clientOfRunningDaemon(environment, program);
    const { project, actions } = await this.waiting({ project: () => projectOf(file) }, daemon, () =>
      daemon.up({ ...source, restart: flags.restart ?? false }),
    );
    const failed = actions.filter(({ action }) => action === "failed");
    const others = actions.filter(({ action }) => action !== "failed");
    if (others.length > 0 || failed.length === 0) write(upText({ project, actions: others }));
    for (const { name, detail } of failed)
      streams.error(`${errorLine(new Error(`VM ${name}: ${detail}`))}\n`);
    const isWell = actions.every(
      ({ action, detail }) =>
        action !== "failed" && action !== "skipped" && (action !== "ended" || detail === "status 0"),
    );
    return isWell ? 0 : 1;
  }

  async down(file: string | undefined, flags: { force?: boolean; daemon?: boolean }): Promise<void> {
    const daemon = this.client;
    // To end the daemon, there need be no Hyperfile, and a project need not be up.
    const isProject = !flags.daemon || file !== undefined || (await findSource()) !== undefined;
    const stopped = isProject ? await this.stopped(daemon, file, flags) : [];
    for (const name of stopped) this.surroundings.write(`${name} stopped\n`);
    if (flags.daemon) await daemon.shutdown();
  }

  private async stopped(
    daemon: DaemonClient,
    file: string | undefined,
    flags: { force?: boolean; daemon?: boolean },
  ): Promise<string[]> {
    const project = await projectOf(file);
    try {
      return await this.waiting({ project: async () => project }, daemon, () =>
        daemon.down(project, flags.force),
      );
    } catch (error) {
      if (flags.daemon && error instanceof ApiError && error.code === "E_VM_UNKNOWN") return [];
      throw error;
    }
  }

  async ps({ json, pools, nics }: { json?: boolean; pools?: boolean; nics?: boolean }): Promise<void> {
    const { write } = this.surroundings;
    if (json) {
      const list = pools ? await this.client.pools() : await this.client.vms();
      write(`${JSON.stringify(list, undefined, 2)}\n`);
    } else if (pools) write(poolTable(await this.client.pools()));
    else write((nics ? nicTable : vmTable)(await this.client.vms()));
  }

  /** Runs a command through the VM's agent; without one on its console, as far as that can be. */
  async exec(vm: string, words: string[], flags: ExecFlags): Promise<number> {
    const { streams } = this.surroundings;
    const { commandOf, execInGuest } = await import("./exec.js");
    const { GuestAgent } = await import("./guest-agent.js");
    const agent = new GuestAgent(this.client, vm);
    const command = commandOf(words, flags, streams.output);
    try {
      return await execInGuest(agent, command, flags, streams);
    } catch (error) {
      if (!agent.isAbsence(error)) throw agent.reasonOf(error);
      const { message } = error as Error;
      if (words.length === 0 || flags.tty || flags.user || flags.cwd || flags.env)
        throw new CliError(
          "E_DAEMON",
          `VM ${vm} has no agent for this: ${message}; see hyperfile console ${vm}`,
        );
      streams.error(
        `hyperfile: VM ${vm} has no agent that answers (${message}): the command is typed on its console\n`,
      );
      return this.execOnConsole(vm, words, flags);
    }
  }

  /** Copies files into VMs and out of them; gives status 1 if something was left out. */
  async copy(places: string[], { quiet }: { quiet?: boolean }): Promise<number> {
    const { Copier, parsePlace } = await import("./copy.js");
    const { streams } = this.surroundings;
    const redraw = streams.errors?.columns === undefined || quiet ? undefined : streams.redraw;
    const copier = new Copier(this.client, (text) => streams.error(`hyperfile: ${text}\n`), redraw);
    const [target, ...sources] = places.map(parsePlace).reverse();
    if (target === undefined || sources.length === 0)
      throw new CliError(
        "E_USAGE",
        "copy what to where? Write hyperfile cp SOURCE... TARGET, in a VM as VM:PATH",
      );
    for (const source of sources.reverse()) await copier.copy(source, target);
    return copier.done.warnings > 0 ? 1 : 0;
  }

  private async execOnConsole(vm: string, words: string[], { timeout }: ExecFlags): Promise<number> {
    const { streams } = this.surroundings;
    const seconds = timeout ?? CONSOLE_EXEC_SECONDS;
    const { status, output, omitted, errors } = await this.onVm(vm, (client) =>
      client.exec(vm, words.join(" "), seconds * 1000),
    );
    // As the console of which it is a part.
    streams.output.write(Buffer.from(output));
    // The agent has come up meanwhile.
    if (errors !== undefined) (streams.errors ?? streams.output).write(Buffer.from(errors));
    if (omitted !== undefined)
      streams.error(
        `hyperfile: the first ${omitted} characters of the output are not shown: exec keeps the last 4 Mi; let the command write a file, or see hyperfile logs ${vm}\n`,
      );
    return status;
  }

  async logs(vm: string, { bytes, follow }: { bytes: number; follow?: boolean }): Promise<void> {
    const { output } = this.surroundings.streams;
    if (!follow) {
      output.write(await this.client.logs(vm, bytes));
      return;
    }
    const connection = await this.client.console(vm, (part) => output.write(part), { tail: bytes });
    await Promise.race([wholeEnd(connection, vm), lost(output)]);
  }

  /** Prints events: the kept ones, or with `follow` those and what comes, until the daemon ends. */
  async events(
    name: string | undefined,
    { json, follow }: { json?: boolean; follow?: boolean },
  ): Promise<void> {
    const show = (event: FleetEvent) => {
      if (name === undefined || event.name === name)
        this.surroundings.write(`${json ? JSON.stringify(event) : eventLine(event)}\n`);
    };
    const followed = async () => {
      for await (const event of this.client.events(0)) show(event);
    };
    if (follow) await Promise.race([followed(), lost(this.surroundings.streams.output)]);
    else for (const event of await this.client.pastEvents()) show(event);
  }

  async snapshot(
    vm: string,
    name = new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-"),
  ): Promise<void> {
    const { bytes } = await this.onVm(vm, (client) => client.snapshot(vm, name));
    this.surroundings.write(`${vm} saved as ${name}, ${bytes} bytes\n`);
  }

  /** @param words a disk's number, which may be left out, a store's folder and a name */
  async backup(vm: string, words: readonly string[]): Promise<void> {
    const [name, store, disk = "0", ...others] = [...words].reverse();
    if (name === undefined || store === undefined || others.length > 0)
      throw new CliError("E_USAGE", `back up where? Write hyperfile backup ${vm} [DISK] STORE NAME`);
    if (!/^\d{1,3}$/.test(disk))
      throw new CliError("E_USAGE", `"${disk}" is no number of a disk: disks are counted from 0`);
    const { bytes, isWhole } = await this.onVm(vm, (client) =>
      client.backup(vm, Number(disk), resolve(store), name),
    );
    const what = isWhole ? "all of it" : "what has changed";
    this.surroundings.write(`${vm}: disk ${disk} backed up as ${name}, ${what}: ${bytes} bytes\n`);
  }

  async clone(vm: string, name: string, settings: string[]): Promise<void> {
    const { milliseconds } = await this.onVm(vm, (client) => client.clone(vm, name, settings));
    this.surroundings.write(`${name} is a copy of ${vm}, made in ${milliseconds.toFixed(1)} ms\n`);
  }

  /** Lists, adds or removes forwards. */
  async forward(vm: string, words: readonly string[], { card }: { card?: number }): Promise<void> {
    const [what = "list", ...forwards] = words;
    const { client } = this;
    const { write } = this.surroundings;
    if (!["list", "add", "remove"].includes(what) || (what === "list") !== (forwards.length === 0))
      throw new CliError(
        "E_USAGE",
        `write hyperfile forward ${vm} [list], or hyperfile forward ${vm} add 8022:22, or remove in its place`,
      );
    for (const forward of forwards) {
      if (what === "remove") await client.unforward(vm, forward);
      else write(`${(await client.forward(vm, forward, card)).forward}\n`);
    }
    if (what === "list")
      for (const nic of (await client.vm(vm)).nics) for (const each of nic.forwards) write(`${each}\n`);
  }

  /** Captures a network until Ctrl-C, a limit, or its end. */
  async capture(network: string, file: string, flags: CaptureFlags): Promise<number> {
    const { captureNetwork } = await import("./capture.js");
    return captureNetwork(this.client, network, file, flags, this.surroundings.streams);
  }

  /** Changes settings, and tells each before and after. */
  async set(name: string, settings: string[]): Promise<void> {
    const { client } = this;
    const names = settings.map((setting) => setting.split("=", 1)[0]!);
    const isPool = name.startsWith(POOL_PREFIX);
    const pools = await client.pools();
    let [before, after]: (SettingsOwner | undefined)[] = [];
    if (isPool) {
      const pool = name.slice(POOL_PREFIX.length);
      const found = (all: readonly PoolView[]) => all.find((one) => one.name === pool);
      before = found(pools) && ownerOfPool(found(pools)!);
      // The daemon says what is wrong with a name.
      await client.setPool(pool, settings);
      const now = found(await client.pools());
      after = now && ownerOfPool(now);
    } else {
      before = ownerOfVm(await client.vm(name));
      after = ownerOfVm(await client.set(name, settings));
    }
    if (before !== undefined && after !== undefined)
      this.surroundings.write(settingsReport(names, before, { ...after, name }, pools));
  }

  async report(file: string, { seconds }: { seconds: number }): Promise<void> {
    const attempt = (write: () => void) => {
      try {
        write();
      } catch (cause) {
        throw new CliError("E_FILE", `can't write the report to ${file}: ${fileErrorReason(cause)}`, {
          cause,
        });
      }
    };
    attempt(() => requireRegular(file));
    const daemon = this.client;
    const [vms, samples, { version }, events] = await Promise.all([
      daemon.vms(),
      daemon.history(Math.min(seconds, MOST_HISTORY_SECONDS)),
      daemon.version(),
      daemon.pastEvents(),
    ]);
    const page = renderReport({ vms, samples, events, version, now: Date.now() });
    attempt(() => {
      const place = openOutput(file);
      try {
        writeFileSync(place, page);
      } finally {
        closeSync(place);
      }
    });
    this.surroundings.write(`${file}: ${samples.length} samples of ${vms.length} VMs\n`);
  }

  async schema(): Promise<void> {
    const { hyperfileSchema } = await import("@hyperfile/broker");
    this.surroundings.write(`${JSON.stringify(hyperfileSchema(guestKinds), undefined, 2)}\n`);
  }

  /** Shows all VMs, again and again on a terminal. */
  async top(): Promise<void> {
    const { write, streams } = this.surroundings;
    const { client } = this;
    const screen = async () => {
      const [samples, vms] = await Promise.all([client.history(TOP_SECONDS), client.vms()]);
      return renderTop(samples, new Map(vms.map(({ name, pool }) => [name, pool])));
    };
    if (streams.output.columns === undefined) {
      write(await screen());
      return;
    }
    let over = false;
    const end = () => {
      over = true;
    };
    process.once("SIGINT", end);
    void lost(streams.output).then(end);
    while (!over) {
      const text = await screen();
      streams.output.write(CLEAR_SCREEN);
      write(`${text}\nCtrl-C ends\n`);
      await new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
    }
    process.off("SIGINT", end);
  }

  /** Connects the terminal with a VM's console. */
  console(vm: string): Promise<void> {
    return attach(this.client, vm, this.surroundings.streams);
  }
}

/** Tells the command that has started this process, if one has; it hears one report. */
async function reportStart(report: StartReport): Promise<void> {
  if (process.send === undefined || !process.connected) return;
  await new Promise<void>((resolve) => process.send!(report, undefined, {}, () => resolve()));
  if (process.connected) process.disconnect();
}

/** Resolves when nothing can be written any more, which the program's status tells of. */
const lost = (output: Streams["output"]): Promise<void> =>
  new Promise((resolve) => {
    output.on("error", () => resolve());
  });

async function attach(client: DaemonClient, vm: string, streams: Streams): Promise<void> {
  let write: (bytes: Uint8Array) => void = (bytes) => void streams.output.write(bytes);
  const connection = await client.console(vm, (bytes) => write(bytes), { tail: 4096 });
  const terminal = openTerminal({
    input: streams.input,
    output: streams.output,
    isRaw: true,
    send: (bytes) => connection.send(bytes),
    resize: (columns, rows) => connection.resize(columns, rows),
    quit: () => connection.close(),
    notice: (text) => streams.error(text),
  });
  write = (bytes) => terminal.write(bytes);
  try {
    await wholeEnd(connection, vm);
  } finally {
    terminal.close();
  }
}

/** Waits for a console's end. @throws CliError `E_CONSOLE` if it was cut off, so that input or output is missing */
async function wholeEnd(connection: ConsoleConnection, vm: string): Promise<void> {
  const { isCut, reason } = await connection.closed;
  if (isCut)
    throw new CliError("E_CONSOLE", `the console of ${vm} was cut off: ${reason || "the daemon has ended"}`);
}

interface Source {
  readonly text: string;
  readonly file: string;
  readonly folder: string;
}

async function readSource(file: string | undefined): Promise<Source> {
  const source = await findSource(file);
  if (source !== undefined) return source;
  throw new CliError(
    "E_FILE",
    `there is no Hyperfile here: make one of ${fileNames.join(", ")}, or name a file`,
  );
}

/** The file that is named, or that of this folder; undefined if this folder has none. @throws CliError `E_FILE` */
async function findSource(file?: string): Promise<Source | undefined> {
  const candidates = file === undefined ? fileNames : [file];
  for (const name of candidates) {
    try {
      const text = new TextDecoder().decode(await readRegularFile(name, MOST_HYPERFILE_BYTES));
      return { text, file: name, folder: dirname(resolve(name)) };
    } catch (error) {
      if (file === undefined && systemErrorCode(error) === "ENOENT") continue;
      throw new CliError("E_FILE", `can't read the Hyperfile ${name}: ${fileErrorReason(error)}`, {
        cause: error,
      });
    }
  }
  return undefined;
}

/** The project of a Hyperfile, or the name itself where there is no such file. */
async function projectOf(file: string | undefined): Promise<string> {
  try {
    const source = await readSource(file);
    const { projectNameOf, readHyperfile } = await import("@hyperfile/broker");
    const { name } = await readHyperfile(source.text, source.file, hostSize());
    return name ?? projectNameOf(source.folder);
  } catch (error) {
    const isMissing = error instanceof CliError && systemErrorCode(error.cause) === "ENOENT";
    if (file !== undefined && isMissing) return basename(file);
    throw error;
  }
}

/** One line for an event: when, what, whom, and what there is to say. */
function eventLine({ at, kind, name, message }: FleetEvent): string {
  const when = new Date(at).toISOString().slice(0, 19).replace("T", " ");
  return printableLine([when, kind, name, ...(message === undefined ? [] : [message])].join(" "));
}

function upText({ project, actions }: UpReport): string {
  const lines = actions.map(
    ({ name, action, detail }) => `${name} ${action}${detail === undefined ? "" : `: ${detail}`}\n`,
  );
  return `${project}:\n${lines.map((line) => `  ${line}`).join("")}`;
}
