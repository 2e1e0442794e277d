/**
 * The thread that schedules, cores and the store under all disks: it waits at the doorbell, and does nothing else, so that
 * neither requests to the daemon nor a VM's output delay a decision. It has no event loop to speak of: commands come
 * through a port that it reads when the bell rings.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type { DiskCommand } from "../../disk/disk-command.js";
import { DiskDispatcher } from "../../disk/disk-dispatcher.js";
import { DiskTable } from "../../disk/disk-table.js";
import { MClock } from "../../disk/mclock.js";
import { ControlTable } from "../control-table.js";
import { GrantDispatcher } from "../dispatcher.js";
import { type PoolAllotment, ResourceTree } from "../resource-tree.js";
import { CpuScheduler } from "../scheduler.js";
import type { TreeCommand } from "../tree-command.js";
import { currentThread, monotonicNanoseconds, ThreadTimes } from "./thread-time.js";

/** What the thread is started with. */
export interface SchedulerThreadData {
  readonly table: SharedArrayBuffer;
  readonly disks: SharedArrayBuffer;
  readonly port: MessagePort;
  readonly cores: number;
  /** Nanoseconds. */
  readonly quantum: number;
}

/** Of a VM that is added: whether other VMs run on the same thread of the host. */
interface Companions {
  readonly thread?: number;
}

/** What the thread is told; it was checked by the sender on a tree of the same make. */
export type SchedulerCommand =
  | TreeCommand<PoolAllotment, Partial<PoolAllotment>, Companions>
  | { readonly kind: "disk"; readonly command: DiskCommand }
  | { readonly kind: "end" };

/** Longest wait in milliseconds while a VM runs, after which accounts are brought up to date all the same. */
const LONGEST_WAIT = 500;

function run({ table: buffer, disks, port, cores, quantum }: SchedulerThreadData): void {
  const table = new ControlTable(buffer);
  const diskTable = new DiskTable(disks);
  const mclock = new MClock();
  const diskDispatcher = new DiskDispatcher(mclock, diskTable);
  // Admission is the sender's; here only the division counts.
  const tree = new ResourceTree(cores, "cores");
  const scheduler = new CpuScheduler({ tree, cores, quantum });
  const times = new ThreadTimes();
  const dispatcher = new GrantDispatcher({
    scheduler,
    table,
    threadTime: (thread) => times.read(thread),
    forgetThread: (thread) => times.forget(thread),
  });
  parentPort?.postMessage({ thread: currentThread() });
  let [heard, diskHeard] = [0, 0];
  /** When the dispatchers are to be asked again, in nanoseconds. */
  let [due, diskDue] = [0, 0];
  for (let obeyed = 0; ; ) {
    // In this order: a ring that comes between the two ends the next wait.
    const rings = table.rings();
    const diskRings = diskTable.rings();
    let isTold = false;
    while (obeyed !== table.commands()) {
      const message = receiveMessageOnPort(port);
      if (message === undefined) break;
      obeyed = (obeyed + 1) | 0;
      isTold = true;
      const command = message.message as SchedulerCommand;
      if (command.kind === "end") {
        times.close();
        port.close();
        return;
      }
      if (command.kind === "disk") obeyForDisks(command.command, mclock, diskDispatcher);
      else obey(command, tree, scheduler, dispatcher);
    }
    const now = monotonicNanoseconds();
    if (isTold || diskRings !== diskHeard || now >= diskDue)
      diskDue = now + 1e6 * diskDispatcher.poll(now / 1e6);
    if (isTold || ((rings - heard) | 0) !== ((diskRings - diskHeard) | 0) || now >= due) {
      const wait = dispatcher.poll(now);
      // Where nobody runs or wants to, accounts go on by themselves, and only the bell brings something new.
      if (wait >= 1e6 * LONGEST_WAIT && wait !== Infinity) dispatcher.publishAll(now);
      due = now + (wait === Infinity ? Infinity : Math.min(1e6 * LONGEST_WAIT, wait));
    }
    [heard, diskHeard] = [rings, diskRings];
    const wait = (Math.min(due, diskDue) - monotonicNanoseconds()) / 1e6;
    if (wait > 0) table.listen(rings, wait);
  }
}

function obey(
  command: Exclude<SchedulerCommand, { kind: "end" | "disk" }>,
  tree: ResourceTree,
  scheduler: CpuScheduler,
  dispatcher: GrantDispatcher,
): void {
  const now = monotonicNanoseconds();
  switch (command.kind) {
    case "pool":
      tree.addPool(command.name, command.allotment, command.parent);
      return;
    case "removePool":
      tree.removePool(command.name);
      return;
    case "add":
      tree.addClient(command.name, command.allotment, command.pool);
      scheduler.add(command.name, now, command.thread);
      dispatcher.attach(command.name, command.slot);
      return;
    case "remove":
      dispatcher.detach(command.name);
      scheduler.remove(command.name, now);
      tree.removeClient(command.name);
      return;
    case "configure":
      scheduler.configure(command.name, command.change, command.of, now);
      return;
  }
}

function obeyForDisks(command: DiskCommand, mclock: MClock, dispatcher: DiskDispatcher): void {
  switch (command.kind) {
    case "pool":
      mclock.addPool(command.name, command.allotment, command.parent);
      return;
    case "removePool":
      mclock.removePool(command.name);
      return;
    case "add":
      mclock.addClient(command.name, command.allotment, command.pool);
      dispatcher.attach(command.name, command.slot);
      return;
    case "remove":
      dispatcher.detach(command.name);
      mclock.removeClient(command.name);
      return;
    case "configure":
      dispatcher.configure(command.name, command.change, command.of, monotonicNanoseconds() / 1e6);
      return;
  }
}

run(workerData as SchedulerThreadData);
