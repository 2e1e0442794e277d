/**
 * One VM of a fleet: its specification and state, its thread while it runs, its console, log and snapshots. What
 * concerns several VMs (names, pools, order) is the fleet's.
 *
 * States: `off` -> `starting` -> `running` <-> `paused`; `stopping` on the way back; `crashed` is `off` after the
 * thread or the guest failed.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";
import type { HostScheduler } from "../../cpu/node/host-scheduler.js";
import type { VmSpec } from "../../hyperfile/types.js";
import type { MemoryTarget } from "../../memory/division.js";
import type { HostMemoryBroker, NodePlace } from "../../memory/host-memory-broker.js";
import { ConsoleInput } from "../console-input.js";
import { LifecycleError } from "../errors.js";
import type { EventLog } from "../events.js";
import type { GuestEnd } from "../guest-port.js";
import { type ExecResult, GuestShell } from "../guest-shell.js";
import type { GuestRequests } from "../protocol.js";
import { ConsoleLog } from "./console-log.js";
import { type GuestThread, nextThreadNumber } from "./guest-thread.js";

/** States of a VM. */
export type VmState = "off" | "starting" | "running" | "paused" | "stopping" | "crashed";

/** A snapshot of a VM. */
export interface SnapshotInfo {
  readonly name: string;
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** What a VM has of its fleet. */
export interface VmHost {
  readonly scheduler: HostScheduler;
  readonly memory: HostMemoryBroker;
  readonly events: EventLog;
  /** Folder for this VM's log and snapshots. */
  readonly folder: string;
  /** A VM of the same group that has a thread; undefined if there is none. */
  companion(vm: ManagedVm): ManagedVm | undefined;
  /** A thread for it alone. */
  startThread(number: number, place: NodePlace): GuestThread;
  /** No VM uses the thread any more. */
  endThread(thread: GuestThread): Promise<void>;
  /** The VM has ended, by itself or not. */
  ended(vm: ManagedVm, end: GuestEnd): void;
}

/** Ending of snapshot files. */
const SNAPSHOT = ".snapshot";
const STOP_TIMEOUT_MS = 10_000;

/** A VM. */
export class ManagedVm {
  state: VmState = "off";
  /** How it ended last. */
  end: GuestEnd | undefined;
  /** When it was started last, in milliseconds since 1970. */
  startedAt: number | undefined;
  /** Times that it was started again because of `restart`. */
  restarts = 0;
  thread: GuestThread | undefined;
  shell: GuestShell | undefined;
  readonly log: ConsoleLog;
  private readonly input = new ConsoleInput((bytes) =>
    this.thread?.send({ kind: "input", vm: this.name, bytes }),
  );
  private readonly watchers = new Set<(bytes: Uint8Array) => void>();
  private whenEnded: Promise<void> = Promise.resolve();
  private noteEnded: () => void = () => {};
  private timer: NodeJS.Timeout | undefined;

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
  }

  get name(): string {
    return this.spec.name;
  }

  /** Whether it has a thread. */
  get isUp(): boolean {
    return this.thread !== undefined;
  }

  /**
   * Starts it, from its boot files or a snapshot.
   * @throws LifecycleError `E_VM_STATE` if it is up; ResourceError if it can't be admitted; what the machine's making
   *   throws
   */
  async start(restore?: string): Promise<void> {
    const path = restore === undefined ? undefined : this.snapshotPath(restore);
    this.require("start", "off", "crashed");
    this.state = "starting";
    this.host.events.add(
      "vm.starting",
      this.name,
      restore === undefined ? undefined : `from snapshot ${restore}`,
    );
    const companion = this.host.companion(this);
    let thread = companion?.thread;
    try {
      const number = thread?.number ?? nextThreadNumber();
      const slot = this.host.scheduler.admit(this.name, this.pool, this.spec.cpu, number);
      const { memory, memoryBytes } = this.spec;
      if (companion === undefined || thread === undefined) {
        const place = this.host.memory.admit(this.name, this.pool, memory, memoryBytes);
        thread = this.host.startThread(number, place);
      } else this.host.memory.admitBeside(this.name, this.pool, memory, memoryBytes, companion.name);
      this.occupy(thread, restore !== undefined);
      await thread.call("create", this.name, {
        spec: this.spec,
        folder: this.folderOfFiles,
        slot,
        ...(path === undefined ? {} : { restore: path }),
      });
      await this.begin();
    } catch (error) {
      await this.giveUp(thread);
      throw error;
    }
  }

