/**
 * VMs of one thread under one broker, without a daemon: in a page's worker, or in a program of one's own. CPU time is
 * divided by the scheduler of all other forms (`cpu/scheduler.ts`), memory by the same broker, networks by the same turns,
 * and each VM's life is owned by a {@link VmLife} as under a daemon. It knows no host: it has no files, threads and sockets.
 *
 * A VM is here from `add` to `remove`, on or off. What it may have can be changed at any time.
 */
import { type CpuAccounts, stealOf } from "../cpu/accounts.js";
import { InlineExecutor } from "../cpu/inline.js";
import { type Allotment, type PoolAllotment, ResourceTree } from "../cpu/resource-tree.js";
import { CpuScheduler } from "../cpu/scheduler.js";
import { openDiskGate } from "../disk/disk-gate.js";
import { ConsoleOutput } from "../lifecycle/console-output.js";
import { LifecycleError } from "../lifecycle/errors.js";
import type { Guest, GuestEnd, GuestMemoryUsage, GuestSurroundings } from "../lifecycle/guest-port.js";
import { OfferedInput } from "../lifecycle/offered-input.js";
import { ThreadMemory } from "../lifecycle/thread-memory.js";
import { VmLife } from "../lifecycle/vm-life.js";
import type { VmState } from "../lifecycle/vm-states.js";
import type { MemoryFigures } from "../memory/host-memory-broker.js";
import type { MemorySettings } from "../memory/memory-broker.js";
import type { SwapBackend } from "../memory/swap-store.js";
import { changeNet, type NetAllotment, type NetChange, type NetPoolAllotment } from "../net/allotment.js";
import type { InlineCable, OpenInlineLan } from "./inline-lan.js";
import { InlineNetworks, type InlineNic, type InlineNicFigures, netAllotment } from "./inline-networks.js";

/** What a VM of the fleet is. */
export interface InlineVm {
  /** Makes its guest, each time that it is started. Rejects with one line where it can't, and leaves nothing then. */
  readonly make: (name: string, surroundings: GuestSurroundings) => Promise<Guest>;
  /** Its pool; `root` unless given. */
  readonly pool?: string;
  readonly cpu?: Partial<Allotment>;
  /** In bytes. */
  readonly memory?: MemorySettings;
  /** Its network cards, which its maker finds in `cables` of its surroundings, as {@link InlineCable}s. */
  readonly nics?: readonly InlineNic[];
  /** Of networks, for all of its cards together, in bytes a second. */
  readonly net?: NetChange;
}

/** What of a copy is not its original's. */
export type InlineCopy = Pick<InlineVm, "pool" | "cpu" | "memory" | "nics" | "net">;

/** Who is told of a fleet. It neither throws nor calls back at once. */
export interface InlineFleetListener {
  /** A VM's state has changed; with how its run ended, where it did. */
  state(vm: string, state: VmState, end?: GuestEnd): void;
  /** A VM has printed; its guest is held when {@link InlineFleet.heard} lags too far behind. */
  console(vm: string, bytes: Uint8Array): void;
  /** A guest has taken so many bytes of what was typed. */
  taken?(vm: string, bytes: number): void;
}

/** What a fleet works with. */
export interface InlineFleetOptions {
  readonly listener: InlineFleetListener;
  /** Where pages go that don't fit; answers at once. Without it balloons are all that there is. */
  readonly openSwap?: () => SwapBackend;
  /** Makes networks. Without it the fleet has none. */
  readonly openNetwork?: OpenInlineLan;
  /** Milliseconds of one turn of a VM; 5 unless given. */
  readonly quantumMs?: number;
}

/** A VM as reports show it. */
export interface InlineVmFigures {
  readonly name: string;
  readonly pool: string;
  readonly state: VmState;
  readonly cpu: Allotment;
  /** Milliseconds by what became of them since the VM was added. */
  readonly accounts: CpuAccounts;
  /** Guest instructions since it was started. */
  readonly retired: number;
  /** Bytes; undefined while it is off. */
  readonly memory: GuestMemoryUsage | undefined;
  /** What it may have and seems to use, in pages; undefined until that is known. */
  readonly division: MemoryFigures | undefined;
  readonly counters: Readonly<Record<string, number>>;
  /** What it may have of networks. */
  readonly net: NetAllotment;
  readonly nics: readonly InlineNicFigures[];
}

