/**
 * The machine as the command line sees it, apart from its making, so that the terminal and the commands can
 * be tested with a machine of their own.
 */
import type { Tier } from "@hyperfile/jit";
import type { DumpOptions, ExplainedStage, ProfileReport } from "@hyperfile/jit/trace";
import type { Drive, NamedBytes, Nic, Share } from "@hyperfile/machine";

export type { NamedBytes } from "@hyperfile/machine";

/** How many of the emitted functions are parsed and verified before they run. */
export type VerifyEmitted = "all" | "sampled" | "off";

/** Everything that a machine is made from. */
export interface MachineOptions {
  /** Width of the integer registers in bits. */
  xlen: 32 | 64;
  /** Size of the guest's memory in bytes, a multiple of 4 KiB. */
  memoryBytes: number;
  /** A kernel to start in S-mode: a raw `Image` or an ELF file. */
  kernel?: NamedBytes;
  /** The kernel's initial file system. */
  initrd?: NamedBytes;
  /** Firmware to start in M-mode instead of the built-in SBI. */
  firmware?: NamedBytes;
  /** A bare-metal program to start in M-mode. */
  elf?: NamedBytes;
  /** The kernel's command line. */
  append: string;
  /** Which tiers run. */
  tier: Tier;
  /** Where the guest's console output goes. */
  console: { write(bytes: Uint8Array): void };
  /** How many emitted functions are verified. */
  verifyEmitted: VerifyEmitted;
  /** Arrivals at a jump target before it is translated; the engine's own figure when undefined. */
  hotThreshold?: number;
  /** False to make translations of single blocks. */
  chain?: boolean;
  /** What to dump; nothing when undefined. */
  dump?: DumpOptions;
  /** Whether a profile is taken. */
  profile?: boolean;
  /** Whether guest time follows the instruction count, which makes a run repeatable. */
  deterministic: boolean;
  /** Disks, in the first virtio slots. */
  drives?: readonly Drive[];
  /** Folders of the host's, in the slots behind the disks. */
  shares?: readonly Share[];
  /** Network cards, in the slots behind the folders. */
  nics?: readonly Nic[];
  /** TCP port of the GDB stub; the machine waits for a debugger before its first instruction. */
  gdbPort?: number;
}

/** How a run ended. */
export interface MachineEnd {
  /**
   * `off`: the guest turned its power off; `exit`: a bare-metal program ended with a code; `timeout` and
   * `stopped`: {@link Machine.stop} was called; `error`: the guest can't go on, and `message` says why.
   */
  kind: "off" | "exit" | "timeout" | "stopped" | "error";
  /** The exit status that the program should end with. */
  status: number;
  /** One line for the user, where there is something to say. */
  message?: string;
}

/** A machine. */
export interface Machine {
  /** Runs until the machine ends. */
  run(): Promise<MachineEnd>;
  /** Offers console input; gives the number of bytes taken, from the front. */
  receive(bytes: Uint8Array): number;
  /** The terminal has this size in characters. */
  resize(columns: number, rows: number): void;
  /** Ends the run soon. */
  stop(reason: "timeout" | "user"): void;
  /** Counters, ready for JSON. */
  statistics(): Record<string, unknown>;
  /** The profile so far; undefined if none is taken. */
  profile(): ProfileReport | undefined;
}

/** Makes a machine; rejects with a one-line error for images that can't be loaded. */
export type CreateMachine = (options: MachineOptions) => Promise<Machine>;

/** What `explain` and `disasm` need to know. */
export interface InspectOptions {
  /** The register width to assume for a file that doesn't say; an ELF file does. */
  xlen: 32 | 64 | undefined;
}

/** The backends that `explain` can show. */
export const explainedBackends = ["js", "wasm", "both"] as const;
export type ExplainedBackend = (typeof explainedBackends)[number];

/** What `explain` needs to know. */
export interface ExplainOptions extends InspectOptions {
  /** The address of the code to explain; the entry point when undefined. */
  at: bigint | undefined;
  /** Whose code is shown. */
  backend: ExplainedBackend;
}

/** What the translator makes of code; ready for JSON. */
export interface Explanation {
  /** The file's name. */
  file: string;
  /** Guest-virtual address of the code, in hexadecimal. */
  address: string;
  /** The instruction set. */
  isa: string;
  /** The stages of translation, in order. */
  stages: readonly ExplainedStage[];
}

/** The entry points of the machine's module that the commands call. */
export interface MachineModule {
  /** Makes a machine. */
  createMachine: CreateMachine;
  /** A block's and a region's stages of translation. */
  explain(program: NamedBytes, options: ExplainOptions): Explanation;
  /** The assembly of a program's executable parts, line by line without line ends. */
  disassemble(program: NamedBytes, options: InspectOptions): Iterable<string>;
}
