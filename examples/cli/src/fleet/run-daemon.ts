/** The daemon as this program runs it: its own machines, on all of this computer unless told otherwise. */
import { settlesWithin } from "@hyperfile/broker/host";
import { Daemon, DaemonError } from "@hyperfile/broker/node";
import { MOST_FRAME_BYTES } from "@hyperfile/jit/memory";
import type { FleetSurroundings } from "../commands/fleet.js";
import { CliError } from "../errors.js";
import type { NetRule } from "../net-flags.js";
import { policyFor, tellOnce } from "../nets.js";
import { usualWebPlace, type WebPlace } from "../web-flags.js";
import { runByAgent } from "./agent-commands.js";
import { claimsOf } from "./claims.js";
import { DiskClaims } from "./disk-claims.js";
import { hostSize } from "./host-size.js";
import { endAtSignals, endLine, surviveErrors, thisProcess } from "./last-resort.js";
import { machineNode } from "./machine-node.js";
import { HostNetworks } from "./networks/host-networks.js";
import { socketPath, stateFolder } from "./places.js";
import { WebRelay } from "./web/web-relay.js";

/** Milliseconds for threads to be gone after the end in order. */
const EXIT_MS = 2000;

/** Options of `daemon`. */
export interface DaemonFlags {
  readonly cores?: number;
  readonly guestMemory?: number;
  /** Milliseconds. */
  readonly quantum?: number;
  /** Seconds without any VM and client after which it ends; never unless given. */
  readonly idleExit?: number;
  /** Whether pages are led out, and where they come in if that was said. */
  readonly web?: WebPlace | true;
  /** Origins of pages that may come in, beside this computer's. */
  readonly webOrigin?: readonly string[];
  /** Places that are not public and that pages may reach. */
  readonly webAllow?: readonly NetRule[];
}

/**
 * Runs the daemon until a client or a signal ends it, or it has been idle for as long as the flags say.
 * @param started is called when it answers
 * @returns the exit status: 1 if it ends since nobody can find it any more
 * @throws DaemonError if it can't start; CliError `E_USAGE`, `E_DAEMON` for a relay that can't be
 */
export async function runDaemon(
  { environment, version, streams }: FleetSurroundings,
  flags: DaemonFlags,
  started: () => void,
): Promise<number> {
  const { web, webOrigin = [], webAllow = [] } = flags;
  if (web === undefined && webOrigin.length + webAllow.length > 0)
    throw new CliError("E_USAGE", "--web-origin and --web-allow are for --web: give that, too");
  // What they can't be is said before anything starts.
  policyFor("--web-allow", webAllow, () => []);
  const size = hostSize();
  const socket = socketPath(environment);
  const networks = new HostNetworks({
    program: new URL("./net-thread.js", import.meta.url),
    refused: (vm, what) => daemon.fleet.events.add("vm.refused", vm, what),
    failed: (error) => daemon.fleet.events.add("daemon.failed", "networks", error.message),
  });
  let relay: WebRelay | undefined;
  const daemon = await startDaemon(web !== undefined, {
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
    isUsed: () => relay?.isUsed === true,
  });
  if (web !== undefined)
    try {
      relay = await WebRelay.start({
        program: new URL("./web-thread.js", import.meta.url),
        place: web === true ? usualWebPlace : web,
        origins: webOrigin,
        rules: webAllow,
        refused: tellOnce(
          ({ name, place }) => `pages may not reach ${name}: --web-allow ${place} lets them`,
          streams.error,
        ),
        changed: () => daemon.usageChanged(),
        failed: (error) => daemon.fleet.events.add("daemon.failed", "web", error.message),
      });
      streams.error(`hyperfile: pages get out through ${relay.url}\n`);
    } catch (error) {
      await daemon.close((error as Error).message);
      await networks.close();
      throw error;
    }
  streams.error(`hyperfile: the daemon answers at ${socket}\n`);
  const close = (reason: string) => void daemon.close(reason);
  const note = (message: string) => daemon.fleet.events.add("daemon.failed", "daemon", message);
  surviveErrors({ note, close }, streams.error);
  endAtSignals(close, streams.error);
  started();
  await daemon.closed;
  const ends = [relay?.close(), networks.close(), daemon.fleet.threadsGone()];
  if (!(await settlesWithin(Promise.all(ends), EXIT_MS))) {
    // The end of the process waits for its threads, and for one that the host keeps (a disk that does not answer) for ever.
    streams.error(endLine("by force, since a thread has not ended"));
    await Promise.all([streams.output.flush?.(), streams.errors?.flush?.()]);
    thisProcess.endNow();
  }
  return daemon.problem === undefined ? 0 : 1;
}

/** Starts a daemon; where one runs already, who wants to lead pages out is told how that can be. */
async function startDaemon(
  isForPages: boolean,
  options: Parameters<typeof Daemon.start>[0],
): Promise<Daemon> {
  try {
    return await Daemon.start(options);
  } catch (error) {
    if (!isForPages || !(error instanceof DaemonError) || error.code !== "E_DAEMON_RUNNING") throw error;
    throw new DaemonError(
      error.code,
      `${error.message}; a daemon leads pages out from its start on: end that one (hyperfile down --daemon), and start it with --web`,
    );
  }
}
