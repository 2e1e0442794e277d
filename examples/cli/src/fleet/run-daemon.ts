/** The daemon as this program runs it: its own machines, on all of this computer unless told otherwise. */
import { Daemon } from "@hyperfile/broker/node";
import { MOST_FRAME_BYTES } from "@hyperfile/jit";
import type { FleetSurroundings } from "../commands/fleet.js";
import { socketPath, stateFolder } from "./daemon-client.js";
import { hostSize } from "./host-size.js";
import { machineNode } from "./machine-node.js";

/** Options of `daemon`. */
export interface DaemonFlags {
  readonly cores?: number;
  readonly guestMemory?: number;
  /** Milliseconds. */
  readonly quantum?: number;
}

/** Runs the daemon until a client or a signal ends it. */
export async function runDaemon(
  { environment, version, streams }: FleetSurroundings,
  flags: DaemonFlags,
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
    memory: {
      memoryBytes: flags.guestMemory ?? size.memoryBytes,
      mostNodeBytes: MOST_FRAME_BYTES,
      makeNode: machineNode,
    },
    ...(flags.quantum === undefined ? {} : { quantumMs: flags.quantum }),
  });
  streams.error(`hyperfile: the daemon answers at ${socket}\n`);
  const end = () => void daemon.close();
  process.once("SIGINT", end);
  process.once("SIGTERM", end);
  await daemon.closed;
  process.off("SIGINT", end);
  process.off("SIGTERM", end);
}
