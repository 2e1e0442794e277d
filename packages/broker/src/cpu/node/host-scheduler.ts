/**
 * The host's scheduler as the broker uses it, of cores and of the store under all disks (`disks`): admission here, decisions in a thread of its own, grants through
 * shared memory.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { HostDisks } from "../../disk/host-disks.js";
import type { CpuAccounts, CpuState } from "../accounts.js";
import { ControlTable } from "../control-table.js";
import { ResourceError } from "../errors.js";
import {
  type Allotment,
  DEFAULT_ALLOTMENT,
  DEFAULT_POOL,
  type PoolAllotment,
  type ResourceNode,
  ResourceTree,
} from "../resource-tree.js";
import type { SchedulerCommand, SchedulerThreadData } from "./scheduler-thread.js";
import { monotonicNanoseconds, ThreadTimes } from "./thread-time.js";

/**
 * Longest turn in milliseconds of CPU time: long enough that the scheduler costs little where waking a thread costs 200
 * microseconds. Who wakes does not wait for it, and those with few shares have shorter turns.
 */
export const DEFAULT_QUANTUM_MS = 40;
/**
 * Requests that the store has in hand at once while several VMs use it: twice the operations that Node does at once for
 * a process, so that a place there has work while the next request is chosen.
 */
export const DEFAULT_DISK_DEPTH = 8;
/** VMs that one host can have at once. */
const DEFAULT_SLOTS = 1024;
/** Where the thread's program is: beside the built package, or seen from its source. */
const places = ["./scheduler-thread.js", "../../../dist/scheduler-thread.js"];

/** What a host scheduler is made from. */
export interface HostSchedulerOptions {
  /** Cores to share out. */
  readonly cores: number;
  /** Longest turn in milliseconds of CPU time; {@link DEFAULT_QUANTUM_MS} unless given. */
  readonly quantumMs?: number;
  readonly slots?: number;
  /** Requests that the store has in hand at once while several VMs use it; {@link DEFAULT_DISK_DEPTH} unless given. */
  readonly diskDepth?: number;
}

/** One VM's figures. */
export interface VmCpuReport {
  readonly state: CpuState;
  /** In nanoseconds. */
  readonly accounts: CpuAccounts;
  /** Guest instructions retired. */
  readonly retired: number;
  readonly allotment: Allotment;
}

/** The scheduler of a host. */
export class HostScheduler {
  readonly table: ControlTable;
  readonly disks: HostDisks;
  private readonly tree: ResourceTree;
  private readonly worker: Worker;
  private readonly port: MessagePort;
  private readonly slots = new Map<string, number>();
  private readonly free: number[];
  private readonly ended: Promise<void>;
  private thread = 0;

  /** Called if the scheduler's thread fails, after which no VM runs. */
  onFailure: (error: Error) => void = () => {};

  private constructor(readonly options: Required<HostSchedulerOptions>) {
    this.table = ControlTable.allocate(options.slots);
    this.free = Array.from({ length: options.slots }, (_, at) => options.slots - 1 - at);
    this.tree = new ResourceTree(options.cores, "cores");
    this.disks = new HostDisks(options.slots, options.diskDepth, (command) =>
      this.send({ kind: "disk", command }),
    );
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    port1.unref();
    const data: SchedulerThreadData = {
      table: this.table.buffer,
      disks: this.disks.table.buffer,
      port: port2,
      cores: options.cores,
      quantum: options.quantumMs * 1e6,
    };
    this.worker = new Worker(threadProgram(), { workerData: data, transferList: [port2] });
    this.worker.unref();
    this.worker.on("error", (error) => this.onFailure(error));
    this.ended = new Promise((resolve) => this.worker.once("exit", () => resolve()));
  }

  /** Starts the scheduler's thread. */
  static async start(options: HostSchedulerOptions): Promise<HostScheduler> {
    const host = new HostScheduler({
      quantumMs: DEFAULT_QUANTUM_MS,
      slots: DEFAULT_SLOTS,
      diskDepth: DEFAULT_DISK_DEPTH,
      ...options,
    });
    host.thread = await new Promise<number>((resolve, reject) => {
      host.worker.once("message", ({ thread }: { thread: number }) => resolve(thread));
      host.worker.once("error", reject);
    });
    return host;
  }

