/**
 * One VM of a fleet, as the daemon sees it: its specification, its log and snapshots, what it has of the host, and while
 * it is up its life in a thread. The thread owns the life's state (`vm-states.ts`); what is shown here is what the
 * thread said last. What concerns several VMs (names, pools, order) is the fleet's.
 *
 * Invariant: a VM has a slot of the scheduler, a part of the memory and a place in a thread from the moment at which
 * it starts until it is told that its life is over, in whatever way, and gives them back together.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { HostScheduler } from "../../cpu/node/host-scheduler.js";
import type { HostDisks } from "../../disk/host-disks.js";
import type { GuestKinds } from "../../hyperfile/guest-kinds.js";
import { shortened } from "../../hyperfile/message-text.js";
import type { ForwardSpec } from "../../hyperfile/net-text.js";
import type { VmSpec } from "../../hyperfile/types.js";
import type { MemoryTarget } from "../../memory/division.js";
import type { HostMemoryBroker, NodePlace } from "../../memory/host-memory-broker.js";
import type { HostNets } from "../../net/host-nets.js";
import type { Activities } from "../activities.js";
import { ConsoleInput } from "../console-input.js";
import { LifecycleError } from "../errors.js";
import type { EventLog } from "../events.js";
import { VmForwards } from "../forwards.js";
import { type RunByAgent, runByAgent } from "../guest-command.js";
import type { BackupReport, BackupTarget, GuestEnd, GuestStream, GuestStreamEvents } from "../guest-port.js";
import { type ExecResult, GuestShell } from "../guest-shell.js";
import { GuestStreams, type StreamMessage } from "../guest-streams.js";
import type { HostClaim, NicReport, TakeClaim } from "../host-claim.js";
import type { GuestFigures, GuestRequests } from "../protocol.js";
import { RestartPolicy } from "../restart-policy.js";
import { nextVmState, type VmCommand, type VmState } from "../vm-states.js";
import { LongTimer, settlesWithin } from "../waiting.js";
import { ConsoleLog } from "./console-log.js";
import { type GuestThread, nextThreadNumber } from "./guest-thread.js";
import { SnapshotFolder, type SnapshotInfo } from "./snapshot-folder.js";

/** What a VM has of its fleet. */
export interface VmHost {
  /** What reads commands in guests, by the names that specifications have. */
  readonly shells: GuestKinds["shells"];
  /** Runs commands in guests that have an agent. */
  readonly runByAgent?: RunByAgent;
  readonly scheduler: Pick<HostScheduler, "admit" | "retire">;
  readonly memory: Pick<HostMemoryBroker, "admit" | "admitBeside" | "retire">;
  readonly disks: Pick<HostDisks, "admit" | "retire">;
  readonly nets: Pick<HostNets, "admit" | "retire">;
  readonly events: EventLog;
  readonly activities: Activities;
  /** Folder for this VM's log and snapshots. */
  readonly folder: string;
  /** Takes what it needs of the host beside cores and memory. */
  readonly claim?: TakeClaim;
  /** A VM of the same group that has a thread which takes others in; undefined if there is none. */
  companion(vm: ManagedVm): ManagedVm | undefined;
  /** A thread for it alone. */
  startThread(number: number, place: NodePlace): GuestThread;
  /** Whether all VMs of a thread are to end. */
  allAreToEnd(thread: GuestThread): boolean;
  /** Starts a VM again that has ended. */
  startAgain(vm: ManagedVm): Promise<void>;
  /** The VM has ended, by itself or not, and will not be started again by itself. */
  ended(vm: ManagedVm): void;
}

/** What is known of a VM that is up. */
export interface VmFigures {
  /** What it told last; undefined if that was nothing yet. */
  readonly last: GuestFigures | undefined;
  /** Milliseconds for which its thread has not answered; undefined if it has. */
  readonly silentMs: number | undefined;
}

