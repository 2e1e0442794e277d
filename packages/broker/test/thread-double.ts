/**
 * A fleet whose threads are in the test's own: the server of a real thread behind a pair of ports, with scripted guests in
 * real frames. Threads can be made deaf, and break; what is left of them is counted.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guestIn, HostMemory, poolAt, type ThreadPlace } from "@hyperfile/jit/memory";
import { guestKinds } from "@hyperfile/machine/guests";
import type { HostScheduler } from "../src/cpu/node/host-scheduler.js";
import type { RunByAgent } from "../src/lifecycle/guest-command.js";
import type { GuestMemoryParts, MakeGuest } from "../src/lifecycle/guest-port.js";
import type { TakeClaim } from "../src/lifecycle/host-claim.js";
import { Fleet } from "../src/lifecycle/node/fleet.js";
import type { ThreadHandle } from "../src/lifecycle/node/guest-thread.js";
import { GuestServer } from "../src/lifecycle/node/serve-guests.js";
import type { GuestInput, GuestNews, GuestRequest, GuestThreadData } from "../src/lifecycle/protocol.js";
import { HostMemoryBroker } from "../src/memory/host-memory-broker.js";
import { Script, ScriptedGuest, type ScriptedRam } from "./scripted-guest.js";

const RAM_BASE = 0x80000000;
const FRAMES = 4096;

/** A thread. */
export class ThreadDouble implements ThreadHandle {
  /** It hears nothing any more: its code is stuck. */
  isDeaf = false;
  isGone = false;
  private readonly listeners: { [Event in string]?: (value?: unknown) => void } = {};
  private hear: (message: GuestRequest | GuestInput) => void = () => {};

  constructor(data: GuestThreadData, make: MakeGuest) {
    new GuestServer(
      {
        on: (_, listener) => {
          this.hear = listener;
        },
        postMessage: (news: GuestNews) => this.later(() => this.listeners.message?.(structuredClone(news))),
      },
      data,
      make,
      (error) => this.fail(error),
    );
  }

  on(event: string, listener: (value: never) => void): void {
    this.listeners[event] = listener as (value?: unknown) => void;
  }

  postMessage(message: GuestRequest | GuestInput): void {
    // A place stands for memory, which is not copied.
    const copy = message.kind === "place" ? message : structuredClone(message);
    this.later(() => {
      if (!this.isDeaf) this.hear(copy);
    });
  }

  async terminate(): Promise<void> {
    this.later(() => {
      this.isGone = true;
      this.listeners.exit?.();
    });
  }

  /** Its code throws. */
  fail(error: Error): void {
    this.later(() => {
      this.listeners.error?.(error);
      this.later(() => {
        this.isGone = true;
        this.listeners.exit?.();
      });
    });
  }

  private later(action: () => void): void {
    setImmediate(() => {
      if (!this.isGone) action();
    });
  }
}

/** A fleet, and what is counted of it. */
export class FleetDouble {
  readonly script = new Script();
  readonly folder = mkdtempSync(join(tmpdir(), "hyperfile-fleet-"));
  readonly threads: ThreadDouble[] = [];
  readonly guests = new Map<string, ScriptedGuest>();
  readonly memory: HostMemoryBroker;
  readonly fleet: Fleet;
  private readonly nodes: HostMemory[] = [];