  /** Makes a pool. @throws ResourceError as `ResourceTree.addPool` */
  addPool(name: string, allotment: Partial<PoolAllotment>, parent: string): void {
    const whole = { ...DEFAULT_POOL, ...allotment };
    this.tree.addPool(name, whole, parent);
    this.send({ kind: "pool", name, parent, allotment: whole });
  }

  /** Forgets an empty pool. @throws ResourceError as `ResourceTree.removePool` */
  removePool(name: string): void {
    this.tree.removePool(name);
    this.send({ kind: "removePool", name });
  }

  hasPool(name: string): boolean {
    return this.tree.hasPool(name);
  }

  /**
   * Admits a VM and gives it a slot of the table.
   * @param thread number that VMs on the same thread of the host have in common
   * @returns the slot
   * @throws ResourceError if its reservation can't be kept, or the host has no room for another VM
   */
  admit(name: string, pool: string, allotment: Partial<Allotment>, thread?: number): number {
    this.tree.addClient(name, allotment, pool);
    const slot = this.free.at(-1);
    try {
      if (slot === undefined) {
        throw new ResourceError(
          "E_ADMISSION",
          `VM ${name} can't be admitted: ${this.options.slots} VMs run already`,
        );
      }
      this.tree.admit(name);
    } catch (error) {
      this.tree.removeClient(name);
      throw error;
    }
    this.free.pop();
    this.slots.set(name, slot);
    this.table.clear(slot);
    this.send({
      kind: "add",
      name,
      pool,
      slot,
      allotment: { ...DEFAULT_ALLOTMENT, ...allotment, expandable: false },
      ...(thread === undefined ? {} : { thread }),
    });
    return slot;
  }

  /** Gives back a VM's reservation and slot; the VM's thread must not use the slot any more. */
  retire(name: string): void {
    const slot = this.slots.get(name);
    if (slot === undefined) return;
    this.tree.removeClient(name);
    this.send({ kind: "remove", name });
    this.slots.delete(name);
    // At the far end: the scheduler's thread may not have seen the command yet.
    this.free.unshift(slot);
  }

  /** Changes a running VM's or a pool's allotment at once. @throws ResourceError; nothing changes then */
  configure(name: string, change: Partial<PoolAllotment>, of: "client" | "pool"): void {
    this.tree.configure(name, change, of);
    this.send({ kind: "configure", name, of, change });
  }

  /** Pools and running VMs. */
  nodes(): ResourceNode[] {
    return this.tree.nodes();
  }

  /** What a new VM of a pool could reserve, in cores. */
  available(pool: string): number {
    return this.tree.available(pool);
  }

  /** A running VM's figures; undefined for one that is not admitted. */
  report(name: string): VmCpuReport | undefined {
    const slot = this.slots.get(name);
    if (slot === undefined) return undefined;
    return {
      ...this.table.read(slot, monotonicNanoseconds()),
      retired: this.table.retiredOf(slot),
      allotment: this.tree.allotmentOf(name),
    };
  }

  /** CPU time of the scheduler's own thread in nanoseconds; undefined where the host does not say. */
  overhead(): number | undefined {
    const times = new ThreadTimes();
    const used = this.thread === 0 ? undefined : times.read(this.thread);
    times.close();
    return used;
  }

  /** Ends the scheduler's thread. */
  async close(): Promise<void> {
    // Whoever waits for its end wants to see it, even with nothing else to do.
    this.worker.ref();
    this.send({ kind: "end" });
    await this.ended;
    this.port.close();
  }

  private send(command: SchedulerCommand): void {
    this.port.postMessage(command);
    this.table.announceCommand();
  }
}

function threadProgram(): URL {
  const urls = places.map((place) => new URL(place, import.meta.url));
  return urls.find((url) => existsSync(fileURLToPath(url))) ?? urls[0]!;
}
