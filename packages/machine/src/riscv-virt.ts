/**
 * The machine: one RISC-V hart on a board compatible with QEMU's `virt`, with the built-in firmware, clock, console,
 * entropy and balloon, put together once for all that run machines.
 *
 * Its state is that of its parts, by name, and its memory; restoring the parts, in their order, from a snapshot or
 * from another machine makes it go on from there in place of booting. It then has an identity of its own.
 */
import {
  type BoardPart,
  type ConsoleBackend,
  ConsoleInput,
  GENERATION_BYTES,
  type PowerEvent,
  type VirtBoard,
  virtBoard,
  wallClockFrom,
} from "@hyperfile/devices";
import type { BootPlan } from "@hyperfile/devices/image";
import {
  type Drain,
  MOST_FS_STATE_BYTES,
  type VirtioBalloon,
  type VirtioConsole,
  type VirtioDevice,
  type VirtioVsockOptions,
  type VsockPorts,
  virtioBalloon,
  virtioConsole,
  virtioRng,
} from "@hyperfile/devices/virtio";
import type { MachineMemory } from "@hyperfile/jit/memory";
import {
  modeLetters,
  NO_STEAL_AREA,
  RiscvCpu,
  type RiscvCpuOptions,
  supervisorBinary,
  watchCpu,
  writeStealTime,
} from "@hyperfile/jit/riscv";
import { type Dump, mergeTraces, type Profiler } from "@hyperfile/jit/trace";
import { balloonMemory } from "./balloon-memory.js";
import { type BootImages, type OpenImages, openImages, planImages, widthOf } from "./boot.js";
import { type Drive, driveDevices, forkDrives } from "./drives.js";
import { MachineError } from "./errors.js";
import { Htif } from "./htif.js";
import { MachineIdentity } from "./identity.js";
import { hartProperties, isaString, pagingOf, type Xlen } from "./isa.js";
import type { Machine, MachineEnd } from "./machine.js";
import { boardMemories, lenderOf, type MachineRegions, makeMemory, savedRegions } from "./memory-regions.js";
import { type Nic, nicDevices, nicsOfClone } from "./nics.js";
import { type Share, shareDevices } from "./shares.js";
import { SliceConsole } from "./slice-console.js";
import { cloneParts, LazyPages, type SnapshotMachine, type SnapshotPart } from "./snapshot/machine.js";
import { DEFAULT_LIMITS, type PlainRecord } from "./snapshot/values.js";
import { socketDevice } from "./sockets.js";
import { machineStatistics } from "./statistics.js";
import { type MachineClock, RealClock, type RealClockMode, VirtualClock } from "./vm/clock.js";
import { type CpuGate, Vm } from "./vm/vm.js";

/** Devices that the machine knows how to make. */
export type VirtDevice = "console" | "entropy" | "balloon";
/** Makes a virtio device: once for a machine, and so once again for each clone. */
export type VirtioMaker = () => VirtioDevice;

