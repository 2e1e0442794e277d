/**
 * The requests of a virtio device that are in flight: taken by the device, and not yet complete.
 *
 * A request whose chain was taken away from the device (its driver reset the device or stopped the queue) goes on in the
 * device's backend until that is done, and is *stale* meanwhile. While there are stale requests, and while somebody
 * drains, queues give no new ones: what a new driver asks for never overtakes what an old one asked for, and what waits
 * in the rings is served afterwards. That has an end: a backend that leaves stale requests unanswered for too long is
 * given up, and the driver that waits is told.
 */
import type { VirtioRequest } from "./device.js";
import type { Virtqueue } from "./queue.js";

/** A wait for requests in flight, during which new ones wait in turn. */
export interface Drain {
  /** Resolves when none is in flight. */
  readonly drained: Promise<void>;
  /** Lets new requests through, drained or not; a second call does nothing. */
  release(): void;
}

/** Milliseconds that backends have for what is in flight, where nobody says otherwise. */
export const DRAIN_MS = 10_000;

/** Longest delay of the host's timers in milliseconds; a longer one would be over at once. */
const LONGEST_DELAY = 0x7fffffff;

/** A request as it is kept here. */
interface InFlight {
  readonly request: VirtioRequest;
  isStale: boolean;
}

/** The requests of one device. */
export class Requests {
  private readonly inFlight = new Set<InFlight>();
  private staleCount = 0;
  private drains = 0;
  private waiting: (() => void)[] = [];
  private patience: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param served called when queues that were held may be served again
   * @param overdue called when stale requests are not answered `milliseconds` after they became so
   */
  constructor(
    private readonly queues: readonly Virtqueue[],
    private readonly served: () => void,
    private readonly overdue: () => void,
    private readonly milliseconds: number,
  ) {}

  /** How many there are, stale ones among them. */
  get count(): number {
    return this.inFlight.size;
  }

  /** How many of them have no driver any more. */
  get stale(): number {
    return this.staleCount;
  }

  /** Whether new requests wait. */
  get held(): boolean {
    return this.drains > 0 || this.stale > 0;
  }

  /** Takes the next one of a queue. @param signal interrupts its driver */
  take(queue: Virtqueue, signal: () => void): VirtioRequest | undefined {
    const chain = queue.pop();
    if (chain === undefined) return undefined;
    const request: VirtioRequest = {
      chain,
      complete: (written) => {
        if (!this.inFlight.delete(entry)) return;
        if (chain.live) {
          queue.push(chain, written);
          signal();
        }
        this.completed(entry);
      },
    };
    const entry: InFlight = { request, isStale: false };
    this.inFlight.add(entry);
    return request;
  }

  /** Chains were taken away from the device: finds those that were in flight. */
  voided(): void {
    for (const entry of this.inFlight) {
      if (entry.isStale || entry.request.chain.live) continue;
      entry.isStale = true;
      this.staleCount++;
    }
    this.hold();
    if (this.staleCount > 0) this.expect();
  }

  /** Nobody waits for answers any more. */
  forget(): void {
    clearTimeout(this.patience);
  }

  /** Holds new requests back until the drain is released. */
  drain(): Drain {
    this.drains++;
    this.hold();
    let isMine = true;
    return {
      drained: this.count === 0 ? Promise.resolve() : new Promise((resolve) => this.waiting.push(resolve)),
      release: () => {
        if (!isMine) return;
        isMine = false;
        this.drains--;
        this.letGo();
      },
    };
  }

  private completed(entry: InFlight): void {
    if (this.count === 0) for (const resolve of this.waiting.splice(0)) resolve();
    if (!entry.isStale) return;
    this.staleCount--;
    if (this.staleCount === 0) clearTimeout(this.patience);
    this.letGo();
  }

  /** Gives the backend its time for stale requests, anew with each driver that comes to wait for them. */
  private expect(): void {
    clearTimeout(this.patience);
    this.patience = setTimeout(() => this.overdue(), Math.min(this.milliseconds, LONGEST_DELAY));
    // In Node a process does not stay for this alone.
    (this.patience as { unref?: () => void }).unref?.();
  }

  private hold(): void {
    if (this.held) for (const queue of this.queues) queue.hold(true);
  }

  private letGo(): void {
    if (this.held) return;
    for (const queue of this.queues) queue.hold(false);
    this.served();
  }
}