/** Milliseconds that a guest has for its shutdown command. */
const STOP_TIMEOUT_MS = 10_000;
/** Milliseconds for a program in the guest to answer that it ends it. */
const AGENT_MS = 2000;
/** Milliseconds until a thread is ended that does not stop its VMs: told to at once, or with time for a snapshot. */
const [FORCE_MS, STOP_MS] = [2000, 10_000];
/** The part of them that a snapshot or clone under way may take. */
const PATIENCE = 0.75;
/** Milliseconds that a thread may be silent before VMs are ended that share it with one that does not stop. */
const HUNG_MS = 10_000;
/** Milliseconds between two looks at whether those have been told to stop as well. */
const LOOK_MS = 250;
/** Milliseconds that a report waits for a VM's figures. */
const FIGURES_MS = 100;

/** A VM's stay in a thread. */
interface Life {
  readonly thread: GuestThread;
  shell: GuestShell;
  readonly streams: GuestStreams;
  /** Its run is over, and its figures are final. */
  readonly over: Promise<void>;
  readonly noteOver: () => void;
  /** What it has of the host beside cores and memory. */
  claim: HostClaim | undefined;
  /** Is over when it has that, or does not get it. */
  claiming: Promise<void>;
  /** What it had is free. */
  readonly gone: Promise<void>;
  readonly noteGone: () => void;
  /** What the life before this one had is free. */
  readonly before: Promise<void>;
  /** When it began to run, in milliseconds of the monotonic clock. */
  begunAt: number | undefined;
  /** A user wants it to be off: it is not started again. */
  isUnwanted: boolean;
  /** It is to end, whatever it does. */
  isToEnd: boolean;
  /** How it is being stopped, for the report. */
  stopping: string;
  timeLimit: LongTimer | undefined;
  figures: GuestFigures | undefined;
  /** A question for figures that is not answered yet. */
  asking: { readonly answer: Promise<void>; readonly since: number } | undefined;
}
/** Milliseconds for which sizes of a console are gathered. */
const RESIZE_MS = 20;

/** A VM. */
export class ManagedVm {
  /** How it ended last. */
  end: GuestEnd | undefined;
  /** When it was started last, in milliseconds since 1970. */
  startedAt: number | undefined;
  /** Times that it was started again because of `restart`, since a user has started it. */
  restarts = 0;
  /** It is being removed: nobody may start it any more. */
  isLeaving = false;
  readonly log: ConsoleLog;
  readonly snapshotFolder: SnapshotFolder;
  private shown: VmState = "off";
  private life: Life | undefined;
  /** What its last life had is free. */
  private lastGone: Promise<void> = Promise.resolve();
  private readonly policy = new RestartPolicy();
  private readonly forwards: VmForwards;
  /** It is about to be started again. */
  private again: LongTimer | undefined;
  private readonly input = new ConsoleInput((bytes) =>
    this.thread?.send({ kind: "input", vm: this.name, bytes }),
  );
  private readonly watchers = new Set<(bytes: Uint8Array) => void>();
  private size = { columns: 0, rows: 0 };
  private resizing: NodeJS.Timeout | undefined;

  /**
   * @param spec what the Hyperfile says; changed by settings
   * @param folderOfFiles folder from which the specification's files are named
   * @param project name of the Hyperfile
   * @param pool full name of its pool
   */
  constructor(
    public spec: VmSpec,
    readonly folderOfFiles: string,
    readonly project: string,
    readonly pool: string,
    private readonly host: VmHost,
  ) {
    this.log = new ConsoleLog(join(host.folder, "console.log"), spec.console.logBytes, (message) =>
      host.events.add("vm.log", this.name, message),
    );
    this.snapshotFolder = new SnapshotFolder(join(host.folder, "snapshots"), spec.name);
    this.forwards = this.makeForwards();
  }

  get name(): string {
    return this.spec.name;
  }

  /** The specification without what was changed of forwards at run time. */
  get declared(): VmSpec {
    return { ...this.spec, nics: this.forwards.declared };
  }

