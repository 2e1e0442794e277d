/** VMs that keep a simulated store busy: it serves so many requests at once, each for a while, the others in their order. */
import type { DiskGrant, MClock, StoreRoom } from "../src/disk/mclock.js";

/** What a VM asks for. */
export interface DiskLoad {
  /** Requests that it has outstanding: it asks for the next one when one was answered. 1 unless given. */
  readonly outstanding?: number;
  /** Bytes of its requests, in turn; 4096 unless given. */
  readonly sizes?: readonly number[];
  /** Milliseconds from an answer to the next request. */
  readonly thinkMs?: number;
  /** When it begins and ends to ask. */
  readonly from?: number;
  readonly until?: number;
}

/** What a VM got. */
export interface Served {
  /** When each of its requests went to the store, and its bytes. */
  readonly starts: { readonly at: number; readonly bytes: number }[];
  /** Milliseconds from question to answer. */
  readonly latencies: number[];
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** A simulation. */
export class DiskSimulation {
  readonly served = new Map<string, Served>();
  now = 0;
  /** Calls that had a request go. */
  decisions = 0;
  private events: Event[] = [];
  private order = 0;
  private inFlight = 0;
  private busy = 0;
  /** Requests in the store that no server has yet. */
  private readonly inStore: (() => void)[] = [];
  private readonly asked = new Map<string, number[]>();
  private alarm = Infinity;
  /** What each VM does after an answer. */
  private readonly again = new Map<string, () => void>();

  /**
   * @param servers requests that the store serves at once
   * @param serviceMs milliseconds that it takes for so many bytes
   */
  constructor(
    private readonly mclock: MClock,
    private readonly servers: number,
    private readonly serviceMs: (bytes: number) => number,
  ) {}

  /** A VM that the scheduler knows begins to ask. */
  add(name: string, load: DiskLoad = {}): void {
    this.served.set(name, { starts: [], latencies: [] });
    this.asked.set(name, []);
    const { outstanding = 1, sizes = [4096], from = 0, until = Infinity, thinkMs = 0 } = load;
    let asked = 0;
    const ask = () => {
      if (this.now >= until) return;
      this.asked.get(name)!.push(this.now);
      this.mclock.arrive(name, sizes[asked++ % sizes.length]!, this.now);
    };
    this.again.set(name, () => this.at(this.now + thinkMs, ask));
    this.at(from, () => {
      for (let one = 0; one < outstanding; one++) ask();
    });
  }

  /** Lets something happen at a time. */
  at(at: number, run: () => void): void {
    const event = { at, order: this.order++, run };
    let place = this.events.length;
    while (place > 0 && this.events[place - 1]!.at < at) place--;
    // The next event is the last one.
    while (
      place < this.events.length &&
      this.events[place]!.at === at &&
      this.events[place]!.order > event.order
    )
      place++;
    this.events.splice(place, 0, event);
  }

  /** Lets time pass. */
  runUntil(end: number): void {
    for (let last = this.events.at(-1); last !== undefined && last.at <= end; last = this.events.at(-1)) {
      this.events.pop();
      this.now = last.at;
      last.run();
      // What happens at one moment is seen at once.
      if (this.events.at(-1)?.at !== this.now) this.dispatch();
    }
    this.now = end;
  }

  /** Operations that a VM was served from one time to another. */
  operations(name: string, from = 0, to = this.now): number {
    return this.served.get(name)!.starts.filter(({ at }) => at >= from && at < to).length;
  }

  /** Bytes that a VM was served from one time to another. */
  bytes(name: string, from = 0, to = this.now): number {
    const { starts } = this.served.get(name)!;
    return starts.reduce((sum, { at, bytes }) => (at >= from && at < to ? sum + bytes : sum), 0);
  }

  /** The latency that a part of a VM's requests had at most. */
  percentile(name: string, part: number): number {
    const sorted = [...this.served.get(name)!.latencies].sort((one, other) => one - other);
    return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!;
  }

  /** Servers that have nothing to do. */
  get idleServers(): number {
    return this.servers - this.busy;
  }

  private get room(): StoreRoom {
    if (this.inFlight < this.servers) return "all";
    return this.inFlight < 2 * this.servers ? "reserved" : "none";
  }

  private dispatch(): void {
    for (;;) {
      const grant = this.mclock.next(this.now, this.room);
      if (grant === undefined) break;
      this.decisions++;
      this.start(grant);
    }
    const next = this.mclock.nextTime(this.now, this.room);
    if (next < this.alarm || this.alarm <= this.now) {
      this.alarm = next;
      if (next !== Infinity) this.at(Math.max(next, this.now), () => {});
    }
  }

  private start({ client, bytes }: DiskGrant): void {
    const served = this.served.get(client)!;
    const asked = this.asked.get(client)!.shift()!;
    served.starts.push({ at: this.now, bytes });
    this.inFlight++;
    const serve = () => {
      this.busy++;
      this.at(this.now + this.serviceMs(bytes), () => {
        this.busy--;
        this.inFlight--;
        served.latencies.push(this.now - asked);
        this.again.get(client)!();
        this.inStore.shift()?.();
      });
    };
    if (this.busy < this.servers) serve();
    else this.inStore.push(serve);
  }
}
