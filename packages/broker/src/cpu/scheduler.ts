/**
 * Proportional-share scheduling of virtual CPUs on the host's cores: earliest eligible virtual deadline first
 * (Stoica and Abdel-Wahab 1995) over weights that come out of the nested pools.
 *
 * The pools are divided among the clients that want to run now (`ResourceTree.entitlements`), which gives each a
 * rate in cores. A client's *virtual runtime* is its service divided by its rate; the virtual time of the system is
 * the average of the virtual runtimes, weighted by rate. A client behind it has *lag*, service that it is owed; one
 * ahead of it has had too much and is not eligible. Of the eligible ones that with the earliest deadline for its next
 * quantum runs.
 *
 * - Service is what was measured, never an assumption: a guest that gives its core back early is charged less, and
 *   one that overruns its quantum is charged more.
 * - A client that sleeps keeps its debt, which its rate pays off while it sleeps, and loses its claim to service that
 *   it did not ask for. So sleeping and waking gains nothing.
 * - A client that wakes without debt, or with little, is served before all others, for a part of a quantum, on the core of the
 *   running client that is furthest ahead if none is free.
 * - Limits hold in time, over windows of {@link LIMIT_WINDOW} quanta, whether or not others want the cores.
 * - What a pool's limit allows is divided by shares, too: where it is scarcer than cores, a member that is more than a
 *   quantum ahead of the pool's other members leaves it to them.
 *
 * The unit of time is the caller's: nanoseconds with measured CPU time, guest instructions in deterministic mode. The
 * scheduler performs no input or output and reads no clock, so that the same calls give the same grants.
 */
import { type CpuAccounts, type CpuState, TimeAccounts } from "./accounts.js";
import { clientNamed } from "./named.js";
import type { Allotment, PoolAllotment, ResourceTree } from "./resource-tree.js";

/** Quanta over which a limit is exact: a client that had too little of its limit may catch up this much. */
export const LIMIT_WINDOW = 4;
/** Quanta of lag that are kept for a client that could not use its rate. */
const MOST_LAG = 16;
/** Rate in cores of a client for which reservations leave nothing: what others don't use is still for it. */
const LEAST_RATE = 1e-3;
/**
 * Shortest request, as a part of the quantum, and how requests go with rates. The client with the highest rate asks for a
 * whole quantum, others for somewhat less than in proportion: what a client can be ahead or behind is a part of a
 * request, and those with high rates, which run most of the time, get less far from what they are due.
 */
const LEAST_REQUEST = 1 / 16;
const REQUEST_EXPONENT = 4 / 3;
/** Part of a request that is too short for a turn: a client with less left of its request makes a new one. */
const LEAST_TURN = 1 / 2;
/**
 * Requests by which a client's deadline counts as earlier on the core on which it ran last: the host wakes its thread
 * there at once, where elsewhere it may let it share a core with another VM's while one is idle.
 */
const AFFINITY = 1 / 2;
/** Part of a quantum that a client gets first after it woke. */
const WAKE_PART = 1 / 4;

/** A client may run on a core. */
export interface CpuGrant {
  readonly client: string;
  /** Number of the core, from 0; the scheduler's own, not the host's. */
  readonly core: number;
  /** CPU time after which it has to give the core back. */
  readonly quantum: number;
}

/** What a client wants after it gave its core back. */
export type CpuWish = "ready" | "idle" | "waiting" | "stopped";

/** What a scheduler is made from. */
export interface CpuSchedulerOptions {
  /** Pools and clients; its unit is cores. */
  readonly tree: ResourceTree;
  /** Cores that can run clients at once. */
  readonly cores: number;
  /** CPU time of one turn. */
  readonly quantum: number;
}

/** Counters since the start. */
export interface CpuSchedulerCounters {
  grants: number;
  wakes: number;
  /** Grants to clients that had just woken. */
  wakeGrants: number;
  /** Running clients that were told to make room for one that woke. */
  preemptions: number;
  /** Changes of clients between ready and limited. */
  holds: number;
}