  /**
   * Its Hyperfile says this of it now, while it is off; forwards that were changed at run time stay so.
   * @param successor who is to be as it is said, in its place; itself unless given
   */
  declare(spec: VmSpec, successor: ManagedVm = this): void {
    const { nics } = this.spec;
    if (successor !== this) {
      successor.forwards.declared = this.forwards.declared;
      successor.spec = { ...spec, nics };
    } else this.spec = { ...spec, nics };
    successor.forwards.declareAnew(spec.nics);
  }

  /** What its thread said last; `off`, `crashed`, or `starting` while it has none. */
  get state(): VmState {
    return this.shown;
  }

  /** Whether it is up, or about to be started again. */
  get isWanted(): boolean {
    return this.isUp || this.again !== undefined;
  }

  /** Whether it has a thread. */
  get isUp(): boolean {
    return this.life !== undefined;
  }

  /** The thread that it is in. */
  get thread(): GuestThread | undefined {
    return this.life?.thread;
  }

  /** Whether it has been told to end, and will, whatever it does. */
  get isToEnd(): boolean {
    return this.life?.isToEnd ?? true;
  }

  /**
   * Starts it, from its boot files or a snapshot.
   * @param byUser whether somebody asked for it, and earlier failures are forgotten
   * @throws LifecycleError `E_VM_STATE` if it is up; ResourceError if it can't be admitted; what the machine's making
   *   throws
   */
  async start(restore?: string, byUser = true): Promise<void> {
    const path = restore === undefined ? {} : { restore: this.snapshotFolder.find(restore) };
    const from = restore === undefined ? undefined : `from snapshot ${restore}`;
    const life = this.moveIn(this.host.companion(this), from, restore !== undefined);
    if (byUser) this.forgetFailures();
    const { spec, folderOfFiles: folder } = this;
    try {
      await this.doing("start", () =>
        this.live(life.life, async () => {
          await this.keep(life.life, this.claim(life.life));
          const cables = life.life.claim?.network?.cables;
          await life.life.thread.call("start", this.name, { spec, folder, slot: life.slot, cables, ...path });
        }),
      );
    } catch (error) {
      // A guest that has powered off before its start was answered has run all the same.
      if (this.end?.kind !== "off") throw error;
    }
  }

  /**
   * Goes back to a snapshot. One that is up is given up only when the machine that is to go on in its place is made and
   * has all of the state: if that fails, it is as it was, running or paused. One that is off is started.
   * @throws LifecycleError `E_SNAPSHOT_UNKNOWN`, `E_VM_STATE`; what the machine's making throws, with its code
   */
  async restore(name: string): Promise<void> {
    this.require("restore");
    const { life, size } = this;
    if (life === undefined) return this.start(name);
    const path = this.snapshotFolder.find(name);
    // What its terminal is now; one that was never connected has what the specification says.
    const { columns, rows } = size.columns === 0 ? this.spec.console : size;
    try {
      await this.call("restore", { path, columns, rows });
    } catch (error) {
      throw this.life === life && nextVmState(this.shown, "restore") !== undefined
        ? notRestored(this.name, name, error as Error)
        : error;
    }
    if (this.life !== life) return;
    this.forgetFailures();
    life.shell.close("was restored");
    life.shell = this.makeShell(true);
    this.beginTime(life);
    this.host.events.add("vm.restored", this.name, `from snapshot ${name}`);
  }

  /** Makes this VM, which is off, a copy of another one, in the same thread. */
  async startAsCloneOf(source: ManagedVm): Promise<{ readonly milliseconds: number }> {
    source.require("clone");
    if (source.thread?.isOpen !== true) throw source.wrongState("clone");
    const { life, slot } = this.moveIn(source, `as a clone of ${source.name}`, true);
    const report = await this.live(life, async () => {
      await this.keep(life, Promise.resolve(source.life?.claim?.share(this.spec)));
      const cables = life.claim?.network?.cables;
      return life.thread.call("clone", source.name, { name: this.name, slot, cables });
    });
    this.host.events.add("vm.cloned", source.name, `to ${this.name}`);
    return report;
  }

