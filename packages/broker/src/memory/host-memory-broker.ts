/**
 * Shares a host's machine memory among VMs in many threads: admits them, places them, hears what each has and uses, and
 * says what each may have. The threads do the rest, each for its own VMs (`memory-broker.ts`).
 *
 * Machine memory is one or several *nodes*: linear memories whose frames all threads of the node take from one table.
 * A node ends where 32-bit offsets end, so a large host has several; a VM has its memory in one of them.
 */
import { ResourceError } from "../cpu/errors.js";
import { type Allotment, type PoolAllotment, type ResourceNode, ResourceTree } from "../cpu/resource-tree.js";
import { IDLE_TAX } from "./allocation.js";
import { divideMemory, type MemoryTarget } from "./division.js";
import { type HostFrames, PAGE_SIZE } from "./ports.js";
import {
  defaultThresholds,
  nextState,
  type ReclamationState,
  type ReclamationThresholds,
} from "./reclamation.js";

/** What a thread tells of a VM's memory, in pages. */
export interface MemoryFigures {
  readonly granted: number;
  readonly ballooned: number;
  readonly swapped: number;
  /** Pages that it seems to use. */
  readonly active: number;
  /** Whether its balloon is not to be counted on. */
  readonly balloonStuck: boolean;
}

/** What the broker is made with. */
export interface HostMemoryOptions {
  /** Memory for all guests together. */
  readonly memoryBytes: number;
  /** Most bytes of frames in one node. */
  readonly mostNodeBytes: number;
  /** Makes a node, when the first VM needs it. */
  readonly makeNode: (frameBytes: number) => HostFrames;
  readonly tax?: number;
  readonly thresholds?: ReclamationThresholds;
}

/** A thread's place in a node. */
export interface NodePlace {
  readonly node: number;
  /** What the node gave; only the program's thread module knows what it is. */
  readonly place: unknown;
}

/** The host's memory as reports show it, in bytes. */
export interface HostMemoryView {
  readonly total: number;
  readonly free: number;
  readonly state: ReclamationState;
}

interface Node {
  readonly bytes: number;
  frames: HostFrames | undefined;
  /** Threads that have a place in it. */
  threads: number;
  state: ReclamationState;
}

interface Member {
  readonly ram: number;
  readonly node: number;
  figures: MemoryFigures;
  told: MemoryTarget | undefined;
}

const NOTHING: MemoryFigures = { granted: 0, ballooned: 0, swapped: 0, active: 0, balloonStuck: false };

/** The broker. */
export class HostMemoryBroker {
  private readonly tree: ResourceTree;
  private readonly nodes: Node[];
  private readonly members = new Map<string, Member>();
  private readonly thresholds: ReclamationThresholds;
  /** Called when `balance` may come to other results than before; while memory is short it may at any time. */
  onChange: () => void = () => {};

  constructor(private readonly options: HostMemoryOptions) {
    const { memoryBytes, mostNodeBytes } = options;
    this.thresholds = options.thresholds ?? defaultThresholds;
    const count = Math.max(1, Math.ceil(memoryBytes / mostNodeBytes));
    const bytes = Math.floor(memoryBytes / count / PAGE_SIZE) * PAGE_SIZE;
    this.nodes = Array.from({ length: count }, () => ({
      bytes,
      frames: undefined,
      threads: 0,
      state: "high",
    }));
    this.tree = new ResourceTree(Math.floor(count * this.reservable(bytes)), "bytes");
  }

  /** Makes a pool. @throws ResourceError as `ResourceTree.addPool` */
  addPool(name: string, allotment: Partial<PoolAllotment>, parent: string): void {
    this.tree.addPool(name, allotment, parent);
  }

  /** Forgets an empty pool. @throws ResourceError as `ResourceTree.removePool` */
  removePool(name: string): void {
    this.tree.removePool(name);
  }

  /** Changes what a VM that runs, or a pool, may have. @throws ResourceError; nothing changes then */
  configure(name: string, change: Partial<PoolAllotment>, of: "client" | "pool"): void {
    const before = of === "client" ? this.tree.allotmentOf(name) : undefined;
    this.tree.configure(name, change, of);
    this.onChange();
    const member = this.members.get(name);
    if (before === undefined || member === undefined) return;
    if (this.reservedOn(member.node) <= this.reservable(this.nodes[member.node]!.bytes)) return;
    this.tree.configure(name, before, of);
    throw new ResourceError(
      "E_ADMISSION",
      `VM ${name} can't have that reservation where its memory is: lower another one's, or stop the VM and start it again`,
    );
  }

