/**
 * Reads a Hyperfile: text to checked specification. First the form (YAML), then the shape (the JSON schema), then the
 * meaning (names that refer to each other, figures that fit together). Each stage reports all it finds; the next one
 * begins when there was nothing. The libraries for the first two are loaded when a file is read: programs that run a
 * single machine start without them.
 */
import { ResourceError } from "../cpu/errors.js";
import {
  type Allotment,
  DEFAULT_ALLOTMENT,
  DEFAULT_POOL,
  MOST_POOL_DEPTH,
  type PoolAllotment,
  ResourceTree,
} from "../cpu/resource-tree.js";
import { DEFAULT_DISK, DEFAULT_DISK_POOL, type DiskAllotment } from "../disk/allotment.js";
import { DiskAdmission } from "../disk/disk-admission.js";
import { DEFAULT_NET, DEFAULT_NET_POOL, type NetAllotment } from "../net/allotment.js";
import { NetAdmission } from "../net/host-nets.js";
import { DiskReader, type NamedFile } from "./disks.js";
import type { FieldPath, HyperfileDocument } from "./document.js";
import type { GuestKinds } from "./guest-kinds.js";
import { shortened } from "./message-text.js";
import { NetworkReader } from "./networks.js";
import { startOrder } from "./order.js";
import { MOST_DEVICES, readShares } from "./shares.js";
import { hint } from "./suggest.js";
import {
  type BootSpec,
  DEFAULT_MEMORY_BYTES,
  HyperfileError,
  type HyperfileSpec,
  type PoolSpec,
  ROOT_POOL,
  type VmSpec,
} from "./types.js";
import {
  formatSize,
  MOST_DURATION,
  MOST_SIZE,
  parseCores,
  parseDuration,
  parseIops,
  parseShares,
  parseSize,
} from "./units.js";

/** Least and most memory of a guest: room for a small program; RAM begins at 2 GiB, and guests of 32 bits end at 4 GiB. */
const [LEAST_MEMORY, MOST_MEMORY] = [2 ** 20, 2 ** 31];
const PAGE = 4096;
/** Least size of a console log: it is kept in two parts. */
const LEAST_LOG = 4096;
/** Characters of a file's name, and VMs or pools of a circle, that a message shows. */
const [LONGEST_FILE, MOST_IN_CIRCLE] = [200, 8];
/** Default time for a provisioning command: five minutes. */
const PROVISION_TIMEOUT_MS = 300_000;
const DEFAULT_LOG_BYTES = 16 * 2 ** 20;

/** A value that the schema has checked. */
type Raw = Readonly<Record<string, unknown>>;

/** What the host has, where the file leaves it open. */
export interface HostSize {
  readonly cores: number;
  readonly memoryBytes: number;
  /** Fields of VMs for which its machines have no device. */
  readonly lacks?: readonly ("disks" | "nics")[];
  /** The guests that its program knows. */
  readonly guests: GuestKinds;
}

/**
 * Reads a Hyperfile.
 * @param text its content
 * @param file its name, for messages
 * @param host what there is to divide, for admission
 * @param isFile whether a file that it names is there, at once or later; files are not looked for unless given
 * @throws HyperfileError (the promise rejects) with every mistake that was found; what `isFile` rejects with
 */
export async function readHyperfile(
  text: string,
  file: string,
  host: HostSize,
  isFile: (path: string) => boolean | Promise<boolean> = () => true,
): Promise<HyperfileSpec> {
  const [{ HyperfileDocument }, { checkShape }] = await Promise.all([
    import("./document.js"),
    import("./check-shape.js"),
  ]);
  const document = new HyperfileDocument(text, file);
  const stop = (): void => {
    if (document.problems.length > 0) throw new HyperfileError(document.problems, document.omitted);
  };
  stop();
  checkShape(document, host.guests);
  stop();
  const reader = new Reader(document, host.guests);
  const spec = reader.read(document.value as Raw, host);
  for (const { file, path, also = "" } of reader.files)
    if (!(await isFile(file)))
      document.add(
        path,
        `there is no file ${shortened(file, LONGEST_FILE)}: names are taken from the folder of the Hyperfile${also}`,
      );
  stop();
  return spec;
}

