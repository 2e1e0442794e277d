/**
 * The networks' bandwidth as the broker uses it: admission here, turns in the thread that has the networks, which is told what
 * was admitted, or told all of it when it begins.
 */
import { RateAdmission, type Rates } from "../disk/rate-admission.js";
import { formatSize } from "../hyperfile/units.js";
import {
  changeNet,
  DEFAULT_NET,
  DEFAULT_NET_POOL,
  type NetAllotment,
  type NetChange,
  type NetDirection,
  type NetPoolAllotment,
} from "./allotment.js";
import type { NetCommand } from "./net-scheduler.js";

const rates: Rates<NetDirection> = {
  units: {
    send: (amount) => `${formatSize(amount)} a second to send`,
    receive: (amount) => `${formatSize(amount)} a second to receive`,
  },
  usual: DEFAULT_NET,
  usualPool: DEFAULT_NET_POOL,
  change: changeNet,
};

/** Who may have what of networks. */
export class NetAdmission extends RateAdmission<NetDirection> {
  /** @param rootName name of the pool that holds everything */
  constructor(rootName?: string) {
    super(rates, rootName);
  }
}

/** The bandwidth of a host's networks. */
export class HostNets {
  private readonly admission = new NetAdmission();
  /** Parents of pools, and pools of VMs, those first that are around others. */
  private readonly poolParents = new Map<string, string>();
  private readonly vmPools = new Map<string, string>();

  /** Tells the thread that has the networks, if there is one. */
  send: (command: NetCommand) => void = () => {};

  /** Makes a pool. @throws ResourceError as `RateAdmission.addPool` */
  addPool(name: string, change: NetChange, parent: string): void {
    const allotment = this.admission.addPool(name, change, parent);
    this.poolParents.set(name, parent);
    this.send({ kind: "pool", name, parent, allotment });
  }

  /** Forgets an empty pool. @throws ResourceError */
  removePool(name: string): void {
    this.admission.removePool(name);
    this.poolParents.delete(name);
    this.send({ kind: "removePool", name });
  }

  /** Admits a VM. @throws ResourceError if a reservation can't be kept */
  admit(name: string, pool: string, change: NetChange): void {
    const allotment = this.admission.admit(name, change, pool);
    this.vmPools.set(name, pool);
    this.send({ kind: "add", name, pool, slot: 0, allotment });
  }

  /** Gives back what a VM has. */
  retire(name: string): void {
    if (!this.admission.has(name)) return;
    this.admission.retire(name);
    this.vmPools.delete(name);
    this.send({ kind: "remove", name });
  }

  /** Changes what a running VM or a pool may have, at once. @throws ResourceError; nothing changes then */
  configure(name: string, change: NetChange, of: "client" | "pool"): void {
    this.admission.configure(name, change, of);
    this.send({ kind: "configure", name, of, change });
  }

  /** What pools may have, by name. */
  pools(): ReadonlyMap<string, NetPoolAllotment> {
    return this.admission.poolAllotments();
  }

  /** All that was admitted, for a thread that begins. */
  commands(): NetCommand[] {
    const pools = [...this.poolParents].map(
      ([name, parent]): NetCommand => ({
        ...{ kind: "pool", name, parent },
        allotment: this.admission.poolAllotments().get(name)!,
      }),
    );
    const vms = [...this.vmPools].map(([name, pool]): NetCommand => {
      const allotment: NetAllotment = this.admission.allotmentOf(name)!;
      return { kind: "add", name, pool, slot: 0, allotment };
    });
    return [...pools, ...vms];
  }
}