/** What a machine is made from. */
export interface RiscvVirtOptions
  extends MachineRegions,
    Pick<RiscvCpuOptions, "tier" | "verify" | "chain" | "hotThreshold" | "isa"> {
  /** What it boots; a machine without it can only go on from a state, or be started by hand through its `cpu`. */
  readonly boot?: BootImages;
  /** Width of the registers in bits; that of an ELF file among the images unless given, and 64 where there is none. */
  readonly xlen?: Xlen;
  /** Where the guest's output goes; nowhere unless given. */
  readonly console?: ConsoleBackend;
  /** Disks, in the first virtio slots: a guest that knows of one looks for it in slot 0. */
  readonly drives?: readonly Drive[];
  /** Folders of the host's, in the slots behind the disks: the guest mounts them by their tags. */
  readonly shares?: readonly Share[];
  /** Network cards, in the slots behind the folders. */
  readonly nics?: readonly Nic[];
  /**
   * A device for sockets (virtio-vsock), in the slot behind the network cards: streams between the host and the programs of
   * the guest, through the machine's `vsock`. None unless given; `{}` is one with the address 3.
   */
  readonly vsock?: VirtioVsockOptions;
  /** Devices for the virtio slots behind those, in order; all that the machine knows unless given. Yours are made by a function. */
  readonly devices?: readonly (VirtDevice | VirtioMaker)[];
  /**
   * Parts of your own on the board: they are described in the device tree, reset, saved, restored and cloned with those
   * that the machine has. Addresses from `virtMap.platform` and interrupts from `virtIrq.firstPlatform` on are free.
   */
  readonly parts?: readonly BoardPart[];
  /**
   * What guest time follows. `host`: the host's clock, also over times in which the machine stood still, for which it
   * makes up. `frozen`: the host's clock, which leaves those out. `virtual`: the instructions that the guest retires,
   * which makes a run repeat exactly. `host` unless given.
   */
  readonly clock?: RealClockMode | "virtual";
  /** What a machine in virtual time has its random numbers and its generation from; two names, two machines. */
  readonly name?: string;
  /** Whether regions are compiled by other threads of the host; unless given, only where runs need not repeat. */
  readonly background?: boolean;
  /** Memory that is there already, in a pool with other machines'; one of its own unless given. */
  readonly memory?: MachineMemory;
  /** Another machine in the same pool, to take turns on its engine. */
  readonly beside?: RiscvVirt;
  /** Where it asks for leave to run; it counts the instructions that `retired` gives. */
  readonly gate?: (retired: () => number) => CpuGate;
  /** Nanoseconds in which the guest wanted to run and did not; guests are told of them where it is given. */
  readonly steal?: () => number;
  /**
   * Milliseconds that devices have for requests in flight when it is saved or drained, and for those of a driver that is
   * gone while a new one waits; ten seconds unless given.
   */
  readonly drainMs?: number;
  /** Most guest instructions that it runs: its run then ends with the reason `instructions`. */
  readonly instructions?: number;
  /**
   * Instructions between two looks at timers and devices; found by measurement unless given. In virtual time the looks are at
   * multiples of it.
   */
  readonly slice?: number;
  /** What a guest's reset does: boots it again, or ends the run. `boot` unless given. */
  readonly onReset?: "boot" | "end";
  /** Is told when the guest turns its power off or resets, inside its store. */
  readonly onPower?: (event: PowerEvent) => void;
  /** Receiver of what the translator does. */
  readonly dump?: Dump;
  /** Takes a profile. */
  readonly profiler?: Profiler;
}

/**
 * What a clone does not have from its original. Disks are forked unless they are given; folders are the same unless they
 * are given, by handles of its own. Network cards are given, with the original's addresses, in networks of the clone's own.
 */
export type CloneOptions = Pick<
  RiscvVirtOptions,
  "name" | "console" | "gate" | "steal" | "onPower" | "drives" | "shares" | "nics"
>;

/** Where the calendar of a machine in virtual time begins: 2026-01-01T00:00:00Z in milliseconds. */
const VIRTUAL_EPOCH = 1_767_225_600_000;
/** Instructions between two looks at `tohost`: small programs end at once. */
const HTIF_SLICE = 5_000;
/** Instructions of a slice in virtual time: the host's speed must not show. */
const VIRTUAL_SLICE = 50_000;
/** Entropy for the kernel's generator, in bytes. */
const SEED_BYTES = 32;
/** Milliseconds between two batches of a restored machine's pages. */
const LAZY_STEP = 5;
const ALL_DEVICES: readonly VirtDevice[] = ["console", "entropy", "balloon"];

/**
 * Makes a machine.
 * @throws ImageError for images that are none or don't fit, MachineError `E_BOOT` for some that don't go together,
 *   MemoryError for memory that can't be had, BoardError for more devices than slots and parts that do not fit
 * @example
 * const machine = riscvVirt({ ramBytes: 1 << 20, boot: { code: Uint8Array.of(0x6f, 0, 0, 0) }, instructions: 1000 });
 * const end = await machine.run(); // { kind: "stopped", reason: "instructions" }
 */
export function riscvVirt(options: RiscvVirtOptions): RiscvVirt {
  return new RiscvVirt(options);
}