const DEFAULT_QUANTUM_MS = 5;
/** Name of the pool that holds all. */
const ROOT = "root";
const CORES = 1;
/** Bytes that may be typed at a VM which does not read them. */
const MOST_INPUT = 2 ** 20;

interface Entry {
  readonly name: string;
  readonly make: InlineVm["make"];
  readonly pool: string;
  memory: MemorySettings;
  net: NetAllotment;
  state: VmState;
  /** While it is on. */
  run: Run | undefined;
  division: MemoryFigures | undefined;
  /** It is about to be forgotten, and not started any more. */
  isLeaving: boolean;
}

/** One time that a VM is on. */
interface Run {
  readonly life: VmLife;
  readonly console: ConsoleOutput;
  readonly input: OfferedInput;
  readonly surroundings: GuestSurroundings;
}

/** A fleet. Methods reject, or throw, with a LifecycleError for names that are unknown or taken and states that forbid it. */
export class InlineFleet {
  /** The networks in which its VMs have cards. */
  readonly networks: InlineNetworks;
  private readonly entries = new Map<string, Entry>();
  private readonly tree = new ResourceTree(CORES, "cores", ROOT);
  private readonly scheduler: CpuScheduler;
  private readonly executor: InlineExecutor;
  private readonly memory: ThreadMemory;

  constructor(private readonly options: InlineFleetOptions) {
    const { openSwap, quantumMs = DEFAULT_QUANTUM_MS } = options;
    this.scheduler = new CpuScheduler({ tree: this.tree, cores: CORES, quantum: quantumMs });
    // One thread runs one VM at a time: what passes while it has its turn is what it uses.
    const now = () => performance.now();
    this.executor = new InlineExecutor({ scheduler: this.scheduler, now, used: now });
    this.networks = new InlineNetworks(options.openNetwork);
    this.memory = new ThreadMemory(openSwap, (vm, figures) => {
      const entry = this.entries.get(vm);
      if (entry !== undefined) entry.division = figures;
    });
  }

  /** Makes a pool. @throws ResourceError as the tree does */
  addPool(name: string, allotment: Partial<PoolAllotment> = {}, parent = ROOT): void {
    this.tree.addPool(name, allotment, parent);
    this.networks.addPool(name, parent);
  }

  /** Forgets an empty pool. @throws ResourceError as the tree does */
  removePool(name: string): void {
    this.tree.removePool(name);
    this.networks.removePool(name);
  }

  /** Changes what a pool may have. @throws ResourceError as the tree does */
  configurePool(name: string, allotment: Partial<PoolAllotment>): void {
    this.scheduler.configure(name, allotment, "pool", performance.now());
  }

  /** Pools from the outermost on, with what they may have. */
  pools(): {
    readonly name: string;
    readonly parent: string | undefined;
    readonly cpu: PoolAllotment;
    readonly net: NetPoolAllotment;
  }[] {
    return this.tree
      .nodes()
      .filter(({ isPool }) => isPool)
      .map(({ name, parent, allotment }) => ({
        ...{ name, parent, cpu: allotment },
        net: this.networks.poolAllotment(name)!,
      }));
  }

  /** Whether there is a VM of this name. */
  has(name: string): boolean {
    return this.entries.has(name);
  }

  /**
   * Takes a VM in, which is off.
   * @throws LifecycleError for a name that is taken and for network cards that can't be, ResourceError as the tree does
   */
  add(name: string, vm: InlineVm): void {
    this.enlist(name, vm, () => this.networks.enlist(name, vm.nics ?? []));
  }

  /** Forgets a VM; it is ended first, if it is on. */
  async remove(name: string): Promise<void> {
    const entry = this.entry(name);
    entry.isLeaving = true;
    await this.stop(name);
    // Others may have asked for the same.
    if (this.entries.get(name) !== entry) return;
    this.entries.delete(name);
    this.scheduler.remove(name, performance.now());
    this.tree.removeClient(name);
    this.networks.forget(name);
  }

  /**
   * Powers a VM on.
   * @param restore what its guest's `restoreFrom` takes, to go on from in place of booting
   * @throws ResourceError `E_ADMISSION` for a reservation that can't be kept; what makes the guest
   */
  async start(name: string, restore?: string): Promise<void> {
    const entry = this.entry(name);
    await this.begin(entry, "start", async ({ life, surroundings }) => {
      const guest = await entry.make(name, surroundings);
      try {
        if (restore !== undefined) await guest.restoreFrom(restore);
      } catch (error) {
        guest.free();
        throw error;
      }
      return this.lookAfter(entry, life, guest);
    });
  }

