/** A daemon in this process, with the fake guests, in a folder of its own. */
import { join } from "node:path";
import { HostMemory, type ThreadPlace } from "@hyperfile/jit/memory";
import { guestKinds } from "@hyperfile/machine/guests";
import { Daemon, type DaemonOptions } from "../src/daemon/node/daemon.js";
import type { HostFrames } from "../src/memory/ports.js";

/** Machine memory for guests without translations. */
function makeNode(frameBytes: number): HostFrames {
  const memory = new HostMemory(frameBytes);
  return {
    frames: memory.frames,
    get free() {
      return memory.free;
    },
    enter: () => memory.enter({ arenaBytes: 4096 }),
    leave: (place) => memory.leave(place as ThreadPlace),
  };
}

/** Starts a daemon whose socket and state are in a folder. */
export function startDaemon(
  folder: string,
  { memoryBytes = 2 ** 32, ...others }: { memoryBytes?: number } & Partial<DaemonOptions> = {},
): Promise<Daemon> {
  return Daemon.start({
    socket: join(folder, "run", "daemon.sock"),
    folder: join(folder, "state"),
    threadProgram: new URL("./fake-guests.mjs", import.meta.url),
    version: "1.2.3",
    guests: guestKinds,
    cores: 2,
    memory: { memoryBytes, mostNodeBytes: 3 * 2 ** 30, makeNode },
    sampleMs: 50,
    ...others,
  });
}
