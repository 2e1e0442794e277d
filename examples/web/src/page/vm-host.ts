/** The page's side of the worker that runs VMs: questions with answers, and what the worker tells by itself. */
import type {
  HostFigures,
  HostInput,
  HostMethod,
  HostNews,
  HostRequest,
  HostRequests,
} from "../host/protocol.js";

/** What the worker tells by itself. */
export interface HostEvents {
  /** A VM's state has changed; `end` says how its run ended, where it did. */
  state(news: Extract<HostNews, { kind: "state" }>): void;
  /** A VM has printed. {@link VmHost.heard} is to be called for the bytes when they have been shown. */
  console(vm: string, bytes: Uint8Array): void;
  figures(figures: HostFigures): void;
  /** What was typed was refused: one line. */
  problem(message: string): void;
  /** The worker is gone, with all VMs. */
  failed(message: string): void;
}

/** A question was refused: one line, and a stable code. */
export class HostError extends Error {
  override readonly name = "HostError";

  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** The worker. */
export class VmHost {
  /** Resolves when machines can be had. */
  readonly ready: Promise<{ readonly isIsolated: boolean; readonly memoryBytes: number }>;
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private next = 0;
  private events: HostEvents | undefined;

  /** The worker begins to load now: who hears it may come later. */
  constructor() {
    this.worker = new Worker(new URL("../host/worker.ts", import.meta.url), { type: "module" });
    this.ready = new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }: MessageEvent<HostNews>) => {
        if (data.kind === "ready") resolve(data);
        else this.hear(data);
      };
      this.worker.onerror = (event) => {
        const message = `the worker of the VMs has failed: ${event.message ?? "it can't be loaded"}; load the page again`;
        const error = new HostError("E_HOST", message);
        reject(error);
        for (const { reject: refuse } of this.waiting.values()) refuse(error);
        this.waiting.clear();
        this.events?.failed(message);
      };
    });
  }

  /** Tells `events` from now on. Before there is a VM nothing is lost. */
  listen(events: HostEvents): void {
    this.events = events;
  }

  /** Asks. @throws HostError (the promise rejects) */
  ask<Method extends HostMethod>(
    method: Method,
    args: HostRequests[Method]["args"],
    transfer: Transferable[] = [],
  ): Promise<HostRequests[Method]["result"]> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      const request: HostRequest = { kind: "request", id, method, args };
      this.worker.postMessage(request, transfer);
    });
  }

  type(vm: string, bytes: Uint8Array): void {
    this.tell({ kind: "type", vm, bytes });
  }

  resize(vm: string, columns: number, rows: number): void {
    this.tell({ kind: "resize", vm, columns, rows });
  }

  heard(vm: string, bytes: number): void {
    this.tell({ kind: "heard", vm, bytes });
  }

  private tell(input: HostInput): void {
    this.worker.postMessage(input);
  }

  private hear(news: Exclude<HostNews, { kind: "ready" }>): void {
    switch (news.kind) {
      case "reply":
        this.waiting.get(news.id)?.resolve(news.result);
        this.waiting.delete(news.id);
        break;
      case "refusal":
        this.waiting.get(news.id)?.reject(new HostError(news.code, news.message));
        this.waiting.delete(news.id);
        break;
      case "state":
        this.events?.state(news);
        break;
      case "console":
        this.events?.console(news.vm, news.bytes);
        break;
      case "problem":
        this.events?.problem(news.message);
        break;
      case "figures":
        this.events?.figures(news.figures);
    }
  }
}
