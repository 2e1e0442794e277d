/**
 * The command line: commands, options and help. Every mistake of the user's ends as one line on standard
 * error; commander's own texts are brought into that form.
 */

import { dumpKinds, tiers } from "@hyperfile/jit/names";
import { isaWidths } from "@hyperfile/machine/guests";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { addFleetCommands, runFleetAction } from "./commands/fleet.js";
import type { BuildImage } from "./commands/image-build.js";
import { disasm, explain, type InspectFlags } from "./commands/inspect.js";
import {
  parseAddress,
  parseAddressRange,
  parseCount,
  parseDumpKinds,
  parseMemorySize,
  parsePort,
  parseSeconds,
} from "./commands/options.js";
import { type RunFlags, run } from "./commands/run.js";
import { type StartFlags, type StartSurroundings, SYSTEM, start, startSystem } from "./commands/start.js";
import { type TopFlags, top } from "./commands/top.js";
import { type DriveFlags, driveUsage, parseDrive } from "./drive-flags.js";
import { CliError, errorLine } from "./errors.js";
import { explainedBackends } from "./machine-types.js";
import { type NetFlags, netUsage, parseNet } from "./net-flags.js";
import { printable } from "./printable.js";
import type { Streams } from "./session.js";
import { parseShare, type ShareFlags, shareUsage } from "./share-flags.js";
import { escapeHelp } from "./terminal.js";

/** The program's surroundings. */
export interface ProgramSurroundings extends StartSurroundings {
  /** Standard streams. */
  streams: Streams;
  /** Writes text to standard output. */
  write(text: string): void;
  /** The program's version. */
  version: string;
  /** Variables that say where the daemon is; the process's by default. */
  environment?: Readonly<Record<string, string | undefined>>;
  /** Builds a system image; the real one unless a test says otherwise. */
  buildImage?: BuildImage;
  /** The command line that is this program, to start the daemon with. */
  program?: readonly string[];
}

/** Adds the options that every command which runs a machine has. */
function withMachineOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--memory <size>", "memory of the machine")
        .argParser(parseMemorySize)
        .default(parseMemorySize("256M"), "256M"),
    )
    .option("--timeout <seconds>", "end the run after this time, with status 124", parseSeconds)
    .option("--no-tty", "don't take over the terminal: pass standard input through as it is")
    .addOption(new Option("--tier <tier>", "what runs guest code").choices(tiers).default("auto"))
    .option("--stats <file>", "write counters as JSON when the run ends")
    .option("--gdb <port>", "wait for a debugger on this TCP port", parsePort)
    .addOption(
      new Option("--verify-emitted <part>", "which emitted functions are verified before they run")
        .choices(["all", "sampled", "off"])
        .default("sampled"),
    )
    .option("--dump <kinds>", `dump what the translator does: ${dumpKinds.join(", ")}`, parseDumpKinds)
    .option(
      "--filter <range>",
      "dump only what touches these guest-virtual addresses: ADDR+LEN",
      parseAddressRange,
    )
    .option("--dump-file <file>", "file for the dump; standard error by default")
    .option("--no-chain", "make regions of single blocks, which return to the interpreter or the dispatcher")
    .option(
      "--drive <drive>",
      `a disk, in the next virtio slot: ${driveUsage}; may be repeated`,
      (text: string, before?: readonly DriveFlags[]) => parseDrive(text, before),
    )
    .option(
      "--share <share>",
      `a folder of this computer's, in the next virtio slot behind the disks: ${shareUsage}; may be repeated`,
      (text: string, before?: readonly ShareFlags[]) => parseShare(text, before),
    )
    .option(
      "--net <network>",
      `a network card with a way out, in the virtio slot behind disks and folders: ${netUsage}`,
      (text: string, before?: NetFlags) => parseNet(text, before),
    )
    .option("--profile [file]", "write a profile every second, for hyperfile top")
    .option("--deterministic", "let guest time follow the instruction count");
}