class Reader {
  /** Files that have to be there. */
  readonly files: NamedFile[] = [];
  private top: Raw = {};
  /** Names that others refer to. */
  private names = { pools: new Set<string>(), vms: new Set<string>() };
  private disks!: DiskReader;
  private networks!: NetworkReader;
  private lacks: readonly string[] = [];

  constructor(
    private readonly document: HyperfileDocument,
    private readonly guests: GuestKinds,
  ) {}

  read(top: Raw, size: HostSize): HyperfileSpec {
    this.top = top;
    this.names = {
      pools: new Set([ROOT_POOL, ...Object.keys(raw(top.pools))]),
      vms: new Set(Object.keys(raw(top.vms))),
    };
    this.lacks = size.lacks ?? [];
    const host = raw(top.host);
    this.disks = new DiskReader({ document: this.document, images: raw(top.images), files: this.files });
    for (const [name, image] of Object.entries(raw(top.images))) this.disks.image(name, raw(image));
    this.networks = new NetworkReader(this.document, raw(top.networks), raw(top.vms));
    const pools = this.pools();
    const vms = Object.entries(raw(top.vms)).map(([name, value]) => this.vm(name, raw(value)));
    for (const [name, kernel] of Object.entries(raw(top.kernels)))
      this.need(raw(kernel), ["kernels", name], ["file", "initrd", "firmware"]);
    const cores = host.cores as number | undefined;
    const memoryBytes = this.size(host.memory, ["host", "memory"], LEAST_MEMORY);
    const order = this.ordered(
      vms.map(({ name, after }) => ({ name, after })),
      (name) => ["vms", name, "after"],
      "starts after itself",
    );
    this.groups(vms);
    if (this.document.problems.length === 0)
      this.admission(pools, vms, {
        cores: cores ?? size.cores,
        memoryBytes: memoryBytes ?? size.memoryBytes,
      });
    return {
      name: top.name as string | undefined,
      host: { cores, memoryBytes },
      pools,
      vms: inOrder(vms, order),
    };
  }

  private pools(): PoolSpec[] {
    const declared = Object.entries(raw(this.top.pools));
    const pools = declared.map(([name, value]): PoolSpec => {
      const path = ["pools", name];
      if (name === ROOT_POOL)
        this.document.add(path, "this name stands for the whole host: choose another", "name");
      const fields = raw(value);
      const parent = (fields.pool as string | undefined) ?? ROOT_POOL;
      this.reference(parent, this.names.pools, [...path, "pool"], "pool");
      return {
        name,
        parent,
        cpu: this.poolAllotment(raw(fields.cpu), [...path, "cpu"], readCores),
        memory: this.poolAllotment(raw(fields.memory), [...path, "memory"], readSize),
        disk: {
          ...this.diskAllotment(raw(fields.disk), [...path, "disk"], DEFAULT_DISK_POOL.shares),
          expandable: (raw(fields.disk).expandable as boolean | undefined) ?? DEFAULT_DISK_POOL.expandable,
        },
        net: {
          ...this.netAllotment(raw(fields.net), [...path, "net"], DEFAULT_NET_POOL.shares),
          expandable: (raw(fields.net).expandable as boolean | undefined) ?? DEFAULT_NET_POOL.expandable,
        },
      };
    });
    const order = this.ordered(
      pools.map(({ name, parent }) => ({ name, after: parent === ROOT_POOL ? [] : [parent] })),
      (name) => ["pools", name, "pool"],
      "is inside itself",
    );
    const ordered = inOrder(pools, order);
    this.depths(ordered);
    return ordered;
  }

  /** Pools, those around others first, are not nested too deeply. */
  private depths(pools: readonly PoolSpec[]): void {
    const depths = new Map([[ROOT_POOL, 0]]);
    for (const { name, parent } of pools) {
      const depth = (depths.get(parent) ?? 0) + 1;
      depths.set(name, depth);
      if (depth === MOST_POOL_DEPTH + 1)
        this.document.add(
          ["pools", name, "pool"],
          `it would be in ${depth - 1} other pools: at most ${MOST_POOL_DEPTH - 1} are possible`,
        );
    }
  }