/** A machine; {@link riscvVirt} makes one. */
export class RiscvVirt implements Machine {
  readonly xlen: Xlen;
  readonly cpu: RiscvCpu;
  readonly board: VirtBoard;
  readonly clock: MachineClock;
  readonly memory: MachineMemory;
  /** The run loop. */
  readonly loop: Vm;
  /** What snapshots are made from and restored to. It must stand still meanwhile. */
  readonly state: SnapshotMachine;
  /** The memory balloon; undefined without one. */
  readonly balloon: VirtioBalloon | undefined;
  /**
   * Streams between the host and the programs of the guest; undefined without a device for them. They end when the machine
   * is reset, restored or freed; a clone has none of them, and its guest's programs are told so.
   */
  readonly vsock: VsockPorts | undefined;
  private readonly console: SliceConsole;
  private readonly hvc: VirtioConsole | undefined;
  private readonly identity: MachineIdentity;
  private readonly htif: Htif | undefined;
  private readonly images: OpenImages | undefined;
  /** What the next power-on puts into memory, where it is worked out already. */
  private plan: BootPlan | undefined;
  /** Memory and registers hold a state to go on from. */
  private hasState = false;
  private isStuck = false;
  /** What is wrong with the snapshot that it goes on from, where that showed late. */
  private damage: string | undefined;
  private lazy: ReturnType<typeof setTimeout> | undefined;
  private steal = 0;
  private observer: (() => void) | undefined;