  pause(name: string): Promise<void> {
    return this.life(name, "pause").pause();
  }

  resume(name: string): Promise<void> {
    return this.life(name, "resume").resume();
  }

  /** Power off and on. */
  reset(name: string): Promise<void> {
    return this.life(name, "reset").reset();
  }

  /** Ends a VM's run at once; nothing where it is off. */
  async stop(name: string): Promise<void> {
    await this.entry(name).run?.life.stop("stopped", 0);
  }

  /** Has a VM's guest save itself, as its `saveTo` says. */
  snapshot(name: string, path: string): Promise<{ readonly bytes: number }> {
    return this.life(name, "snapshot").snapshot(path);
  }

  /** Puts a VM into a saved state: one that is on goes on from there, one that is off is started from it. */
  async restore(name: string, path: string): Promise<void> {
    const entry = this.entry(name);
    const { run } = entry;
    if (run === undefined) return this.start(name, path);
    await run.life.restore(
      async (guest) => {
        const next = await guest.successor(run.surroundings);
        try {
          await next.restoreFrom(path);
        } catch (error) {
          next.free();
          throw error;
        }
        return next;
      },
      (next) => {
        run.input.drop();
        run.console.holds(next);
        this.memory.replace(name, next.memory, entry.memory);
      },
    );
    run.console.flush();
  }

  /**
   * Makes a copy of a VM that is on, by copy-on-write; it stands still meanwhile. Its network cards have addresses of their
   * own, and its guest those of the original until it takes them: until then it reaches nobody.
   * @returns milliseconds that the copy took
   */
  async clone(name: string, copy: string, options: InlineCopy = {}): Promise<number> {
    const source = this.entry(name);
    const life = this.life(name, "clone");
    const { shares, reservation, limit } = this.tree.allotmentOf(name);
    const { nics } = options;
    const vm = {
      make: source.make,
      pool: options.pool ?? source.pool,
      cpu: options.cpu ?? { shares, reservation, limit },
      memory: options.memory ?? source.memory,
      net: options.net ?? source.net,
    };
    this.enlist(copy, vm, () =>
      nics === undefined ? this.networks.enlistClone(copy, name) : this.networks.enlist(copy, nics),
    );
    const entry = this.entry(copy);
    let milliseconds = 0;
    try {
      await this.begin(entry, "start", async (run) => {
        const twin = await life.clone(async (guest) => {
          const began = performance.now();
          const made = await guest.clone(copy, run.surroundings);
          milliseconds = performance.now() - began;
          return made;
        });
        return this.lookAfter(entry, run.life, twin);
      });
    } catch (error) {
      await this.remove(copy);
      throw error;
    }
    return milliseconds;
  }

  /**
   * Types at a VM; what it has no room for yet waits, and `taken` tells what has gone.
   * @throws LifecycleError `E_VM_STATE`, and types nothing, if more than a mebibyte would wait
   */
  type(name: string, bytes: Uint8Array): void {
    const { run } = this.entry(name);
    if (run === undefined) {
      this.options.listener.taken?.(name, bytes.length);
      return;
    }
    const { waiting } = run.input;
    if (waiting + bytes.length > MOST_INPUT)
      throw new LifecycleError(
        "E_VM_STATE",
        `can't type ${bytes.length} bytes at VM ${name}: ${waiting} wait that it has not read, of at most ${MOST_INPUT}`,
      );
    run.input.push(bytes);
  }

  /** Its listener has taken so many bytes more of what a VM printed. */
  heard(name: string, bytes: number): void {
    this.entries.get(name)?.run?.console.heard(bytes);
  }

  resize(name: string, columns: number, rows: number): void {
    this.entry(name).run?.life.present?.resize(columns, rows);
  }

  /** Changes what a VM may have, from now on. @throws ResourceError, MemoryAdmissionError */
  configure(
    name: string,
    { cpu, memory, net }: { cpu?: Partial<Allotment>; memory?: MemorySettings; net?: NetChange },
  ): void {
    const entry = this.entry(name);
    if (net !== undefined) {
      if (entry.run !== undefined) this.networks.configure(name, net);
      entry.net = changeNet(entry.net, net);
    }
    if (cpu !== undefined) this.scheduler.configure(name, cpu, "client", performance.now());
    if (memory === undefined) return;
    const next = { ...entry.memory, ...memory };
    if (entry.run !== undefined) this.memory.configure(name, next);
    entry.memory = next;
  }