/** What the dumps are. */
const dumpHelp = `Dumps, one or several with commas between them:
  insn  guest assembly of each block when it is translated
  ir    its IR; opt: the same after the passes
  emit  the JavaScript or WebAssembly made of it, as text
  exit  each return to the dispatcher: why, and the program counter
  mmu   each page that enters a TLB: virtual and physical address, permission, mode
  irq   exceptions and interrupts: cause, epc, tval, modes
Code that is never translated does not show in insn, ir, opt and emit. With --no-chain a region is one block, which
returns to the dispatcher or the interpreter; a block that jumps to itself still loops inside its region.`;

/** Memory of the whole system, unless something else is asked for: systemd and apt want more than a shell. */
const SYSTEM_MEMORY = parseMemorySize("1G");

/** What the whole system is. */
const systemHelp = `hyperfile start ${SYSTEM} boots Debian with systemd and apt from a disk of its own, /dev/vda, with 1G of memory; root
has no password. The first time the disk is made from an image that is built then, as by hyperfile image build debian,
which takes long. It keeps what the system writes. hyperfile image build makes disks with other packages and names.`;

/** What the figures of `top` mean. */
const topHelp = `What is measured: every 40,000 to 73,000 instructions the program counter is looked at. Each such sample stands
for the instructions and the host's time since the one before. It counts for the translation that covers the
program counter, if any translated code ran since then; else for the interpreter. Where regions share code,
because each has a callee inlined, the one with the most samples gets it. Instructions by tier, exits, traps,
TLB misses and translations are counted, not sampled. "translations ... s" is time of the machine's own thread;
compilation of modules is the time until they are ready, most of it in other threads of the host.`;

/** An option that names the instruction set. */
const isaOption = () => new Option("--isa <isa>", "instruction set").choices(Object.keys(isaWidths));

/** Builds the command line, but for what `image` has below it; `finish` gets the exit status of the command that ran. */
function buildProgram(
  surroundings: ProgramSurroundings,
  finish: (status: number) => void,
): { readonly program: Command; readonly image: Command } {
  const { streams, write } = surroundings;
  const program = new Command("hyperfile")
    .description("Runs RISC-V virtual machines in the terminal.")
    .version(surroundings.version)
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeOut: write, writeErr: () => {} })
    .addHelpText("after", `\nKeys while a machine has the terminal:\n  ${escapeHelp.join("\n  ")}`);
  const machine = () => surroundings.machine();
  const fleet = {
    streams,
    write,
    version: surroundings.version,
    environment: surroundings.environment ?? process.env,
    program: surroundings.program ?? [],
  };

  withMachineOptions(program.command("start"))
    .description(
      `boot Debian's kernel to a shell here, or the embedded guest where Debian can't be had; "${SYSTEM}" boots the whole system; any other name starts that VM of the daemon's`,
    )
    .argument(
      "[name]",
      `"${SYSTEM}", or a VM that is off; the options are its Hyperfile's then. A VM named ${SYSTEM} comes first`,
    )
    .option("--append <words>", "add to the kernel command line")
    .option("--embedded", "boot the embedded guest")
    .option("--refresh", "fetch Debian's newest kernel even if one is cached")
    .option("--verify", "check the digests of the cached files")
    .option("--reset", `throw away what the whole system has written to its disk`)
    .addHelpText("after", `\n${systemHelp}`)
    .action(async (name: string | undefined, flags: StartFlags, command: Command) => {
      if (name === undefined) return finish(await start(flags, surroundings, streams));
      const { isVm } = await import("./fleet/daemon-client.js");
      if (name !== SYSTEM || (await isVm(fleet.environment, name))) {
        if (flags.reset)
          throw new CliError(
            "E_USAGE",
            `${name} is a VM of the daemon's, whose disks --reset leaves alone: leave it out, or hyperfile rm ${name} first`,
          );
        return finish(
          await runFleetAction(fleet, (actions) => actions.onVm(name, (client) => client.start(name))),
        );
      }
      const memory = command.getOptionValueSource("memory") === "default" ? SYSTEM_MEMORY : flags.memory;
      finish(
        await startSystem({ ...flags, memory }, { ...surroundings, environment: fleet.environment }, streams),
      );
    });

  withMachineOptions(program.command("run"))
    .description("run a kernel, firmware or a bare-metal program")
    .option("--kernel <file>", "kernel to start in S-mode: a raw Image or an ELF file")
    .option("--initrd <file>", "initial file system of the kernel")
    .option("--append <words>", "kernel command line")
    .option("--firmware <file>", "firmware to start in M-mode instead of the built-in SBI")
    .option("--elf <file>", "bare-metal program; its exit code becomes the status")
    .addOption(isaOption())
    .addHelpText("after", `\n${dumpHelp}`)
    .action(async (flags: RunFlags) => finish(await run(flags, machine, streams)));

  program
    .command("explain")
    .description("show what the translator makes of code: assembly, IR, optimised IR, emitted code")
    .argument("<file>", "ELF file or raw code")
    .option("--at <address>", "address of the code; the entry point by default", parseAddress)
    .addOption(
      new Option(
        "--backend <backend>",
        "whose code to show: blocks and regions in JavaScript, regions in WebAssembly",
      )
        .choices(explainedBackends)
        .default("both"),
    )
    .option("--json", "write the stages as JSON")
    .addOption(isaOption())
    .action(async (file: string, flags: InspectFlags) => finish(await explain(file, flags, machine, write)));

  program
    .command("disasm")
    .description("disassemble a program")
    .argument("<file>", "ELF file or raw code")
    .addOption(isaOption())
    .action(async (file: string, flags: InspectFlags) => finish(await disasm(file, flags, machine, write)));

  program
    .command("top")
    .description(
      "show what the daemon's VMs use, or where a machine that runs with --profile spends its time",
    )
    .argument("[profile]", "file of the profile, or number of the process that runs the machine")
    .option("-n, --count <rows>", "rows of the table", parseCount, 20)
    .option("--assembly", "show the assembly of the rows")
    .option("--at <address>", "show only the code with this address, and its assembly", parseAddress)
    .option("--symbols <file>", "names of functions: an ELF file, or a list such as System.map")
    .option("--follow", "go on until the machine ends")
    .addHelpText("after", `\n${topHelp}`)
    .action(async (name: string | undefined, flags: TopFlags) =>
      finish(
        name === undefined
          ? await runFleetAction(fleet, (actions) => actions.top())
          : await top(name, flags, streams.output, write),
      ),
    );

  addFleetCommands(program, fleet, finish);
  const image = program
    .command("image")
    .description("make, show, convert, change and check disk images: raw, qcow2, and those of image stores");
  return { program, image };
}

