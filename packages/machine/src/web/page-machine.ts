/** A machine of a page, whose guest runs in a worker: questions with answers, and events. */
import type { MachineEnd } from "../machine.js";
import { PageMachineError } from "./errors.js";
import { OutputText } from "./output-text.js";
import type {
  FileRole,
  FileSource,
  MachineRecipe,
  PageMachineState,
  WorkerInput,
  WorkerMethod,
  WorkerNews,
  WorkerRequest,
  WorkerRequests,
} from "./protocol.js";

/** A file: its address, which is relative to the document's, or its bytes. */
export type MachineFile = string | URL | Uint8Array | ArrayBuffer;

/** What a machine of a page is made from: a kernel, a program or a snapshot, and what goes with it. */
export interface PageMachineOptions {
  /** A kernel for RISC-V, as an `Image` or an ELF file. */
  readonly kernel?: MachineFile;
  /** The kernel's initial file system. */
  readonly initrd?: MachineFile;
  /** A bare-metal ELF file. */
  readonly program?: MachineFile;
  /** The kernel's command line. */
  readonly append?: string;
  /** Bytes of RAM, a multiple of 4096; those of the snapshot, or else 128 MiB, unless given. */
  readonly memory?: number;
  /** A snapshot to go on from, of `save` here or of `hyperfile snapshot`; images beside it are for when the guest reboots. */
  readonly snapshot?: MachineFile;
  /**
   * Makes the worker, for bundlers that do not find it by themselves: it is to run `@hyperfile/machine/web-worker` as a
   * module, with `zstd.wasm` of that package beside it.
   */
  readonly worker?: () => Worker;
}

/** How long to wait. */
export interface WaitOptions {
  /** Milliseconds; 30,000 unless given. */
  readonly timeoutMs?: number;
}

/** A machine has printed. */
export class MachineOutputEvent extends CustomEvent<Uint8Array> {
  /** What is waited for before the guest may print much more. */
  readonly pending: Promise<unknown>[] = [];

  constructor(bytes: Uint8Array) {
    super("output", { detail: bytes });
  }

  /**
   * The bytes have not been dealt with before `work` settles: a guest that is far ahead of that is held. For listeners to
   * call before they return.
   */
  waitUntil(work: Promise<unknown>): void {
    this.pending.push(work);
  }
}

/** Events of a machine by name. */
export interface PageMachineEvents {
  /** It has printed: the bytes, which are the listeners' to keep. */
  readonly output: MachineOutputEvent;
  readonly state: CustomEvent<PageMachineState>;
  /** Its run has ended: its power is off, its owner stopped it, or it can't go on. */
  readonly end: CustomEvent<MachineEnd>;
  /** It is lost, for the reason in `message`; `error` is a {@link PageMachineError}. */
  readonly error: ErrorEvent;
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: PageMachineError): void;
}

const DEFAULT_TIMEOUT = 30_000;

/**
 * A machine of a page; `startMachine` makes one. All that is asked of it is done in that order. What is refused rejects
 * with a {@link PageMachineError}.
 */
export class PageMachine extends EventTarget {
  private current: PageMachineState = "starting";
  private readonly waiting = new Map<number, Waiting>();
  private readonly text = new OutputText();
  private readonly encoder = new TextEncoder();
  /** Why nothing can be asked any more. */
  private gone: PageMachineError | undefined;
  /** Who started it knows of it; until then a failure is the start's. */
  private isStarted = false;
  private next = 0;

  private constructor(private readonly worker: Worker) {
    super();
    worker.onmessage = ({ data }: MessageEvent<WorkerNews>) => this.hear(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.lose(event.message || "it can't be loaded: is web-worker.js where the page looks for it?");
    };
    worker.onmessageerror = () => this.lose("it said what can't be understood");
  }

  /**
   * Makes a machine and lets it start: `started` settles when its guest runs, or can't.
   * @throws PageMachineError `E_OPTION`, `E_WORKER`
   */
  static begin(options: PageMachineOptions): {
    readonly machine: PageMachine;
    readonly started: Promise<void>;
  } {
    const recipe = recipeOf(options);
    const machine = new PageMachine(makeWorker(options.worker));
    return { machine, started: machine.start(recipe) };
  }

  /** What it does. */
  get state(): PageMachineState {
    return this.current;
  }

  /** Types at its console: text as UTF-8, or bytes. The Enter key is `\r`; guests take `\n` for it, too. */
  async type(input: string | Uint8Array): Promise<void> {
    const bytes = typeof input === "string" ? this.encoder.encode(input) : input.slice();
    await this.ask("type", bytes, [bytes.buffer as ArrayBuffer]);
  }

  /**
   * Waits until it has printed something after what was last waited for, and gives all that it printed from there to the
   * end of that, control sequences included; of more than 262,144 characters that nobody waited for, the last ones.
   * Rejects with `E_TIMEOUT`, and with `E_STATE` when the machine is off.
   */
  waitFor(what: string | RegExp, { timeoutMs = DEFAULT_TIMEOUT }: WaitOptions = {}): Promise<string> {
    const answer = this.text.waitFor(what, timeoutMs);
    if (this.gone !== undefined || this.current === "off") this.endWaiting();
    return answer;
  }

  /** Lets the guest stand still between two instructions, with its clock. */
  async pause(): Promise<void> {
    await this.ask("pause", undefined);
  }

  async resume(): Promise<void> {
    await this.ask("resume", undefined);
  }

  /** Begins again with what it was started from, also when it is off. */
  async reset(): Promise<void> {
    await this.ask("reset", undefined);
  }

