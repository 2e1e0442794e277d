/**
 * RISC-V virtual machines in one pool, for tests and experiments: hart, board, clock and firmware put together, run
 * for exact numbers of instructions, and saved, restored and cloned.
 *
 * Devices and timers are looked at whenever the count of retired instructions passes a multiple of `GRID`, and when
 * the hart waits: what a run does depends on nothing but its state, wherever it is interrupted.
 */
import {
  bootPlan,
  type ConsoleBackend,
  ConsoleInput,
  parseKernel,
  type VirtBoard,
  type VirtioBalloon,
  virtBoard,
  virtioBalloon,
  virtioConsole,
  virtioRng,
  wallClockFrom,
} from "@hyperfile/devices";
import {
  type GuestMemory,
  guestIn,
  type MachineMemory,
  type MemoryPool,
  type RiscvCore,
  RiscvCpu,
  riscvPool,
  supervisorBinary,
  type Tier,
} from "@hyperfile/jit";
import { balloonMemory } from "../src/memory/balloon-memory.js";
import { xxh32 } from "../src/snapshot/checksum.js";
import { cloneParts, memoryDigest, type SnapshotMachine } from "../src/snapshot/machine.js";
import { encodeValue, type PlainRecord } from "../src/snapshot/values.js";
import { type MachineClock, RealClock, VirtualClock } from "../src/vm/clock.js";

/** Instructions between two looks at devices and timers. */
const GRID = 50_000;
const RAM_BASE = 0x80000000;
const EPOCH = 1_767_225_600_000;
const isa = "imafdc_zicntr_zicsr_zifencei_zba_zbb_zbs_sstc_svadu_svinval";

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
  core: RiscvCore | undefined;

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
    const memory = guestIn(this.pool, { ramBytes: options.ramBytes, ramBase: RAM_BASE });
    return new TestVm(this, options, memory);
  }
}

/** A VM. */
export class TestVm {
  readonly cpu: RiscvCpu;
  readonly board: VirtBoard;
  readonly clock: MachineClock;
  readonly machine: SnapshotMachine;
  readonly guest: GuestMemory;
  readonly balloon: VirtioBalloon;
  /** What the guest has printed. */
  output = "";
  /** The guest has powered itself off. */
  off = false;
  private seed: number;
  private readonly decoder = new TextDecoder();

  constructor(
    readonly host: TestHost,
    readonly options: TestVmOptions,
    readonly memory: MachineMemory,
  ) {
    const { xlen = 64, ramBytes } = options;
    this.guest = memory.guest;
    this.seed = options.seed ?? 0x2545f491;
    const cpu = () => this.cpu;
    this.clock = options.virtualTime === false ? new RealClock() : new VirtualClock(() => cpu().retired());
    const console: ConsoleBackend = {
      write: (bytes) => {
        this.output += this.decoder.decode(bytes, { stream: true });
      },
    };
    const onPower = () => {
      this.off = true;
      cpu().stop();
    };
    const input = new ConsoleInput();
    const hvc = virtioConsole({ backend: console, input });
    this.balloon = virtioBalloon({ memory: balloonMemory(memory.guest) });
    const rng = virtioRng({ entropy: (bytes) => this.random(bytes) });
    this.board = virtBoard({
      memory: memory.guest,
      ramBytes,
      harts: [{ setPending: (cause, level) => cpu().hart.setPending(cause, level) }],
      clock: this.clock,
      console,
      input,
      virtio: [hvc.factory, rng, ...(options.balloon === true ? [this.balloon.factory] : [])],
      wallClock: wallClockFrom(EPOCH, this.clock),
      onPower,
    });
    this.cpu = new RiscvCpu({
      xlen,
      memory,
      bus: this.board.bus,
      clock: this.clock,
      tier: options.tier ?? "auto",
      verify: "off",
      background: options.background ?? false,
      ...(options.hotThreshold === undefined ? {} : { hotThreshold: options.hotThreshold }),
      ...(host.core === undefined ? {} : { core: host.core }),
      sbi: supervisorBinary({
        harts: () => [cpu().hart],
        memory: memory.guest,
        console: this.board.firmware,
        onPower,
      }),
    });
    host.core ??= this.cpu.core;
    this.machine = {
      config: { xlen, ramBytes, devices: options.balloon === true ? "virt with balloon" : "virt" },
      memory: memory.guest,
      parts: {
        cpu: this.cpu,
        clock: this.clock,
        board: {
          save: () => this.board.save() as PlainRecord,
          restore: (state) => this.board.restore(state as Parameters<VirtBoard["restore"]>[0]),
        },
        entropy: {
          save: () => ({ seed: this.seed }),
          restore: ({ seed }) => {
            this.seed = seed as number;
          },
        },
      },
    };
  }

  /** Loads the kernel and puts the hart at its entry. */
  load(): void {
    const { xlen = 64, ramBytes, kernel, initrd, append = "" } = this.options;
    const plan = bootPlan({
      xlen,
      ramBytes,
      kernel: parseKernel(kernel, "kernel"),
      deviceTree: (range) =>
        this.board.deviceTree({
          isa: `rv${xlen}${isa}`,
          mmu: xlen === 32 ? "sv32" : "sv57",
          bootargs: append,
          rngSeed: new Uint8Array(32).fill(this.seed),
          ...(range === undefined ? {} : { initrd: range }),
        }),
      ...(initrd === undefined ? {} : { initrd }),
    });
    for (const { gpa, bytes } of plan.placements) {
      if (!this.guest.write(gpa, bytes)) throw new Error(`no room at 0x${gpa.toString(16)}`);
    }
    const pcHi = Math.floor(plan.entry / 0x100000000);
    this.cpu.start({ pcLo: plan.entry | 0, pcHi, mode: plan.mode, args: plan.args });
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
    const twin = new TestVm(this.host, this.options, this.cpu.shareMemory());
    cloneParts(this.machine, twin.machine);
    twin.output = this.output;
    return twin;
  }

  /** Gives the VM's memory back. */
  destroy(): void {
    this.off = true;
    this.cpu.core.park();
    this.guest.free();
  }

  /** Digests of everything that a guest could tell: memory, registers, devices, clock. */
  digest(): { memory: number; state: number } {
    this.board.flush();
    // A guard against exceptions without end notes the count at the last one, which tiers charge at other moments.
    const { slots, raised: _, ...cpu } = this.cpu.save();
    const sink = this.cpu.frontEnd.name.startsWith("rv64") ? [64, 65] : [32];
    // Writes to x0 go to a place of their own, which no guest can read.
    const kept = (slots as readonly number[]).filter((_, index) => !sink.includes(index));
    const state = encodeValue({
      ...cpu,
      kept,
      board: this.board.save() as PlainRecord,
      clock: this.clock.save(),
      seed: this.seed,
    });
    return { memory: memoryDigest(this.guest), state: xxh32(state) };
  }

  private look(): void {
    this.board.tick();
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

  private random(bytes: Uint8Array): void {
    let state = this.seed;
    for (let at = 0; at < bytes.length; at++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      bytes[at] = state;
    }
    this.seed = state;
  }
}