  private vm(name: string, fields: Raw): VmSpec {
    const path = ["vms", name];
    const { document } = this;
    const kernels = raw(this.top.kernels);
    const named =
      kernels[fields.kernel as string] === undefined ? undefined : raw(kernels[fields.kernel as string]);
    const boot = this.boot(fields, path, named);
    const after = [(fields.after as string | string[] | undefined) ?? []].flat();
    for (const [at, other] of after.entries()) {
      const field = Array.isArray(fields.after) ? [...path, "after", at] : [...path, "after"];
      this.reference(other, this.names.vms, field, "VM");
    }
    const pool = (fields.pool as string | undefined) ?? ROOT_POOL;
    this.reference(pool, this.names.pools, [...path, "pool"], "pool");
    const { memoryBytes, memory } = this.memory(fields.memory, [...path, "memory"]);
    const console = raw(fields.console);
    const isa = (fields.isa ?? named?.isa) as string | undefined;
    const { kernels: builtin, shells, usualShell } = this.guests;
    const known = boot.kernel !== undefined && "builtin" in boot.kernel ? boot.kernel.builtin : undefined;
    const asked = (fields.shell ?? named?.shell) as string | undefined;
    const shell = asked ?? (known === undefined ? usualShell : builtin[known]!.shell);
    if (!Object.hasOwn(shells, shell))
      document.add(
        [...path, "kernel"],
        `its shell is ${shell}, which this program has not; ${hint(shell, Object.keys(shells), "shells")}`,
      );
    for (const field of this.lacks.filter((field) => fields[field] !== undefined))
      document.add([...path, field], `machines have no ${field} here yet: leave them out`, "name");
    const restart = (fields.restart as VmSpec["restart"] | undefined) ?? "never";
    const disposable = (fields.disposable as boolean | undefined) ?? false;
    if (disposable && restart !== "never") {
      document.add(
        [...path, "restart"],
        "a disposable VM is gone when it stops: leave restart out, or disposable",
      );
    }
    const provision = ((fields.provision as unknown[] | undefined) ?? []).map((step, at) => {
      const { run, timeout, status } = typeof step === "string" ? ({ run: step } as Raw) : raw(step);
      return {
        run: run as string,
        timeoutMs: this.duration(timeout, [...path, "provision", at, "timeout"]) ?? PROVISION_TIMEOUT_MS,
        status: (status as number | undefined) ?? 0,
      };
    });
    if (provision.length > 0 && boot.program !== undefined) {
      document.add(
        [...path, "provision"],
        "a bare-metal program has no shell that could run commands",
        "name",
      );
    }
    const deterministic = (fields.deterministic as boolean | undefined) ?? false;
    const disks = (fields.disks as unknown[] | undefined) ?? [];
    const folders = (fields.shares as unknown[] | undefined) ?? [];
    const cards = Array.isArray(fields.nics) ? (fields.nics as unknown[]) : [];
    if (deterministic && cards.length > 0)
      document.add(
        [...path, "nics"],
        "a deterministic VM has no network, since what comes in has the host's time: leave nics out, or deterministic",
        "name",
      );
    const devices = disks.length + folders.length + cards.length;
    if (cards.length > 0 && devices > MOST_DEVICES)
      document.add(
        [...path, "nics"],
        `${devices} disks, folders and network cards: a VM takes ${MOST_DEVICES} together`,
      );
    return {
      name,
      boot,
      isa,
      memoryBytes,
      memory,
      cpu: this.allotment(raw(fields.cpu), [...path, "cpu"], readCores),
      disk: this.diskAllotment(raw(fields.disk), [...path, "disk"], DEFAULT_DISK.shares),
      net: this.netAllotment(raw(fields.net), [...path, "net"], DEFAULT_NET.shares),
      pool,
      group: fields.group as string | undefined,
      console: {
        columns: (console.columns as number | undefined) ?? 80,
        rows: (console.rows as number | undefined) ?? 24,
        logBytes: this.size(console.log, [...path, "console", "log"], LEAST_LOG) ?? DEFAULT_LOG_BYTES,
      },
      disks: disks.map((disk, at) => this.disks.disk(name, disk, [...path, "disks", at])),
      shares: readShares(document, folders, disks.length, [...path, "shares"]),
      nics: this.networks.nics(name, cards, [...path, "nics"]),
      provision,
      after,
      restart,
      autostart: (fields.autostart as boolean | undefined) ?? true,
      disposable,
      shell,
      shutdown:
        (fields.shutdown as string | undefined) ??
        (boot.program === undefined ? shells[shell]?.shutdown : undefined),
      timeLimitMs: this.duration(fields.time, [...path, "time"]),
      drainMs: this.duration(fields.drain, [...path, "drain"]),
      deterministic,
      clock: (fields.clock as VmSpec["clock"] | undefined) ?? "host",
      tier: (fields.tier as VmSpec["tier"] | undefined) ?? "auto",
    };
  }