  /**
   * Admits a VM that gets a thread of its own, and finds it a place.
   * @throws ResourceError `E_ADMISSION` if its reservation can't be kept, or no node has room for another thread
   */
  admit(name: string, pool: string, allotment: Partial<Allotment>, ramBytes: number): NodePlace {
    this.join(name, pool, allotment);
    const reservation = Math.min(ramBytes, this.tree.allotmentOf(name).reservation);
    const order = [...this.nodes.keys()].filter(
      (node) => this.reservedOn(node) + reservation <= this.reservable(this.nodes[node]!.bytes),
    );
    for (const node of this.byFitness(order, ramBytes)) {
      const place = this.framesOf(node).enter(ramBytes);
      if (place === undefined) continue;
      this.nodes[node]!.threads++;
      this.settle(name, ramBytes, node);
      return { node, place };
    }
    this.tree.removeClient(name);
    throw new ResourceError(
      "E_ADMISSION",
      order.length === 0
        ? `VM ${name} can't be admitted: no part of the machine memory has its reservation of ${reservation} bytes left`
        : `VM ${name} can't be admitted: there is no room for another thread's control area; stop a VM`,
    );
  }

  /** Admits a VM in the thread of another one. @throws ResourceError `E_ADMISSION` if its reservation can't be kept */
  admitBeside(
    name: string,
    pool: string,
    allotment: Partial<Allotment>,
    ramBytes: number,
    other: string,
  ): void {
    this.join(name, pool, allotment);
    const { node } = this.members.get(other)!;
    const reservation = Math.min(ramBytes, this.tree.allotmentOf(name).reservation);
    if (this.reservedOn(node) + reservation > this.reservable(this.nodes[node]!.bytes)) {
      this.tree.removeClient(name);
      throw new ResourceError(
        "E_ADMISSION",
        `VM ${name} can't be admitted: where ${other} has its memory, a reservation of ${reservation} bytes is not left`,
      );
    }
    this.settle(name, ramBytes, node);
  }

  /** Gives back a VM's reservation. */
  retire(name: string): void {
    if (!this.tree.hasClient(name)) return;
    this.tree.removeClient(name);
    this.members.delete(name);
    this.onChange();
  }

  /** A thread has ended: all that it had is free. */
  leave({ node, place }: NodePlace): void {
    const left = this.nodes[node];
    if (left?.frames === undefined) return;
    left.frames.leave(place);
    left.threads--;
    this.onChange();
  }

  /** Gives back to the host the memory that no thread is in; it is made anew when a VM needs it. */
  rest(): void {
    for (const node of this.nodes) {
      if (node.threads > 0) continue;
      node.frames = undefined;
      node.state = "high";
    }
  }

  /** A VM's figures have changed. */
  hear(name: string, figures: MemoryFigures): void {
    const member = this.members.get(name);
    if (member === undefined) return;
    member.figures = figures;
    this.onChange();
  }

  /** What a VM told last, and may have; undefined while it is off. */
  report(name: string): (MemoryFigures & MemoryTarget) | undefined {
    const member = this.members.get(name);
    if (member === undefined) return undefined;
    const { ram, figures, told = { target: ram, limit: ram, reservation: 0 } } = member;
    return { ...figures, ...told };
  }

  /** Pools and VMs that run. */
  list(): ResourceNode[] {
    return this.tree.nodes();
  }

  /** The memory as a whole; the state is that of the node that is worst off. */
  view(): HostMemoryView {
    const states = ["high", "soft", "hard", "low"] as const;
    let [total, free, worst] = [0, 0, 0];
    for (const [at, node] of this.nodes.entries()) {
      total += node.bytes;
      free += this.freeOf(at) * PAGE_SIZE;
      worst = Math.max(worst, states.indexOf(node.state));
    }
    return { total, free, state: states[worst]! };
  }

