/** `hyperfile run`: a kernel, firmware or bare-metal program of the user's. */

import type { Tier } from "@hyperfile/jit";
import type { AddressRange, DumpKind } from "@hyperfile/jit/trace";
import { isaWidths } from "@hyperfile/machine/guests";
import type { DriveFlags } from "../drive-flags.js";
import { CliError } from "../errors.js";
import type { MachineModule, MachineOptions, NamedBytes, VerifyEmitted } from "../machine-types.js";
import type { NetFlags } from "../net-flags.js";
import { profileOfProcess } from "../profile-file.js";
import { runSession, type SessionOptions, type Streams } from "../session.js";
import type { ShareFlags } from "../share-flags.js";
import { readNamedFile } from "./options.js";

/** The options that `run` and `start` share. */
export interface MachineFlags {
  /** Size of the memory in bytes. */
  memory: number;
  /** Kernel command line. */
  append?: string;
  /** Seconds until the run is ended. */
  timeout?: number;
  /** Whether the terminal may be taken over. */
  tty: boolean;
  /** Which tiers run. */
  tier: Tier;
  /** File for the statistics. */
  stats?: string;
  /** Port of the GDB stub. */
  gdb?: number;
  /** How many emitted functions are verified. */
  verifyEmitted: VerifyEmitted;
  /** What to dump. */
  dump?: ReadonlySet<DumpKind>;
  /** What the dump is about. */
  filter?: AddressRange;
  /** File for the dump. */
  dumpFile?: string;
  /** File for the profile; true for the one that belongs to the process. */
  profile?: string | true;
  /** False to make translations of single blocks. */
  chain: boolean;
  /** Whether time follows the instruction count. */
  deterministic?: boolean;
  /** Disks, in their order. */
  drive?: readonly DriveFlags[];
  /** Folders of the host's, in their order. */
  share?: readonly ShareFlags[];
  /** The network card. */
  net?: NetFlags;
}

/** The options of `run`. */
export interface RunFlags extends MachineFlags {
  /** Kernel file. */
  kernel?: string;
  /** Initial file system. */
  initrd?: string;
  /** M-mode firmware. */
  firmware?: string;
  /** Bare-metal program. */
  elf?: string;
  /** Instruction set; an ELF file's own when undefined. */
  isa?: keyof typeof isaWidths;
}

/** The part of {@link MachineOptions} that comes from the shared options. */
export function machineOptionsOf(flags: MachineFlags): Omit<MachineOptions, "console" | "xlen"> {
  return {
    memoryBytes: flags.memory,
    append: flags.append ?? "",
    tier: flags.tier,
    verifyEmitted: flags.verifyEmitted,
    deterministic: flags.deterministic ?? false,
    ...(flags.chain ? {} : { chain: false }),
    ...(flags.gdb === undefined ? {} : { gdbPort: flags.gdb }),
  };
}

/**
 * The part of {@link SessionOptions} that comes from the shared options.
 * @param program what runs, by the name of its file
 * @throws CliError `E_USAGE` for flags that don't go together
 */
export function sessionOptionsOf(
  flags: MachineFlags,
  program: string,
): Omit<SessionOptions, "holdInputUntil"> {
  for (const [flag, value] of Object.entries({ filter: flags.filter, "dump-file": flags.dumpFile })) {
    if (value !== undefined && flags.dump === undefined) {
      throw new CliError("E_USAGE", `--${flag} needs --dump`);
    }
  }
  return {
    program,
    tty: flags.tty,
    timeout: flags.timeout,
    stats: flags.stats,
    ...(flags.profile === undefined
      ? {}
      : { profile: flags.profile === true ? profileOfProcess(process.pid) : flags.profile }),
    ...(flags.dump === undefined
      ? {}
      : { dump: { kinds: flags.dump, filter: flags.filter, file: flags.dumpFile } }),
  };
}