  async pause(): Promise<void> {
    this.require("pause");
    await this.call("pause", undefined);
  }

  async resume(): Promise<void> {
    this.require("resume");
    await this.call("resume", undefined);
  }

  /** Power off and on, without asking the guest. */
  async reset(): Promise<void> {
    this.require("reset");
    const { life } = this;
    await this.call("reset", undefined);
    if (life === undefined || this.life !== life) return;
    life.shell.close("was reset");
    life.shell = this.makeShell(false);
  }

  /**
   * Stops it: with its shutdown command, if it has one and answers in time, else at once. A restart that is about to
   * come does not.
   * @param force true to skip the command
   * @returns when it is off, and what it had is free
   */
  async stop(force: boolean, timeoutMs = STOP_TIMEOUT_MS): Promise<void> {
    this.again?.clear();
    this.again = undefined;
    const { life } = this;
    if (life === undefined) return;
    life.isUnwanted = true;
    await this.doing("stop", async () => {
      if (!force) await this.askToEnd(life, timeoutMs);
      if (this.life === life) await this.makeEnd(life, force ? FORCE_MS : STOP_MS, "stopped");
      await life.gone;
    });
  }

  /**
   * Runs a line of the guest's shell: through its agent, or where none answers when the guest reads commands, on its console.
   * @param options.signal gives it up
   * @param options.as what it is for those who wait for it
   * @throws LifecycleError as `runByAgent` and `GuestShell.run`, or `E_VM_STATE`
   */
  async exec(
    command: string,
    timeoutMs: number,
    { signal, as = "command" }: { readonly signal?: AbortSignal | undefined; readonly as?: string } = {},
  ): Promise<ExecResult> {
    const { life } = this;
    if (life === undefined || this.shown !== "running") throw this.wrongState("exec");
    return this.doing(`${as}: "${shortened(command)}"`, () => this.run(life, command, timeoutMs, signal));
  }

