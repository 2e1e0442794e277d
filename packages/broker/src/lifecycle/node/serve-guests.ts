/**
 * The thread's side of a VM's life: makes guests, runs them, and does what the daemon asks. A program calls
 * {@link serveGuests} with the function that composes its machines, and is then a thread's program.
 *
 * A guest that fails with an exception ends the thread, and with it the VMs that share it (clones and their original,
 * a group): nothing can be said about the memory that they have in common.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { ControlTable, SharedGate } from "../../cpu/control-table.js";
import { stealIn } from "../../cpu/dispatcher.js";
import { currentThread, monotonicNanoseconds } from "../../cpu/node/thread-time.js";
import { ConsoleOutput } from "../console-output.js";
import { LifecycleError } from "../errors.js";
import type { Guest, GuestSurroundings, MakeGuest } from "../guest-port.js";
import type { GuestInput, GuestNews, GuestRequest, GuestThreadData } from "../protocol.js";
import { ThreadMemory } from "./thread-memory.js";

/** Milliseconds between two offers of input that the guest did not take: the pause doubles from the least to the most. */
const [LEAST_RETRY, MOST_RETRY] = [2, 64];

interface Served {
  readonly guest: Guest;
  readonly console: ConsoleOutput;
  /** Bounded by the daemon, which is told what has been taken. */
  readonly input: Uint8Array[];
  retry: NodeJS.Timeout | undefined;
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
  const server = new GuestServer(parentPort, workerData as GuestThreadData, make);
  server.listen();
  // What fails here fails again, and is told, when it is needed.
  setTimeout(() => server.isVacant && prepare().catch(() => {}), LEISURE);
}

class GuestServer {
  private readonly guests = new Map<string, Served>();
  private readonly table: ControlTable;
  private readonly memory: ThreadMemory;
  private place: unknown;

  constructor(
    private readonly port: MessagePort,
    data: GuestThreadData,
    private readonly make: MakeGuest,
  ) {
    this.table = new ControlTable(data.table);
    this.memory = new ThreadMemory(data.swapFolder, (vm, figures) =>
      this.tell({ kind: "memory", vm, figures }),
    );
  }

  listen(): void {
    this.port.on("message", (message: GuestRequest | GuestInput) => {
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
    switch (method) {
      case "create": {
        const { spec, folder, slot, restore } = (request as GuestRequest<"create">).args;
        const console = new ConsoleOutput((bytes) => this.tell({ kind: "console", vm, bytes }));
        const guest = await this.make(spec, this.surroundings(vm, console, slot), {
          folder,
          place: this.place,
          ...(restore === undefined ? {} : { restore }),
        });
        console.holds(guest);
        guest.resize(spec.console.columns, spec.console.rows);
        this.guests.set(vm, { guest, console, input: [], retry: undefined });
        this.memory.add(vm, guest.memory);
        return undefined;
      }
      case "clone": {
        const { name, slot } = (request as GuestRequest<"clone">).args;
        const started = performance.now();
        const console = new ConsoleOutput((bytes) => this.tell({ kind: "console", vm: name, bytes }));
        const guest = await this.served(vm).guest.clone(name, this.surroundings(name, console, slot));
        console.holds(guest);
        this.guests.set(name, { guest, console, input: [], retry: undefined });
        this.memory.add(name, guest.memory);
        return { milliseconds: performance.now() - started };
      }
      case "run":
        void this.run(vm);
        return undefined;
      case "stop":
        this.served(vm).guest.stop((request as GuestRequest<"stop">).args.reason);
        return undefined;
      case "snapshot":
        return this.served(vm).guest.saveTo((request as GuestRequest<"snapshot">).args.path);
      case "figures": {
        const { guest } = this.served(vm);
        return { memory: guest.memoryFigures(), counters: guest.counters(), retired: guest.retired() };
      }
      default:
        this.served(vm).guest[method]();
        return undefined;
    }
  }

  private served(vm: string): Served {
    const served = this.guests.get(vm);
    if (served === undefined) throw new LifecycleError("E_VM_UNKNOWN", `this thread has no VM ${vm}`);
    return served;
  }

  private surroundings(vm: string, console: ConsoleOutput, slot: number): GuestSurroundings {
    this.table.setThread(slot, currentThread());
    return {
      console,
      gate: (retired) => this.memory.gate(vm, new SharedGate(this.table, slot, retired)),
      steal: () => stealIn(this.table, slot, monotonicNanoseconds()),
    };
  }

  private async run(vm: string): Promise<void> {
    const served = this.served(vm);
    // Rejects only where the machine itself is broken; then the thread is, too.
    const end = await served.guest.run();
    served.console.flush();
    this.guests.delete(vm);
    clearTimeout(served.retry);
    this.memory.remove(vm);
    served.guest.free();
    this.tell({ kind: "ended", vm, end });
  }

  private take(message: GuestInput): void {
    if (message.kind === "place") {
      this.place = message.place;
      return;
    }
    const served = this.guests.get(message.vm);
    // Keys typed at a VM that has just ended are for nobody.
    if (served === undefined) return;
    if (message.kind === "memory") {
      this.memory.setTarget(message.vm, message.target);
      return;
    }
    if (message.kind === "resize") {
      served.guest.resize(message.columns, message.rows);
      return;
    }
    if (message.kind === "heard") {
      served.console.heard(message.bytes);
      return;
    }
    served.input.push(message.bytes);
    if (served.retry === undefined) this.offer(message.vm, served);
  }

  private offer(vm: string, served: Served, pause = LEAST_RETRY): void {
    served.retry = undefined;
    let all = 0;
    for (let first = served.input[0]; first !== undefined; first = served.input[0]) {
      const taken = served.guest.receive(first);
      all += taken;
      if (taken < first.length) {
        served.input[0] = first.subarray(taken);
        const next = all > 0 ? LEAST_RETRY : Math.min(2 * pause, MOST_RETRY);
        served.retry = setTimeout(() => this.offer(vm, served, next), next);
        break;
      }
      served.input.shift();
    }
    if (all > 0) this.tell({ kind: "taken", vm, bytes: all });
  }
}