interface Client {
  readonly name: string;
  /** Order of arrival, which decides between equals. */
  readonly order: number;
  /** What it shares with clients that can't run while it does; undefined for nothing. */
  readonly thread: number | undefined;
  readonly accounts: TimeAccounts;
  /** Rate in cores while active. */
  rate: number;
  /** Virtual runtime. */
  runtime: number;
  /** Service that it asks for at once. */
  turn: number;
  /** Service that is left of the present request. */
  request: number;
  deadline: number;
  /** Service in advance of its rate when it went to sleep. */
  debt: number;
  /** Rate at which the debt is paid, and since when. */
  debtRate: number;
  debtSince: number;
  /** Limits that hold for it, its own and its pools', as they were when rates were last divided. */
  limits: readonly { readonly key: string; readonly limit: number }[];
  /** Order of waking among those that have priority for it; 0 without. */
  wakeOrder: number;
  core: number;
  /** Core of its last grant; -1 before the first. */
  lastCore: number;
  /** Told to give its core back. */
  revoked: boolean;
}

/** Service that a limit still allows, refilled as time passes. */
interface Allowance {
  readonly limit: number;
  amount: number;
  since: number;
}

/** The scheduler. */
export class CpuScheduler {
  readonly counters: CpuSchedulerCounters = { grants: 0, wakes: 0, wakeGrants: 0, preemptions: 0, holds: 0 };
  private readonly clients = new Map<string, Client>();
  /** Clients that are ready, limited or running. */
  private readonly active = new Set<Client>();
  private readonly cores: (Client | undefined)[];
  private readonly allowances = new Map<string, Allowance>();
  private order = 0;
  private wakeOrder = 0;

  constructor(private readonly options: CpuSchedulerOptions) {
    this.cores = new Array<Client | undefined>(options.cores).fill(undefined);
  }

  /**
   * Adds a stopped client, which the tree must know.
   * @param thread number of the host's thread that runs it, if several clients share one: they take turns on it
   * @throws ResourceError `E_CLIENT_UNKNOWN`
   */
  add(name: string, now: number, thread?: number): void {
    this.options.tree.allotmentOf(name);
    this.clients.set(name, {
      name,
      order: this.order++,
      thread,
      accounts: new TimeAccounts("stopped", now),
      rate: 0,
      runtime: 0,
      turn: 0,
      request: 0,
      deadline: 0,
      debt: 0,
      debtRate: 0,
      debtSince: now,
      limits: [],
      wakeOrder: 0,
      core: -1,
      lastCore: -1,
      revoked: false,
    });
  }

  /** Forgets a client, whatever it is doing. */
  remove(name: string, now: number): void {
    const client = this.clients.get(name);
    if (client === undefined) return;
    this.leave(client, "stopped", now);
    this.clients.delete(name);
    this.allowances.delete(`vm ${name}`);
  }

  /** What a client is doing. */
  stateOf(name: string): CpuState {
    return this.client(name).accounts.state;
  }

  /** Its accounts up to `now`. */
  accountsOf(name: string, now: number): CpuAccounts {
    return this.client(name).accounts.read(now);
  }

  /** Its rate in cores while it is active, 0 otherwise. */
  rateOf(name: string): number {
    const client = this.client(name);
    return this.active.has(client) ? client.rate : 0;
  }

  /** Service that the client is owed (positive) or has had in advance (negative). */
  lagOf(name: string): number {
    const client = this.client(name);
    return this.active.has(client) ? client.rate * (this.virtualTime() - client.runtime) : -client.debt;
  }

  /** Changes a client's or pool's allotment; it acts on the next decision. @throws ResourceError as the tree does */
  configure(name: string, change: Partial<PoolAllotment>, kind: "client" | "pool", now: number): void {
    this.options.tree.configure(name, change, kind);
    this.allowances.delete(`${kind === "pool" ? "pool" : "vm"} ${name}`);
    this.divide(now);
  }

