/**
 * Machines in one pool, for tests and experiments: run for exact numbers of instructions, and saved, restored and
 * cloned.
 *
 * Devices and timers are looked at whenever the count of retired instructions passes a multiple of `GRID`, and when
 * the hart waits: what a run does depends on nothing but its state, wherever it is interrupted.
 */
import type { VirtBoard } from "@hyperfile/devices";
import type { VirtioBalloon } from "@hyperfile/devices/virtio";
import type { Tier } from "@hyperfile/jit";
import { type GuestMemory, guestIn, type MachineMemory, type MemoryPool, xxh32 } from "@hyperfile/jit/memory";
import { type RiscvCpu, riscvPool } from "@hyperfile/jit/riscv";
import { type RiscvVirt, riscvVirt } from "../src/riscv-virt.js";
import { memoryDigest, type SnapshotMachine } from "../src/snapshot/machine.js";
import { encodeValue, type PlainRecord } from "../src/snapshot/values.js";
import type { MachineClock } from "../src/vm/clock.js";

/** Instructions between two looks at devices and timers. */
const GRID = 50_000;
const RAM_BASE = 0x80000000;

/** What a VM is made from. */
export interface TestVmOptions {
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array;
  readonly append?: string;
  readonly ramBytes: number;
  readonly xlen?: 32 | 64;
  readonly tier?: Tier;
  readonly hotThreshold?: number;
  /** Whether time follows the count of instructions; else it is the host's. */
  readonly virtualTime?: boolean;
  /** Whether regions are compiled in the background. */
  readonly background?: boolean;
  /** Whether there is a balloon. */
  readonly balloon?: boolean;
  /** What the guest's random numbers come from. */
  readonly seed?: number;
}

/** A pool and the VMs in it. */
export class TestHost {
  readonly pool: MemoryPool;
  /** The first machine, on whose engine all take turns. */
  first: RiscvVirt | undefined;

  constructor(frameBytes: number, codePages?: number) {
    this.pool = riscvPool({ frameBytes, ...(codePages === undefined ? {} : { codePages }) });
  }

  /** Makes a VM and loads its kernel. */
  boot(options: TestVmOptions): TestVm {
    const vm = this.make(options);
    vm.load();
    return vm;
  }

  /** Makes a VM whose state is to be restored. */
  make(options: TestVmOptions): TestVm {
    return new TestVm(this, options, guestIn(this.pool, { ramBytes: options.ramBytes, ramBase: RAM_BASE }));
  }
}

/** A VM. */
export class TestVm {
  readonly virt: RiscvVirt;
  readonly cpu: RiscvCpu;
  readonly board: VirtBoard;
  readonly clock: MachineClock;
  readonly machine: SnapshotMachine;
  readonly guest: GuestMemory;
  /** What the guest has printed. */
  output = "";
  /** The guest has powered itself off, or was destroyed. */
  off = false;
  private readonly decoder = new TextDecoder();

  /** @param original whose clone this is */
  constructor(
    readonly host: TestHost,
    readonly options: TestVmOptions,
    memory?: MachineMemory,
    original?: TestVm,
  ) {
    const { kernel, initrd, append = "", virtualTime = true, balloon = false, seed = 0 } = options;
    const console = {
      write: (bytes: Uint8Array) => {
        this.output += this.decoder.decode(bytes, { stream: true });
      },
    };
    const onPower = () => {
      this.off = true;
    };
    this.virt =
      original === undefined
        ? riscvVirt({
            ramBytes: options.ramBytes,
            xlen: options.xlen ?? 64,
            console,
            onPower,
            devices: balloon ? ["console", "entropy", "balloon"] : ["console", "entropy"],
            clock: virtualTime ? "virtual" : "host",
            name: String(seed),
            tier: options.tier ?? "auto",
            verify: "off",
            background: options.background ?? false,
            ...(kernel.length === 0
              ? {}
              : {
                  boot: {
                    kernel: { name: "kernel", bytes: kernel },
                    append,
                    ...(initrd === undefined ? {} : { initrd: { name: "initrd", bytes: initrd } }),
                  },
                }),
            ...(options.hotThreshold === undefined ? {} : { hotThreshold: options.hotThreshold }),
            ...(memory === undefined ? {} : { memory }),
            ...(host.first === undefined ? {} : { beside: host.first }),
          })
        : original.virt.clone({ console, onPower, name: String(seed) });
    host.first ??= this.virt;
    const { cpu, board, clock, state } = this.virt;
    this.cpu = cpu;
    this.board = board;
    this.clock = clock;
    this.machine = state;
    this.guest = this.virt.memory.guest;
    this.output = original?.output ?? "";
  }