  constructor(
    private readonly options: RiscvVirtOptions,
    original?: RiscvVirt,
  ) {
    const { ramBytes, boot, clock = "host" } = options;
    const isVirtual = clock === "virtual";
    this.images = original === undefined ? boot && openImages(boot) : original.images;
    this.xlen =
      original?.xlen ??
      (this.images === undefined ? (options.xlen ?? 64) : widthOf(boot!, this.images, options.xlen));
    this.memory = original === undefined ? makeMemory(options, options.memory) : options.memory!;
    this.clock = clock === "virtual" ? new VirtualClock(() => this.cpu.retired()) : new RealClock(clock);
    this.identity = new MachineIdentity(options.name ?? "", isVirtual, (generation) => {
      this.hasState = true;
      if (generation !== undefined) this.board.generation.renew(generation);
    });

    this.console = new SliceConsole(options.console ?? { write: () => {} }, () => this.cpu.stop());
    const { console } = this;
    const input = new ConsoleInput();
    const names = options.devices ?? ALL_DEVICES;
    this.hvc = names.includes("console") ? virtioConsole({ backend: console, input }) : undefined;
    this.balloon = names.includes("balloon")
      ? virtioBalloon({ memory: balloonMemory(this.memory.guest) })
      : undefined;
    const sockets = socketDevice(options.vsock, isVirtual);
    this.vsock = sockets?.ports;
    const makers: Readonly<Record<VirtDevice, VirtioMaker>> = {
      console: () => this.hvc!.device,
      entropy: () => virtioRng({ entropy: this.identity.entropy }),
      balloon: () => this.balloon!.device,
    };
    this.board = virtBoard({
      memory: this.memory.guest,
      ramBytes,
      memories: boardMemories(this.memory, options),
      lend: lenderOf(this.memory),
      harts: [{ setPending: (cause, level) => this.cpu.hart.setPending(cause, level) }],
      clock: this.clock,
      console,
      input,
      virtio: [
        ...driveDevices(options.drives ?? [], isVirtual),
        ...shareDevices(options.shares ?? [], isVirtual),
        ...nicDevices(options.nics ?? [], isVirtual),
        ...(sockets === undefined ? [] : [sockets.device]),
        ...names.map((device) => (typeof device === "string" ? makers[device] : device)()),
      ],
      ...(options.parts === undefined ? {} : { parts: options.parts }),
      ...(options.drainMs === undefined ? {} : { drainMs: options.drainMs }),
      ...(isVirtual ? { wallClock: wallClockFrom(VIRTUAL_EPOCH, this.clock) } : {}),
      onPower: (event) => this.power(event),
      // While the machine is put together there is no run loop that could sleep.
      onWake: () => this.loop?.interrupt(),
    });
    this.board.generation.begin(this.identity.random(GENERATION_BYTES));
    this.cpu = this.orDispose(() => this.makeCpu(isVirtual));
    this.htif = this.makeHtif();
    const slice =
      options.slice ?? (this.htif !== undefined ? HTIF_SLICE : isVirtual ? VIRTUAL_SLICE : undefined);
    this.loop = new Vm({
      hart: {
        run: (budget) => this.slice(budget),
        pollTimer: () => this.cpu.pollTimer(),
        deadline: () => this.cpu.deadline(),
        wakeReady: () => this.cpu.wakeReady(),
        retired: () => this.cpu.retired(),
      },
      board: {
        begin: () => this.beginSlice(),
        tick: () => this.board.tick(),
        deadline: () => this.board.deadline(),
        flush: () => this.board.flush(),
        busy: () => this.board.busy(),
        reset: () => this.board.reset(),
        ...(isVirtual ? { settle: () => this.settle() } : {}),
      },
      clock: this.clock,
      load: () => this.load(),
      ...(options.gate === undefined ? {} : { gate: options.gate(() => this.cpu.retired()) }),
      ...(slice === undefined ? {} : isVirtual ? { grid: slice } : { slice }),
    });
    const devices = [
      ...(options.drives ?? []).map(() => "block"),
      ...(options.shares ?? []).map(() => "fs"),
      ...(options.nics ?? []).map(() => "net"),
      ...(sockets === undefined ? [] : ["vsock"]),
      ...names.map((device) => (typeof device === "string" ? device : "other")),
      ...(options.parts ?? []).map(({ name }) => name),
    ];
    this.state = {
      config: {
        xlen: this.xlen,
        ramBytes,
        ...savedRegions(this.memory),
        board: "virt",
        devices: devices.join(" "),
        time: isVirtual ? "virtual" : "host",
      },
      memory: this.memory.guest,
      parts: {
        cpu: this.cpu as unknown as SnapshotPart,
        clock: this.clock,
        board: {
          save: () => this.board.save() as PlainRecord,
          restore: (state) => this.board.restore(state as Parameters<VirtBoard["restore"]>[0]),
          limits: {
            ...DEFAULT_LIMITS,
            bytes: (options.parts ?? []).reduce(
              (sum, part) => sum + (part.stateBytes ?? 0),
              DEFAULT_LIMITS.bytes + (options.shares ?? []).length * MOST_FS_STATE_BYTES,
            ),
          },
        },
        identity: this.identity,
      },
      disks: (options.drives ?? []).map(({ snapshot }) => snapshot),
      drain: () => this.board.drain(),
      inFlight: () => this.board.inFlight(),
      ...(options.drainMs === undefined ? {} : { drainMs: options.drainMs }),
      onDamage: (error) => {
        this.damage ??= error.message;
        this.loop.stop("damaged");
        this.cpu.stop();
      },
    };
    // What does not fit is told now, and not when it is powered on.
    if (original === undefined) this.plan = this.orDispose(() => this.makePlan());
  }

  async run(): Promise<MachineEnd> {
    if (this.hasState) this.bringPagesIn();
    try {
      const end = await this.loop.run();
      this.board.flush();
      if (this.damage !== undefined) return { kind: "stuck", message: this.damage };
      const isStuck = this.isStuck && end.kind === "stopped";
      return isStuck ? { kind: "stuck", message: this.cpu.describeStuck() } : end;
    } finally {
      clearTimeout(this.lazy);
    }
  }

  pause(): void {
    this.loop.pause();
  }

  resume(): void {
    this.loop.resume();
  }

  hold(): void {
    this.loop.hold();
  }

  release(): void {
    this.loop.release();
  }

  stop(reason: string): void {
    this.loop.stop(reason);
  }

  reset(): void {
    this.loop.requestPower({ kind: "reset" });
  }

  receive(bytes: Uint8Array): number {
    const taken = this.board.receive(bytes);
    this.loop.wake();
    return taken;
  }

  resize(columns: number, rows: number): void {
    this.hvc?.resize(columns, rows);
  }

  retired(): number {
    return this.cpu.retired();
  }

