/**
 * The store under all disks as the broker uses it: admission here, the order of requests in the scheduler's thread, which is
 * told what was admitted, and requests through shared memory.
 */
import type { DiskAllotment, DiskChange, DiskPoolAllotment } from "./allotment.js";
import { DiskAdmission } from "./disk-admission.js";
import type { DiskCommand } from "./disk-command.js";
import { DiskTable } from "./disk-table.js";

/** The disks of a host. */
export class HostDisks {
  readonly table: DiskTable;
  private readonly admission = new DiskAdmission();

  /**
   * @param slots of VMs
   * @param depth requests that the store has in hand at once while several VMs use it
   * @param send tells the scheduler's thread
   */
  constructor(
    slots: number,
    depth: number,
    private readonly send: (command: DiskCommand) => void,
  ) {
    this.table = DiskTable.allocate(slots, depth);
  }

  /** Makes a pool. @throws ResourceError as `DiskAdmission.addPool` */
  addPool(name: string, change: DiskChange, parent: string): void {
    const allotment = this.admission.addPool(name, change, parent);
    this.send({ kind: "pool", name, parent, allotment });
  }

  /** Forgets an empty pool. @throws ResourceError */
  removePool(name: string): void {
    this.admission.removePool(name);
    this.send({ kind: "removePool", name });
  }

  /** Admits a VM, which has a slot of the scheduler. @throws ResourceError if a reservation can't be kept */
  admit(name: string, pool: string, change: DiskChange, slot: number): void {
    const allotment = this.admission.admit(name, change, pool);
    this.table.clear(slot);
    this.send({ kind: "add", name, pool, slot, allotment });
  }

  /** Gives back what a VM has; its requests don't count any more. */
  retire(name: string): void {
    if (!this.admission.has(name)) return;
    this.admission.retire(name);
    this.send({ kind: "remove", name });
  }

  /** Changes what a running VM or a pool may have, at once. @throws ResourceError; nothing changes then */
  configure(name: string, change: DiskChange, of: "client" | "pool"): void {
    this.admission.configure(name, change, of);
    this.send({ kind: "configure", name, of, change });
  }

  /** What pools may have, by name. */
  pools(): ReadonlyMap<string, DiskPoolAllotment> {
    return this.admission.poolAllotments();
  }

  /** What a running VM may have; undefined for one that is not admitted. */
  allotmentOf(name: string): DiskAllotment | undefined {
    return this.admission.allotmentOf(name);
  }
}
