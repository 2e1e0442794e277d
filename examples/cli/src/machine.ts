/** Makes the machine that the command line runs, with what a terminal's user wants beside it: times, dumps, profiles, GDB. */
import { isElf, parseElf } from "@hyperfile/devices/image";
import { Dump, Profiler } from "@hyperfile/jit/trace";
import { type RiscvVirt, riscvVirt, symbolFinder } from "@hyperfile/machine";
import type { MachineGdb } from "@hyperfile/machine/node";
import { CliError } from "./errors.js";
import type { CreateMachine, Machine, MachineEnd, MachineOptions, NamedBytes } from "./machine-types.js";

export { disassemble, explain } from "./inspect.js";

/** What a profile's file has of code: it is written every second. */
const PROFILE_LIMITS = { units: 500, assembly: 50 };

/** Makes a machine. */
export const createMachine: CreateMachine = async (options) => {
  const { kernel, initrd, firmware, elf, append } = options;
  const profiler = options.profile ? profilerOf(elf ?? kernel) : undefined;
  const machine = riscvVirt({
    ramBytes: options.memoryBytes,
    boot: {
      append,
      ...(kernel === undefined ? {} : { kernel }),
      ...(initrd === undefined ? {} : { initrd }),
      ...(firmware === undefined ? {} : { firmware }),
      ...(elf === undefined ? {} : { program: elf }),
    },
    xlen: options.xlen,
    console: options.console,
    devices: ["console", "entropy"],
    ...(options.drives === undefined ? {} : { drives: options.drives }),
    ...(options.shares === undefined ? {} : { shares: options.shares }),
    ...(options.nics === undefined ? {} : { nics: options.nics }),
    // Whoever looks at a halted guest for an hour wants to find it as it was.
    clock: options.deterministic ? "virtual" : options.gdbPort === undefined ? "host" : "frozen",
    tier: options.tier,
    background: true,
    verify: options.verifyEmitted,
    ...(options.chain === undefined ? {} : { chain: options.chain }),
    ...(options.hotThreshold === undefined ? {} : { hotThreshold: options.hotThreshold }),
    ...(options.dump === undefined ? {} : { dump: new Dump(options.dump) }),
    ...(profiler === undefined ? {} : { profiler }),
  });
  const gdb = options.gdbPort === undefined ? undefined : await gdbOn(machine, options.gdbPort);
  return new TerminalMachine(machine, options, profiler, gdb);
};

/** @throws CliError `E_GDB` when the port can't be had */
async function gdbOn(machine: RiscvVirt, port: number): Promise<MachineGdb> {
  // Loaded only here: most runs have no debugger, and should start without it.
  const { serveMachineGdb } = await import("@hyperfile/machine/node");
  try {
    return await serveMachineGdb(machine, port);
  } catch (cause) {
    throw new CliError("E_GDB", `can't listen for a debugger on port ${port}: choose another with --gdb`, {
      cause,
    });
  }
}

/** A profiler that knows the names in an ELF file. */
function profilerOf(file: NamedBytes | undefined): Profiler {
  const named = file !== undefined && isElf(file.bytes);
  return new Profiler(named ? symbolFinder(parseElf(file.bytes, file.name).symbols) : undefined);
}

/** A machine whose run is timed. */
class TerminalMachine implements Machine {
  private started = performance.now();
  private cpuBefore = process.cpuUsage();
  private spent: { wallSeconds: number; cpuSeconds: number } | undefined;

  constructor(
    private readonly machine: RiscvVirt,
    private readonly options: MachineOptions,
    private readonly profiler: Profiler | undefined,
    private readonly gdb: MachineGdb | undefined,
  ) {}

  async run(): Promise<MachineEnd> {
    this.started = performance.now();
    this.cpuBefore = process.cpuUsage();
    const end = await this.machine.run();
    this.gdb?.close();
    this.spent = this.spentNow();
    switch (end.kind) {
      case "off":
        return { kind: this.options.elf === undefined ? "off" : "exit", status: end.status };
      case "stuck":
        return { kind: "error", status: 1, message: end.message };
      case "stopped":
        return { kind: end.reason === "timeout" ? "timeout" : "stopped", status: 0 };
    }
  }

  receive(bytes: Uint8Array): number {
    return this.machine.receive(bytes);
  }

  resize(columns: number, rows: number): void {
    this.machine.resize(columns, rows);
  }

  stop(reason: "timeout" | "user"): void {
    this.machine.stop(reason);
  }

  statistics(): Record<string, unknown> {
    const { tier, guestInstructions, ...rest } = this.machine.statistics();
    const { wallSeconds, cpuSeconds } = this.spent ?? this.spentNow();
    const mips = this.machine.retired() / wallSeconds / 1e6;
    return { tier, guestInstructions, wallSeconds, cpuSeconds, mips, ...rest };
  }

  profile() {
    return this.profiler?.report(PROFILE_LIMITS);
  }

  /** Wall time, and CPU time of all the process's threads, since the run began. */
  private spentNow(): { wallSeconds: number; cpuSeconds: number } {
    const { user, system } = process.cpuUsage(this.cpuBefore);
    return { wallSeconds: (performance.now() - this.started) / 1000, cpuSeconds: (user + system) / 1e6 };
  }
}