/** A commander message as the end of our one line: without its prefix, suggestion in the same sentence. */
function usageMessage(message: string): string {
  return message
    .replace(/^error: /, "")
    .replace(/\n\(Did you mean (.*)\?\)$/, " (did you mean $1?)")
    .replace(/\.$/, "");
}

/** What the commands say, as terminals may get it; consoles and what redraws the screen go past it. */
function sayingPrintable(surroundings: ProgramSurroundings): ProgramSurroundings {
  const { streams, write } = surroundings;
  const error = (text: string) => streams.error(printable(text));
  return {
    ...surroundings,
    write: (text) => write(printable(text)),
    streams: { ...streams, error, redraw: (text) => streams.error(text) },
  };
}

/** Runs the command line `args` (without the program's name); gives the exit status and never rejects. */
export async function runProgram(args: readonly string[], outer: ProgramSurroundings): Promise<number> {
  let status = 0;
  const surroundings = sayingPrintable(outer);
  const finish = (result: number) => (status = result);
  const { program, image } = buildProgram(surroundings, finish);
  try {
    // All formats of disks come with it: other commands start faster without.
    if (args.includes("image")) {
      const { addImageCommands } = await import("./commands/image.js");
      const { streams, write, buildImage } = surroundings;
      addImageCommands(image, { streams, write, ...(buildImage && { build: buildImage }) }, finish);
    }
    if (args.length === 0) throw new CliError("E_USAGE", "no command given; hyperfile --help lists them");
    await program.parseAsync([...args], { from: "user" });
    return status;
  } catch (error) {
    if (error instanceof CommanderError && !(error instanceof InvalidArgumentError) && error.exitCode === 0)
      return 0;
    const shown =
      error instanceof CommanderError ? new CliError("E_USAGE", usageMessage(error.message)) : error;
    surroundings.streams.error(`${errorLine(shown)}\n`);
    return shown instanceof CliError && shown.code === "E_USAGE" ? 2 : 1;
  }
}