  /** Makes this VM, which is off, a copy of another one, in the same thread. */
  async startAsCloneOf(source: ManagedVm): Promise<{ readonly milliseconds: number }> {
    this.require("start", "off", "crashed");
    source.require("clone", "running", "paused");
    const { thread } = source;
    if (thread === undefined) throw source.wrongState("clone");
    this.state = "starting";
    try {
      // All copies take turns on the original's thread, so its number goes with them.
      const slot = this.host.scheduler.admit(this.name, this.pool, this.spec.cpu, thread.number);
      const { memory, memoryBytes } = this.spec;
      this.host.memory.admitBeside(this.name, this.pool, memory, memoryBytes, source.name);
      this.occupy(thread, true);
      const wasRunning = source.state === "running";
      if (wasRunning) await thread.call("pause", source.name, undefined);
      const report = await thread.call("clone", source.name, { name: this.name, slot });
      if (wasRunning) await thread.call("resume", source.name, undefined);
      await this.begin();
      this.host.events.add("vm.cloned", source.name, `to ${this.name}`);
      return report;
    } catch (error) {
      await this.giveUp(undefined);
      throw error;
    }
  }

  async pause(): Promise<void> {
    this.require("pause", "running");
    await this.call("pause", undefined);
    this.state = "paused";
    this.host.events.add("vm.paused", this.name);
  }

  async resume(): Promise<void> {
    this.require("resume", "paused");
    await this.call("resume", undefined);
    this.state = "running";
    this.host.events.add("vm.resumed", this.name);
  }

  /** Power off and on, without asking the guest. */
  async reset(): Promise<void> {
    this.require("reset", "running");
    this.shell?.close("was reset");
    this.shell = this.makeShell(false);
    await this.call("reset", undefined);
  }

  /**
   * Stops it: with its shutdown command, if it has one and answers in time, else at once.
   * @param force true to skip the command
   */
  async stop(force: boolean, timeoutMs = STOP_TIMEOUT_MS): Promise<void> {
    if (!this.isUp) return;
    if (this.state === "paused") await this.resume();
    const graceful = !force && this.state === "running" && this.spec.shutdown !== undefined;
    this.state = "stopping";
    this.host.events.add("vm.stopping", this.name, graceful ? this.spec.shutdown : "by force");
    if (graceful) {
      // The command never returns: the VM's end is the answer.
      this.shell?.run(this.spec.shutdown!, timeoutMs).catch(() => {});
      if (await this.endsWithin(timeoutMs)) return;
    }
    await this.call("stop", { reason: "stopped" }).catch(() => {});
    if (await this.endsWithin(timeoutMs)) return;
    await this.thread?.terminate();
    await this.whenEnded;
  }

  /** Runs a command in the guest. @throws LifecycleError as `GuestShell.run`, or `E_VM_STATE` */
  exec(command: string, timeoutMs: number): Promise<ExecResult> {
    this.require("exec", "running");
    return this.shell!.run(command, timeoutMs);
  }

  /** Saves it; it goes on afterwards if it was running. */
  async snapshot(name: string): Promise<SnapshotInfo> {
    this.require("snapshot", "running", "paused");
    const path = this.snapshotPath(name, "new");
    mkdirSync(join(this.host.folder, "snapshots"), { recursive: true, mode: 0o700 });
    const wasRunning = this.state === "running";
    if (wasRunning) await this.call("pause", undefined);
    try {
      const { bytes } = await this.call("snapshot", { path });
      this.host.events.add("vm.snapshot", this.name, `${name}, ${bytes} bytes`);
      return { name, bytes, at: Date.now() };
    } finally {
      if (wasRunning) await this.call("resume", undefined);
    }
  }

  /** Its snapshots, the oldest first. */
  snapshots(): SnapshotInfo[] {
    const folder = join(this.host.folder, "snapshots");
    return filesOf(folder)
      .filter((file) => file.endsWith(SNAPSHOT))
      .flatMap((file) => {
        const stats = statsOf(join(folder, file));
        // A link to nowhere or a folder is no snapshot, whatever its name.
        if (stats?.isFile() !== true) return [];
        return [{ name: file.slice(0, -SNAPSHOT.length), bytes: stats.size, at: stats.mtimeMs }];
      })
      .sort((one, other) => one.at - other.at);
  }

  /**
   * Types bytes on its console; resolves when they are on their way. Who sends much waits for that, so that a guest that
   * does not read holds the sender.
   * @throws LifecycleError `E_VM_STATE` at once if it is not up
   */
  type(bytes: Uint8Array): Promise<void> {
    if (this.thread === undefined) throw this.wrongState("type at");
    return this.input.write(bytes);
  }

  /** Its console has this size in characters. */
  resize(columns: number, rows: number): void {
    this.thread?.send({ kind: "resize", vm: this.name, columns, rows });
  }

  /** What its memory may be has changed. */
  setMemoryTarget(target: MemoryTarget): void {
    this.thread?.send({ kind: "memory", vm: this.name, target });
  }

