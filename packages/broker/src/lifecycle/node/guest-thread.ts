/**
 * The daemon's side of a thread that runs VMs: requests and their replies, news, and the thread's end. A thread is
 * started before there is anything for it to do, since loading its program takes longer than starting a VM.
 *
 * It keeps account of its tenants: it ends when the last of them leaves, and takes no new one from then on.
 */
import type { MemoryFigures, NodePlace } from "../../memory/host-memory-broker.js";
import { LifecycleError } from "../errors.js";
import type { GuestEnd } from "../guest-port.js";
import type { StreamMessage } from "../guest-streams.js";
import type { GuestInput, GuestNews, GuestRequest, GuestRequests } from "../protocol.js";
import type { VmState } from "../vm-states.js";
import { settlesWithin } from "../waiting.js";

/** What comes from a thread without being asked for. */
export interface GuestThreadListener {
  console(thread: GuestThread, vm: string, bytes: Uint8Array): void;
  /** A VM's guest has taken so much of its console input. */
  taken(thread: GuestThread, vm: string, bytes: number): void;
  /** A stream to a program in a VM's guest. */
  stream(thread: GuestThread, vm: string, stream: number, message: StreamMessage): void;
  /** A VM's memory has changed. */
  memory(thread: GuestThread, vm: string, figures: MemoryFigures): void;
  state(thread: GuestThread, vm: string, state: VmState): void;
  ended(thread: GuestThread, vm: string, state: VmState, end: GuestEnd): void;
  /**
   * The thread's code runs no more, and with it no VM; `error` says why unless it was told to end. Called before the
   * requests under way are refused.
   */
  lost(thread: GuestThread, error: Error | undefined): void;
  /** The thread is gone: what it had is free. */
  exited(thread: GuestThread): void;
  /** What it said could not be taken in. */
  trouble(error: Error): void;
}

/** The thread itself: a worker of Node (`start-worker.ts`), or what a test has in its place. */
export interface ThreadHandle {
  on(event: "message", listener: (news: GuestNews) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "exit", listener: () => void): unknown;
  postMessage(message: GuestRequest | GuestInput): void;
  terminate(): Promise<unknown>;
}

/** Milliseconds for a thread to be gone that was told to end: an operation of the host's may keep it. */
const EXIT_MS = 5000;

/**
 * Milliseconds for the last words of a thread whose VMs are gone: one that waits its turn on a host with too much to do answers
 * late, and would leave open what it reads.
 */
const LAST_WORDS_MS = 10_000;

/** Milliseconds for a thread that answers to close the files that it has in hand. */
const FILES_MS = 10_000;

let threads = 0;
/** A number for a thread to come, so that its VM can be admitted before it is started. */
export const nextThreadNumber = (): number => ++threads;

/** A thread. */
export class GuestThread {
  private occupation: { readonly number: number; readonly place: NodePlace } | undefined;
  private readonly tenants = new Set<string>();
  private readonly replies = new Map<
    number,
    { readonly vm: string; resolve(result: unknown): void; reject(error: Error): void }
  >();
  private next = 0;
  private failure: Error | undefined;
  private isEnding = false;
  private isLost = false;
  private noteExit: () => void = () => {};
  /** Resolves when it is gone: nothing of it runs any more, and what it had is free. */
  readonly gone = new Promise<void>((resolve) => {
    this.noteExit = resolve;
  });
  private hasExited = false;

  constructor(
    private readonly handle: ThreadHandle,
    private readonly listener: GuestThreadListener,
  ) {
    handle.on("message", (news) => {
      try {
        this.hear(news);
      } catch (error) {
        this.listener.trouble(error as Error);
      }
    });
    handle.on("error", (error) => {
      this.failure ??= error;
      this.lose();
    });
    handle.on("exit", () => {
      this.lose();
      this.hasExited = true;
      this.listener.exited(this);
      this.noteExit();
    });
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

  /** Whether another VM may move in. */
  get isOpen(): boolean {
    return !this.isEnding && !this.isLost;
  }

  /** Whether nothing of it runs any more. */
  get isGone(): boolean {
    return this.hasExited;
  }

  /** VMs that are in it. */
  get vms(): readonly string[] {
    return [...this.tenants];
  }

  /** A VM moves in. */
  enter(vm: string): void {
    this.tenants.add(vm);
  }

  /** A VM has left; the last one takes the thread along. Resolves when what the VM had is free. */
  async leave(vm: string): Promise<void> {
    this.tenants.delete(vm);
    if (this.tenants.size > 0) return;
    this.isEnding = true;
    // What it has said is heard first: why a start has failed, for one.
    if (await settlesWithin(this.call("ping", vm, undefined), LAST_WORDS_MS))
      await settlesWithin(this.call("farewell", vm, undefined), FILES_MS);
    await this.terminate();
  }

  /**
   * Asks for something.
   * @throws LifecycleError as the thread refuses; `E_VM_CRASHED` if it ends before it answers
   */
  call<Method extends keyof GuestRequests>(
    method: Method,
    vm: string,
    args: GuestRequests[Method]["args"],
  ): Promise<GuestRequests[Method]["result"]> {
    if (this.isLost) return Promise.reject(this.lostOf(vm));
    const id = ++this.next;
    const request: GuestRequest<Method> = { kind: "request", id, method, vm, args };
    return new Promise((resolve, reject) => {
      this.replies.set(id, {
        vm,
        resolve: (result) => resolve(result as GuestRequests[Method]["result"]),
        reject,
      });
      this.handle.postMessage(request);
    });
  }

  /** Sends what needs no answer. */
  send(input: GuestInput): void {
    if (!this.isLost) this.handle.postMessage(input);
  }

  /**
   * Ends the thread, wherever it is, with all its VMs. Resolves when it is gone, or can't be waited for any longer: no
   * code of it runs then, but what it had is not free before `exited`.
   * @param why what its VMs are told, unless they were to end anyway
   */
  async terminate(why?: Error): Promise<void> {
    this.isEnding = true;
    this.failure ??= why;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, EXIT_MS);
    });
    this.handle.terminate().catch((error: Error) => {
      this.failure ??= error;
    });
    await Promise.race([this.gone, late]);
    clearTimeout(timer);
    this.lose();
  }

  private hear(news: GuestNews): void {
    switch (news.kind) {
      case "console":
        this.listener.console(this, news.vm, news.bytes);
        return;
      case "taken":
        this.listener.taken(this, news.vm, news.bytes);
        return;
      case "stream":
        this.listener.stream(this, news.vm, news.stream, news.message);
        return;
      case "memory":
        this.listener.memory(this, news.vm, news.figures);
        return;
      case "state":
        this.listener.state(this, news.vm, news.state);
        return;
      case "ended":
        this.listener.ended(this, news.vm, news.state, news.end);
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

  private lose(): void {
    if (this.isLost) return;
    this.isLost = true;
    this.isEnding = true;
    this.listener.lost(this, this.failure);
    const refused = [...this.replies.values()];
    this.replies.clear();
    for (const { vm, reject } of refused) reject(this.lostOf(vm));
  }

  private lostOf(vm: string): LifecycleError {
    const why = this.failure === undefined ? "" : `: ${this.failure.message}`;
    return new LifecycleError("E_VM_CRASHED", `the thread of VM ${vm} has ended${why}`, {
      cause: this.failure,
    });
  }
}
