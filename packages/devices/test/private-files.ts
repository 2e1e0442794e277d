/**
 * The private file system of an origin and its locks, as a browser has them, in memory, with tabs that can be killed: before
 * any call, of which all are counted. What a kill of the computer would lose can be asked for.
 */
import { vi } from "vitest";

/** What a call does that is made to fail. */
type Failure = (call: string, count: number) => string | undefined;

interface FileNode {
  readonly kind: "file";
  bytes: Uint8Array;
  /** What a flush has made durable. */
  durable: Uint8Array;
  lastModified: number;
  readonly users: Set<Access>;
}

interface FolderNode {
  readonly kind: "directory";
  readonly entries: Map<string, FileNode | FolderNode>;
}

interface Held {
  readonly tab: FakeTab;
  readonly release: () => void;
}

interface Waiting {
  readonly tab: FakeTab;
  readonly begin: () => void;
}

const error = (name: string): DOMException => new DOMException(`the browser says ${name}`, name);
const never = <T>(): Promise<T> => new Promise<T>(() => {});

/** The files and locks of an origin. */
export class FakeOrigin {
  /** Bytes that all files may have. */
  quota = Infinity;
  /** Bytes that one write takes at most. */
  mostWritten = Infinity;
  /** Whether access can be for reading only. */
  hasModes = true;
  hasMove = true;
  isWorker = true;
  /** Which calls fail, and with the name of which error. */
  fails: Failure = () => undefined;
  /** Told of each asynchronous call, and waited for. */
  before: (call: string) => Promise<void> = async () => {};
  /** All calls, in order. */
  readonly calls: string[] = [];
  now = 1_000_000;
  readonly root: FolderNode = { kind: "directory", entries: new Map() };
  readonly held = new Map<string, Held>();
  readonly waiting = new Map<string, Waiting[]>();

  /** A new tab, which is the one that code runs in from now on. */
  async tab(): Promise<FakeTab> {
    const tab = new FakeTab(this);
    vi.resetModules();
    tab.enter();
    tab.web = await import("../src/web/index.js");
    return tab;
  }

  /** Bytes of all files. */
  usage(folder = this.root): number {
    let sum = 0;
    for (const node of folder.entries.values())
      sum += node.kind === "file" ? node.bytes.length : this.usage(node);
    return sum;
  }

  /** The paths of all files, also of those whose names begin with a dot. */
  paths(folder = this.root, prefix = ""): string[] {
    return [...folder.entries].flatMap(([name, node]) =>
      node.kind === "file" ? [prefix + name] : this.paths(node, `${prefix}${name}/`),
    );
  }

  /** The computer loses its power: files have what was flushed, and no tab lives. */
  losePower(folder = this.root): void {
    for (const node of folder.entries.values()) {
      if (node.kind === "file") node.bytes = node.durable.slice();
      else this.losePower(node);
    }
  }

  release(name: string): void {
    this.held.delete(name);
    const next = this.waiting.get(name)?.shift();
    next?.begin();
  }
}

/** A tab of a browser, with what its code sees of the browser. */
export class FakeTab {
  /** The calls after which it is killed: before the one that follows. */
  killedAfter = Infinity;
  /** The module that runs in it. */
  web!: typeof import("../src/web/index.js");
  /** Resolves when it is killed. */
  readonly death: Promise<"killed">;
  private die!: (how: "killed") => void;
  private readonly accesses = new Set<Access>();
  isDead = false;

  constructor(readonly origin: FakeOrigin) {
    this.death = new Promise((resolve) => (this.die = resolve));
  }

  /** Code that runs from now on is this tab's. */
  enter(): void {
    const root = () => this.async("getDirectory", () => new FolderHandle(this, this.origin.root));
    vi.stubGlobal("navigator", { storage: { getDirectory: root }, locks: new Locks(this) });
  }

  kill(): void {
    if (this.isDead) return;
    this.isDead = true;
    for (const access of this.accesses) access.end();
    for (const queue of this.origin.waiting.values())
      queue.splice(0, queue.length, ...queue.filter(({ tab }) => tab !== this));
    for (const [name, { tab }] of this.origin.held) if (tab === this) this.origin.release(name);
    this.die("killed");
  }

