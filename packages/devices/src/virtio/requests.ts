/**
 * The requests of a virtio device that are in flight: taken by the device, and not yet complete.
 *
 * A request whose chain was taken away from the device (its driver reset the device or stopped the queue) goes on in the
 * device's backend until that is done, and is *stale* meanwhile. While there are stale requests, and while somebody
 * drains, queues give no new ones: what a new driver asks for never overtakes what an old one asked for, and what waits
 * in the rings is served afterwards.
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

  /** @param served called when queues that were held may be served again */
  constructor(
    private readonly queues: readonly Virtqueue[],
    private readonly served: () => void,
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
    this.letGo();
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
