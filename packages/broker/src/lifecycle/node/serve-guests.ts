/**
 * The thread's side of VMs' lives: passes what the daemon asks to the VM's life (`vm-life.ts`), and tells the daemon
 * what becomes of it. A program calls {@link serveGuests} with the function that composes its machines, and is then a
 * thread's program.
 *
 * A guest whose run ends with an error that has a `code` takes nothing with it: the VMs that share its thread (clones
 * and their original, a group) go on. Any other exception is a broken invariant somewhere below, and then the engine
 * and the memory that they have in common can't be trusted: the thread ends, and all its VMs have crashed.
 */
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { ControlTable, SharedGate } from "../../cpu/control-table.js";
import { stealIn } from "../../cpu/dispatcher.js";
import { standBehind } from "../../cpu/node/thread-priority.js";
import { currentThread, monotonicNanoseconds } from "../../cpu/node/thread-time.js";
import { SharedDiskGate } from "../../disk/disk-gate.js";
import { DiskTable } from "../../disk/disk-table.js";
import { SwapFile } from "../../memory/node/swap-file.js";
import { ConsoleOutput } from "../console-output.js";
import { LifecycleError } from "../errors.js";
import type { Guest, GuestSurroundings, MakeGuest } from "../guest-port.js";
import { ServedStreams } from "../guest-streams.js";
import { OfferedInput } from "../offered-input.js";
import type { GuestFigures, GuestInput, GuestNews, GuestRequest, GuestThreadData } from "../protocol.js";
import { ThreadMemory } from "../thread-memory.js";
import { VmLife } from "../vm-life.js";

/** A VM of the thread, with what surrounds its guest. */
interface Served {
  readonly life: VmLife;
  readonly console: ConsoleOutput;
  readonly surroundings: GuestSurroundings;
  readonly streams: ServedStreams;
  /** Bounded by the daemon, which is told what has been taken. */
  readonly input: OfferedInput;
}

/** Milliseconds after which a thread for which there is nothing to do prepares for what will come. */
const LEISURE = 100;

/**
 * Serves the daemon that started this thread.
 * @param prepare makes the first guest's start shorter; called where the thread is there before it is needed
 */
export function serveGuests(make: MakeGuest, prepare: () => Promise<void> = async () => {}): void {
  if (parentPort === null)
    throw new LifecycleError("E_GUEST", "this program is a thread of the daemon's: start hyperfile daemon");
  standBehind();
  const fail = (error: Error) =>
    setImmediate(() => {
      throw error;
    });
  const server = new GuestServer(parentPort, workerData as GuestThreadData, make, fail, filesAtRest);
  // What fails here fails again, and is told, when it is needed.
  setTimeout(() => server.isVacant && prepare().catch(() => {}), LEISURE);
}

/** Milliseconds between two looks at what is open. */
const LOOK_MS = 2;

/** Resolves when this thread opens, reads, writes and closes no file. */
async function filesAtRest(): Promise<void> {
  while (process.getActiveResourcesInfo().some((resource) => /^(FSReq|CloseReq)/.test(resource)))
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
}

/** The daemon, as a thread hears and tells it. */
export interface DaemonPort {
  on(event: "message", listener: (message: GuestRequest | GuestInput) => void): unknown;
  postMessage(news: GuestNews): void;
}

/** Serves a daemon. */
export class GuestServer {
  private readonly vms = new Map<string, Served>();
  private readonly table: ControlTable;
  private readonly disks: DiskTable;
  private readonly memory: ThreadMemory;
  private place: unknown;

  /**
   * @param fail ends the thread with an error: nothing in it can be trusted any more
   * @param filesAtRest resolves when the thread has no file in hand
   */
  constructor(
    private readonly port: DaemonPort,
    data: GuestThreadData,
    private readonly make: MakeGuest,
    private readonly fail: (error: Error) => void,
    private readonly filesAtRest: () => Promise<void> = async () => {},
  ) {
    this.table = new ControlTable(data.table);
    this.disks = new DiskTable(data.disks);
    this.memory = new ThreadMemory(
      () => new SwapFile(join(data.swapFolder, `swap-${process.pid}-${crypto.randomUUID()}`)),
      (vm, figures) => this.tell({ kind: "memory", vm, figures }),
    );
    port.on("message", (message) => {
      if (message.kind === "request") void this.answer(message);
      else this.take(message);
    });
  }