  /** What a job gives, or that the tab was killed meanwhile. */
  run<T>(job: () => Promise<T>): Promise<T | "killed"> {
    return Promise.race([job(), this.death]);
  }

  async async<T>(call: string, job: () => T): Promise<T> {
    await this.origin.before(call);
    if (!this.count(call)) return never();
    const failure = this.origin.fails(call, this.origin.calls.length);
    if (failure !== undefined) throw error(failure);
    return job();
  }

  sync<T>(call: string, job: () => T): T {
    if (!this.count(call)) throw new Error("the tab is dead");
    const failure = this.origin.fails(call, this.origin.calls.length);
    if (failure !== undefined) throw error(failure);
    return job();
  }

  opened(access: Access): void {
    this.accesses.add(access);
  }

  private count(call: string): boolean {
    if (this.origin.calls.length >= this.killedAfter) this.kill();
    if (this.isDead) return false;
    this.origin.calls.push(call);
    return true;
  }
}

class FolderHandle {
  readonly kind = "directory";

  constructor(
    private readonly tab: FakeTab,
    readonly node: FolderNode,
  ) {}

  getFileHandle(name: string, options?: { create?: boolean }): Promise<FileHandle> {
    return this.tab.async(options?.create === true ? "create" : "getFileHandle", () => {
      const node = this.node.entries.get(name);
      if (node?.kind === "directory") throw error("TypeMismatchError");
      if (node === undefined) {
        if (options?.create !== true) throw error("NotFoundError");
        const none = new Uint8Array(0);
        const file = {
          bytes: none,
          durable: none,
          lastModified: ++this.tab.origin.now,
          users: new Set<Access>(),
        };
        this.node.entries.set(name, { kind: "file", ...file });
      }
      return new FileHandle(this.tab, this.node, name);
    });
  }

  getDirectoryHandle(name: string, options?: { create?: boolean }): Promise<FolderHandle> {
    return this.tab.async("getDirectoryHandle", () => {
      let node = this.node.entries.get(name);
      if (node?.kind === "file") throw error("TypeMismatchError");
      if (node === undefined) {
        if (options?.create !== true) throw error("NotFoundError");
        node = { kind: "directory", entries: new Map() };
        this.node.entries.set(name, node);
      }
      return new FolderHandle(this.tab, node);
    });
  }

  removeEntry(name: string): Promise<void> {
    return this.tab.async("removeEntry", () => {
      const node = this.node.entries.get(name);
      if (node === undefined) throw error("NotFoundError");
      if (node.kind === "file" && node.users.size > 0) throw error("NoModificationAllowedError");
      this.node.entries.delete(name);
    });
  }

  async *entries(): AsyncIterable<[string, FileHandle | FolderHandle]> {
    const all = await this.tab.async("entries", () => [...this.node.entries]);
    for (const [name, node] of all)
      yield [
        name,
        node.kind === "file" ? new FileHandle(this.tab, this.node, name) : new FolderHandle(this.tab, node),
      ];
  }
}

class FileHandle {
  readonly kind = "file";
  createSyncAccessHandle?: (options?: { mode?: string }) => Promise<Access>;
  move?: (folder: FolderHandle, name: string) => Promise<void>;

  constructor(
    private readonly tab: FakeTab,
    private readonly folder: FolderNode,
    private readonly name: string,
  ) {
    const { origin } = tab;
    if (origin.isWorker)
      this.createSyncAccessHandle = (options) =>
        tab.async("createSyncAccessHandle", () => {
          const isReader = origin.hasModes && options?.mode === "read-only";
          const node = this.node();
          if ([...node.users].some((user) => !user.isReader || !isReader))
            throw error("NoModificationAllowedError");
          return new Access(tab, node, isReader);
        });
    if (origin.hasMove)
      this.move = (to, name) =>
        tab.async("move", () => {
          const node = this.node();
          const there = to.node.entries.get(name);
          if (there?.kind === "directory") throw error("TypeMismatchError");
          if (node.users.size > 0 || (there?.users.size ?? 0) > 0) throw error("NoModificationAllowedError");
          this.folder.entries.delete(this.name);
          to.node.entries.set(name, node);
        });
  }

