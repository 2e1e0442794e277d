/** The daemon as this program runs it: its own machines, on all of this computer unless told otherwise. */
import { Daemon } from "@hyperfile/broker/node";
import { MOST_FRAME_BYTES } from "@hyperfile/jit";
import type { FleetSurroundings } from "../commands/fleet.js";
import { errorLine } from "../errors.js";
import { socketPath, stateFolder } from "./daemon-client.js";
import { hostSize } from "./host-size.js";
import { machineNode } from "./machine-node.js";

/** Milliseconds from a signal to the end by force, and from the end in order to that of the process. */
const [END_MS, EXIT_MS] = [8000, 2000];
/** Errors that nobody has caught, after which the daemon ends. */
const MOST_ERRORS = 100;

/** Options of `daemon`. */
export interface DaemonFlags {
  readonly cores?: number;
  readonly guestMemory?: number;
  /** Milliseconds. */
  readonly quantum?: number;
  /** Seconds without any VM and client after which it ends; never unless given. */
  readonly idleExit?: number;
}

/**
 * Runs the daemon until a client or a signal ends it, or it has been idle for as long as the flags say.
 * @param started is called when it answers
 * @throws DaemonError if it can't start
 */
export async function runDaemon(
  { environment, version, streams }: FleetSurroundings,
  flags: DaemonFlags,
  started: () => void,
): Promise<void> {
  const size = hostSize();
  const socket = socketPath(environment);
  const daemon = await Daemon.start({
    socket,
    folder: stateFolder(environment),
    threadProgram: new URL("./vm-thread.js", import.meta.url),
    version,
    cores: flags.cores ?? size.cores,
    lacks: size.lacks,
    guests: size.guests,
    memory: {
      memoryBytes: flags.guestMemory ?? size.memoryBytes,
      mostNodeBytes: MOST_FRAME_BYTES,
      makeNode: machineNode,
    },
    ...(flags.quantum === undefined ? {} : { quantumMs: flags.quantum }),
    ...(flags.idleExit === undefined ? {} : { idleExitMs: flags.idleExit * 1000 }),
  });
  streams.error(`hyperfile: the daemon answers at ${socket}\n`);
  surviveErrors(daemon, streams.error);
  let isEnding = false;
  const end = () => {
    // What hangs (a disk that does not answer) can keep threads, and so the process, from an end in order.
    if (isEnding) endNow();
    isEnding = true;
    setTimeout(endNow, END_MS).unref();
    void daemon.close();
  };
  process.on("SIGINT", end);
  process.on("SIGTERM", end);
  started();
  await daemon.closed;
  setTimeout(endNow, EXIT_MS).unref();
}

const endNow = () => process.kill(process.pid, "SIGKILL");

/** The last resort: what nobody has caught is told, and the VMs go on; too much of it ends the daemon in order. */
function surviveErrors(daemon: Daemon, tell: (text: string) => void): void {
  let errors = 0;
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => {
    tell(`${errorLine(error)} (${new Date().toISOString()})\n${error.stack ?? ""}\n`);
    if (++errors > MOST_ERRORS) void daemon.close();
    else daemon.fleet.events.add("daemon.failed", "daemon", error.message);
  });
}