  /** Works out what everyone may have; calls `tell` for each VM whose figures are others than before. */
  balance(tell: (name: string, target: MemoryTarget) => void): void {
    const all = this.tree.nodes();
    for (const [at, node] of this.nodes.entries()) {
      if (node.frames === undefined) continue;
      node.state = nextState(node.state, this.freeOf(at) / node.frames.frames, this.thresholds);
      const total = Math.floor(node.frames.frames * (1 - this.thresholds.high));
      const targets = divideMemory(
        all,
        total,
        (name) => this.demandOf(name, at),
        (pool) => this.partOf(all, pool, at),
        this.options.tax ?? IDLE_TAX,
      );
      for (const [name, target] of targets) {
        const member = this.members.get(name)!;
        const { told } = member;
        if (
          told?.target === target.target &&
          told.limit === target.limit &&
          told.reservation === target.reservation
        )
          continue;
        member.told = target;
        tell(name, target);
      }
    }
  }

  private join(name: string, pool: string, allotment: Partial<Allotment>): void {
    this.tree.addClient(name, allotment, pool);
    try {
      this.tree.admit(name);
    } catch (error) {
      this.tree.removeClient(name);
      throw error;
    }
  }

  private settle(name: string, ramBytes: number, node: number): void {
    this.members.set(name, { ram: ramBytes / PAGE_SIZE, node, figures: NOTHING, told: undefined });
    this.onChange();
  }

  /** What was taken from a VM counts: it would have it if it could. */
  private demandOf(name: string, node: number) {
    const member = this.members.get(name);
    if (member === undefined || member.node !== node) return undefined;
    const { granted, ballooned, swapped, active } = member.figures;
    return { ram: member.ram, wanted: Math.min(member.ram, granted + ballooned + swapped), active };
  }

  /** The part of a pool's VMs, by RAM, that a node has: so much of the pool's limit counts there. */
  private partOf(all: readonly ResourceNode[], pool: string, node: number): number {
    if (this.nodes.length === 1) return 1;
    const parents = new Map(all.filter(({ isPool }) => isPool).map(({ name, parent }) => [name, parent]));
    let [here, everywhere] = [0, 0];
    for (const { name, isPool, parent } of all) {
      const member = isPool ? undefined : this.members.get(name);
      if (member === undefined) continue;
      let around = parent;
      while (around !== undefined && around !== pool) around = parents.get(around);
      if (around === undefined) continue;
      everywhere += member.ram;
      if (member.node === node) here += member.ram;
    }
    return everywhere === 0 ? 1 : here / everywhere;
  }

  /**
   * Nodes in the order in which they suit a VM. A host gets no memory back that a node has touched, so those come first that
   * are in use and where all VMs can have all of their RAM at once, the fullest before others: what the nodes have touched is
   * then what was needed at once. Else neighbours are to be far from each other's peaks: the one that has most left is first.
   */
  private byFitness(nodes: readonly number[], ramBytes: number): number[] {
    const fits = (node: number): boolean => {
      const { frames, bytes } = this.nodes[node]!;
      return frames !== undefined && this.ramOn(node) + ramBytes <= this.reservable(bytes);
    };
    const inUse = nodes.filter(fits).sort((one, other) => this.ramOn(other) - this.ramOn(one));
    const others = nodes
      .filter((node) => !fits(node))
      .sort((one, other) => this.freeOf(other) - this.freeOf(one));
    return [...inUse, ...others];
  }

  /** Bytes of RAM that VMs of a node have in all. */
  private ramOn(node: number): number {
    let sum = 0;
    for (const member of this.members.values()) if (member.node === node) sum += member.ram * PAGE_SIZE;
    return sum;
  }

  private framesOf(node: number): HostFrames {
    const { bytes, frames } = this.nodes[node]!;
    if (frames !== undefined) return frames;
    const made = this.options.makeNode(bytes);
    this.nodes[node]!.frames = made;
    return made;
  }

  /** Pages of a node that nobody has. */
  private freeOf(node: number): number {
    const { bytes, frames } = this.nodes[node]!;
    return frames?.free ?? bytes / PAGE_SIZE;
  }

  /** Bytes that VMs of a node have reserved. */
  private reservedOn(node: number): number {
    let sum = 0;
    for (const [name, member] of this.members) {
      if (member.node !== node) continue;
      sum += Math.min(member.ram * PAGE_SIZE, this.tree.allotmentOf(name).reservation);
    }
    return sum;
  }

  /** What may be reserved of so many bytes: some must stay free for the memory to be moved about. */
  private reservable(bytes: number): number {
    return bytes * (1 - this.thresholds.soft);
  }
}
