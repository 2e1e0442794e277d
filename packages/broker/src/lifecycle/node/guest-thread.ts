/**
 * The daemon's side of a thread that runs VMs: requests and their replies, news, and the thread's end. A thread is
 * started before there is anything for it to do, since loading its program takes longer than starting a VM.
 */
import { Worker } from "node:worker_threads";
import type { ControlTable } from "../../cpu/control-table.js";
import type { MemoryFigures, NodePlace } from "../../memory/host-memory-broker.js";
import { LifecycleError } from "../errors.js";
import type { GuestEnd } from "../guest-port.js";
import type { GuestInput, GuestNews, GuestRequest, GuestRequests, GuestThreadData } from "../protocol.js";

/** What comes from a thread without being asked for. */
export interface GuestThreadListener {
  console(vm: string, bytes: Uint8Array): void;
  /** A VM's guest has taken so much of its console input. */
  taken(vm: string, bytes: number): void;
  /** A VM's memory has changed. */
  memory(vm: string, figures: MemoryFigures): void;
  ended(vm: string, end: GuestEnd): void;
  /** The thread is gone, with all its VMs; `error` says why unless it was told to end. */
  exited(error: Error | undefined): void;
}

/** JavaScript heap of one thread in MiB: a VM that makes the engine's data grow without end harms only itself. */
const HEAP_MEBIBYTES = 1024;

let threads = 0;
/** A number for a thread to come, so that its VM can be admitted before it is started. */
export const nextThreadNumber = (): number => ++threads;

/** A thread. */
export class GuestThread {
  private occupation: { readonly number: number; readonly place: NodePlace } | undefined;
  private readonly worker: Worker;
  private readonly replies = new Map<
    number,
    { resolve(result: unknown): void; reject(error: Error): void }
  >();
  private next = 0;
  private failure: Error | undefined;
  private gone = false;

  /**
   * @param program module that calls `serveGuests`
   * @param table the scheduler's
   * @param swapFolder folder for its swap file
   */
  constructor(
    program: URL,
    table: ControlTable,
    swapFolder: string,
    private readonly listener: GuestThreadListener,
  ) {
    const data: GuestThreadData = { table: table.buffer, swapFolder };
    this.worker = new Worker(program, {
      workerData: data,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MEBIBYTES },
    });
    this.worker.on("message", (news: GuestNews) => this.hear(news));
    this.worker.on("error", (error) => {
      this.failure = error;
    });
    this.worker.on("exit", () => this.end());
  }

  /**
   * Makes it the thread of VMs to come.
   * @param number that they have in common for the scheduler; see {@link nextThreadNumber}
   * @param place where they have their memory
   */
  occupy(number: number, place: NodePlace): void {
    this.occupation = { number, place };
    this.send({ kind: "place", place: place.place });
  }

  /** What its VMs have in common for the scheduler; undefined before `occupy`. */
  get number(): number | undefined {
    return this.occupation?.number;
  }

  /** Where its VMs have their memory; undefined before `occupy`. */
  get place(): NodePlace | undefined {
    return this.occupation?.place;
  }

  /** Asks for something. @throws LifecycleError as the thread refuses, or if it ends before it answers */
  call<Method extends keyof GuestRequests>(
    method: Method,
    vm: string,
    args: GuestRequests[Method]["args"],
  ): Promise<GuestRequests[Method]["result"]> {
    if (this.gone) return Promise.reject(this.lost(vm));
    const id = ++this.next;
    const request: GuestRequest<Method> = { kind: "request", id, method, vm, args };
    return new Promise((resolve, reject) => {
      this.replies.set(id, {
        resolve: (result) => resolve(result as GuestRequests[Method]["result"]),
        reject,
      });
      this.worker.postMessage(request);
    });
  }

  /** Sends what needs no answer. */
  send(input: GuestInput): void {
    this.worker.postMessage(input);
  }

  /** Ends the thread, wherever it is. */
  async terminate(): Promise<void> {
    await this.worker.terminate();
  }

  private hear(news: GuestNews): void {
    switch (news.kind) {
      case "console":
        this.listener.console(news.vm, news.bytes);
        return;
      case "taken":
        this.listener.taken(news.vm, news.bytes);
        return;
      case "memory":
        this.listener.memory(news.vm, news.figures);
        return;
      case "ended":
        this.listener.ended(news.vm, news.end);
        return;
      case "reply":
        this.replies.get(news.id)?.resolve(news.result);
        break;
      case "refusal":
        this.replies
          .get(news.id)
          ?.reject(Object.assign(new LifecycleError("E_GUEST", news.message), { code: news.code }));
        break;
    }
    this.replies.delete(news.id);
  }

  private end(): void {
    if (this.gone) return;
    this.gone = true;
    for (const { reject } of this.replies.values()) reject(this.lost("of this thread"));
    this.replies.clear();
    this.listener.exited(this.failure);
  }

  private lost(vm: string): LifecycleError {
    const why = this.failure === undefined ? "" : `: ${this.failure.message}`;
    return new LifecycleError("E_VM_CRASHED", `the thread of VM ${vm} has ended${why}`, {
      cause: this.failure,
    });
  }
}