  /** Turns its power off, without the guest's doing. */
  async stop(): Promise<void> {
    await this.ask("stop", undefined);
  }

  /** A snapshot of it as it is: `hyperfile restore` takes it, too. */
  save(): Promise<Uint8Array> {
    return this.ask("save", undefined);
  }

  /** Its counters, ready for JSON; `guestInstructions` are those that the guest has run. */
  statistics(): Promise<Record<string, unknown>> {
    return this.ask("statistics", undefined);
  }

  /** Its console has this size in characters. */
  resize(columns: number, rows: number): void {
    if (this.gone === undefined) this.send({ kind: "resize", columns, rows });
  }

  /** Ends it and its worker. What has been asked and not answered rejects with `E_CLOSED`. */
  close(): void {
    this.leave(new PageMachineError("E_CLOSED", "the machine was closed: start another one"));
  }

  override addEventListener<Type extends keyof PageMachineEvents>(
    type: Type,
    listener: (event: PageMachineEvents[Type]) => void,
    options?: AddEventListenerOptions | boolean,
  ): void;
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: AddEventListenerOptions | boolean,
  ): void;
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: AddEventListenerOptions | boolean,
  ): void {
    super.addEventListener(type, listener, options);
  }

  private async start(recipe: MachineRecipe): Promise<void> {
    try {
      await this.ask("start", recipe, transferable(recipe));
      this.isStarted = true;
    } catch (error) {
      this.leave(error as PageMachineError);
      throw error;
    }
  }

  private ask<Method extends WorkerMethod>(
    method: Method,
    args: WorkerRequests[Method]["args"],
    transfer: Transferable[] = [],
  ): Promise<WorkerRequests[Method]["result"]> {
    if (this.gone !== undefined) return Promise.reject(this.gone);
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.send({ kind: "request", id, method, args }, transfer);
    });
  }

  private send(message: WorkerRequest | WorkerInput, transfer: Transferable[] = []): void {
    this.worker.postMessage(message, transfer);
  }

  private hear(news: WorkerNews): void {
    // What was under way when it was closed is for nobody.
    if (this.gone !== undefined) return;
    switch (news.kind) {
      case "reply":
        this.waiting.get(news.id)?.resolve(news.result);
        this.waiting.delete(news.id);
        break;
      case "refusal":
        this.waiting.get(news.id)?.reject(new PageMachineError(news.code, news.message));
        this.waiting.delete(news.id);
        break;
      case "state":
        this.become(news.state);
        break;
      case "output":
        this.print(news.bytes);
        break;
      case "end":
        this.dispatchEvent(new CustomEvent("end", { detail: news.end }));
        break;
    }
  }

  private print(bytes: Uint8Array): void {
    const { length } = bytes;
    this.text.add(bytes);
    const event = new MachineOutputEvent(bytes);
    this.dispatchEvent(event);
    const heard = () => {
      if (this.gone === undefined) this.send({ kind: "heard", bytes: length });
    };
    if (event.pending.length === 0) heard();
    else void Promise.allSettled(event.pending).then(heard);
  }

  private become(state: PageMachineState): void {
    if (state === this.current) return;
    this.current = state;
    if (state === "off") this.endWaiting();
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  private endWaiting(): void {
    this.text.end(
      (what) =>
        this.gone ?? new PageMachineError("E_STATE", `the machine is off and has not printed ${what}`),
    );
  }

  private lose(why: string): void {
    if (this.gone !== undefined) return;
    const error = new PageMachineError("E_WORKER", `the machine's worker has failed: ${why}`);
    this.leave(error);
    if (this.isStarted) this.dispatchEvent(new ErrorEvent("error", { message: error.message, error }));
  }

  private leave(error: PageMachineError): void {
    if (this.gone !== undefined) return;
    this.gone = error;
    this.worker.terminate();
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
    this.become("off");
    this.endWaiting();
  }
}

/** @throws PageMachineError `E_WORKER` */
function makeWorker(make: (() => Worker) | undefined): Worker {
  try {
    // Bundlers look for these very words.
    return make?.() ?? new Worker(new URL("./web-worker.js", import.meta.url), { type: "module" });
  } catch (error) {
    throw new PageMachineError(
      "E_WORKER",
      `the machine's worker can't be started: ${(error as Error).message}; serve web-worker.js from the page's own origin, or give \`worker\``,
    );
  }
}

/** @throws PageMachineError `E_OPTION` */
function recipeOf(options: PageMachineOptions): MachineRecipe {
  const { kernel, initrd, program, snapshot, append, memory } = options;
  const files: { [Role in FileRole]?: FileSource } = {};
  for (const [role, file] of Object.entries({ kernel, initrd, program, snapshot }))
    if (file !== undefined) files[role as FileRole] = sourceOf(role, file);
  return {
    files,
    ...(append === undefined ? {} : { append }),
    ...(memory === undefined ? {} : { memory }),
  };
}

function sourceOf(role: string, file: MachineFile): FileSource {
  // The page's bytes stay the page's.
  if (file instanceof Uint8Array) return { bytes: file.slice() };
  if (file instanceof ArrayBuffer) return { bytes: new Uint8Array(file.slice(0)) };
  try {
    return { url: new URL(file, document.baseURI).href };
  } catch {
    throw new PageMachineError(
      "E_OPTION",
      `the ${role} ${JSON.stringify(file)} is no address: give a URL or bytes`,
    );
  }
}

const transferable = ({ files }: MachineRecipe): Transferable[] =>
  Object.values(files).flatMap((source) => ("bytes" in source ? [source.bytes.buffer as ArrayBuffer] : []));
