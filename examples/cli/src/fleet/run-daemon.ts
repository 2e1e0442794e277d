/** The daemon as this program runs it: its own machines, on all of this computer unless told otherwise. */
import { Daemon } from "@hyperfile/broker/node";
import { MOST_FRAME_BYTES } from "@hyperfile/jit/memory";
import type { FleetSurroundings } from "../commands/fleet.js";
import { runByAgent } from "./agent-commands.js";
import { claimsOf } from "./claims.js";
import { DiskClaims } from "./disk-claims.js";
import { hostSize } from "./host-size.js";
import { endAtSignals, endLine, surviveErrors, thisProcess } from "./last-resort.js";
import { machineNode } from "./machine-node.js";
import { HostNetworks } from "./networks/host-networks.js";
import { socketPath, stateFolder } from "./places.js";

/** Milliseconds from the end in order to that of the process. */
const EXIT_MS = 2000;

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
 * @returns the exit status: 1 if it ends since nobody can find it any more
 * @throws DaemonError if it can't start
 */
export async function runDaemon(
  { environment, version, streams }: FleetSurroundings,
  flags: DaemonFlags,
  started: () => void,
): Promise<number> {
  const size = hostSize();
  const socket = socketPath(environment);
  const networks = new HostNetworks({
    program: new URL("./net-thread.js", import.meta.url),
    refused: (vm, what) => daemon.fleet.events.add("vm.refused", vm, what),
    failed: (error) => daemon.fleet.events.add("daemon.failed", "networks", error.message),
  });
  const daemon = await Daemon.start({
    socket,
    folder: stateFolder(environment),
    threadProgram: new URL("./vm-thread.js", import.meta.url),
    version,
    cores: flags.cores ?? size.cores,
    claim: claimsOf(new DiskClaims().take, networks),
    runByAgent,
    nets: networks.rates,
    capture: (request, listener) => networks.capture(request, listener),
    guests: size.guests,
    memory: {
      memoryBytes: flags.guestMemory ?? size.memoryBytes,
      mostNodeBytes: MOST_FRAME_BYTES,
      makeNode: machineNode,
    },
    ending: (reason) => streams.error(endLine(reason)),
    ...(flags.quantum === undefined ? {} : { quantumMs: flags.quantum }),
    ...(flags.idleExit === undefined ? {} : { idleExitMs: flags.idleExit * 1000 }),
  });
  streams.error(`hyperfile: the daemon answers at ${socket}\n`);
  const close = (reason: string) => void daemon.close(reason);
  const note = (message: string) => daemon.fleet.events.add("daemon.failed", "daemon", message);
  surviveErrors({ note, close }, streams.error);
  endAtSignals(close, streams.error);
  started();
  await daemon.closed;
  await networks.close();
  setTimeout(thisProcess.endNow, EXIT_MS).unref();
  return daemon.problem === undefined ? 0 : 1;
}