  /** Whether it has no VM yet, and will have none at once. */
  get isVacant(): boolean {
    return this.place === undefined;
  }

  private tell(news: GuestNews): void {
    this.port.postMessage(news);
  }

  private async answer(request: GuestRequest): Promise<void> {
    const { id } = request;
    try {
      this.tell({ kind: "reply", id, result: await this.obey(request) });
    } catch (error) {
      const { message, code } = error as { message?: string; code?: string };
      this.tell({ kind: "refusal", id, message: message ?? String(error), code: code ?? "E_GUEST" });
    }
  }

  private async obey(request: GuestRequest): Promise<unknown> {
    const { vm, method } = request;
    const served = () => this.served(vm, method);
    switch (method) {
      case "start":
        return this.start(vm, (request as GuestRequest<"start">).args);
      case "clone":
        return this.clone(vm, (request as GuestRequest<"clone">).args);
      case "restore":
        return this.restore(vm, (request as GuestRequest<"restore">).args);
      case "pause":
        return served().life.pause();
      case "resume":
        return served().life.resume();
      case "reset":
        return this.reset(served());
      case "shutdown":
        return served().life.shutdown();
      case "powerOff":
        return powerOff(this.present(vm), (request as GuestRequest<"powerOff">).args.timeoutMs);
      case "stop": {
        const { reason, patience } = (request as GuestRequest<"stop">).args;
        return served().life.stop(reason, patience);
      }
      case "snapshot":
        return served().life.snapshot((request as GuestRequest<"snapshot">).args.path);
      case "backup":
        return served().life.backup((guest) => guest.backup((request as GuestRequest<"backup">).args));
      case "figures":
        return this.figures(vm);
      case "ping":
        return Promise.resolve(undefined);
      case "farewell":
        return this.filesAtRest();
    }
  }

  private async start(vm: string, args: GuestRequest<"start">["args"]): Promise<void> {
    const { spec, folder, slot, cables, restore } = args;
    const { life, surroundings } = this.admit(vm, slot, cables);
    await life.start(async () => {
      const guest = await this.make(spec, surroundings, { folder, place: this.place });
      try {
        if (restore !== undefined) await guest.restoreFrom(restore);
        guest.resize(spec.console.columns, spec.console.rows);
      } catch (error) {
        guest.free();
        throw error;
      }
      return this.lookAfter(vm, life, guest);
    });
  }

  private async clone(vm: string, args: GuestRequest<"clone">["args"]): Promise<unknown> {
    const source = this.served(vm, "clone").life;
    const { life, surroundings } = this.admit(args.name, args.slot, args.cables);
    let milliseconds = 0;
    await life.start(async () => {
      const twin = await source.clone(async (guest) => {
        const began = performance.now();
        const copy = await guest.clone(args.name, surroundings);
        milliseconds = performance.now() - began;
        return copy;
      });
      return this.lookAfter(args.name, life, twin);
    });
    return { milliseconds };
  }

  private async restore(vm: string, { path, columns, rows }: GuestRequest<"restore">["args"]): Promise<void> {
    const served = this.served(vm, "restore");
    await served.life.restore(
      async (guest) => {
        const next = await guest.successor(served.surroundings);
        try {
          await next.restoreFrom(path);
          next.resize(columns, rows);
        } catch (error) {
          next.free();
          throw error;
        }
        return next;
      },
      (next) => {
        served.input.drop();
        served.streams.close();
        served.console.holds(next);
        this.memory.replace(vm, next.memory);
      },
    );
    served.console.flush();
  }

  private async reset({ life, console }: Served): Promise<void> {
    await life.reset();
    // What it printed before is told before the answer.
    console.flush();
  }

  private async figures(vm: string): Promise<GuestFigures> {
    const guest = this.present(vm);
    return { memory: guest.memoryFigures(), counters: guest.counters(), retired: guest.retired() };
  }