  /** The memory balloon. */
  get balloon(): VirtioBalloon {
    return this.virt.balloon!;
  }

  /** Loads the kernel and puts the hart at its entry. */
  load(): void {
    this.virt.load();
  }

  /** Runs until so many instructions have retired in all, or the guest is off, or nothing can wake it. */
  runTo(retired: number): void {
    const { cpu } = this;
    while (!this.off && cpu.retired() < retired) {
      const at = cpu.retired();
      if (at % GRID === 0) this.look();
      if (cpu.run(Math.min(retired - at, GRID - (at % GRID))) === "wait" && !this.wait()) return;
    }
  }

  /** Runs for so many ticks of the VM's own time, idle or not. */
  runFor(ticks: number): void {
    const { cpu, clock } = this;
    const end = clock.now() + ticks;
    while (!this.off && clock.now() < end) {
      const at = cpu.retired();
      if (at % GRID === 0) this.look();
      if (cpu.run(GRID - (at % GRID)) === "wait" && !this.wait(end)) return;
    }
  }

  /** Runs until the output contains `text`, for at most `limit` more instructions; says whether it does. */
  runUntil(text: string, limit = 1e9): boolean {
    const end = this.cpu.retired() + limit;
    while (!this.off && !this.output.includes(text) && this.cpu.retired() < end) {
      const before = this.cpu.retired();
      this.runTo(before - (before % GRID) + GRID);
      this.board.flush();
      if (this.cpu.retired() === before && !this.cpu.wakeReady()) break;
    }
    return this.output.includes(text);
  }

  /** Types text, to the end. */
  type(text: string): void {
    let bytes = new TextEncoder().encode(text);
    while (bytes.length > 0 && !this.off) {
      bytes = bytes.subarray(this.board.receive(bytes));
      if (bytes.length > 0) this.runTo(this.cpu.retired() + GRID);
    }
  }

  /** A VM with the same state, by copy-on-write. */
  clone(): TestVm {
    return new TestVm(this.host, this.options, undefined, this);
  }

  /** Gives the VM's memory back. */
  destroy(): void {
    this.off = true;
    this.virt.free();
  }

  digest(): MachineDigest {
    return digestOf(this.virt);
  }

  private look(): void {
    this.virt.tick();
    this.cpu.pollTimer();
  }

  /** The hart waits: goes on at the next timer; false if there is none, or `end`, in ticks, is before it. */
  private wait(end = Infinity): boolean {
    const { cpu, board, clock } = this;
    this.look();
    if (cpu.wakeReady()) return true;
    const deadline = Math.min(cpu.deadline(), board.deadline(), end);
    if (deadline === Infinity) return false;
    clock.idleUntil(deadline);
    if (clock.millisecondsUntil(deadline) > 0) return false;
    this.look();
    return cpu.wakeReady();
  }
}

/** Digests of everything that a guest could tell: memory; and registers, devices, clock. */
export interface MachineDigest {
  readonly memory: number;
  readonly state: number;
}

/** The digests of a machine that stands still. */
export function digestOf({ board, cpu, xlen, clock, state: { parts }, memory }: RiscvVirt): MachineDigest {
  board.flush();
  // A guard against exceptions without end notes the count at the last one, which tiers charge at other moments.
  const { slots, raised: _, ...registers } = cpu.save();
  const { x, ...others } = slots as Readonly<Record<string, readonly number[]>>;
  // Writes to x0 go to a place behind x31, which no guest can read.
  const kept = { ...others, x: x!.slice(0, xlen) };
  const state = encodeValue({
    ...registers,
    kept,
    board: board.save() as PlainRecord,
    clock: clock.save(),
    identity: parts.identity!.save(),
  });
  return { memory: memoryDigest(memory.guest), state: xxh32(state) };
}