  /** Calls `watcher` with what the guest prints from now on; the result ends that. */
  watch(watcher: (bytes: Uint8Array) => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  /** Memory, devices and instructions; undefined while it is off. */
  async figures(): Promise<GuestRequests["figures"]["result"] | undefined> {
    if (this.thread === undefined) return undefined;
    return this.call("figures", undefined).catch(() => undefined);
  }

  /** Its guest printed something. */
  hearConsole(bytes: Uint8Array): void {
    const { thread } = this;
    // The guest is held until its log has taken what it printed.
    void this.log
      .write(bytes)
      .then(() => thread?.send({ kind: "heard", vm: this.name, bytes: bytes.length }));
    this.shell?.feed(bytes);
    for (const watcher of this.watchers) watcher(bytes);
  }

  /** Its guest has taken so much input. */
  hearTaken(bytes: number): void {
    this.input.taken(bytes);
  }

  /** Its run is over: told by its thread, or by the thread's end. */
  hearEnd(end: GuestEnd): void {
    if (this.thread === undefined) return;
    const { thread } = this;
    this.thread = undefined;
    this.end = end;
    clearTimeout(this.timer);
    this.input.clear();
    this.shell?.close(end.kind === "error" ? `has crashed: ${end.message}` : "is off");
    this.shell = undefined;
    this.host.scheduler.retire(this.name);
    this.host.memory.retire(this.name);
    this.state = end.kind === "error" ? "crashed" : "off";
    const logged = this.log.close();
    this.host.events.add(
      end.kind === "error" ? "vm.crashed" : "vm.off",
      this.name,
      end.message ?? (end.status === 0 ? undefined : `status ${end.status}`),
    );
    void Promise.all([this.host.endThread(thread), logged]).then(() => {
      this.noteEnded();
      this.host.ended(this, end);
    });
  }

  /** Forgets its log and snapshots. */
  erase(): void {
    this.log.discard();
    rmSync(this.host.folder, { recursive: true, force: true });
  }

  /** Waits until it is off. */
  async untilOff(): Promise<void> {
    if (this.isUp) await this.whenEnded;
  }

  private occupy(thread: GuestThread, isCopy: boolean): void {
    this.thread = thread;
    this.end = undefined;
    this.shell = this.makeShell(isCopy);
    this.whenEnded = new Promise((resolve) => {
      this.noteEnded = resolve;
    });
  }

  private async begin(): Promise<void> {
    await this.call("run", undefined);
    this.state = "running";
    this.startedAt = Date.now();
    this.host.events.add("vm.running", this.name);
    const { timeLimitMs } = this.spec;
    if (timeLimitMs === undefined) return;
    this.timer = setTimeout(() => {
      this.call("stop", { reason: "its time is over" }).catch(() => {});
    }, timeLimitMs);
  }

  /** A start that did not succeed leaves nothing. */
  private async giveUp(thread: GuestThread | undefined): Promise<void> {
    this.thread = undefined;
    this.shell = undefined;
    this.input.clear();
    this.host.scheduler.retire(this.name);
    this.host.memory.retire(this.name);
    this.state = "off";
    this.host.events.add("vm.off", this.name, "it could not be started");
    if (thread !== undefined) await this.host.endThread(thread);
    this.noteEnded();
  }

  private makeShell(isCopy: boolean): GuestShell {
    return new GuestShell(this.name, this.spec.shell, (bytes) => void this.type(bytes), isCopy);
  }

  private call<Method extends keyof GuestRequests>(
    method: Method,
    args: GuestRequests[Method]["args"],
  ): Promise<GuestRequests[Method]["result"]> {
    if (this.thread === undefined) return Promise.reject(this.wrongState(method));
    return this.thread.call(method, this.name, args);
  }

  private async endsWithin(milliseconds: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), milliseconds);
    });
    const inTime = await Promise.race([this.whenEnded.then(() => true), late]);
    clearTimeout(timer);
    return inTime;
  }

  private require(what: string, ...states: VmState[]): void {
    if (!states.includes(this.state)) throw this.wrongState(what);
  }

  private wrongState(what: string): LifecycleError {
    return new LifecycleError("E_VM_STATE", `can't ${what} VM ${this.name}: it is ${this.state}`);
  }

  private snapshotPath(name: string, kind: "old" | "new" = "old"): string {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name))
      throw new LifecycleError(
        "E_SNAPSHOT_UNKNOWN",
        `${name} is no name for a snapshot: use letters, digits, . _ and -`,
      );
    const path = join(this.host.folder, "snapshots", `${name}${SNAPSHOT}`);
    if (kind === "old" && !existsSync(path)) {
      const names = this.snapshots().map((snapshot) => snapshot.name);
      throw new LifecycleError(
        "E_SNAPSHOT_UNKNOWN",
        `VM ${this.name} has no snapshot ${name}; ${names.length === 0 ? "it has none" : `it has ${names.join(", ")}`}`,
      );
    }
    return path;
  }
}

/** Names of the files in a folder; none if it can't be read. */
function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** What is known of a file; undefined if it can't be looked at. */
function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}
