/**
 * How a device whose backend answers later takes requests: queue by queue in turn, for as long as those in flight hold less
 * than may be held. What a driver puts into its queues beyond that waits there.
 */
import type { VirtioHost, VirtioRequest } from "./device.js";

/** What may be in flight: a request is taken while there are fewer and they hold less. */
export interface IntakeLimits {
  /** Bytes that requests hold, by what {@link RequestIntake.enter} is told. */
  readonly bytes: number;
  readonly requests: number;
}

/** The requests of one device. */
export class RequestIntake {
  private host!: VirtioHost;
  private requests = 0;
  private bytes = 0;
  /** Queues in which chains may lie of which the driver has told already, in the order of their turns. */
  private readonly waiting = new Set<number>();

  /** @param begin has a request answered, now or later; one that is answered later enters and leaves */
  constructor(
    private readonly limits: IntakeLimits,
    private readonly begin: (queue: number, request: VirtioRequest) => void,
  ) {}

  /** The device has got its place on a board. */
  attach(host: VirtioHost): void {
    this.host = host;
  }

  /** The driver has put something into a queue. */
  notify(queue: number): void {
    this.waiting.add(queue);
    this.serve();
  }

  /** Forgets what the driver has told: it is gone, or a restored one tells again. What is in flight stays counted. */
  reset(): void {
    this.waiting.clear();
  }

  /** A request is in flight, and holds so many bytes. */
  enter(bytes: number): void {
    this.bytes += bytes;
    this.requests++;
  }

  /** A request that has entered with so many bytes is answered: others have room. */
  leave(bytes: number): void {
    this.bytes -= bytes;
    this.requests--;
    if (this.waiting.size > 0 && this.host.live) this.serve();
  }

  private serve(): void {
    while (this.bytes < this.limits.bytes && this.requests < this.limits.requests) {
      const [queue] = this.waiting;
      if (queue === undefined) return;
      this.waiting.delete(queue);
      const request = this.host.take(queue);
      if (request === undefined) continue;
      this.waiting.add(queue);
      this.begin(queue, request);
    }
  }
}