  statistics(): Record<string, unknown> {
    return machineStatistics(this.cpu, this.board, this.loop.counters);
  }

  /**
   * A machine in the same state, which shares this one's memory by copy-on-write and takes turns on its engine. This one
   * stands still meanwhile.
   * @throws MemoryError if there is no frame left, DeviceStateError if a device has requests in flight, MachineError
   *   `E_DISK` for a disk that can't be forked, `E_NIC` for network cards that it is not given
   */
  clone(options: CloneOptions = {}): RiscvVirt {
    const { console: _, gate: __, steal: ___, name: ____, onPower: _____, ...same } = this.options;
    const nics = nicsOfClone(same.nics ?? [], options.nics);
    const drives = options.drives ?? forkDrives(same.drives ?? []);
    this.board.flush();
    const memory = this.cpu.shareMemory();
    let twin: RiscvVirt | undefined;
    try {
      twin = new RiscvVirt({ ...same, ...options, drives, nics, memory, beside: this }, this);
      cloneParts(this.state, twin.state);
      return twin;
    } catch (error) {
      if (twin === undefined) memory.guest.free();
      else twin.free();
      throw error;
    }
  }

  /**
   * Waits until no device has requests in flight; new ones wait until it is released. A machine whose devices answer
   * later than at once is paused, then drained, before it is saved or cloned.
   */
  drain(): Drain {
    return this.board.drain();
  }

  /** Gives its memory back to the pool, and lets its devices go of what they have, after its run has ended. */
  free(): void {
    clearTimeout(this.lazy);
    this.cpu.core.park();
    try {
      this.board.dispose();
    } finally {
      this.memory.guest.free();
    }
  }

  /** Is called after each slice from now on, while the guest stands between two instructions. */
  observe(afterSlice: () => void): void {
    this.observer = afterSlice;
  }

  /** Puts what it boots into memory, and the hart at its entry: what power-on does. Not while it runs. */
  load(): void {
    if (this.hasState) {
      // At power-on a machine goes on from its state; when it is reset it boots.
      this.hasState = false;
      this.board.resume();
      return;
    }
    this.steal = 0;
    const plan = this.plan ?? this.makePlan();
    // Another boot has other random numbers.
    this.plan = undefined;
    if (plan === undefined)
      throw new MachineError("E_BOOT", "nothing to boot: give the machine a kernel, a program or code");
    const { guest } = this.memory;
    guest.clearTouched();
    for (const { what, gpa, bytes } of plan.placements) {
      if (guest.write(gpa, bytes)) continue;
      throw new MachineError(
        "E_BOOT",
        `the ${what} of ${bytes.length} bytes does not fit at 0x${gpa.toString(16)}: give the machine more memory than ${guest.bytes / 2 ** 20} MiB, or free some of the host's`,
      );
    }
    this.cpu.start({
      pcLo: plan.entry | 0,
      pcHi: Math.floor(plan.entry / 2 ** 32),
      mode: plan.mode,
      args: plan.args,
    });
  }

  /** Lets the devices catch up with the time, as before each slice; for owners that run the `cpu` by themselves. */
  tick(): void {
    this.beginSlice();
    this.board.tick();
  }

  private beginSlice(): void {
    this.console.begin();
    this.hvc?.drain();
  }

  /** Makes the rest of the machine; if that fails, its devices let go of what they have. */
  private orDispose<T>(make: () => T): T {
    try {
      return make();
    } catch (error) {
      this.board.dispose();
      throw error;
    }
  }

