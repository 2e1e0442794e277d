/**
 * Which VM's frames are next, in each direction: the tags of mClock (reservation, limit, shares over nested pools; see
 * `disk/mclock.ts`) decide whose turn it is, and a turn is so many bytes, as in deficit round robin (Shreedhar and
 * Varghese, SIGCOMM 1995): what a turn was too short for, since frames come whole, is counted off the next one.
 *
 * Nothing here reads a clock or knows frames: who has them asks for a turn, and says what went.
 */
import type { TreeCommand } from "../cpu/tree-command.js";
import { type DiskChange, UNBOUNDED } from "../disk/allotment.js";
import { MClock } from "../disk/mclock.js";
import { type NetAllotment, type NetChange, type NetDirection, netDirections } from "./allotment.js";

/** Most bytes of a turn. */
export const TURN_BYTES = 65_536;
/** Time's worth of a limit that a turn takes at most, in milliseconds. */
const TURN_MS = 10;
/** Fewest bytes of a turn: a frame of the usual size. */
const LEAST_TURN_BYTES = 1514;

/** What the scheduler is told of pools and VMs; it was admitted by the sender. */
export type NetCommand = TreeCommand<NetAllotment, NetChange, object>;

/** A turn. */
export interface NetTurn {
  readonly vm: string;
  /** Bytes that may go, less what went too much before; none or fewer if that was more. */
  readonly bytes: number;
}

interface Client {
  /** Bytes that went beyond its turns. */
  debt: number;
  isAsking: boolean;
  /** Whether no limit holds it. */
  isFree: boolean;
  turn: number;
}

/** The scheduler. Times are in milliseconds. */
export class NetScheduler {
  private readonly clocks: { readonly [Direction in NetDirection]: MClock };
  private readonly clients: { readonly [Direction in NetDirection]: Map<string, Client> } = {
    send: new Map(),
    receive: new Map(),
  };
  private readonly limits = new Map<string, { parent: string | undefined; allotment: NetAllotment }>();

  constructor() {
    this.clocks = { send: new MClock(undefined, 0), receive: new MClock(undefined, 0) };
  }

  /** Whether it knows a VM. */
  has(vm: string): boolean {
    return this.clients.send.has(vm);
  }

  /** Follows a change. */
  obey(command: NetCommand, now: number): void {
    for (const direction of netDirections) this.obeyIn(direction, command, now);
    switch (command.kind) {
      case "pool":
        this.limits.set(`pool ${command.name}`, {
          parent: `pool ${command.parent}`,
          allotment: command.allotment,
        });
        break;
      case "add":
        this.limits.set(`vm ${command.name}`, {
          parent: `pool ${command.pool}`,
          allotment: command.allotment,
        });
        break;
      case "removePool":
        this.limits.delete(`pool ${command.name}`);
        break;
      case "remove":
        this.limits.delete(`vm ${command.name}`);
        break;
      case "configure": {
        const node = this.limits.get(`${command.of === "pool" ? "pool" : "vm"} ${command.name}`);
        if (node !== undefined) node.allotment = merged(node.allotment, command.change);
      }
    }
    for (const direction of netDirections)
      for (const [vm, client] of this.clients[direction]) {
        const limit = this.limitOf(vm, direction);
        client.isFree = limit === Infinity;
        client.turn = Math.max(LEAST_TURN_BYTES, Math.min(TURN_BYTES, (limit * TURN_MS) / 1000));
      }
  }

  /** Whether a VM is held by no limit in a direction; one that is not known is. */
  isFree(vm: string, direction: NetDirection): boolean {
    return this.clients[direction].get(vm)?.isFree ?? true;
  }

  /**
   * A VM has something to go; it asks for one turn at a time.
   * @param bytes that wait
   * @returns whether this was a new question, so that {@link next} may have an answer at once
   */
  ask(vm: string, direction: NetDirection, bytes: number, now: number): boolean {
    const client = this.clients[direction].get(vm);
    if (client === undefined || client.isAsking) return false;
    client.isAsking = true;
    this.clocks[direction].arrive(vm, Math.max(1, Math.min(client.turn, bytes)), now);
    return true;
  }

  /** The next turn; undefined if nobody may have one now. */
  next(direction: NetDirection, now: number): NetTurn | undefined {
    const grant = this.clocks[direction].next(now, "all");
    if (grant === undefined) return undefined;
    const client = this.clients[direction].get(grant.client)!;
    client.isAsking = false;
    return { vm: grant.client, bytes: grant.bytes - client.debt };
  }

  /** What went of a turn, which may be more than it was. */
  went({ vm, bytes }: NetTurn, direction: NetDirection, gone: number): void {
    const client = this.clients[direction].get(vm);
    if (client === undefined) return;
    // What a VM did not use is not saved up.
    client.debt = Math.max(0, gone - bytes);
  }

  /** When somebody may have a turn for whom there was none at `now`; Infinity if nobody waits. */
  nextTime(now: number): number {
    return Math.min(...netDirections.map((direction) => this.clocks[direction].nextTime(now, "all")));
  }

  private obeyIn(direction: NetDirection, command: NetCommand, now: number): void {
    const clock = this.clocks[direction];
    switch (command.kind) {
      case "pool":
        clock.addPool(command.name, inDirection(command.allotment, direction), command.parent);
        break;
      case "removePool":
        clock.removePool(command.name);
        break;
      case "add":
        clock.addClient(command.name, inDirection(command.allotment, direction), command.pool);
        this.clients[direction].set(command.name, {
          debt: 0,
          isAsking: false,
          isFree: true,
          turn: TURN_BYTES,
        });
        break;
      case "remove":
        clock.removeClient(command.name);
        this.clients[direction].delete(command.name);
        break;
      case "configure":
        clock.configure(command.name, inDirection(command.change, direction), command.of, now);
    }
  }

  private limitOf(vm: string, direction: NetDirection): number {
    let least = Infinity;
    for (let node = this.limits.get(`vm ${vm}`); node !== undefined; ) {
      least = Math.min(least, node.allotment[direction].limit);
      node = node.parent === undefined ? undefined : this.limits.get(node.parent);
    }
    return least;
  }
}

/** What of an allotment, or of a change, is of one direction, as mClock has it. */
function inDirection(change: NetChange, direction: NetDirection): DiskChange {
  const { shares } = change;
  return {
    ...(shares === undefined ? {} : { shares }),
    ...(change[direction] === undefined ? {} : { iops: UNBOUNDED, bandwidth: change[direction] }),
  };
}

const merged = (before: NetAllotment, change: NetChange): NetAllotment => ({
  shares: change.shares ?? before.shares,
  send: { ...before.send, ...change.send },
  receive: { ...before.receive, ...change.receive },
});