  /** The allotment of a client. */
  allotmentOf(name: string): Allotment {
    return this.options.tree.allotmentOf(name);
  }

  /**
   * A client that was idle, waiting or stopped wants to run.
   * @returns a running client that has to make room now, if any
   */
  wake(name: string, now: number): string | undefined {
    const client = this.client(name);
    if (this.active.has(client)) return undefined;
    this.counters.wakes++;
    client.debt = Math.max(0, client.debt - client.debtRate * (now - client.debtSince));
    client.accounts.enter("ready", now);
    client.request = 0;
    this.active.add(client);
    this.divide(now);
    // Without a rate it had no lag, and the division put it at the system's virtual time. Its own weight draws that
    // time after it; the factor makes its lag against the new time what it owes.
    let others = 0;
    for (const other of this.active) if (other !== client) others += other.rate;
    if (others > 0) client.runtime += (client.debt / client.rate) * (1 + client.rate / others);
    // The time of a thread is known to a tick of the host's: a debt within a quantum is none, and it stays in the runtime.
    client.wakeOrder = client.debt > this.options.quantum ? 0 : ++this.wakeOrder;
    if (client.wakeOrder === 0) return undefined;
    const rival = this.rivalOf(client);
    if (rival !== undefined) return this.revoke(rival);
    return this.cores.includes(undefined) ? undefined : this.makeRoom();
  }

  /** Adds measured CPU time of a client, on a core or just off it. */
  charge(name: string, used: number): void {
    const client = this.client(name);
    client.accounts.charge(used);
    if (client.rate > 0) client.runtime += used / client.rate;
    else client.debt += used;
    client.request -= used;
    for (const { key } of client.limits) {
      const allowance = this.allowances.get(key);
      if (allowance !== undefined) allowance.amount -= used;
    }
  }

  /** A running client gave its core back. Charge it first. */
  release(name: string, wish: CpuWish, now: number): void {
    const client = this.client(name);
    if (client.core < 0) return;
    if (wish === "ready") {
      this.vacate(client);
      client.accounts.enter("ready", now);
    } else {
      this.leave(client, wish, now);
    }
  }

  /** A client that does not run no longer wants to, or wants nothing for another reason than before. */
  sleep(name: string, wish: Exclude<CpuWish, "ready">, now: number): void {
    this.leave(this.client(name), wish, now);
  }

  /** CPU time of one turn. */
  get quantum(): number {
    return this.options.quantum;
  }

  /** Whether a running client has used up what a limit allows. */
  isOverLimit(name: string, now: number): boolean {
    return this.heldUntil(this.client(name), now) > now;
  }

  /** Whether a core is free. */
  get hasFreeCore(): boolean {
    return this.cores.includes(undefined);
  }

  /** The clients that hold cores. */
  running(): string[] {
    return this.cores.flatMap((client) => (client === undefined ? [] : [client.name]));
  }

  /** Whether a client is only waiting for a core. */
  hasCandidate(now: number): boolean {
    return this.choose(now) !== undefined;
  }

  /** The next grant, if a core is free and a client may run. */
  next(now: number): CpuGrant | undefined {
    const core = this.cores.indexOf(undefined);
    if (core < 0) return undefined;
    const chosen = this.choose(now, core);
    if (chosen === undefined) return undefined;
    const { quantum } = this.options;
    if (this.isNew(chosen)) {
      // What a turn ran over its request is in the runtime already, where it delays the next turn.
      chosen.deadline = this.deadlineOf(chosen);
      chosen.request = chosen.turn;
    }
    const woken = chosen.wakeOrder !== 0;
    chosen.wakeOrder = 0;
    chosen.revoked = false;
    chosen.core = core;
    chosen.lastCore = core;
    this.cores[core] = chosen;
    chosen.accounts.enter("running", now);
    this.counters.grants++;
    if (woken) this.counters.wakeGrants++;
    return {
      client: chosen.name,
      core,
      quantum: woken ? Math.min(chosen.turn, quantum * WAKE_PART) : chosen.request,
    };
  }

