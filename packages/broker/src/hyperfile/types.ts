/** A Hyperfile after it was read: every default filled in, every quantity in one unit. */
import type { Allotment, PoolAllotment } from "../cpu/resource-tree.js";
import type { DiskAllotment, DiskPoolAllotment } from "../disk/allotment.js";
import type { NetAllotment, NetPoolAllotment } from "../net/allotment.js";
import type { ForwardSpec, NetRuleSpec } from "./net-text.js";

/** What a VM boots; files are as written, relative to the Hyperfile's folder. */
export interface BootSpec {
  /** A file, or a kernel that needs none. */
  readonly kernel?: { readonly file: string } | { readonly builtin: string };
  /** Bare-metal ELF program in place of a kernel. */
  readonly program?: string;
  readonly firmware?: string;
  readonly initrd?: string;
  readonly append: string;
}

/** One disk of a VM. */
export interface DiskSpec {
  /** As written, relative to the Hyperfile's folder, or an address of a web server. */
  readonly file: string;
  /** Found out where undefined. */
  readonly format: "raw" | "qcow2" | "store" | undefined;
  readonly readonly: boolean;
  /** Whether what is written goes with the VM's power. */
  readonly ephemeral: boolean;
  /** When what the guest writes is durable. */
  readonly cache: "writeback" | "writethrough" | "unsafe";
  /** What the guest finds the disk by. */
  readonly serial: string | undefined;
  /** Bytes with which it is made if it is not there; undefined where it has to be. */
  readonly sizeBytes: number | undefined;
}

/** One folder of the host's in a VM. */
export interface ShareSpec {
  /** As written, relative to the Hyperfile's folder. */
  readonly folder: string;
  /** What the guest mounts it by. */
  readonly tag: string;
  readonly readonly: boolean;
  /** Whose everything in it is in the guest. */
  readonly uid: number;
  readonly gid: number;
}

/**
 * What the guests of a network, or behind a card, may reach, and who may use forwards to them: everybody, or where `allow`
 * has rules for that, those.
 */
export interface NetPolicySpec {
  readonly allow: readonly NetRuleSpec[];
  /** Stronger than `allow`. */
  readonly deny: readonly NetRuleSpec[];
  /** Whether nothing is reached but what is allowed; else what is public is. */
  readonly restrict: boolean;
}

/** A network. */
export interface NetworkSpec {
  readonly name: string;
  /** `nat`: with a way out through the host's sockets; `isolated`: among its VMs only. */
  readonly kind: "nat" | "isolated";
  /** Its IPv4 range; the gateway has its second address, the name server its third. */
  readonly subnet: string;
  /** Its IPv6 range. */
  readonly subnet6: string;
  /** Whether it gives addresses. */
  readonly dhcp: boolean;
  readonly policy: NetPolicySpec;
}

/** A network card. */
export interface NicSpec {
  /** Undefined for a cable that leads nowhere. */
  readonly network: NetworkSpec | undefined;
  readonly mac: string;
  /** The address that it is given, or has by itself; undefined where nobody knows. */
  readonly address: string | undefined;
  readonly forwards: readonly ForwardSpec[];
  /** Beside that of its network: what either denies is denied. */
  readonly policy: NetPolicySpec;
}

/** One command that is run in a guest when it first starts. */
export interface ProvisionStep {
  readonly run: string;
  readonly timeoutMs: number;
  /** The status that it must end with. */
  readonly status: number;
}

/** One virtual machine. */
export interface VmSpec {
  readonly name: string;
  readonly boot: BootSpec;
  /** Instruction set by its name in Hyperfiles; of the files themselves where undefined. */
  readonly isa: string | undefined;
  readonly memoryBytes: number;
  /** In bytes. */
  readonly memory: Allotment;
  /** In cores. */
  readonly cpu: Allotment;
  /** Of the store under all disks, for all of its disks together. */
  readonly disk: DiskAllotment;
  /** Of networks, for all of its cards together. */
  readonly net: NetAllotment;
  /** Pool by name. */
  readonly pool: string;
  /** VMs of one group run in one thread of the host, where they keep equal pages once; undefined for a thread alone. */
  readonly group: string | undefined;
  readonly console: { readonly columns: number; readonly rows: number; readonly logBytes: number };
  readonly disks: readonly DiskSpec[];
  readonly shares: readonly ShareSpec[];
  readonly nics: readonly NicSpec[];
  readonly provision: readonly ProvisionStep[];
  /** VMs that must have started, and been provisioned, before. */
  readonly after: readonly string[];
  readonly restart: "never" | "on-failure" | "always";
  readonly autostart: boolean;
  readonly disposable: boolean;
  /** What reads commands on its console, by name; see `GuestKinds`. */
  readonly shell: string;
  /** Command that powers the guest off; undefined where none is known. */
  readonly shutdown: string | undefined;
  /** Milliseconds that it may run; undefined for no limit. */
  readonly timeLimitMs: number | undefined;
  /** Milliseconds that its devices have for requests in flight when it is paused, saved or cloned; the machine's own limit unless given. */
  readonly drainMs: number | undefined;
  readonly deterministic: boolean;
  /** What guest time does about pauses and snapshots, unless it follows instructions: see `RealClockMode`. */
  readonly clock: "host" | "frozen";
  readonly tier: "auto" | "interpreter" | "js" | "wasm-interpreter" | "wasm";
}

/** One pool. */
export interface PoolSpec {
  readonly name: string;
  /** Pool around it. */
  readonly parent: string;
  readonly cpu: PoolAllotment;
  readonly memory: PoolAllotment;
  readonly disk: DiskPoolAllotment;
  readonly net: NetPoolAllotment;
}

/** The whole file. */
export interface HyperfileSpec {
  /** Name given in the file. */
  readonly name: string | undefined;
  readonly host: {
    readonly cores: number | undefined;
    readonly memoryBytes: number | undefined;
  };
  /** Parents before children. */
  readonly pools: readonly PoolSpec[];
  /** In start order. */
  readonly vms: readonly VmSpec[];
}

/** Name of the pool that holds everything. */
export const ROOT_POOL = "root";
/** Default size of a guest's memory. */
export const DEFAULT_MEMORY_BYTES = 256 * 2 ** 20;

/** A mistake in a Hyperfile. */
export interface HyperfileProblem {
  /** Name of the file as given. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  /** The field, such as `vms.web.cpu.shares`; empty for the file as a whole. */
  readonly field: string;
  readonly message: string;
}

/** One line for a problem: where, which field, what and the remedy. */
export function problemLine({ file, line, column, field, message }: HyperfileProblem): string {
  return `${file}:${line}:${column}: ${field === "" ? "" : `${field}: `}${message}`;
}

/**
 * A Hyperfile that can't be used. `problems` has what was found, up to a limit; where there is more, the last of it says
 * how much.
 */
export class HyperfileError extends Error {
  override readonly name = "HyperfileError";
  readonly code = "E_HYPERFILE";
  readonly problems: readonly HyperfileProblem[];

  /** @param omitted how many mistakes were found that are not in `problems` */
  constructor(problems: readonly HyperfileProblem[], omitted = 0) {
    const [first] = problems;
    const rest = problems.length - 1 + omitted;
    super(
      `${first === undefined ? "the Hyperfile can't be used" : problemLine(first)}${rest > 0 ? ` (and ${rest} more)` : ""}`,
    );
    const last = problems.at(-1);
    this.problems =
      omitted === 0 || last === undefined
        ? problems
        : [...problems, { ...last, field: "", message: `and ${omitted} more: mend these first` }];
  }
}
