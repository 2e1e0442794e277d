/**
 * The relay for pages as the daemon has it: its token, its address, and its thread. If that fails, another one takes its
 * place at the same address, and pages connect again.
 */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { Worker } from "node:worker_threads";
import { CliError } from "../../errors.js";
import type { NetRule } from "../../net-flags.js";
import type { WebPlace } from "../../web-flags.js";
import type { WebNews, WebThreadData } from "./messages.js";

/** Bytes of the token: nobody tries them all. */
const TOKEN_BYTES = 24;
/** JavaScript heap of the thread in MiB: what pages keep lies outside of it, and is bounded. */
const HEAP_MEBIBYTES = 512;
/** Milliseconds from a failure of the thread to the next one: the first time, and at most. */
const [AGAIN_MS, MOST_AGAIN_MS] = [1000, 60_000];
/** Addresses that mean all of this computer's. */
const everywhere: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

/** What a relay is made with. */
export interface WebRelayOptions {
  /** Module that calls `serveWeb`. */
  readonly program: URL;
  readonly place: WebPlace;
  readonly origins: readonly string[];
  readonly rules: readonly NetRule[];
  /** A page may not reach something. */
  refused(place: { readonly protocol: "tcp" | "udp"; readonly address: string; readonly port: number }): void;
  /** Pages have come or gone. */
  changed(): void;
  /** The thread has failed. */
  failed(error: Error): void;
}

/** The relay. */
export class WebRelay {
  private readonly token = randomBytes(TOKEN_BYTES).toString("base64url");
  private worker: Worker | undefined;
  private port: number;
  private clients = 0;
  private isListening = false;
  private isClosed = false;

  private constructor(private readonly options: WebRelayOptions) {
    this.port = options.place.port;
  }

  /** Starts one. @throws CliError `E_DAEMON` (the promise rejects) with the reason if it does not listen */
  static async start(options: WebRelayOptions): Promise<WebRelay> {
    const relay = new WebRelay(options);
    try {
      await relay.begin();
    } catch (error) {
      await relay.close();
      throw new CliError("E_DAEMON", `--web: ${(error as Error).message}`, { cause: error });
    }
    return relay;
  }

  /** What a page is given, with the token. */
  get url(): string {
    const { address } = this.options.place;
    const named = everywhere.has(address) ? hostname() : address;
    const host = named.includes(":") ? `[${named}]` : named;
    return `ws://${host}:${this.port}/wisp/?token=${this.token}&hyperfile=1`;
  }

  /** Whether pages are connected. */
  get isUsed(): boolean {
    return this.clients > 0;
  }

  /** Ends it; pages are cut off. */
  async close(): Promise<void> {
    this.isClosed = true;
    await this.worker?.terminate();
  }

  /** Starts the thread; settles when it listens, or not. */
  private begin(): Promise<void> {
    const { place, origins, rules } = this.options;
    const data: WebThreadData = {
      address: place.address,
      port: this.port,
      token: this.token,
      origins,
      rules,
    };
    const worker = new Worker(this.options.program, {
      workerData: data,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MEBIBYTES },
    });
    worker.unref();
    this.worker = worker;
    return new Promise((resolve, reject) => {
      worker.on("error", (error) => {
        reject(error);
        this.lost(worker, error);
      });
      worker.on("message", (news: WebNews) => {
        if (news.kind === "listening") {
          // The same one again, if another thread has to take its place.
          this.port = news.port;
          this.isListening = true;
          resolve();
        } else if (news.kind === "failed") reject(new Error(news.message));
        else this.hear(news);
      });
    });
  }

  private hear(news: Exclude<WebNews, { kind: "listening" | "failed" }>): void {
    if (news.kind === "refused") return this.options.refused(news);
    this.clients = news.count;
    this.options.changed();
  }

  /** The thread has failed: once it has listened, another one takes its place. */
  private lost(worker: Worker, error: Error): void {
    if (this.worker !== worker || this.isClosed || !this.isListening) return;
    this.isListening = false;
    this.clients = 0;
    this.options.changed();
    this.options.failed(new Error(`the thread of the relay for pages has failed: ${error.message}`));
    this.again(AGAIN_MS);
  }

  private again(afterMs: number): void {
    setTimeout(() => {
      if (this.isClosed) return;
      this.begin().catch((error: Error) => {
        if (this.isClosed) return;
        this.options.failed(new Error(`the relay for pages does not start again: ${error.message}`));
        void this.worker?.terminate();
        this.again(Math.min(MOST_AGAIN_MS, 2 * afterMs));
      });
    }, afterMs).unref();
  }
}