  /** VMs of a group take turns on one engine. */
  private groups(vms: readonly VmSpec[]): void {
    const first = new Map<string, VmSpec>();
    for (const vm of vms) {
      if (vm.group === undefined) continue;
      const other = first.get(vm.group) ?? vm;
      first.set(vm.group, other);
      for (const field of ["isa", "tier", "deterministic"] as const) {
        if (vm[field] !== other[field])
          this.document.add(
            ["vms", vm.name, "group"],
            `${vm.name} and ${other.name} differ in ${field}: VMs of one group run on one engine`,
          );
      }
    }
  }

  private boot(fields: Raw, path: FieldPath, named: Raw | undefined): BootSpec {
    const { document } = this;
    const kernel = fields.kernel as string | undefined;
    const program = fields.program as string | undefined;
    const firmware = (fields.firmware ?? named?.firmware) as string | undefined;
    const initrd = (fields.initrd ?? named?.initrd) as string | undefined;
    if (kernel === undefined && program === undefined) {
      document.add(
        path,
        `nothing to boot: give kernel (${Object.keys(this.guests.kernels).join(", ")}, a name or a file) or program`,
      );
    }
    for (const field of ["kernel", "firmware", "initrd", "append"]) {
      if (program !== undefined && fields[field] !== undefined)
        document.add(
          [...path, field],
          "program is given too: a bare-metal program takes none of these",
          "name",
        );
    }
    if (kernel === undefined) {
      for (const field of ["firmware", "initrd", "append"]) {
        if (program === undefined && fields[field] !== undefined)
          document.add([...path, field], "it needs a kernel", "name");
      }
    }
    const append = [named?.append, fields.append].filter((part) => part !== undefined).join(" ");
    const parts = {
      append,
      ...(firmware === undefined ? {} : { firmware }),
      ...(initrd === undefined ? {} : { initrd }),
      ...(program === undefined ? {} : { program }),
    };
    this.need(fields, path, ["program", "initrd", "firmware"]);
    if (kernel === undefined) return parts;
    if (named !== undefined) return { ...parts, kernel: { file: named.file as string } };
    if (Object.hasOwn(this.guests.kernels, kernel)) return { ...parts, kernel: { builtin: kernel } };
    if (!kernel.includes("/")) {
      const valid = [...Object.keys(this.guests.kernels), ...Object.keys(raw(this.top.kernels))];
      document.add(
        [...path, "kernel"],
        () =>
          `there is no kernel ${shortened(kernel)}; ${hint(kernel, valid, "kernels")} (a file has a slash in its name)`,
      );
    } else this.need(fields, path, ["kernel"]);
    return { ...parts, kernel: { file: kernel } };
  }

  /** The files have to be there that some fields name. */
  private need(fields: Raw, path: FieldPath, names: readonly string[]): void {
    for (const name of names) {
      const file = fields[name] as string | undefined;
      if (file !== undefined) this.files.push({ file, path: [...path, name] });
    }
  }