  private async run(
    life: Life,
    command: string,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<ExecResult> {
    const until = performance.now() + timeoutMs;
    const left = () => Math.max(0, until - performance.now());
    const { runByAgent: run } = this.host;
    const connect: Parameters<RunByAgent>[0] = (port, events) => life.streams.connect(port, events);
    const byAgent = async () =>
      run === undefined || this.life !== life
        ? undefined
        : runByAgent(run, connect, command, { name: this.name, timeoutMs: left(), signal });
    const { shell } = life;
    const wasUp = shell.hasPrompt;
    const early = await byAgent();
    if (early !== undefined || wasUp) return early ?? shell.run(command, left(), signal);
    // A guest that comes up has its agent when it reads commands, if it ever has one.
    await shell.untilPrompt(left(), signal);
    return (await byAgent()) ?? shell.run(command, left(), signal);
  }

  /**
   * Opens a stream to a program in its guest.
   * @param port an unsigned number of 32 bits
   * @throws LifecycleError `E_VM_STATE` at once if it does not run
   */
  connect(port: number, events: GuestStreamEvents): GuestStream {
    const { life } = this;
    if (life === undefined || this.shown !== "running") throw this.wrongState("connect to");
    return life.streams.connect(port, events);
  }

  /** Saves it; it goes on afterwards if it was running. */
  async snapshot(name: string): Promise<SnapshotInfo> {
    this.require("snapshot");
    const { bytes } = await this.call("snapshot", { path: this.snapshotFolder.place(name) });
    this.host.events.add("vm.snapshot", this.name, `${name}, ${bytes} bytes`);
    return { name, bytes, at: Date.now() };
  }

  /** Copies one of its disks, as it is now, to an image store; it goes on. @throws LifecycleError, and what the disk throws */
  async backup(target: BackupTarget): Promise<BackupReport> {
    if (nextVmState(this.shown, "backup") === undefined) throw this.wrongState("back up");
    const { length } = this.spec.disks;
    if (!Number.isInteger(target.disk) || target.disk < 0 || target.disk >= length)
      throw new LifecycleError(
        "E_SETTING",
        `VM ${this.name} has no disk ${target.disk}: ${length === 0 ? "it has none" : length === 1 ? "it has disk 0" : `it has disks 0 to ${length - 1}`}`,
      );
    const report = await this.call("backup", target);
    this.host.events.add(
      "vm.backup",
      this.name,
      `disk ${target.disk} to ${target.name}, ${report.bytes} bytes`,
    );
    return report;
  }

  /** Its network cards; what is declared where it is off. */
  nics(): readonly NicReport[] {
    const { network } = this.life?.claim ?? {};
    if (network !== undefined) return network.report();
    return this.spec.nics.map(({ network, mac, address, forwards }) => ({
      ...{ network: network?.name, mac, address, forwards },
      counters: {},
    }));
  }

  /** Adds a forward; as {@link VmForwards.add}. */
  addForward(forward: ForwardSpec, card?: number): Promise<ForwardSpec> {
    return this.forwards.add(forward, card);
  }

  /** Ends a forward; as {@link VmForwards.remove}. */
  removeForward(forward: ForwardSpec): Promise<void> {
    return this.forwards.remove(forward);
  }

  /** Makes its forwards as its Hyperfile says them now; as {@link VmForwards.follow}. */
  followForwards(nics: VmSpec["nics"]): Promise<void> {
    return this.forwards.follow(nics);
  }

  /** Its snapshots, the oldest first. */
  snapshots(): SnapshotInfo[] {
    return this.snapshotFolder.list();
  }

  /**
   * Types bytes on its console; resolves when they are on their way. Who sends much waits for that, so that a guest that
   * does not read holds the sender.
   * @throws LifecycleError `E_VM_STATE` at once if it is not up
   */
  type(bytes: Uint8Array): Promise<void> {
    if (this.life === undefined) throw this.wrongState("type at");
    return this.input.write(bytes);
  }

  /** Bytes of console input that its guest has taken so far. */
  get inputTaken(): number {
    return this.input.total;
  }

  /** Its console has this size in characters. Its thread is told of the last one only, now and then. */
  resize(columns: number, rows: number): void {
    this.size = { columns, rows };
    this.resizing ??= setTimeout(() => {
      this.resizing = undefined;
      this.life?.thread.send({ kind: "resize", vm: this.name, ...this.size });
    }, RESIZE_MS);
  }

  /** What its memory may be has changed. */
  setMemoryTarget(target: MemoryTarget): void {
    this.life?.thread.send({ kind: "memory", vm: this.name, target });
  }

  /** Calls `watcher` with what the guest prints from now on; the result ends that. */
  watch(watcher: (bytes: Uint8Array) => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  /**
   * Memory, devices and instructions; undefined while it is off. A thread that does not answer at once is asked no second
   * time before it has: what it told last is given, and how long it has been silent.
   */
  async figures(): Promise<VmFigures | undefined> {
    const { life } = this;
    if (life === undefined) return undefined;
    const since = life.asking?.since ?? performance.now();
    life.asking ??= { since, answer: this.ask(life) };
    const patience = since + FIGURES_MS - performance.now();
    const isAnswered = patience > 0 && (await settlesWithin(life.asking.answer, patience));
    return { last: life.figures, silentMs: isAnswered ? undefined : performance.now() - since };
  }

  /** Its guest printed something. */
  hearConsole(thread: GuestThread, bytes: Uint8Array): void {
    const { life } = this;
    if (life?.thread !== thread) return;
    // The guest is held until its log has taken what it printed.
    void this.log.write(bytes).then(() => thread.send({ kind: "heard", vm: this.name, bytes: bytes.length }));
    life.shell.feed(bytes);
    for (const watcher of this.watchers) watcher(bytes);
  }

  /** Something of a stream to a program in its guest. */
  hearStream(thread: GuestThread, stream: number, message: StreamMessage): void {
    if (this.life?.thread === thread) this.life.streams.hear(stream, message);
  }

  /** Its guest has taken so much input. */
  hearTaken(thread: GuestThread, bytes: number): void {
    if (this.life?.thread === thread) this.input.taken(bytes);
  }

  /** Its state has changed, as its thread says. */
  hearState(thread: GuestThread, state: VmState): void {
    const { life, shown } = this;
    if (life?.thread !== thread) return;
    this.shown = state;
    const { events } = this.host;
    if (state === "running" && shown === "starting") {
      this.beginTime(life);
      events.add("vm.running", this.name);
    } else if (state === "running") events.add("vm.resumed", this.name);
    else if (state === "paused") events.add("vm.paused", this.name);
    else if (state === "stopping") events.add("vm.stopping", this.name, life.stopping);
  }

  /** Its run is over: told by its thread, or by the thread's end. */
  hearEnd(thread: GuestThread, state: VmState, end: GuestEnd): void {
    const { life } = this;
    if (life?.thread !== thread) return;
    this.end = end;
    const isFailedStart = this.shown === "starting" && state === "off" && end.kind === "error";
    const told = isFailedStart ? `it could not be started: ${end.message}` : end.message;
    this.moveOut(life, state, told ?? (end.status === 0 ? undefined : `status ${end.status}`));
    if (!isFailedStart && !life.isUnwanted) this.considerRestart(life, end);
    void Promise.all([thread.leave(this.name), this.log.close()]).then(() => {
      // A thread that is to be gone, and is not, may still be at what the VM had.
      if (thread.isOpen || thread.isGone) life.claim?.release();
      else void thread.gone.then(() => life.claim?.release());
      life.noteGone();
      if (!isFailedStart && this.again === undefined && this.life === undefined) this.host.ended(this);
    });
  }

  /** Forgets its log and snapshots. */
  erase(): void {
    this.log.discard();
    rmSync(this.host.folder, { recursive: true, force: true });
  }

  /** Waits until it is off. */
  async untilOff(): Promise<void> {
    await this.life?.gone;
  }

  /** Takes what it needs of the host. @throws ResourceError, LifecycleError; it is as it was then */
  private moveIn(
    companion: ManagedVm | undefined,
    how: string | undefined,
    isCopy: boolean,
  ): { readonly life: Life; readonly slot: number } {
    this.require("start");
    if (this.isLeaving)
      throw new LifecycleError("E_VM_STATE", `can't start VM ${this.name}: it is being removed`);
    this.again?.clear();
    this.again = undefined;
    const { scheduler, memory, disks, nets, events } = this.host;
    const { cpu, memory: allotment, memoryBytes, disk, net } = this.spec;
    let { thread } = companion ?? {};
    const number = thread?.number ?? nextThreadNumber();
    const slot = scheduler.admit(this.name, this.pool, cpu, number);
    try {
      disks.admit(this.name, this.pool, disk, slot);
      nets.admit(this.name, this.pool, net);
      if (companion !== undefined && thread !== undefined)
        memory.admitBeside(this.name, this.pool, allotment, memoryBytes, companion.name);
      else thread = this.host.startThread(number, memory.admit(this.name, this.pool, allotment, memoryBytes));
    } catch (error) {
      nets.retire(this.name);
      disks.retire(this.name);
      scheduler.retire(this.name);
      memory.retire(this.name);
      throw error;
    }
    thread.enter(this.name);
    let [noteOver, noteGone] = [() => {}, () => {}];
    const life: Life = {
      thread,
      shell: this.makeShell(isCopy),
      streams: new GuestStreams((stream, message) =>
        life.thread.send({ kind: "stream", vm: this.name, stream, message }),
      ),
      over: new Promise((resolve) => {
        noteOver = resolve;
      }),
      noteOver: () => noteOver(),
      gone: new Promise((resolve) => {
        noteGone = resolve;
      }),
      noteGone: () => noteGone(),
      before: this.lastGone,
      claim: undefined,
      claiming: Promise.resolve(),
      begunAt: undefined,
      isUnwanted: false,
      isToEnd: false,
      stopping: "by force",
      timeLimit: undefined,
      figures: undefined,
      asking: undefined,
    };
    this.life = life;
    this.lastGone = life.gone;
    this.end = undefined;
    this.shown = "starting";
    events.add("vm.starting", this.name, how);
    return { life, slot };
  }

  /** Takes what it needs of the host for a life, when the last one has given it back. */
  private async claim(life: Life): Promise<HostClaim | undefined> {
    await life.before;
    return this.host.claim?.(this.spec, this.folderOfFiles, this.project);
  }

  /**
   * Waits for what a life needs of the host, or for the life's end: what never comes does not hold those who stop the VM,
   * and is given back if it comes too late.
   */
  private async keep(life: Life, claim: Promise<HostClaim | undefined>): Promise<void> {
    life.claiming = claim.then((taken) => {
      if (this.life === life) life.claim = taken;
      else taken?.release();
    });
    await Promise.race([life.claiming, life.over]);
    if (this.life !== life) throw this.wrongState("start");
  }

  /** Asks the thread to begin a life. If that fails, the thread has told of the end, or is gone. */
  private async live<Result>(life: Life, begin: () => Promise<Result>): Promise<Result> {
    try {
      return await begin();
    } catch (error) {
      const { message } = error as Error;
      // The thread has refused before there was a life to end.
      if (this.life === life) this.hearEnd(life.thread, "off", { kind: "error", status: 1, message });
      await life.gone;
      throw error;
    }
  }

  /** Gives back what it has of the host, but for its thread. */
  private moveOut(life: Life, state: VmState, message: string | undefined): void {
    this.life = undefined;
    this.shown = state;
    life.timeLimit?.clear();
    this.input.clear();
    life.streams.close();
    life.shell.close(state === "crashed" ? `has crashed: ${message}` : "is off");
    this.host.nets.retire(this.name);
    this.host.disks.retire(this.name);
    this.host.scheduler.retire(this.name);
    this.host.memory.retire(this.name);
    this.host.events.add(state === "crashed" ? "vm.crashed" : "vm.off", this.name, message);
    life.noteOver();
  }

  private considerRestart({ begunAt }: Life, end: GuestEnd): void {
    const ran = begunAt === undefined ? 0 : performance.now() - begunAt;
    const pause = this.policy.next(this.spec.restart, end, ran);
    if (pause === "never") return;
    if (pause === "spent") {
      const message = `it has been started again ${this.restarts} times: see its log`;
      this.host.events.add("vm.off", this.name, message);
      return;
    }
    this.again = new LongTimer(pause, () => {
      this.again = undefined;
      this.restarts++;
      this.host
        .startAgain(this)
        .catch((error: Error) => this.host.events.add("vm.crashed", this.name, error.message));
    });
  }

  private forgetFailures(): void {
    this.restarts = 0;
    this.policy.forget();
  }

  /** Its run begins. */
  private beginTime(life: Life): void {
    this.startedAt = Date.now();
    life.begunAt = performance.now();
    life.timeLimit?.clear();
    const { timeLimitMs } = this.spec;
    if (timeLimitMs === undefined) return;
    life.timeLimit = new LongTimer(timeLimitMs, () => void this.makeEnd(life, STOP_MS, "its time is over"));
  }

  /** Has the guest end by itself, if it can be asked: by a program in it that is there for this, else its shutdown command. */
  private async askToEnd(life: Life, timeoutMs: number): Promise<void> {
    const { shutdown, shell } = this.spec;
    if (shutdown === undefined || nextVmState(this.shown, "snapshot") === undefined) return;
    const until = performance.now() + timeoutMs;
    const left = () => Math.max(0, until - performance.now());
    life.stopping = shutdown;
    let isAnnounced = false;
    const announce = async () => {
      if (this.shown === "paused") await this.call("resume", undefined);
      await this.call("shutdown", undefined);
      isAnnounced = true;
    };
    await settlesWithin(announce(), left());
    if (!isAnnounced || this.life !== life) return;
    // A command that somebody has chosen is the one to use.
    const isUsual = shutdown === this.host.shells[shell]?.shutdown;
    if (!isUsual || !(await this.askAgent(life, left()))) {
      if (this.life !== life) return;
      // The command never returns: the VM's end is the answer.
      life.shell.run(shutdown, left()).catch(() => {});
    }
    await settlesWithin(life.over, left());
  }

  /** Whether a program in the guest has been asked to end it, and answered. */
  private async askAgent(life: Life, timeoutMs: number): Promise<boolean> {
    const patience = Math.min(AGENT_MS, timeoutMs / 2);
    const asked = life.thread.call("powerOff", this.name, { timeoutMs: patience });
    if (!(await settlesWithin(asked, 2 * patience))) return false;
    return asked.catch(() => false);
  }

  /**
   * Ends it, whatever it does: a thread that does not obey is ended, with other VMs only after a long silence.
   * @param reason for the report; `stopped` where it is a user's wish
   */
  private async makeEnd(life: Life, limitMs: number, reason: string): Promise<void> {
    const { thread } = life;
    if (this.shown !== "stopping") life.stopping = reason === "stopped" ? "by force" : reason;
    life.isToEnd = true;
    thread.call("stop", this.name, { reason, patience: limitMs * PATIENCE }).catch(() => {});
    if (await settlesWithin(life.over, limitMs)) return;
    const until = performance.now() + HUNG_MS;
    while (!this.host.allAreToEnd(thread) && performance.now() < until)
      if (await settlesWithin(life.over, LOOK_MS)) return;
    await thread.terminate(
      new LifecycleError("E_VM_CRASHED", `VM ${this.name}, which shared it, did not stop`),
    );
  }

  private async ask(life: Life): Promise<void> {
    try {
      life.figures = await life.thread.call("figures", this.name, undefined);
    } catch {
      // There is no guest yet, or none any more: what was known stays.
    } finally {
      life.asking = undefined;
    }
  }

  private makeForwards(): VmForwards {
    const vm = this;
    return new VmForwards(
      {
        name: this.name,
        get nics() {
          return vm.spec.nics;
        },
        set nics(nics) {
          vm.spec = { ...vm.spec, nics };
        },
        network: async () => {
          await this.life?.claiming.catch(() => {});
          return this.life?.claim?.network;
        },
        report: () => this.nics(),
        changed: (what) => this.host.events.add("vm.changed", this.name, what),
      },
      this.spec.nics,
    );
  }

  private makeShell(isCopy: boolean): GuestShell {
    return new GuestShell(
      this.name,
      this.host.shells[this.spec.shell]!,
      (bytes) => void this.type(bytes),
      isCopy,
    );
  }

  private call<Method extends keyof GuestRequests>(
    method: Method,
    args: GuestRequests[Method]["args"],
  ): Promise<GuestRequests[Method]["result"]> {
    const { life } = this;
    if (life === undefined) return Promise.reject(this.wrongState(method));
    return this.doing(method, () => life.thread.call(method, this.name, args));
  }

  /** Does something of which those are told who wait for it. */
  private doing<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
    return this.host.activities.during({ project: this.project, vm: this.name }, what, work);
  }

  private require(command: VmCommand): void {
    if (nextVmState(this.shown, command) === undefined) throw this.wrongState(command);
  }

  private wrongState(what: string): LifecycleError {
    return new LifecycleError("E_VM_STATE", `can't ${what} VM ${this.name}: it is ${this.shown}`);
  }
}

/** An error of a restore that has left its VM as it was. */
const notRestored = (vm: string, snapshot: string, cause: Error): LifecycleError =>
  Object.assign(
    new LifecycleError(
      "E_GUEST",
      `VM ${vm} is as it was, and not restored from ${snapshot}: ${cause.message}`,
      {
        cause,
      },
    ),
    { code: (cause as { code?: string }).code ?? "E_GUEST" },
  );
