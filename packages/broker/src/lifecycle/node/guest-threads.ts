/**
 * The threads of a fleet: one is kept ready for the next VM, those whose last VM has left end, and when there has been
 * no VM for a while the ready one ends as well.
 */
import type { NodePlace } from "../../memory/host-memory-broker.js";
import { requireDescriptors, THREAD_DESCRIPTORS } from "./file-descriptors.js";
import { GuestThread, type GuestThreadListener, type ThreadHandle } from "./guest-thread.js";
import { Leisure } from "./leisure.js";

/** Milliseconds between the start of a VM and that of a thread for the next one. */
const SPARE_PAUSE_MS = 1000;

/** What threads are made with. */
export interface GuestThreadsOptions {
  /** Starts a thread. */
  readonly start: () => ThreadHandle;
  readonly listener: GuestThreadListener;
  /** A thread's place in the machine memory is free. */
  readonly leave: (place: NodePlace) => void;
  /** Milliseconds without any VM after which `rest` is called. */
  readonly restAfterMs: number;
  /** Gives back what was kept for VMs. */
  readonly rest: () => void;
}

/** Threads. */
export class GuestThreads {
  private readonly threads = new Set<GuestThread>();
  /** A thread that has loaded its program and waits for the next VM. */
  private spare: GuestThread | undefined;
  private sparing: NodeJS.Timeout | undefined;
  private readonly leisure: Leisure;
  private isClosing = false;

  constructor(private readonly options: GuestThreadsOptions) {
    this.leisure = new Leisure(options.restAfterMs, () => {
      const { spare } = this;
      this.spare = undefined;
      void spare?.terminate();
      options.rest();
    });
    this.makeSpare();
    this.leisure.begin();
  }

  /** Threads that are there, the ready one included. */
  get count(): number {
    return this.threads.size;
  }

  /** Resolves when those that are there now are gone. */
  async allGone(): Promise<void> {
    await Promise.all([...this.threads].map((thread) => thread.gone));
  }

  /** A thread for a VM; see {@link GuestThread.occupy}. */
  take(number: number, place: NodePlace): GuestThread {
    let thread: GuestThread;
    try {
      thread = this.spare ?? this.make();
    } catch (error) {
      this.options.leave(place);
      throw error;
    }
    this.spare = undefined;
    this.leisure.end();
    thread.occupy(number, place);
    // The VM that starts now comes first.
    this.sparing ??= setTimeout(() => {
      this.sparing = undefined;
      if (this.threads.size > 0) this.makeSpare();
    }, SPARE_PAUSE_MS).unref();
    return thread;
  }

  /** Ends all of them. */
  async close(): Promise<void> {
    this.isClosing = true;
    clearTimeout(this.sparing);
    this.leisure.end();
    await Promise.all([...this.threads].map((thread) => thread.terminate()));
  }

  /** Without a ready thread the next VM starts later, and no worse. */
  private makeSpare(): void {
    if (this.isClosing || this.spare !== undefined) return;
    try {
      this.spare = this.make();
    } catch (error) {
      this.options.listener.trouble(error as Error);
    }
  }

  private make(): GuestThread {
    const { start, listener } = this.options;
    requireDescriptors(THREAD_DESCRIPTORS);
    const thread = new GuestThread(start(), {
      ...listener,
      lost: (from, error) => {
        if (from === this.spare) this.spare = undefined;
        listener.lost(from, error);
      },
      exited: (from) => {
        this.gone(from);
        listener.exited(from);
      },
    });
    this.threads.add(thread);
    return thread;
  }

  private gone(thread: GuestThread): void {
    this.threads.delete(thread);
    if (thread.place !== undefined) this.options.leave(thread.place);
    const isIdle = this.threads.size === (this.spare === undefined ? 0 : 1);
    if (isIdle && !this.isClosing) this.leisure.begin();
  }
}