  /** Whether what is left of a client's request is too short for a turn. */
  private isNew(client: Client): boolean {
    return client.request <= client.turn * LEAST_TURN;
  }

  /** The deadline of the turn that a client would get now. */
  private deadlineOf(client: Client): number {
    return this.isNew(client) ? client.runtime + client.turn / client.rate : client.deadline;
  }

  /** The deadline as it counts for a core. */
  private deadlineOn(client: Client, core: number): number {
    const deadline = this.deadlineOf(client);
    return client.lastCore === core ? deadline - (AFFINITY * client.turn) / client.rate : deadline;
  }

  /** Whether one client comes before another of its class on a core. */
  private isBefore(one: Client, other: Client, core: number): boolean {
    if (one.wakeOrder !== 0) return one.wakeOrder < other.wakeOrder;
    const [mine, its] = [this.deadlineOn(one, core), this.deadlineOn(other, core)];
    return mine < its || (mine === its && one.order < other.order);
  }

  /** The earliest time at which a client that is held back by a limit may run; Infinity if none is. */
  nextRefill(now: number): number {
    let earliest = Infinity;
    for (const client of this.active) {
      if (client.core < 0) earliest = Math.min(earliest, this.heldUntil(client, now));
    }
    return earliest > now ? earliest : Infinity;
  }

  private client(name: string): Client {
    return clientNamed(this.clients, name);
  }

  /** Weighted average of the virtual runtimes. */
  private virtualTime(): number {
    let [sum, rates] = [0, 0];
    for (const client of this.active) {
      sum += client.rate * client.runtime;
      rates += client.rate;
    }
    return rates === 0 ? 0 : sum / rates;
  }

  /** New rates for the active clients; each keeps the service that it is owed. */
  private divide(now: number): void {
    const time = this.virtualTime();
    const names = new Set([...this.active].map((client) => client.name));
    // One vCPU can't use more than one core.
    const rates = this.options.tree.entitlements((name) => (names.has(name) ? 1 : 0));
    const most = MOST_LAG * this.options.quantum;
    let highest = 0;
    for (const client of this.active) {
      const rate = Math.max(rates.get(client.name) ?? 0, LEAST_RATE);
      const lag = client.rate === 0 ? 0 : Math.min(client.rate * (time - client.runtime), most);
      // Measured from the system's virtual time, so that numbers stay small however long it runs.
      client.runtime = -lag / rate;
      client.deadline = client.runtime + Math.max(0, client.request) / rate;
      client.rate = rate;
      highest = Math.max(highest, rate);
    }
    for (const client of this.active) {
      const part = (client.rate / highest) ** REQUEST_EXPONENT;
      client.turn = this.options.quantum * Math.max(LEAST_REQUEST, part);
      this.refill(client, now);
    }
  }

  /** Takes a client off its core and out of the active ones. */
  private leave(client: Client, wish: Exclude<CpuWish, "ready">, now: number): void {
    this.vacate(client);
    if (this.active.has(client)) {
      client.debt = Math.max(0, client.rate * (client.runtime - this.virtualTime()));
      client.debtRate = client.rate;
      client.debtSince = now;
      this.active.delete(client);
      client.rate = 0;
      client.wakeOrder = 0;
      this.divide(now);
    }
    client.accounts.enter(wish, now);
  }

  private vacate(client: Client): void {
    if (client.core >= 0) this.cores[client.core] = undefined;
    client.core = -1;
    client.revoked = false;
  }

  /** The running client on whose thread another one has to wait. */
  private rivalOf({ thread }: Client): Client | undefined {
    return thread === undefined ? undefined : this.cores.find((client) => client?.thread === thread);
  }

