/**
 * All VMs of a host: what the daemon's API acts on. It brings Hyperfiles up (`bring-up.ts`) and down, keeps names and
 * pools, and starts those again that are to be.
 *
 * A Hyperfile is a *project*. Its pools live inside a pool of the project's name, so that two projects may use the
 * same names for pools; names of VMs are the host's.
 */
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { HostScheduler, VmCpuReport } from "../../cpu/node/host-scheduler.js";
import { makeFoldersSync, OWNER_ONLY } from "../../files/node/make-folders.js";
import { projectNameOf } from "../../hyperfile/project-name.js";
import { type HostSize, readHyperfile } from "../../hyperfile/read.js";
import { hint } from "../../hyperfile/suggest.js";
import type { HyperfileSpec, VmSpec } from "../../hyperfile/types.js";
import type { HostMemoryBroker } from "../../memory/host-memory-broker.js";
import { HostNets } from "../../net/host-nets.js";
import { nicsOfClone } from "../../net/network-plan.js";
import { Activities } from "../activities.js";
import { LifecycleError } from "../errors.js";
import { EventLog } from "../events.js";
import type { RunByAgent } from "../guest-command.js";
import type { TakeClaim } from "../host-claim.js";
import { NamedTurns } from "../named-turns.js";
import { fullPool, PoolBook, type PoolResources } from "../pool-book.js";
import type { GuestThreadData } from "../protocol.js";
import { applyChange, type VmChange } from "../settings.js";
import { settlesWithin } from "../waiting.js";
import { type BringUpHost, bringUp, provision, type UpAction, type UpReport } from "./bring-up.js";
import type { GuestThread, ThreadHandle } from "./guest-thread.js";
import { GuestThreads } from "./guest-threads.js";
import { ManagedVm } from "./managed-vm.js";
import { NamedFiles } from "./named-file.js";
import { type HyperfileSource, ProjectFiles } from "./project-files.js";
import { SnapshotFolder } from "./snapshot-folder.js";
import { startWorker } from "./start-worker.js";

export type { UpReport } from "./bring-up.js";
export type { HyperfileSource } from "./project-files.js";

/** What a fleet is made from. */
export interface FleetOptions {
  readonly scheduler: HostScheduler;
  readonly memory: HostMemoryBroker;
  readonly size: HostSize;
  /** Folder for logs, snapshots and projects; made if it is missing. */
  readonly folder: string;
  /** Module that calls `serveGuests`. */
  readonly threadProgram: URL;
  /** Takes what a VM needs of the host beside cores and memory; nothing unless given. */
  readonly claim?: TakeClaim;
  /** Runs commands in guests that have an agent; on their consoles unless given. */
  readonly runByAgent?: RunByAgent;
  /** The bandwidth of the networks that claims lead to. */
  readonly nets?: HostNets;
  /** Starts a thread with that module; a worker of Node unless given. */
  readonly startWorker?: (program: URL, data: GuestThreadData) => ThreadHandle;
  /** Milliseconds without any VM after which the fleet rests: it gives back what it kept for the next one. */
  readonly restAfterMs?: number;
}

/** Milliseconds after a change until it is worked out who may have how much memory. */
const BALANCE_MS = 250;
/** Milliseconds without any VM after which the fleet rests. */
const REST_AFTER_MS = 20_000;
/** Milliseconds that VMs have to stop when the fleet closes. */
const CLOSE_MS = 4000;

/** The fleet. */
export class Fleet {
  readonly events = new EventLog();
  readonly activities = new Activities();
  private readonly vms = new Map<string, ManagedVm>();
  private readonly projects = new Map<string, { source: HyperfileSource; spec: HyperfileSpec }>();
  private readonly files: ProjectFiles;
  private readonly pools: PoolBook;
  /** Changes of projects, by the projects' names. */
  private readonly turns = new NamedTurns();
  /** Hyperfiles that are being read, by their folders. */
  private readonly readings = new NamedTurns();
  private readonly namedFiles = new NamedFiles();
  /** Each gives up one bringing up of a project, which waits for its turn or is under way. */
  private readonly coming = new Map<string, Set<AbortController>>();
  private isClosing = false;
  /** What bringing VMs up asks of it. */
  private readonly host: BringUpHost = {
    events: this.events,
    find: (name) => this.vms.get(name),
    vm: (name) => this.vm(name),
    define: (spec, project, folder, pool) => this.define(spec, project, folder, pool),
    forget: (vm) => this.forget(vm),
    applyResources: (vm, change) => this.applyResources(vm, change),
  };
  private readonly threads: GuestThreads;
  /** The bandwidth of networks. */
  readonly nets: HostNets;
  private balancing: NodeJS.Timeout | undefined;

