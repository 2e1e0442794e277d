/**
 * `hyperfile start`: Debian's kernel with a shell, or where that can't be had the embedded guest; `hyperfile start debian`:
 * the whole system, from a disk of the user's own.
 */
import { join } from "node:path";
import type { DebianGuest, DebianGuestOptions } from "@hyperfile/machine/debian";
import { type DriveFlags, MOST_DRIVES } from "../drive-flags.js";
import { readEmbeddedGuest } from "../embedded-guest.js";
import { CliError, errorLine } from "../errors.js";
import { type Environment, stateFolder } from "../fleet/places.js";
import type { MachineModule, MachineOptions, NamedBytes } from "../machine-types.js";
import { showProgress } from "../progress.js";
import { isInteractive, runSession, type Streams } from "../session.js";
import type { BuildImage } from "./image-build.js";
import { readNamedFile } from "./options.js";
import { type MachineFlags, machineOptionsOf, sessionOptionsOf, withAttached } from "./run.js";

/** The options of `start`. */
export interface StartFlags extends MachineFlags {
  /** Fetch Debian's newest packages. */
  refresh?: boolean;
  /** Check the digests of the cached files. */
  verify?: boolean;
  /** Boot the embedded guest without asking for Debian. */
  embedded?: boolean;
  /** Of the whole system: throw away what its disk has got since it was made. */
  reset?: boolean;
}

/** What `start` needs from outside, which tests replace. */
export interface StartSurroundings {
  /** The machine's module. */
  machine(): Promise<MachineModule>;
  /** Gets the Debian guest. */
  prepare?: (options: DebianGuestOptions) => Promise<DebianGuest>;
  /** Width and appearance of standard error, for progress. */
  progressOutput?: { isTTY?: boolean | undefined; columns?: number | undefined };
  /** Builds the image of the whole system. */
  buildImage?: BuildImage;
}

/** Name of the whole system that `start` boots. */
export const SYSTEM = "debian";
/** What the whole system prints when it can be talked to. */
const LOGIN_PROMPT = "login: ";

/** Loaded where it is used: every other command starts faster without it. */
const debianModule = () => import("@hyperfile/machine/debian");

/**
 * Boots Debian or the embedded guest; gives the exit status.
 * @throws CliError for everything but Debian's absence
 */
export async function start(
  flags: StartFlags,
  surroundings: StartSurroundings,
  streams: Streams,
): Promise<number> {
  if (flags.reset)
    throw new CliError("E_USAGE", `--reset is for a system's disk: hyperfile start ${SYSTEM} --reset`);
  const debian = flags.embedded ? undefined : await debianOrReason(flags, surroundings, streams);
  if (debian === undefined)
    return boot({ kernel: await readEmbeddedGuest() }, flags, undefined, surroundings, streams);
  const { readyForInputText } = await debianModule();
  // A whole system asks who is there, whatever its console is fed from.
  const piped = !isInteractive(streams, flags.tty) && !/(?:^|\s)root=/.test(flags.append ?? "");
  const files = await debianFiles(debian, flags, piped, streams);
  return boot(files, flags, piped ? readyForInputText : undefined, surroundings, streams);
}

/**
 * Boots the whole system from the user's own disk, which is made on first use; gives the exit status.
 * @throws CliError `E_USAGE`, `E_FILE`; DiskError; DebianError where it can't be built
 */
export async function startSystem(
  given: StartFlags,
  surroundings: StartSurroundings & { readonly environment: Environment },
  streams: Streams,
): Promise<number> {
  if (given.embedded)
    throw new CliError("E_USAGE", `the embedded guest is no system: leave out --embedded, or "${SYSTEM}"`);
  if ((given.drive ?? []).length >= MOST_DRIVES)
    throw new CliError("E_USAGE", `beside the system's own a machine takes ${MOST_DRIVES - 1} drives`);
  const { buildDebianImage, prepareDebianGuest } = await debianModule();
  const { prepare = prepareDebianGuest, buildImage = buildDebianImage } = surroundings;
  const progress = progressOn(surroundings, streams);
  const { verify = false, refresh = false } = given;
  const debian = await prepare({ progress, verify, refresh });
  const { systemDisk } = await import("../system-disk.js");
  const disk = await systemDisk({
    folder: join(stateFolder(surroundings.environment), "systems", SYSTEM),
    progress,
    reset: given.reset ?? false,
    build: buildImage,
  });
  streams.error(
    `hyperfile: Debian's disk is ${disk}; hyperfile start ${SYSTEM} --reset begins with a new one\n`,
  );
  const own: DriveFlags = {
    file: disk,
    format: "qcow2",
    isReadOnly: false,
    isSnapshot: false,
    cache: "writeback",
  };
  const flags: StartFlags = {
    ...given,
    append: ["root=/dev/vda", ...(given.append === undefined ? [] : [given.append])].join(" "),
    drive: [own, ...(given.drive ?? [])],
  };
  const files = await debianFiles(debian, flags, false, streams);
  return boot(files, flags, LOGIN_PROMPT, surroundings, streams);
}

/** What a machine is booted with. */
interface BootFiles {
  readonly kernel: NamedBytes;
  readonly initrd?: NamedBytes;
  readonly append?: string;
}

async function debianFiles(
  debian: DebianGuest,
  { append }: StartFlags,
  piped: boolean,
  { output: { columns, rows } }: Streams,
): Promise<BootFiles> {
  const { debianCommandLine } = await debianModule();
  return {
    kernel: await readNamedFile("kernel", debian.kernel),
    initrd: await readNamedFile("initrd", debian.initrd),
    append: debianCommandLine({ piped, columns, rows, append }),
  };
}

/** @param holdInputUntil see `TerminalOptions.holdInputUntil` */
async function boot(
  files: BootFiles,
  flags: StartFlags,
  holdInputUntil: string | undefined,
  surroundings: StartSurroundings,
  streams: Streams,
): Promise<number> {
  const { createMachine } = await surroundings.machine();
  const options: Omit<MachineOptions, "console"> = { ...machineOptionsOf(flags), xlen: 64, ...files };
  const session = { ...sessionOptionsOf(flags, files.kernel.name), holdInputUntil };
  return withAttached(flags, streams, (attached) =>
    runSession(createMachine, { ...options, ...attached }, session, streams),
  );
}

const progressOn = ({ progressOutput }: StartSurroundings, streams: Streams) =>
  showProgress({ ...progressOutput, write: (text) => (streams.redraw ?? streams.error)(text) });

/** The Debian guest, or undefined after one line that says why there is none. */
async function debianOrReason(
  flags: StartFlags,
  surroundings: StartSurroundings,
  streams: Streams,
): Promise<DebianGuest | undefined> {
  const { meansDebianIsUnavailable, prepareDebianGuest } = await debianModule();
  const prepare = surroundings.prepare ?? prepareDebianGuest;
  try {
    return await prepare({
      progress: progressOn(surroundings, streams),
      verify: flags.verify ?? false,
      refresh: flags.refresh ?? false,
    });
  } catch (error) {
    if (!meansDebianIsUnavailable(error)) throw error;
    streams.error(
      `${errorLine(new Error(`no Debian guest (${error.message}); starting the embedded one`))}\n`,
    );
    return undefined;
  }
}
