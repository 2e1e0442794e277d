/** What the API's answers hold, for clients in TypeScript; the schemas are in `operations.ts`. */
import type { CpuState } from "../cpu/accounts.js";
import type { VmSpec } from "../hyperfile/types.js";
import type { GuestMemoryUsage } from "../lifecycle/guest-port.js";

/** An allotment as JSON has it. */
export interface AllotmentView {
  readonly shares: number;
  readonly reservation: number;
  /** null for none. */
  readonly limit: number | null;
}

/** Guaranteed and greatest amount a second. */
export interface RateView {
  readonly reservation: number;
  /** null for none. */
  readonly limit: number | null;
}

/** What a VM's or pool's disks together may have of the store. */
export interface DiskAllotmentView {
  readonly shares: number;
  /** Operations a second. */
  readonly iops: RateView;
  /** Bytes a second. */
  readonly bandwidth: RateView;
}

/** What may be had of networks, as JSON has it. */
export interface NetAllotmentView {
  readonly shares: number;
  /** Bytes a second. */
  readonly send: RateView;
  /** Bytes a second. */
  readonly receive: RateView;
}

/** CPU accounts in seconds. */
export interface AccountsView {
  readonly used: number;
  readonly preempted: number;
  readonly ready: number;
  readonly limited: number;
  readonly waiting: number;
  readonly idle: number;
  readonly stopped: number;
  readonly steal: number;
}

/** Where a VM's memory is, in bytes. */
export interface MemoryView extends GuestMemoryUsage {
  /** What it may have now. */
  readonly target: number;
  /** What it seems to use, by samples of its pages. */
  readonly active: number;
}

/** A network card. */
export interface NicView {
  /** Missing for a cable that leads nowhere. */
  readonly network?: string;
  readonly mac: string;
  /** Missing where nobody knows. */
  readonly address?: string;
  /** As they are written, with the ports that they have. */
  readonly forwards: readonly string[];
  /** Frames and bytes that it sent and received, what was dropped, and what the policy refused. */
  readonly counters: Readonly<Record<string, number>>;
}

/** A VM. What only a running one has is undefined otherwise. */
export interface VmView {
  readonly name: string;
  readonly project: string;
  readonly pool: string;
  readonly state: "off" | "starting" | "running" | "paused" | "stopping" | "crashed";
  /** Exit status of its last run. */
  readonly status?: number;
  /** Why it ended, where there is something to say. */
  readonly message?: string;
  /** Milliseconds since 1970. */
  readonly startedAt?: number;
  readonly restarts: number;
  /** When it is started again after its end. */
  readonly restart: VmSpec["restart"];
  readonly memoryBytes: number;
  readonly cpu: AllotmentView;
  readonly memoryAllotment: AllotmentView;
  readonly disk: DiskAllotmentView;
  readonly net: NetAllotmentView;
  readonly accounts?: AccountsView;
  readonly activity?: CpuState;
  /** Milliseconds for which its thread has not answered: what follows is what it told last. */
  readonly silentMs?: number;
  /** Guest instructions retired. */
  readonly instructions?: number;
  readonly memory?: MemoryView;
  readonly counters?: Readonly<Record<string, number>>;
  readonly nics: readonly NicView[];
  readonly snapshots: readonly { readonly name: string; readonly bytes: number; readonly at: number }[];
}

/** A pool. */
export interface PoolView {
  readonly name: string;
  readonly parent?: string;
  readonly cpu: AllotmentView;
  readonly memory: AllotmentView;
  readonly disk: DiskAllotmentView;
  readonly net: NetAllotmentView;
  /** What it takes of its parent's reservation, in cores. */
  readonly claim: number;
  /** What a new VM in it could reserve. */
  readonly available: number;
}

/** A VM at one moment: sums since its start, and memory in bytes. */
export interface VmSample extends MemoryView {
  readonly used: number;
  readonly ready: number;
  readonly waiting: number;
  readonly idle: number;
  readonly steal: number;
  readonly instructions: number;
  /** Bytes through its devices. */
  readonly io: number;
  /** Operations of its disks, and their bytes. */
  readonly diskOperations: number;
  readonly diskBytes: number;
  /** Seconds in which requests of its disks waited for their turns. */
  readonly throttled: number;
  /** Milliseconds within which half, and 99 of 100, of its disks' operations since the sample before were answered. */
  readonly diskP50: number;
  readonly diskP99: number;
  /** Bytes that its network cards sent and received. */
  readonly netSent: number;
  readonly netReceived: number;
  /** Frames of theirs that were lost, and connections and datagrams that a policy refused. */
  readonly netDropped: number;
  readonly netRefused: number;
}

/** All running VMs at one moment. */
export interface Sample {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly vms: Readonly<Record<string, VmSample>>;
}

/** What the daemon says about itself. */
export interface DaemonView {
  readonly version: string;
  readonly pid: number;
  readonly cores: number;
  /** Machine memory for guests, in bytes. */
  readonly memory: { readonly total: number; readonly free: number; readonly state: string };
  readonly folder: string;
}
