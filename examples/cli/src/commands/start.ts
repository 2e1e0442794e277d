/** `hyperfile start`: Debian, or where that can't be had the embedded guest. */
import type { DebianGuest, DebianGuestOptions } from "@hyperfile/machine/debian";
import { withDrives } from "../drives.js";
import { readEmbeddedGuest } from "../embedded-guest.js";
import { errorLine } from "../errors.js";
import type { MachineModule, MachineOptions } from "../machine-types.js";
import { showProgress } from "../progress.js";
import { isInteractive, runSession, type Streams } from "../session.js";
import { readNamedFile } from "./options.js";
import { type MachineFlags, machineOptionsOf, sessionOptionsOf } from "./run.js";

/** The options of `start`. */
export interface StartFlags extends MachineFlags {
  /** Fetch Debian's newest packages. */
  refresh?: boolean;
  /** Check the digests of the cached files. */
  verify?: boolean;
  /** Boot the embedded guest without asking for Debian. */
  embedded?: boolean;
}

/** What `start` needs from outside, which tests replace. */
export interface StartSurroundings {
  /** The machine's module. */
  machine(): Promise<MachineModule>;
  /** Gets the Debian guest. */
  prepare?: (options: DebianGuestOptions) => Promise<DebianGuest>;
  /** Width and appearance of standard error, for progress. */
  progressOutput?: { isTTY?: boolean | undefined; columns?: number | undefined };
}

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
  const interactive = isInteractive(streams, flags.tty);
  const debian = flags.embedded ? undefined : await debianOrReason(flags, surroundings, streams);
  const options: Omit<MachineOptions, "console"> = { ...machineOptionsOf(flags), xlen: 64 };
  let holdInputUntil: string | undefined;
  if (debian) {
    const { debianCommandLine, readyForInputText } = await debianModule();
    const { columns, rows } = streams.output;
    options.kernel = await readNamedFile("kernel", debian.kernel);
    options.initrd = await readNamedFile("initrd", debian.initrd);
    // A whole system asks who is there, whatever its console is fed from.
    const piped = !interactive && !/(?:^|\s)root=/.test(flags.append ?? "");
    options.append = debianCommandLine({ piped, columns, rows, append: flags.append });
    if (piped) holdInputUntil = readyForInputText;
  } else {
    options.kernel = await readEmbeddedGuest();
  }
  const { createMachine } = await surroundings.machine();
  const session = { ...sessionOptionsOf(flags, options.kernel.name), holdInputUntil };
  return withDrives(
    flags.drive ?? [],
    (text) => streams.error(text),
    (drives) => runSession(createMachine, { ...options, drives }, session, streams),
  );
}

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
      progress: showProgress({ ...surroundings.progressOutput, write: (text) => streams.error(text) }),
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