  private memory(value: unknown, path: FieldPath): { memoryBytes: number; memory: Allotment } {
    const isObject = typeof value === "object" && value !== null;
    const fields: Raw = isObject ? raw(value) : value === undefined ? nothing : { size: value };
    const at = isObject ? [...path, "size"] : path;
    // A size too large for anything is too large for a machine.
    const memoryBytes = fields.size === undefined ? DEFAULT_MEMORY_BYTES : readSize(fields.size);
    if (memoryBytes < LEAST_MEMORY || memoryBytes > MOST_MEMORY) {
      this.document.add(
        at,
        `${shortened(String(fields.size))} of memory is impossible: a machine can have from 1M to 2G`,
      );
    } else if (memoryBytes % PAGE !== 0) {
      this.document.add(at, `${fields.size} of memory is impossible: memory comes in pages of 4K`);
    }
    const memory = this.allotment(fields, path, readSize);
    if (memory.reservation > memoryBytes) {
      this.document.add(
        [...path, "reservation"],
        `a reservation of ${formatSize(memory.reservation)} is more than the VM's memory of ${formatSize(memoryBytes)}`,
      );
    }
    return { memoryBytes, memory };
  }

  private allotment(fields: Raw, path: FieldPath, read: (value: unknown) => number): Allotment {
    const shares =
      fields.shares === undefined ? DEFAULT_ALLOTMENT.shares : parseShares(fields.shares as string)!;
    return { shares, ...this.bounds(fields, path, read) };
  }

  private poolAllotment(fields: Raw, path: FieldPath, read: (value: unknown) => number): PoolAllotment {
    return {
      shares: fields.shares === undefined ? DEFAULT_POOL.shares : parseShares(fields.shares as string)!,
      ...this.bounds(fields, path, read),
      expandable: (fields.expandable as boolean | undefined) ?? DEFAULT_POOL.expandable,
    };
  }

  private diskAllotment(fields: Raw, path: FieldPath, normal: number): DiskAllotment {
    return {
      shares: fields.shares === undefined ? normal : parseShares(fields.shares as string)!,
      iops: this.bounds(raw(fields.iops), [...path, "iops"], readIops),
      bandwidth: this.bounds(raw(fields.bandwidth), [...path, "bandwidth"], readSize),
    };
  }

  private netAllotment(fields: Raw, path: FieldPath, normal: number): NetAllotment {
    return {
      shares: fields.shares === undefined ? normal : parseShares(fields.shares as string)!,
      send: this.bounds(raw(fields.send), [...path, "send"], readSize),
      receive: this.bounds(raw(fields.receive), [...path, "receive"], readSize),
    };
  }

  private bounds(fields: Raw, path: FieldPath, read: (value: unknown) => number) {
    const reservation = fields.reservation === undefined ? 0 : read(fields.reservation);
    const limit = fields.limit === undefined ? Infinity : read(fields.limit);
    if (reservation === Infinity)
      this.document.add(
        [...path, "reservation"],
        `a reservation of ${shortened(String(fields.reservation))} is more than there can be: give less`,
      );
    else if (limit === 0)
      this.document.add(
        [...path, "limit"],
        `a limit of ${shortened(String(fields.limit))} would let it have nothing: give more`,
      );
    else if (reservation > limit) {
      this.document.add(
        [...path, "reservation"],
        `a reservation of ${shortened(String(fields.reservation))} is above the limit of ${shortened(String(fields.limit))}`,
      );
    }
    return { reservation, limit };
  }

  /** A size of at least so many bytes; undefined if none is given, or it is impossible. */
  private size(value: unknown, path: FieldPath, least: number): number | undefined {
    if (value === undefined) return undefined;
    const bytes = parseSize(value as string);
    if (bytes !== undefined && bytes >= least) return bytes;
    const [from, to] = [formatSize(least), formatSize(MOST_SIZE)];
    this.document.add(path, `${shortened(value as string)} is impossible here: give from ${from} to ${to}`);
    return undefined;
  }