  constructor(private readonly options: FleetOptions) {
    makeFoldersSync(options.folder, OWNER_ONLY);
    const { scheduler, memory, threadProgram, folder } = options;
    this.files = new ProjectFiles(join(folder, "projects"));
    this.nets = options.nets ?? new HostNets();
    const { disks: disk } = scheduler;
    this.pools = new PoolBook({ cpu: scheduler, memory, disk, net: this.nets }, this.events);
    memory.onChange = () => this.balanceSoon();
    scheduler.onFailure = (error) => this.trouble("scheduler", error);
    const start = options.startWorker ?? startWorker;
    this.threads = new GuestThreads({
      start: () =>
        start(threadProgram, {
          table: scheduler.table.buffer,
          disks: scheduler.disks.table.buffer,
          swapFolder: folder,
        }),
      listener: {
        memory: (thread, vm, figures) => {
          if (this.vms.get(vm)?.thread === thread) memory.hear(vm, figures);
        },
        console: (thread, vm, bytes) => this.vms.get(vm)?.hearConsole(thread, bytes),
        taken: (thread, vm, bytes) => this.vms.get(vm)?.hearTaken(thread, bytes),
        stream: (thread, vm, stream, message) => this.vms.get(vm)?.hearStream(thread, stream, message),
        state: (thread, vm, state) => this.vms.get(vm)?.hearState(thread, state),
        ended: (thread, vm, state, end) => this.vms.get(vm)?.hearEnd(thread, state, end),
        lost: (thread, error) => this.threadLost(thread, error),
        exited: () => {},
        trouble: (error) => this.trouble("a thread", error),
      },
      leave: (place) => memory.leave(place),
      restAfterMs: options.restAfterMs ?? REST_AFTER_MS,
      rest: () => memory.rest(),
    });
  }