  /** All VMs, in the order in which they came. */
  figures(): InlineVmFigures[] {
    const now = performance.now();
    return [...this.entries.values()].map(({ name, pool, state, run, division, net }) => {
      const guest = run?.life.present;
      return {
        ...{ name, pool, state, division, net, nics: this.networks.figures(name) },
        cpu: this.tree.allotmentOf(name),
        accounts: this.scheduler.accountsOf(name, now),
        retired: guest?.retired() ?? 0,
        memory: guest?.memoryFigures(),
        counters: guest?.counters() ?? {},
      };
    });
  }

  private enlist(name: string, vm: InlineVm, planNics: () => void): void {
    const { make, pool = ROOT, cpu = {}, memory = {}, net = {} } = vm;
    if (this.entries.has(name))
      throw new LifecycleError("E_NAME_TAKEN", `there is a VM ${name} already: use another name`);
    this.tree.addClient(name, cpu, pool);
    try {
      planNics();
    } catch (error) {
      this.tree.removeClient(name);
      throw error;
    }
    this.scheduler.add(name, performance.now());
    this.entries.set(name, {
      ...{ name, make, pool, memory, net: netAllotment(net) },
      state: "off",
      run: undefined,
      division: undefined,
      isLeaving: false,
    });
  }

  /** A run of a VM begins, with the guest that `make` gives. */
  private async begin(entry: Entry, what: string, make: (run: Run) => Promise<Guest>): Promise<void> {
    const { name } = entry;
    if (entry.run !== undefined || entry.isLeaving) {
      const state = entry.isLeaving ? "about to be removed" : entry.state;
      throw new LifecycleError("E_VM_STATE", `can't ${what} VM ${name}: it is ${state}`);
    }
    this.tree.admit(name);
    let cables: readonly InlineCable[] | undefined;
    try {
      cables = this.networks.connect(name, entry.pool, entry.net);
    } catch (error) {
      this.tree.retire(name);
      throw error;
    }
    const run = this.runOf(entry, cables);
    entry.run = run;
    this.enter(entry, "starting");
    await run.life.start(() => make(run));
  }

  private runOf(entry: Entry, cables: readonly InlineCable[] | undefined): Run {
    const { name } = entry;
    const { listener } = this.options;
    const console = new ConsoleOutput((bytes) => listener.console(name, bytes));
    const life = new VmLife(name, {
      state: (state) => this.enter(entry, state),
      left: () => {
        input.drop();
        this.memory.remove(name);
        console.flush();
        entry.run = undefined;
        entry.division = undefined;
        this.tree.retire(name);
        this.networks.disconnect(name);
      },
      ended: (state, end) => this.enter(entry, state, end),
      broke: () => {},
    });
    const input = new OfferedInput(
      () => life.present,
      (bytes) => listener.taken?.(name, bytes),
    );
    const surroundings: GuestSurroundings = {
      console,
      gate: () => this.memory.gate(name, this.executor.gate(name)),
      steal: () => stealOf(this.scheduler.accountsOf(name, performance.now())) * 1e6,
      disk: openDiskGate,
      cables,
    };
    return { life, console, input, surroundings };
  }

  /** The memory of a guest whose life may be over already is nobody's to look after. */
  private lookAfter(entry: Entry, life: VmLife, guest: Guest): Guest {
    if (entry.run?.life !== life) return guest;
    entry.run.console.holds(guest);
    this.memory.add(entry.name, guest.memory, entry.memory);
    return guest;
  }

  private enter(entry: Entry, state: VmState, end?: GuestEnd): void {
    if (entry.state === state && end === undefined) return;
    entry.state = state;
    this.options.listener.state(entry.name, state, end);
  }

  private entry(name: string): Entry {
    const entry = this.entries.get(name);
    if (entry === undefined) throw new LifecycleError("E_VM_UNKNOWN", `there is no VM ${name}`);
    return entry;
  }

  private life(name: string, what: string): VmLife {
    const { run, state } = this.entry(name);
    if (run === undefined) throw new LifecycleError("E_VM_STATE", `can't ${what} VM ${name}: it is ${state}`);
    return run.life;
  }
}