  /**
   * @param restAfterMs milliseconds without any VM until the fleet rests
   * @param claim takes what VMs need beside cores and memory
   * @param runByAgent runs commands in guests that have an agent
   */
  constructor(
    readonly scheduler: HostScheduler,
    restAfterMs = 30_000,
    claim?: TakeClaim,
    runByAgent?: RunByAgent,
  ) {
    this.memory = new HostMemoryBroker({
      memoryBytes: FRAMES * 4096,
      mostNodeBytes: FRAMES * 4096,
      makeNode: (bytes) => {
        const host = new HostMemory(bytes);
        this.nodes.push(host);
        return {
          frames: host.frames,
          get free() {
            return host.free;
          },
          enter: () => host.enter({ arenaBytes: 4096 }),
          leave: (place) => host.leave(place as ThreadPlace),
        };
      },
    });
    this.fleet = new Fleet({
      scheduler,
      memory: this.memory,
      size: { cores: 2, memoryBytes: FRAMES * 4096, guests: guestKinds },
      folder: this.folder,
      threadProgram: new URL("file:///none"),
      restAfterMs,
      ...(claim === undefined ? {} : { claim }),
      ...(runByAgent === undefined ? {} : { runByAgent }),
      startWorker: (_, data) => {
        const thread: ThreadDouble = new ThreadDouble(
          data,
          this.maker(() => thread.isGone),
        );
        this.threads.push(thread);
        return thread;
      },
    });
  }

  /** Threads that are there. */
  get liveThreads(): ThreadDouble[] {
    return this.threads.filter(({ isGone }) => !isGone);
  }

  /** Frames that somebody has. */
  get usedFrames(): number {
    return this.nodes.reduce((sum, node) => sum + node.frames - node.free, 0);
  }

  /** Memories that were made so far. */
  get memories(): number {
    return this.nodes.length;
  }

  /** VMs that the scheduler knows. */
  get slots(): number {
    return this.scheduler.nodes().filter(({ isPool }) => !isPool).length;
  }

  up(vms: string, name = "shop") {
    return this.fleet.up({ text: `name: ${name}\nvms: { ${vms} }`, file: "Hyperfile", folder: `/${name}` });
  }

  async close(): Promise<void> {
    await this.fleet.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Makes the guests of one thread: each has some pages of its own. What goes on in a thread that is gone is nothing. */
  private maker(isGone: () => boolean): MakeGuest {
    let pool: ReturnType<typeof poolAt> | undefined;
    return async (spec, surroundings, { place }) => {
      await this.script.step("make");
      pool ??= poolUntil(isGone, place as ThreadPlace);
      const freshMemory = () => {
        const { guest } = guestIn(pool!, { ramBytes: 64 * 4096, ramBase: RAM_BASE });
        for (let page = 0; page < 8; page++) guest.write(RAM_BASE + page * 4096, Uint8Array.of(page + 1));
        return guest;
      };
      const guest = freshMemory();
      const parts = (memory: typeof guest): GuestMemoryParts => ({
        frames: pool!.pool,
        common: {
          yield: () => pool!.frames.yield(),
          awaitRelease: (milliseconds) => pool!.frames.table.awaitRelease(milliseconds),
        },
        memory,
        balloon: {
          setTarget() {},
          target: 0,
          actual: 0,
          live: false,
          statistics: {},
          requestStatistics() {},
        },
        reservedFrame: () => -1,
      });
      const memoryOf = (memory: typeof guest) => ({ memory: parts(memory), ram: ramOf(memory) });
      const ramOf = (memory: typeof guest): ScriptedRam => ({
        free: () => memory.free(),
        copy: () => memoryOf(memory.share()!),
        anew: () => memoryOf(freshMemory()),
      });
      const made = new ScriptedGuest(this.script, surroundings, parts(guest), ramOf(guest));
      this.guests.set(spec.name, made);
      return made;
    };
  }
}

/** A thread's pool, from which a thread that is gone takes nothing any more, and gives nothing back. */
function poolUntil(isGone: () => boolean, place: ThreadPlace): ReturnType<typeof poolAt> {
  const pool = poolAt(place);
  const { frames } = pool;
  const take = frames.take.bind(frames);
  const give = frames.give.bind(frames);
  const yieldAll = frames.yield.bind(frames);
  frames.take = () => (isGone() ? -1 : take());
  frames.give = (number) => {
    if (!isGone()) give(number);
  };
  frames.yield = () => {
    if (!isGone()) yieldAll();
  };
  return pool;
}
