/**
 * All VMs of a host: what the daemon's API acts on. It brings Hyperfiles up and down, keeps names and pools, starts
 * VMs in their order, and starts those again that are to be.
 *
 * A Hyperfile is a *project*. Its pools live inside a pool of the project's name, so that two projects may use the
 * same names for pools; names of VMs are the host's.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { ResourceError } from "../../cpu/errors.js";
import type { HostScheduler, VmCpuReport } from "../../cpu/node/host-scheduler.js";
import { DEFAULT_POOL, type PoolAllotment } from "../../cpu/resource-tree.js";
import { projectNameOf } from "../../hyperfile/project-name.js";
import { type HostSize, readHyperfile } from "../../hyperfile/read.js";
import { hint } from "../../hyperfile/suggest.js";
import { type HyperfileSpec, ROOT_POOL, type VmSpec } from "../../hyperfile/types.js";
import type { HostMemoryBroker, NodePlace } from "../../memory/host-memory-broker.js";
import { LifecycleError } from "../errors.js";
import { EventLog } from "../events.js";
import type { GuestEnd } from "../guest-port.js";
import { applyChange, compareSpecs, type VmChange } from "../settings.js";
import { GuestThread } from "./guest-thread.js";
import { ManagedVm } from "./managed-vm.js";

/** What a fleet is made from. */
export interface FleetOptions {
  readonly scheduler: HostScheduler;
  readonly memory: HostMemoryBroker;
  readonly size: HostSize;
  /** Folder for logs, snapshots and projects; made if it is missing. */
  readonly folder: string;
  /** Module that calls `serveGuests`. */
  readonly threadProgram: URL;
}

/** A Hyperfile as a client sends it. */
export interface HyperfileSource {
  readonly text: string;
  /** Its name, for messages. */
  readonly file: string;
  /** Absolute path of its folder. */
  readonly folder: string;
}

/** What `up` did. */
export interface UpReport {
  readonly project: string;
  /** One entry a VM or pool, in order. */
  readonly actions: readonly {
    readonly name: string;
    readonly action:
      | "started"
      | "unchanged"
      | "changed"
      | "restarted"
      | "needs restart"
      | "defined"
      | "provisioned"
      | "no longer declared";
    readonly detail?: string;
  }[];
}

type Action = UpReport["actions"][number];

/** What a pool may have. */
export interface PoolResources {
  /** In cores. */
  readonly cpu: Partial<PoolAllotment>;
  /** In bytes. */
  readonly memory: Partial<PoolAllotment>;
}

const differ = (one: Partial<PoolAllotment>, other: Partial<PoolAllotment>): boolean =>
  Object.entries(other).some(([field, value]) => one[field as keyof PoolAllotment] !== value);

/** Milliseconds between two looks at who may have how much memory. */
const BALANCE_MS = 250;
/** Milliseconds between the start of a VM and that of a thread for the next one. */
const SPARE_PAUSE_MS = 1000;
/** Times that a failing VM is started again, and the pause before the first of them, which doubles. */
const MOST_RESTARTS = 10;
const FIRST_PAUSE_MS = 100;

/** The fleet. */
export class Fleet {
  readonly events = new EventLog();
  private readonly vms = new Map<string, ManagedVm>();
  private readonly projects = new Map<string, { source: HyperfileSource; spec: HyperfileSpec }>();
  private readonly pools = new Map<string, PoolResources>();
  private busy: Promise<unknown> = Promise.resolve();
  private closing = false;
  /** A thread that has loaded its program and waits for the next VM. */
  private spare: GuestThread | undefined;
  private sparing: NodeJS.Timeout | undefined;
  private readonly balancing: NodeJS.Timeout;

  constructor(private readonly options: FleetOptions) {
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    this.balancing = setInterval(() => this.balanceMemory(), BALANCE_MS);
    this.balancing.unref();
    this.spare = this.makeThread();
    options.scheduler.onFailure = (error) => this.events.add("daemon.failed", "scheduler", error.message);
  }