  private makeCpu(isVirtual: boolean): RiscvCpu {
    const { options, images, memory } = this;
    const { dump, profiler, steal } = options;
    const traces = [dump?.trace, profiler?.trace].filter((trace) => trace !== undefined);
    const sbi = supervisorBinary({
      harts: () => [this.cpu.hart],
      memory: memory.guest,
      console: this.board.firmware,
      onPower: (event) => this.power(event),
      stealTime: steal !== undefined && !isVirtual,
    });
    const inMachineMode =
      images !== undefined && (images.firmware !== undefined || images.kernel === undefined);
    const cpu = new RiscvCpu({
      xlen: this.xlen,
      memory,
      bus: this.board.bus,
      clock: this.clock,
      tier: options.tier ?? "auto",
      background: options.background ?? !isVirtual,
      ...(options.isa === undefined ? {} : { isa: options.isa }),
      ...(options.verify === undefined ? {} : { verify: options.verify }),
      ...(options.chain === undefined ? {} : { chain: options.chain }),
      ...(options.hotThreshold === undefined ? {} : { hotThreshold: options.hotThreshold }),
      ...(traces.length === 0 ? {} : { trace: mergeTraces(...traces) }),
      ...(options.beside === undefined ? {} : { core: options.beside.cpu.core }),
      ...(inMachineMode ? {} : { sbi }),
    });
    if (dump !== undefined) watchCpu(dump, cpu);
    profiler?.watch({
      frontEnd: cpu.frontEnd,
      engine: cpu.engine,
      memory: memory.memory,
      pcLow: () => cpu.hart.pcLow,
      pcHigh: () => cpu.hart.pcHigh,
      mode: () => modeLetters[cpu.hart.state.mode] ?? "?",
      run: (budget) => cpu.run(budget),
      retired: () => cpu.retired(),
    });
    return cpu;
  }

  private makeHtif(): Htif | undefined {
    const { symbols } = this.images?.program ?? {};
    const [tohost, fromhost] = [symbols?.get("tohost"), symbols?.get("fromhost")];
    if (tohost === undefined) return undefined;
    const print = (bytes: Uint8Array) => {
      this.board.flush();
      this.console.write(bytes);
    };
    return new Htif(
      this.memory.guest,
      Number(tohost),
      fromhost === undefined ? undefined : Number(fromhost),
      print,
      (status) => this.power({ kind: "off", status }),
    );
  }

  private makePlan(): BootPlan | undefined {
    const { images, xlen } = this;
    if (images === undefined) return undefined;
    return planImages(images, xlen, this.options.ramBytes, (initrd) =>
      this.board.deviceTree({
        isa: isaString(xlen, this.cpu.isa),
        hartProperties: hartProperties(this.cpu.isa),
        mmu: pagingOf(xlen),
        bootargs: images.append,
        rngSeed: this.identity.random(SEED_BYTES),
        ...(initrd === undefined ? {} : { initrd }),
      }),
    );
  }

  private power(event: PowerEvent): void {
    this.options.onPower?.(event);
    const ends = event.kind === "reset" && this.options.onReset === "end";
    this.loop.requestPower(ends ? { kind: "off", status: 0 } : event);
    this.cpu.stop();
  }

  private slice(budget: number): "budget" | "wait" | "stop" {
    const { cpu, options } = this;
    // A console still has output from the slice before: it comes before the next instruction.
    if (this.console.full()) return "stop";
    const { stealArea } = cpu.hart.state;
    if (stealArea !== NO_STEAL_AREA && options.steal !== undefined)
      this.tellSteal(stealArea, options.steal());
    const { instructions = Infinity } = options;
    const most = Math.max(1, Math.min(budget, instructions - cpu.retired()));
    const end = (options.profiler ?? cpu).run(most);
    this.htif?.poll();
    if (cpu.engine.stuck) {
      this.isStuck = true;
      this.loop.stop("stuck");
    } else if (cpu.retired() >= instructions) this.loop.stop("instructions");
    this.observer?.();
    return end;
  }

  /** Lets requests, and those that wait behind them, be answered. */
  private async settle(): Promise<void> {
    while (this.board.busy()) {
      const drain = this.board.drain();
      await drain.drained;
      drain.release();
    }
  }

  private tellSteal(area: number, steal: number): void {
    if (steal === this.steal) return;
    this.steal = steal;
    writeStealTime(this.memory.guest, area, steal);
  }

  /** Brings the pages that a restored guest has not used yet out of the snapshot, while it runs. */
  private bringPagesIn(): void {
    const pages = new LazyPages(this.memory.guest);
    const step = () => {
      this.lazy = pages.step() ? setTimeout(step, LAZY_STEP) : undefined;
    };
    step();
  }
}