  private revoke(client: Client): string | undefined {
    if (client.revoked) return undefined;
    client.revoked = true;
    this.counters.preemptions++;
    return client.name;
  }

  /** The running client that is furthest ahead of what it is due. */
  private makeRoom(): string | undefined {
    const time = this.virtualTime();
    let chosen: Client | undefined;
    let most = -Infinity;
    for (const client of this.cores) {
      if (client === undefined || client.revoked) continue;
      const ahead = client.rate * (client.runtime - time);
      if (ahead <= most) continue;
      most = ahead;
      chosen = client;
    }
    return chosen === undefined ? undefined : this.revoke(chosen);
  }

  /** The client that a core, if it is a certain one, goes to. */
  private choose(now: number, core = -1): Client | undefined {
    const time = this.virtualTime();
    // Sums of rounded numbers: one part in a billion of a quantum is no claim.
    const slack = 1e-9 * this.options.quantum;
    const poolTimes = this.scarceLimits(now);
    let best: Client | undefined;
    let bestClass = 0;
    for (const client of this.active) {
      if (client.core >= 0 || this.rivalOf(client) !== undefined) continue;
      const held = this.heldUntil(client, now) > now || this.isAheadIn(poolTimes, client);
      this.noteHeld(client, held, now);
      if (held) continue;
      const eligible = client.rate * (client.runtime - time) <= slack;
      const rank = client.wakeOrder !== 0 ? 3 : eligible ? 2 : 1;
      if (
        best === undefined ||
        rank > bestClass ||
        (rank === bestClass && this.isBefore(client, best, core))
      ) {
        best = client;
        bestClass = rank;
      }
    }
    return best;
  }

  /** For each limit that leaves less than half of what it may save up, the virtual time of the clients under it. */
  private scarceLimits(now: number): ReadonlyMap<string, number> {
    const sums = new Map<string, { runtime: number; rate: number }>();
    for (const { limits, rate, runtime } of this.active) {
      for (const { key } of limits) {
        const { amount, limit } = this.allowance(key, now);
        if (amount > (limit * LIMIT_WINDOW * this.options.quantum) / 2) continue;
        const sum = sums.get(key) ?? { runtime: 0, rate: 0 };
        sums.set(key, { runtime: sum.runtime + rate * runtime, rate: sum.rate + rate });
      }
    }
    return new Map([...sums].map(([key, { runtime, rate }]) => [key, runtime / rate]));
  }

  /** Whether a client has had a quantum more than its part of what a scarce limit allows. */
  private isAheadIn(poolTimes: ReadonlyMap<string, number>, { limits, rate, runtime }: Client): boolean {
    return limits.some(({ key }) => {
      const time = poolTimes.get(key);
      return time !== undefined && rate * (runtime - time) > this.options.quantum;
    });
  }

  private noteHeld(client: Client, held: boolean, now: number): void {
    const state = held ? "limited" : "ready";
    if (client.accounts.state === state) return;
    this.counters.holds++;
    client.accounts.enter(state, now);
  }

  /** When the limits let a client run: now or before if they do. */
  private heldUntil(client: Client, now: number): number {
    let until = 0;
    for (const { key } of client.limits) {
      const { amount, limit } = this.allowance(key, now);
      if (amount < 0) until = Math.max(until, now + -amount / limit);
    }
    return until;
  }

  private refill(client: Client, now: number): void {
    client.limits = this.options.tree.limitsOf(client.name);
    for (const { key, limit } of client.limits) {
      if (!this.allowances.has(key)) this.allowances.set(key, { limit, amount: 0, since: now });
      this.allowance(key, now);
    }
  }

  private allowance(key: string, now: number): Allowance {
    const allowance = this.allowances.get(key)!;
    const most = allowance.limit * LIMIT_WINDOW * this.options.quantum;
    allowance.amount = Math.min(most, allowance.amount + allowance.limit * (now - allowance.since));
    allowance.since = now;
    return allowance;
  }
}
