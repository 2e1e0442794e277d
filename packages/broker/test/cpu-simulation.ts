/**
 * A host of simulated cores under the real scheduler: clients are small behaviours, time passes from event to event,
 * and what every client got is known exactly.
 */
import type { CpuGrant, CpuScheduler, CpuWish } from "../src/cpu/scheduler.js";

/** How a simulated guest behaves. */
export interface Behaviour {
  /**
   * What it does with a grant: the CPU time it uses (less than the quantum if it gives the core back early, more if it
   * overruns) and what it wants afterwards. Undefined: uses the quantum and goes on.
   */
  turn?(grant: CpuGrant, now: number): { readonly used: number; readonly wish: CpuWish };
  /** How long it sleeps when it does. */
  sleep?(now: number): number;
}

interface Running {
  readonly grant: CpuGrant;
  readonly start: number;
  readonly end: number;
  readonly wish: CpuWish;
  charged: number;
}

/** Runs behaviours against a scheduler. */
export class CpuSimulation {
  now = 0;
  /** CPU time that each client got. */
  readonly service = new Map<string, number>();
  /** Longest time between waking and running. */
  readonly wakeLatency = new Map<string, number>();
  /** Called at each decision, when all service so far is charged. */
  onDecision: (now: number) => void = () => {};
  private readonly running = new Map<string, Running>();
  private readonly wakes: { at: number; client: string }[] = [];
  private readonly awaited = new Map<string, number>();

  constructor(
    readonly scheduler: CpuScheduler,
    private readonly behaviours: ReadonlyMap<string, Behaviour>,
  ) {
    for (const name of behaviours.keys()) {
      this.service.set(name, 0);
      scheduler.add(name, 0);
    }
  }

  /** A client wants to run, now or later. */
  wakeAt(at: number, client: string): void {
    this.wakes.push({ at, client });
    this.wakes.sort((one, other) => one.at - other.at);
  }

  /** All clients want to run from now on. */
  wakeAll(): void {
    for (const name of this.behaviours.keys()) this.wakeAt(this.now, name);
  }

  /** Runs until a time. */
  runUntil(end: number): void {
    this.decide();
    while (this.now < end) {
      const next = Math.min(
        end,
        this.wakes[0]?.at ?? Infinity,
        this.scheduler.nextRefill(this.now),
        ...[...this.running.values()].map((turn) => turn.end),
      );
      this.now = Math.max(this.now, next);
      this.chargeAll();
      for (const [name, turn] of this.running) if (turn.end <= this.now) this.finish(name, turn.wish);
      while (this.wakes.length > 0 && this.wakes[0]!.at <= this.now) this.wake(this.wakes.shift()!.client);
      this.decide();
    }
  }

  private wake(client: string): void {
    this.awaited.set(client, this.now);
    const evicted = this.scheduler.wake(client, this.now);
    if (evicted !== undefined) this.finish(evicted, "ready");
  }

  private chargeAll(): void {
    for (const [name, turn] of this.running) {
      const used = Math.min(this.now, turn.end) - turn.start - turn.charged;
      turn.charged += used;
      this.scheduler.charge(name, used);
      this.service.set(name, this.service.get(name)! + used);
    }
  }

  private finish(name: string, wish: CpuWish): void {
    this.running.delete(name);
    this.scheduler.release(name, wish, this.now);
    if (wish === "idle" || wish === "waiting")
      this.wakeAt(this.now + (this.behaviours.get(name)!.sleep?.(this.now) ?? 0), name);
  }

  private decide(): void {
    this.onDecision(this.now);
    for (let grant = this.scheduler.next(this.now); grant; grant = this.scheduler.next(this.now)) {
      const { client } = grant;
      const turn = this.behaviours.get(client)!.turn?.(grant, this.now);
      const used = turn?.used ?? grant.quantum;
      this.running.set(client, {
        grant,
        start: this.now,
        end: this.now + used,
        wish: turn?.wish ?? "ready",
        charged: 0,
      });
      const since = this.awaited.get(client);
      if (since === undefined) continue;
      this.awaited.delete(client);
      this.wakeLatency.set(client, Math.max(this.wakeLatency.get(client) ?? 0, this.now - since));
    }
  }
}