  /** A time in milliseconds; undefined if none is given, or it is impossible. */
  private duration(value: unknown, path: FieldPath): number | undefined {
    if (value === undefined) return undefined;
    const milliseconds = parseDuration(value as string);
    if (milliseconds !== undefined && milliseconds >= 1) return milliseconds;
    const most = MOST_DURATION / 3_600_000;
    this.document.add(
      path,
      `a time of ${shortened(value as string)} is impossible: give from 1ms to ${most}h, or leave it out`,
    );
    return undefined;
  }

  private reference(name: string, valid: ReadonlySet<string>, path: FieldPath, what: string): void {
    if (valid.has(name)) return;
    this.document.add(
      path,
      () => `there is no ${what} ${shortened(name)}; ${hint(name, [...valid], `${what}s`)}`,
    );
  }

  /** Names so that each comes after those that it names; a circle is a problem at its first member. */
  private ordered(
    items: readonly { readonly name: string; readonly after: readonly string[] }[],
    field: (name: string) => FieldPath,
    what: string,
  ): string[] {
    const { order, circle } = startOrder(items);
    const [first] = circle;
    if (first !== undefined)
      this.document.add(field(first), () => {
        const shown = circle.length > MOST_IN_CIRCLE ? [...circle.slice(0, MOST_IN_CIRCLE), "..."] : circle;
        return `${first} ${what}: ${shown.join(" -> ")} -> ${first}`;
      });
    return order;
  }

  /** Whether the host can keep all reservations at once. */
  private admission(
    pools: readonly PoolSpec[],
    vms: readonly VmSpec[],
    host: Pick<HostSize, "cores" | "memoryBytes">,
  ): void {
    const attempt = (path: FieldPath, action: () => void): void => {
      try {
        action();
      } catch (error) {
        if (!(error instanceof ResourceError)) throw error;
        this.document.add(path, error.message);
      }
    };
    for (const [kind, capacity, unit] of [
      ["cpu", host.cores, "cores"],
      ["memory", host.memoryBytes, formatSize],
    ] as const) {
      const tree = new ResourceTree(capacity, unit, ROOT_POOL);
      for (const pool of pools)
        attempt(["pools", pool.name, kind, "reservation"], () =>
          tree.addPool(pool.name, pool[kind], pool.parent),
        );
      if (this.document.problems.length > 0) return;
      for (const vm of vms) {
        tree.addClient(vm.name, vm[kind], vm.pool);
        if (vm.autostart) attempt(["vms", vm.name, kind, "reservation"], () => tree.admit(vm.name));
      }
    }
    // What the store can do is not known; what pools promise is.
    const disks = new DiskAdmission(ROOT_POOL);
    for (const { name, disk, parent } of pools)
      attempt(["pools", name, "disk"], () => disks.addPool(name, disk, parent));
    if (this.document.problems.length > 0) return;
    for (const { name, disk, pool, autostart } of vms)
      if (autostart) attempt(["vms", name, "disk"], () => disks.admit(name, disk, pool));
    const nets = new NetAdmission(ROOT_POOL);
    for (const { name, net, parent } of pools)
      attempt(["pools", name, "net"], () => nets.addPool(name, net, parent));
    for (const { name, net, pool, autostart } of vms)
      if (autostart) attempt(["vms", name, "net"], () => nets.admit(name, net, pool));
  }
}

const nothing: Raw = Object.freeze(Object.create(null));
const raw = (value: unknown): Raw => (value ?? nothing) as Raw;
/** Operations a second; more than any number is as good as no limit. */
const readIops = (value: unknown): number => parseIops(value as number) ?? Infinity;
/** Cores; more than any number is as good as no limit, and refused as a reservation. */
const readCores = (value: unknown): number => parseCores(value as number | string) ?? Infinity;
/** A size; more than any is as good as no limit, and refused as a reservation. */
const readSize = (value: unknown): number => parseSize(value as string) ?? Infinity;

/** Items in the order of their names. */
function inOrder<Item extends { readonly name: string }>(
  items: readonly Item[],
  names: readonly string[],
): Item[] {
  const byName = new Map(items.map((item) => [item.name, item]));
  return names.map((name) => byName.get(name)!);
}