  private present(vm: string): Guest {
    const guest = this.served(vm, "look at").life.present;
    if (guest === undefined) throw new LifecycleError("E_VM_STATE", `VM ${vm} is not there yet`);
    return guest;
  }

  /** A life that begins. */
  private admit(
    vm: string,
    slot: number,
    cables: unknown,
  ): { life: VmLife; surroundings: GuestSurroundings } {
    if (this.vms.has(vm)) throw new LifecycleError("E_VM_STATE", `this thread has a VM ${vm} already`);
    const console = new ConsoleOutput((bytes) => this.tell({ kind: "console", vm, bytes }));
    const life = new VmLife(vm, {
      state: (state) => this.tell({ kind: "state", vm, state }),
      left: () => {
        const served = this.vms.get(vm);
        this.vms.delete(vm);
        served?.input.end();
        served?.streams.close();
        this.memory.remove(vm);
        console.flush();
      },
      ended: (state, end) => this.tell({ kind: "ended", vm, state, end }),
      broke: (error) => this.distrust(vm, error),
    });
    const surroundings = {
      console,
      gate: (retired: () => number) => this.memory.gate(vm, new SharedGate(this.table, slot, retired)),
      steal: () => stealIn(this.table, slot, monotonicNanoseconds()),
      disk: new SharedDiskGate(
        this.disks,
        slot,
        () => this.table.ring(),
        () => monotonicNanoseconds() / 1e6,
      ),
      cables,
    };
    const streams = new ServedStreams((stream, message) =>
      this.tell({ kind: "stream", vm, stream, message }),
    );
    const input = new OfferedInput(
      () => life.present,
      (bytes) => this.tell({ kind: "taken", vm, bytes }),
    );
    this.vms.set(vm, { life, console, surroundings, streams, input });
    this.table.setThread(slot, currentThread());
    return { life, surroundings };
  }

  /** The memory of a guest whose life may be over already is nobody's to look after. */
  private lookAfter(vm: string, life: VmLife, guest: Guest): Guest {
    const served = this.vms.get(vm);
    if (served?.life !== life) return guest;
    served.console.holds(guest);
    this.memory.add(vm, guest.memory);
    return guest;
  }

  /** A guest has failed: with an exception that nobody meant to throw, others may have been hurt. */
  private distrust(vm: string, error: unknown): void {
    const { code, message } = error as { code?: unknown; message?: string };
    const others = [...this.vms.keys()].filter((name) => name !== vm);
    if (typeof code === "string" || others.length === 0) return;
    this.fail(new Error(`VM ${vm} broke what it shared: ${message ?? String(error)}`, { cause: error }));
  }

  /** The daemon asks only for VMs that were here: one that is not has ended while the request was on its way. */
  private served(vm: string, what: string): Served {
    const served = this.vms.get(vm);
    if (served === undefined)
      throw new LifecycleError("E_VM_STATE", `can't ${what} VM ${vm}: it has ended meanwhile`);
    return served;
  }

  private take(message: GuestInput): void {
    if (message.kind === "place") {
      this.place = message.place;
      return;
    }
    const served = this.vms.get(message.vm);
    // Keys typed at a VM that has just ended are for nobody.
    if (served === undefined) return;
    if (message.kind === "memory") {
      this.memory.setTarget(message.vm, message.target);
      return;
    }
    if (message.kind === "stream") {
      const { present } = served.life;
      served.streams.hear(present?.connect?.bind(present), message.stream, message.message);
      return;
    }
    if (message.kind === "resize") {
      served.life.present?.resize(message.columns, message.rows);
      return;
    }
    if (message.kind === "heard") {
      served.console.heard(message.bytes);
      return;
    }
    served.input.push(message.bytes);
  }
}

/** Asks a program in the guest to end it; whether one answered. */
async function powerOff(guest: Guest, timeoutMs: number): Promise<boolean> {
  if (guest.powerOff === undefined) return false;
  try {
    await guest.powerOff(timeoutMs);
    return true;
  } catch {
    // Who asked has other means.
    return false;
  }
}