  getFile(): Promise<{ size: number; lastModified: number; arrayBuffer(): Promise<ArrayBuffer> }> {
    return this.tab.async("getFile", () => {
      const node = this.node();
      const { lastModified } = node;
      return {
        size: node.bytes.length,
        lastModified,
        arrayBuffer: () =>
          this.tab.async("arrayBuffer", () => {
            if (this.folder.entries.get(this.name) !== node) throw error("NotFoundError");
            if (node.lastModified !== lastModified) throw error("NotReadableError");
            return node.bytes.slice().buffer;
          }),
      };
    });
  }

  private node(): FileNode {
    const node = this.folder.entries.get(this.name);
    if (node?.kind !== "file") throw error("NotFoundError");
    return node;
  }
}

class Access {
  private isOpen = true;

  constructor(
    private readonly tab: FakeTab,
    private readonly node: FileNode,
    readonly isReader: boolean,
  ) {
    node.users.add(this);
    tab.opened(this);
  }

  read(buffer: Uint8Array, { at }: { at: number }): number {
    return this.call("read", () => {
      const part = this.node.bytes.subarray(at, at + buffer.length);
      buffer.set(part);
      return part.length;
    });
  }

  write(buffer: Uint8Array, { at }: { at: number }): number {
    return this.call("write", () => {
      const { origin } = this.tab;
      if (this.isReader) throw error("NoModificationAllowedError");
      const part = buffer.subarray(0, origin.mostWritten);
      this.resize(Math.max(this.node.bytes.length, part.length === 0 ? 0 : at + part.length));
      this.node.bytes.set(part, at);
      this.node.lastModified = ++origin.now;
      return part.length;
    });
  }

  truncate(size: number): void {
    this.call("truncate", () => this.resize(size));
  }

  getSize(): number {
    return this.call("getSize", () => this.node.bytes.length);
  }

  flush(): void {
    this.call("flush", () => {
      this.node.durable = this.node.bytes.slice();
    });
  }

  close(): void {
    if (!this.isOpen) return;
    try {
      this.call("close", () => {});
    } finally {
      this.end();
    }
  }

  /** The browser takes it back. */
  end(): void {
    this.isOpen = false;
    this.node.users.delete(this);
  }

  private resize(size: number): void {
    const { origin } = this.tab;
    const { bytes } = this.node;
    if (size === bytes.length) return;
    if (size > bytes.length && origin.usage() + size - bytes.length > origin.quota)
      throw error("QuotaExceededError");
    const resized = new Uint8Array(size);
    resized.set(bytes.subarray(0, size));
    this.node.bytes = resized;
    this.node.lastModified = ++origin.now;
  }

  private call<T>(what: string, job: () => T): T {
    return this.tab.sync(what, () => {
      if (!this.isOpen) throw error("InvalidStateError");
      return job();
    });
  }
}

type LockJob = (lock: { name: string } | null) => Promise<unknown>;

class Locks {
  constructor(private readonly tab: FakeTab) {}

  async request(name: string, ...rest: [LockJob] | [{ ifAvailable?: boolean }, LockJob]): Promise<unknown> {
    const job = rest.at(-1) as LockJob;
    const isIfAvailable = rest.length === 2 && (rest[0] as { ifAvailable?: boolean }).ifAvailable === true;
    const { origin } = this.tab;
    await this.tab.async("request", () => {});
    if (origin.held.has(name)) {
      if (isIfAvailable) return job(null);
      const queue = origin.waiting.get(name) ?? [];
      origin.waiting.set(name, queue);
      await new Promise<void>((begin) => queue.push({ tab: this.tab, begin }));
    }
    const held: Held = { tab: this.tab, release: () => origin.release(name) };
    origin.held.set(name, held);
    try {
      return await job({ name });
    } finally {
      if (origin.held.get(name) === held) held.release();
    }
  }

  query(): Promise<{ held: { name: string }[] }> {
    return this.tab.async("query", () => ({
      held: [...this.tab.origin.held.keys()].map((name) => ({ name })),
    }));
  }
}