  /** Takes up what an earlier daemon left: the projects, and the logs and snapshots of their VMs, which are off. */
  async recall(): Promise<void> {
    const folder = join(this.options.folder, "projects");
    if (!existsSync(folder)) return;
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
      const project = file.slice(0, -".json".length);
      try {
        const source = JSON.parse(readFileSync(join(folder, file), "utf8")) as HyperfileSource;
        const spec = await readHyperfile(source.text, source.file, this.options.size);
        this.projects.set(project, { source, spec });
        this.definePools(project, spec);
        for (const vm of spec.vms) this.define(vm, project, source.folder);
      } catch (error) {
        // One project that no longer fits must not take the others with it.
        this.events.add("daemon.failed", project, `it can't be taken up again: ${(error as Error).message}`);
      }
    }
  }

  /** A VM. @throws LifecycleError `E_VM_UNKNOWN` with the nearest name */
  vm(name: string): ManagedVm {
    const vm = this.vms.get(name);
    if (vm === undefined)
      throw new LifecycleError(
        "E_VM_UNKNOWN",
        `there is no VM ${name}; ${hint(name, [...this.vms.keys()], "VMs")}`,
      );
    return vm;
  }

  /** All VMs, in the order of their making. */
  list(): ManagedVm[] {
    return [...this.vms.values()];
  }

  /** A VM's CPU figures; undefined while it is off. */
  cpuOf(name: string): VmCpuReport | undefined {
    return this.options.scheduler.report(name);
  }

  get scheduler(): HostScheduler {
    return this.options.scheduler;
  }

  get memory(): HostMemoryBroker {
    return this.options.memory;
  }

  /** Names of the projects. */
  projectNames(): string[] {
    return [...this.projects.keys()];
  }

  /**
   * Makes a Hyperfile so: starts what is off, applies changes to what runs. Calling it again changes nothing.
   * @param restart whether to start VMs again whose changes need it
   * @throws HyperfileError, and what starting throws, after what was begun for other VMs
   */
  up(source: HyperfileSource, restart = false): Promise<UpReport> {
    return this.inTurn(() => this.upNow(source, restart));
  }

  /** Stops a project's VMs, the last started first, and forgets them and its pools; logs and snapshots stay. */
  down(project: string, force = false): Promise<string[]> {
    return this.inTurn(async () => {
      const known = this.projects.get(project);
      if (known === undefined) {
        const names = this.projectNames();
        throw new LifecycleError("E_VM_UNKNOWN", `${project} is not up; ${hint(project, names, "projects")}`);
      }
      const vms = this.list()
        .filter((vm) => vm.project === project)
        .reverse();
      for (const vm of vms) {
        await vm.stop(force);
        this.vms.delete(vm.name);
        this.events.add("vm.removed", vm.name);
      }
      for (const pool of [...this.pools.keys()].reverse())
        if (pool === project || pool.startsWith(`${project}/`)) this.removePool(pool);
      this.projects.delete(project);
      rmSync(this.projectFile(project), { force: true });
      return vms.map((vm) => vm.name);
    });
  }

  /** Changes settings of a VM; running ones follow at once. @throws ResourceError; nothing changes then */
  set(name: string, change: VmChange): void {
    const vm = this.vm(name);
    this.applyResources(vm, change);
    vm.spec = applyChange(vm.spec, change);
    this.events.add("vm.changed", name, describeChange(change));
  }

  /** Changes a pool, by its name with its project before a slash. @throws ResourceError; nothing changes then */
  setPool(name: string, change: Partial<PoolResources>): void {
    const before = this.pools.get(name);
    if (change.cpu !== undefined) this.options.scheduler.configure(name, change.cpu, "pool");
    try {
      if (change.memory !== undefined) this.options.memory.configure(name, change.memory, "pool");
    } catch (error) {
      if (change.cpu !== undefined && before !== undefined)
        this.options.scheduler.configure(name, before.cpu, "pool");
      throw error;
    }
    if (before !== undefined)
      this.pools.set(name, {
        cpu: { ...before.cpu, ...change.cpu },
        memory: { ...before.memory, ...change.memory },
      });
    this.events.add("pool.changed", name);
  }

  /** Starts a VM that is defined, from a snapshot if one is named, and provisions it. */
  async start(name: string, snapshot?: string): Promise<void> {
    const vm = this.vm(name);
    vm.restarts = 0;
    await vm.start(snapshot);
    if (snapshot === undefined) await this.provision(vm);
  }

  /** A copy of a running VM under another name, with the same settings. */
  async clone(
    source: string,
    name: string,
    change: VmChange = {},
  ): Promise<{ readonly milliseconds: number }> {
    const original = this.vm(source);
    if (!/^[a-z][a-z0-9-]{0,62}$/.test(name))
      throw new LifecycleError(
        "E_NAME_TAKEN",
        `${name} is no name for a VM: use lower-case letters, digits and -`,
      );
    this.checkName(name, original.project);
    if (this.vms.has(name)) throw new LifecycleError("E_NAME_TAKEN", `there is a VM ${name} already`);
    const spec = applyChange({ ...original.spec, name, provision: [], after: [], restart: "never" }, change);
    const vm = this.define(spec, original.project, original.folderOfFiles, original.pool);
    try {
      return await vm.startAsCloneOf(original);
    } catch (error) {
      this.forget(vm);
      throw error;
    }
  }

  /** Stops a VM by force and forgets it, with its log and snapshots. */
  async remove(name: string, force: boolean): Promise<void> {
    const vm = this.vm(name);
    if (vm.isUp && !force)
      throw new LifecycleError(
        "E_VM_STATE",
        `VM ${name} is ${vm.state}: stop it first, or remove it by force`,
      );
    await vm.stop(true);
    this.forget(vm);
    vm.erase();
  }

  /** Stops all VMs by force. */
  async close(): Promise<void> {
    this.closing = true;
    clearInterval(this.balancing);
    clearTimeout(this.sparing);
    await this.spare?.terminate();
    await Promise.all(this.list().map((vm) => vm.stop(true)));
  }

  private async upNow(source: HyperfileSource, restart: boolean): Promise<UpReport> {
    const isFile = (path: string) => existsSync(resolve(source.folder, path));
    const spec = await readHyperfile(source.text, source.file, this.options.size, isFile);
    const project = spec.name ?? projectNameOf(source.folder);
    for (const vm of spec.vms) this.checkName(vm.name, project);
    const before = this.projects.get(project);
    if (before !== undefined && before.source.folder !== source.folder) {
      throw new LifecycleError(
        "E_NAME_TAKEN",
        `project ${project} is up from ${before.source.folder}: give this Hyperfile another name`,
      );
    }
    const actions: Action[] = this.definePools(project, spec);
    this.projects.set(project, { source, spec });
    this.remember(project, source);
    for (const vm of spec.vms) actions.push(...(await this.upVm(vm, project, source.folder, restart)));
    const declared = new Set(spec.vms.map((vm) => vm.name));
    for (const vm of this.list()) {
      if (
        vm.project === project &&
        before?.spec.vms.some(({ name }) => name === vm.name) &&
        !declared.has(vm.name)
      )
        actions.push({
          name: vm.name,
          action: "no longer declared",
          detail: `hyperfile rm ${vm.name} removes it`,
        });
    }
    return { project, actions };
  }

  private async upVm(spec: VmSpec, project: string, folder: string, restart: boolean): Promise<Action[]> {
    const { name } = spec;
    const existing = this.vms.get(name);
    const pool = fullPool(project, spec.pool);
    if (existing === undefined || (!existing.isUp && existing.pool !== pool)) {
      if (existing !== undefined) this.forget(existing);
      this.define(spec, project, folder, pool);
      return spec.autostart ? this.startInUp(name) : [{ name, action: "defined" }];
    }
    const { live, needStart } = compareSpecs(existing.spec, spec);
    if (!existing.isUp) {
      existing.spec = spec;
      return spec.autostart ? this.startInUp(name) : [{ name, action: "unchanged" }];
    }
    const actions: Action[] = [];
    if (live.length > 0) {
      this.applyResources(existing, {
        ...(live.includes("cpu") ? { cpu: spec.cpu } : {}),
        ...(live.includes("memory") ? { memory: spec.memory } : {}),
      });
      existing.spec = applyLive(existing.spec, spec, live);
      this.events.add("vm.changed", name, live.join(", "));
      actions.push({ name, action: "changed", detail: live.join(", ") });
    }
    if (needStart.length > 0 && restart) {
      await existing.stop(false);
      if (existing.pool !== pool) {
        this.forget(existing);
        this.define(spec, project, folder, pool);
      } else existing.spec = spec;
      await this.start(name);
      actions.push({ name, action: "restarted", detail: needStart.join(", ") });
    } else if (needStart.length > 0) {
      actions.push({ name, action: "needs restart", detail: needStart.join(", ") });
    }
    return actions.length > 0 ? actions : [{ name, action: "unchanged" }];
  }

  private async startInUp(name: string): Promise<Action[]> {
    const vm = this.vm(name);
    vm.restarts = 0;
    await vm.start();
    const { length } = vm.spec.provision;
    if (length === 0) return [{ name, action: "started" }];
    await this.provision(vm);
    return [
      { name, action: "started" },
      { name, action: "provisioned", detail: `${length} ${length === 1 ? "command" : "commands"}` },
    ];
  }

  /** Runs the commands of the specification, one after another. @throws LifecycleError `E_PROVISION` at the first that fails */
  private async provision(vm: ManagedVm): Promise<void> {
    const { provision } = vm.spec;
    for (const { run, timeoutMs, status } of provision) {
      const result = await vm.exec(run, timeoutMs);
      if (result.status === status) continue;
      const last = result.output.trim().split("\n").at(-1) ?? "";
      throw new LifecycleError(
        "E_PROVISION",
        `provisioning of VM ${vm.name} failed: "${run}" ended with status ${result.status}, not ${status}${last === "" ? "" : `: ${last}`}`,
      );
    }
    if (provision.length > 0) this.events.add("vm.provisioned", vm.name);
  }

  private define(
    spec: VmSpec,
    project: string,
    folder: string,
    pool = fullPool(project, spec.pool),
  ): ManagedVm {
    const vm: ManagedVm = new ManagedVm(spec, folder, project, pool, {
      scheduler: this.options.scheduler,
      memory: this.options.memory,
      events: this.events,
      folder: join(this.options.folder, "vms", spec.name),
      companion: (asking) => this.companionOf(asking),
      startThread: (number, place) => this.startThread(number, place),
      endThread: (thread) => this.leaveThread(thread, spec.name),
      ended: (ended, end) => this.afterEnd(ended, end),
    });
    this.vms.set(spec.name, vm);
    this.events.add("vm.defined", spec.name);
    return vm;
  }

  private forget(vm: ManagedVm): void {
    if (this.vms.get(vm.name) !== vm) return;
    this.vms.delete(vm.name);
    this.events.add("vm.removed", vm.name);
  }

  private companionOf({ name, project, spec }: ManagedVm): ManagedVm | undefined {
    if (spec.group === undefined) return undefined;
    return this.list().find(
      (vm) => vm.name !== name && vm.project === project && vm.spec.group === spec.group && vm.isUp,
    );
  }

  private startThread(number: number, place: NodePlace): GuestThread {
    const thread = this.spare ?? this.makeThread();
    this.spare = undefined;
    thread.occupy(number, place);
    // The VM that starts now comes first.
    this.sparing ??= setTimeout(() => {
      this.sparing = undefined;
      this.spare ??= this.makeThread();
    }, SPARE_PAUSE_MS).unref();
    return thread;
  }

  private makeThread(): GuestThread {
    const thread: GuestThread = new GuestThread(
      this.options.threadProgram,
      this.options.scheduler.table,
      this.options.folder,
      {
        memory: (vm, figures) => this.options.memory.hear(vm, figures),
        console: (vm, bytes) => this.vms.get(vm)?.hearConsole(bytes),
        taken: (vm, bytes) => this.vms.get(vm)?.hearTaken(bytes),
        ended: (vm, end) => this.vms.get(vm)?.hearEnd(end),
        exited: (error) => this.threadEnded(thread, error),
      },
    );
    return thread;
  }

  /** The thread's last VM takes it along. */
  private async leaveThread(thread: GuestThread, name: string): Promise<void> {
    const others = this.list().some((vm) => vm.thread === thread && vm.name !== name);
    if (!others) await thread.terminate();
  }

  private threadEnded(thread: GuestThread, error: Error | undefined): void {
    if (thread === this.spare) this.spare = undefined;
    if (thread.place !== undefined) this.options.memory.leave(thread.place);
    for (const vm of this.list()) {
      if (vm.thread !== thread) continue;
      vm.hearEnd(
        error === undefined
          ? { kind: "stopped", status: 0 }
          : { kind: "error", status: 1, message: `its thread has failed: ${error.message}` },
      );
    }
  }

  private afterEnd(vm: ManagedVm, end: GuestEnd): void {
    if (this.closing || this.vms.get(vm.name) !== vm) return;
    if (vm.spec.disposable) {
      this.forget(vm);
      vm.erase();
      return;
    }
    const failed = end.kind === "error" || (end.kind === "off" && end.status !== 0);
    const again =
      vm.spec.restart === "always" ? end.kind !== "stopped" : vm.spec.restart === "on-failure" && failed;
    if (!again) return;
    if (vm.restarts >= MOST_RESTARTS) {
      this.events.add("vm.off", vm.name, `it has been started again ${MOST_RESTARTS} times: see its log`);
      return;
    }
    const pause = FIRST_PAUSE_MS * 2 ** vm.restarts++;
    setTimeout(() => {
      if (this.closing || this.vms.get(vm.name) !== vm || vm.isUp) return;
      vm.start()
        .then(() => this.provision(vm))
        .catch((error: Error) => this.events.add("vm.crashed", vm.name, error.message));
    }, pause);
  }

  /** @throws LifecycleError `E_NAME_TAKEN` if another project has a VM of that name */
  private checkName(name: string, project: string): void {
    const vm = this.vms.get(name);
    if (vm === undefined || vm.project === project) return;
    throw new LifecycleError(
      "E_NAME_TAKEN",
      `there is a VM ${name} already, of project ${vm.project}: choose another name`,
    );
  }

  /** Changes what a running VM may have of the host; all of it or, where something is refused, nothing. */
  private applyResources(vm: ManagedVm, { cpu, memory }: VmChange): void {
    if (!vm.isUp) return;
    if (cpu !== undefined) this.options.scheduler.configure(vm.name, cpu, "client");
    try {
      if (memory !== undefined) this.options.memory.configure(vm.name, memory, "client");
    } catch (error) {
      if (cpu !== undefined) this.options.scheduler.configure(vm.name, vm.spec.cpu, "client");
      throw error;
    }
  }

  private balanceMemory(): void {
    this.options.memory.balance((name, target) => this.vms.get(name)?.setMemoryTarget(target));
  }

  private definePools(project: string, spec: HyperfileSpec): Action[] {
    const actions: Action[] = [];
    const whole: PoolResources = {
      cpu: { ...DEFAULT_POOL, limit: spec.host.cores ?? Infinity },
      memory: { ...DEFAULT_POOL, limit: spec.host.memoryBytes ?? Infinity },
    };
    this.definePool(project, ROOT_POOL, whole, actions);
    for (const pool of spec.pools)
      this.definePool(fullPool(project, pool.name), fullPool(project, pool.parent), pool, actions);
    return actions;
  }

  private definePool(name: string, parent: string, { cpu, memory }: PoolResources, actions: Action[]): void {
    const before = this.pools.get(name);
    const resources = { cpu, memory };
    if (before === undefined) {
      this.options.scheduler.addPool(name, cpu, parent);
      try {
        this.options.memory.addPool(name, memory, parent);
      } catch (error) {
        this.options.scheduler.removePool(name);
        throw error;
      }
      this.events.add("pool.defined", name);
      this.pools.set(name, resources);
    } else if (differ(before.cpu, cpu) || differ(before.memory, memory)) {
      this.setPool(name, resources);
      actions.push({ name, action: "changed", detail: "pool" });
    }
  }

  private removePool(name: string): void {
    try {
      this.options.scheduler.removePool(name);
      this.options.memory.removePool(name);
      this.pools.delete(name);
      this.events.add("pool.removed", name);
    } catch (error) {
      // Somebody else's VM is inside, a clone under another name: the pool stays with it.
      if (!(error instanceof ResourceError)) throw error;
    }
  }

  private projectFile(project: string): string {
    return join(this.options.folder, "projects", `${project}.json`);
  }

  private remember(project: string, source: HyperfileSource): void {
    const path = this.projectFile(project);
    mkdirSync(join(this.options.folder, "projects"), { recursive: true, mode: 0o700 });
    writeFileSync(`${path}.new`, JSON.stringify(source), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  /** Changes of the fleet as a whole, one after another. */
  private inTurn<Result>(action: () => Promise<Result>): Promise<Result> {
    const result = this.busy.then(action);
    this.busy = result.catch(() => {});
    return result;
  }
}

/** A pool's name on the host. */
const fullPool = (project: string, pool: string): string =>
  pool === ROOT_POOL ? project : `${project}/${pool}`;

function applyLive(before: VmSpec, after: VmSpec, fields: readonly (keyof VmSpec)[]): VmSpec {
  return { ...before, ...Object.fromEntries(fields.map((field) => [field, after[field]])) };
}

function describeChange(change: VmChange): string {
  return Object.entries(change)
    .flatMap(([resource, value]) =>
      typeof value === "object"
        ? Object.entries(value).map(([figure, amount]) => `${resource}.${figure}=${amount}`)
        : [`${resource}=${value}`],
    )
    .join(" ");
}