/**
 * The register width that an ELF file declares (System V ABI: `EI_CLASS` 1 is 32 bits, 2 is 64), or
 * undefined for another kind of file.
 */
export function elfWidth(bytes: Uint8Array): 32 | 64 | undefined {
  const isElf = bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
  return isElf ? (bytes[4] === 1 ? 32 : bytes[4] === 2 ? 64 : undefined) : undefined;
}

/**
 * Runs `job` with the disks, folders and network of the flags, which are given back afterwards. What opens them is loaded
 * only here: a machine without any starts faster.
 * @throws CliError `E_USAGE` for a network in a run that repeats itself
 */
export async function withAttached<T>(
  flags: MachineFlags,
  streams: Streams,
  job: (attached: Pick<MachineOptions, "drives" | "shares" | "nics">) => Promise<T>,
): Promise<T> {
  const error = (text: string): void => streams.error(text);
  const { share = [], drive = [], net } = flags;
  if (net !== undefined && flags.deterministic)
    throw new CliError(
      "E_USAGE",
      "--net and --deterministic don't go together: what comes in has the host's time",
    );
  const withNetwork = async (job: (attached: Pick<MachineOptions, "nics">) => Promise<T>): Promise<T> =>
    net === undefined ? job({}) : (await import("../nets.js")).withNet(net, error, (nics) => job({ nics }));
  const withFolders = async (job: (attached: Pick<MachineOptions, "shares">) => Promise<T>): Promise<T> =>
    share.length === 0
      ? job({})
      : (await import("../shares.js")).withShares(share, error, (shares) => job({ shares }));
  return withNetwork((network) =>
    withFolders(async (folders) =>
      drive.length === 0
        ? job({ ...network, ...folders })
        : (await import("../drives.js")).withDrives(drive, error, (drives) =>
            job({ ...network, ...folders, drives }),
          ),
    ),
  );
}

/**
 * Runs what the flags name; gives the exit status.
 * @throws CliError `E_USAGE` for flags that don't go together, `E_FILE` for files that can't be read, DiskError for images,
 *   ShareError for folders
 */
export async function run(
  flags: RunFlags,
  machine: () => Promise<MachineModule>,
  streams: Streams,
): Promise<number> {
  if (!flags.kernel && !flags.elf && !flags.firmware) {
    throw new CliError("E_USAGE", "nothing to run: give --kernel FILE, --firmware FILE or --elf FILE");
  }
  for (const other of ["kernel", "initrd", "firmware"] as const) {
    if (flags.elf && flags[other]) throw new CliError("E_USAGE", `--elf and --${other} don't go together`);
  }
  if (flags.initrd && !flags.kernel) throw new CliError("E_USAGE", "--initrd needs --kernel");
  const session = sessionOptionsOf(flags, (flags.elf ?? flags.kernel ?? flags.firmware)!);
  const files: { [role in "kernel" | "initrd" | "firmware" | "elf"]?: NamedBytes } = {};
  if (flags.kernel) files.kernel = await readNamedFile("kernel", flags.kernel);
  if (flags.initrd) files.initrd = await readNamedFile("initrd", flags.initrd, flags.memory);
  if (flags.firmware) files.firmware = await readNamedFile("firmware", flags.firmware);
  if (flags.elf) files.elf = await readNamedFile("program", flags.elf);
  const main = files.elf ?? files.kernel ?? files.firmware;
  const declared = main && elfWidth(main.bytes);
  const asked = flags.isa && isaWidths[flags.isa];
  if (main && declared && asked && declared !== asked) {
    throw new CliError(
      "E_USAGE",
      `${main.name} is a ${declared}-bit program, but --isa ${flags.isa} is ${asked}-bit`,
    );
  }
  const { createMachine } = await machine();
  return withAttached(flags, streams, (attached) =>
    runSession(
      createMachine,
      { ...machineOptionsOf(flags), xlen: asked ?? declared ?? 64, ...attached, ...files },
      { ...session, holdInputUntil: undefined },
      streams,
    ),
  );
}