  /** Takes up what an earlier daemon left: the projects, and the logs and snapshots of their VMs, which are off. */
  async recall(): Promise<void> {
    this.sweep();
    for (const project of this.files.names()) {
      try {
        const source = this.files.read(project);
        const spec = await readHyperfile(source.text, source.file, this.options.size);
        this.projects.set(project, { source, spec });
        this.pools.define(project, spec);
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
   * What fails for one VM, a guest that crashes at once among it, is reported for that one; the others go on, but for
   * those that come after it.
   * @param restart whether to start VMs again whose changes need it
   * @param asking who asks has gone, and wants none of it any more, unless it is under way
   * @throws HyperfileError, ResourceError, or LifecycleError where the file as a whole is refused
   */
  async up(source: HyperfileSource, restart = false, asking?: AbortSignal): Promise<UpReport> {
    // Of one project what comes first is done first; no project waits for another's files.
    const spec = await this.readings.run(source.folder, () => this.read(source));
    const project = spec.name ?? projectNameOf(source.folder);
    const coming = this.coming.get(project) ?? new Set();
    this.coming.set(project, coming);
    const controller = new AbortController();
    coming.add(controller);
    try {
      return await this.inTurn(project, "up", () => {
        if (asking?.aborted)
          throw new LifecycleError("E_VM_STATE", `up of project ${project} was given up before its turn`);
        return this.upNow(source, project, spec, restart, controller.signal);
      });
    } finally {
      coming.delete(controller);
      if (coming.size === 0) this.coming.delete(project);
    }
  }

  /**
   * Stops a project's VMs, the last started first, and forgets them and its pools; logs and snapshots stay. What is still
   * coming up is given up: provisioning, and VMs that have not started.
   * @param force stops all of them at once
   */
  async down(project: string, force = false): Promise<string[]> {
    if (!this.projects.has(project) && !this.turns.has(project)) throw this.unknownProject(project);
    this.giveUp(project);
    const now = this.vmsOf(project).filter((vm) => force || vm.state === "starting");
    await Promise.all(now.map((vm) => vm.stop(true)));
    return this.inTurn(project, "down", async () => {
      if (!this.projects.has(project)) throw this.unknownProject(project);
      const vms = this.vmsOf(project).reverse();
      for (const vm of vms) vm.isLeaving = true;
      for (const vm of vms) {
        await vm.stop(force);
        this.forget(vm);
      }
      this.pools.remove(project);
      this.projects.delete(project);
      this.files.forget(project);
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
    this.pools.set(name, change);
  }

  /** Starts a VM that is defined, from a snapshot if one is named, and provisions it. */
  async start(name: string, snapshot?: string): Promise<void> {
    const vm = this.vm(name);
    await vm.start(snapshot);
    if (snapshot === undefined) await provision(vm, this.events);
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
    // What it writes is its own: started again, it must not write its original's images.
    const disks = original.spec.disks.map((disk) =>
      disk.readonly ? disk : { ...disk, ephemeral: true, sizeBytes: undefined },
    );
    const others = this.vmsOf(original.project).flatMap((vm) => vm.spec.nics);
    const nics = nicsOfClone(original.spec.nics, name, others);
    const spec = applyChange(
      { ...original.spec, name, disks, nics, provision: [], after: [], restart: "never" },
      change,
    );
    const vm = this.define(spec, original.project, original.folderOfFiles, original.pool);
    try {
      return await vm.startAsCloneOf(original);
    } catch (error) {
      // Its name has been there for others, too: who has started it since has it.
      if (!vm.isWanted) this.forget(vm);
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
    vm.isLeaving = true;
    await vm.stop(true);
    this.forget(vm);
    vm.erase();
  }

  /** Stops all VMs by force, and ends the threads that do not obey. */
  async close(): Promise<void> {
    this.isClosing = true;
    clearTimeout(this.balancing);
    for (const project of this.coming.keys()) this.giveUp(project);
    await settlesWithin(Promise.all(this.list().map((vm) => vm.stop(true))), CLOSE_MS);
    await this.threads.close();
  }

  /** Resolves when its threads are gone: after {@link close}, only what the host keeps can hold that up. */
  threadsGone(): Promise<void> {
    return this.threads.allGone();
  }

  /** Removes what was being written when an earlier daemon was killed, for VMs of no project as well. */
  private sweep(): void {
    const vms = join(this.options.folder, "vms");
    if (!existsSync(vms)) return;
    for (const vm of readdirSync(vms)) {
      try {
        new SnapshotFolder(join(vms, vm, "snapshots"), vm).sweep();
      } catch (error) {
        this.trouble(vm, error as Error);
      }
    }
  }

  private read(source: HyperfileSource): Promise<HyperfileSpec> {
    const isFile = (path: string) => this.namedFiles.has(resolve(source.folder, path));
    return readHyperfile(source.text, source.file, this.options.size, isFile);
  }

  /** What can be refused is refused before the first VM is started, and names are taken before any other project can. */
  private async upNow(
    source: HyperfileSource,
    project: string,
    spec: HyperfileSpec,
    restart: boolean,
    signal: AbortSignal,
  ): Promise<UpReport> {
    for (const vm of spec.vms) this.checkName(vm.name, project);
    const before = this.projects.get(project);
    if (before !== undefined && before.source.folder !== source.folder) {
      throw new LifecycleError(
        "E_NAME_TAKEN",
        `project ${project} is up from ${before.source.folder}: give this Hyperfile another name`,
      );
    }
    const kept = this.files.keep(project, source);
    let changed: string[];
    try {
      changed = this.pools.define(project, spec);
    } catch (error) {
      kept.drop();
      throw error;
    }
    kept.commit();
    const actions = changed.map((name): UpAction => ({ name, action: "changed", detail: "pool" }));
    this.projects.set(project, { source, spec });
    const { folder } = source;
    actions.push(...(await bringUp(this.host, { name: project, folder, restart, signal }, spec.vms)));
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

  private define(
    spec: VmSpec,
    project: string,
    folder: string,
    pool = fullPool(project, spec.pool),
  ): ManagedVm {
    const vm: ManagedVm = new ManagedVm(spec, folder, project, pool, {
      scheduler: this.options.scheduler,
      memory: this.options.memory,
      disks: this.options.scheduler.disks,
      nets: this.nets,
      events: this.events,
      activities: this.activities,
      folder: join(this.options.folder, "vms", spec.name),
      shells: this.options.size.guests.shells,
      ...(this.options.claim === undefined ? {} : { claim: this.options.claim }),
      ...(this.options.runByAgent === undefined ? {} : { runByAgent: this.options.runByAgent }),
      companion: (asking) => this.companionOf(asking),
      startThread: (number, place) => this.threads.take(number, place),
      allAreToEnd: (thread) => thread.vms.every((name) => this.vms.get(name)?.isToEnd !== false),
      startAgain: (again) => this.startAgain(again),
      ended: (ended) => this.afterEnd(ended),
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
      (vm) =>
        vm.name !== name &&
        vm.project === project &&
        vm.spec.group === spec.group &&
        vm.thread?.isOpen === true,
    );
  }

  private threadLost(thread: GuestThread, error: Error | undefined): void {
    for (const name of thread.vms) {
      const vm = this.vms.get(name);
      if (error === undefined || vm?.isToEnd === true)
        vm?.hearEnd(thread, "off", { kind: "stopped", status: 0 });
      else {
        const message = `its thread has failed: ${error.message}`;
        vm?.hearEnd(thread, "crashed", { kind: "error", status: 1, message });
      }
    }
  }

  private async startAgain(vm: ManagedVm): Promise<void> {
    if (this.isClosing || this.vms.get(vm.name) !== vm || vm.isUp) return;
    await vm.start(undefined, false);
    await provision(vm, this.events);
  }

  private afterEnd(vm: ManagedVm): void {
    if (this.isClosing || this.vms.get(vm.name) !== vm || !vm.spec.disposable) return;
    this.forget(vm);
    try {
      vm.erase();
    } catch (error) {
      this.trouble(vm.name, error as Error);
    }
  }

  /** Something of the daemon's own has failed; it goes on. */
  private trouble(what: string, error: Error): void {
    this.events.add("daemon.failed", what, error.message);
  }

  private vmsOf(project: string): ManagedVm[] {
    return this.list().filter((vm) => vm.project === project);
  }

  private unknownProject(project: string): LifecycleError {
    return new LifecycleError(
      "E_VM_UNKNOWN",
      `${project} is not up; ${hint(project, this.projectNames(), "projects")}`,
    );
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
  private applyResources({ isUp, name, spec }: ManagedVm, { cpu, memory, disk, net }: VmChange): void {
    if (!isUp) return;
    const { scheduler, memory: broker } = this.options;
    const undo: (() => void)[] = [];
    try {
      if (cpu !== undefined) {
        scheduler.configure(name, cpu, "client");
        undo.push(() => scheduler.configure(name, spec.cpu, "client"));
      }
      if (memory !== undefined) {
        broker.configure(name, memory, "client");
        undo.push(() => broker.configure(name, spec.memory, "client"));
      }
      if (disk !== undefined) {
        scheduler.disks.configure(name, disk, "client");
        undo.push(() => scheduler.disks.configure(name, spec.disk, "client"));
      }
      if (net !== undefined) this.nets.configure(name, net, "client");
    } catch (error) {
      for (const back of undo) back();
      throw error;
    }
  }

  /** Works out before long who may have how much memory; again and again while it is short. */
  private balanceSoon(): void {
    if (this.isClosing) return;
    this.balancing ??= setTimeout(() => {
      this.balancing = undefined;
      const { memory } = this.options;
      try {
        memory.balance((name, target) => this.vms.get(name)?.setMemoryTarget(target));
        if (memory.view().state !== "high") this.balanceSoon();
      } catch (error) {
        this.trouble("the memory's balance", error as Error);
      }
    }, BALANCE_MS).unref();
  }

  /** Gives up what brings a project up, or waits to. */
  private giveUp(project: string): void {
    for (const controller of this.coming.get(project) ?? []) controller.abort();
  }

  /** Changes of one project, one after another. @param what they are, for those who wait */
  private inTurn<Result>(project: string, what: string, action: () => Promise<Result>): Promise<Result> {
    const turn = () => this.activities.during({ project }, what, action);
    return this.turns.run(project, turn);
  }
}

function describeChange(change: VmChange): string {
  const assignments = (name: string, value: unknown): string[] =>
    typeof value === "object" && value !== null
      ? Object.entries(value).flatMap(([part, amount]) => assignments(`${name}.${part}`, amount))
      : [`${name}=${value}`];
  return Object.entries(change)
    .flatMap(([name, value]) => assignments(name, value))
    .join(" ");
}
