/**
 * Guests without manners, as bare-metal programs in M mode, and a driver of virtio devices that keeps no rule. The
 * driver acts through the machine's bus and the guest's own memory: it can do what a guest can, and no more.
 */
import type { TestHost, TestVm, TestVmOptions } from "../../machine/test/riscv-vm.js";

/** Where RAM begins. */
export const RAM_BASE = 0x80000000;
const UART = 0x10000000;
/** A program, with the registers a0 and a1 that it begins with. */
interface Program {
  readonly words: readonly number[];
  readonly args: (ramBytes: number) => readonly [a0: number, a1: number];
}

/** The programs, by what they do. */
export const programs = {
  spins: { words: [0x0000006f /* j . */], args: () => [0, 0] },
  "faults without end": {
    words: [0x30501073 /* csrw mtvec, zero */, 0xc0001073 /* unimp */],
    args: () => [0, 0],
  },
  /** One whose machine is not stuck: its handler does something before it faults itself. */
  "faults at every other instruction": {
    words: [
      0x00000297, // auipc t0, 0
      0x01028293, // addi t0, t0, 16
      0x30529073, // csrw mtvec, t0
      0xc0001073, // unimp
      0x00130313, // addi t1, t1, 1
      0xc0001073, // unimp
    ],
    args: () => [0, 0],
  },
  "touches every page": {
    words: [
      0x000012b7, // lui t0, 1
      0x00050313, // mv t1, a0
      0x00633023, // next: sd t1, 0(t1)
      0x00530333, // add t1, t1, t0
      0xfeb36ce3, // bltu t1, a1, next
      0xfedff06f, // j from the beginning
    ],
    args: (ramBytes) => [RAM_BASE + 4096, RAM_BASE + ramBytes],
  },
  "floods its console": {
    words: [0x07800293 /* li t0, 'x' */, 0x00550023 /* sb t0, 0(a0) */, 0xffdff06f /* j back */],
    args: () => [UART, 0],
  },
  /** Loads, stores and atomics at every address of a list from a0 to a1; a trap goes on after the instruction. */
  "accesses every address": {
    words: [
      0x00000297, // auipc t0, 0
      0x04428293, // addi t0, t0, 68
      0x30529073, // csrw mtvec, t0
      0x00053303, // next: ld t1, 0(a0)
      0x00633023, // sd t1, 0(t1)
      0x00632023, // sw t1, 0(t1)
      0x00631023, // sh t1, 0(t1)
      0x00630023, // sb t1, 0(t1)
      0x00033383, // ld t2, 0(t1)
      0x00032383, // lw t2, 0(t1)
      0x006333af, // amoadd.d t2, t1, (t1)
      0x406323af, // amoor.w t2, t1, (t1)
      0x100333af, // lr.d t2, (t1)
      0x186333af, // sc.d t2, t1, (t1)
      0x00850513, // addi a0, a0, 8
      0xfcb568e3, // bltu a0, a1, next
      0x0000006f, // j .
      0x34102ff3, // csrr t6, mepc
      0x004f8f93, // addi t6, t6, 4
      0x341f9073, // csrw mepc, t6
      0x30200073, // mret
    ],
    args: () => [RAM_BASE + 4096, RAM_BASE + 8192],
  },
} as const satisfies Record<string, Program>;

/** Starts a program in a machine that is made for it. */
export function startHostile(
  host: TestHost,
  name: keyof typeof programs,
  options: Omit<TestVmOptions, "kernel">,
): TestVm {
  const vm = host.make({ kernel: new Uint8Array(0), ...options });
  startProgram(vm, name);
  return vm;
}

/** Runs a machine for a while. One that only faults retires nothing: it gets a number of exceptions. */
export function runHostile(vm: TestVm, name: keyof typeof programs, instructions: number): void {
  if (name === "faults without end") vm.cpu.run(Math.min(500, instructions));
  else vm.runTo(vm.cpu.retired() + instructions);
}

/** Puts a program into a machine's first page and the hart at its beginning. */
export function startProgram(vm: TestVm, name: keyof typeof programs): void {
  const { words, args } = programs[name];
  if (!vm.guest.write(RAM_BASE, new Uint8Array(Uint32Array.from(words).buffer))) throw new Error("no memory");
  const [a0, a1] = args(vm.options.ramBytes);
  vm.cpu.start({ pcLo: RAM_BASE | 0, pcHi: 0, mode: 3, args: [a0, a1, 0] });
}

/** Numbers that are the same in every run. */
export class Chance {
  constructor(private state: number) {}

  /** An integer from 0 to below `below`, which is at most 2^32. */
  under(below: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return Math.floor(((this.state >>> 0) / 2 ** 32) * below);
  }

  of<T>(list: readonly T[]): T {
    return list[this.under(list.length)]!;
  }

  /** An address: mostly at RAM's ends and devices, else anywhere but in the program, which is to go on. */
  address(ramBytes: number): bigint {
    for (;;) {
      const address = this.anyAddress(ramBytes);
      if (address < BigInt(RAM_BASE - 8) || address >= BigInt(RAM_BASE + 0x2000)) return address;
    }
  }

  private anyAddress(ramBytes: number): bigint {
    const near = BigInt(this.under(64)) - 32n;
    switch (this.under(8)) {
      case 0:
        return BigInt.asUintN(64, near);
      case 1:
        return BigInt(RAM_BASE + ramBytes) + near;
      case 2:
        return BigInt(RAM_BASE) - 1n - BigInt(this.under(1 << 20));
      case 3:
        return BigInt(RAM_BASE + ramBytes) + BigInt(this.under(2 ** 31));
      case 4:
        return (1n << BigInt(this.under(64))) + BigInt.asUintN(6, near);
      case 5:
        return BigInt(0x10000000 + this.under(0x9000));
      case 6:
        return BigInt(RAM_BASE + 0x10000 + this.under(ramBytes - 0x10000));
      default:
        return (BigInt(this.under(2 ** 32)) << 32n) | BigInt(this.under(2 ** 32));
    }
  }
}

const SIZE = 8;
/** Where the rings of a queue are; buffers and tables of descriptors come after those of all queues. */
const ringsOf = (queue: number): number => RAM_BASE + 0x4000 + 0x400 * queue;
const BUFFERS = RAM_BASE + 0x8000;
const TABLE = RAM_BASE + 0x9000;

/** A driver of one virtio slot. */
export class Attacker {
  readonly base: number;
  private readonly avail: number[];

  constructor(
    readonly vm: TestVm,
    slot: number,
    readonly queues: number,
  ) {
    this.base = 0x10001000 + 0x1000 * slot;
    this.avail = Array<number>(queues).fill(0);
  }

  get(offset: number): number {
    return this.vm.board.bus.read(this.base + offset, 4);
  }

  set(offset: number, value: number): void {
    this.vm.board.bus.write(this.base + offset, 4, value >>> 0);
  }

  /** Resets the device and sets it up by the book (virtio 1.2, section 3.1.1). */
  setUp(): void {
    this.set(0x70, 0);
    for (const status of [1, 3]) this.set(0x70, status);
    for (const word of [0, 1]) {
      this.set(0x14, word);
      const features = this.get(0x10);
      this.set(0x24, word);
      this.set(0x20, features);
    }
    this.set(0x70, 11);
    for (let queue = 0; queue < this.queues; queue++) {
      const rings = ringsOf(queue);
      this.vm.guest.write(rings, new Uint8Array(0x400));
      this.avail[queue] = 0;
      this.set(0x30, queue);
      this.set(0x38, SIZE);
      for (const [ring, gpa] of [rings, rings + 0x100, rings + 0x200].entries()) {
        this.set(0x80 + 0x10 * ring, gpa);
        this.set(0x84 + 0x10 * ring, 0);
      }
      this.set(0x44, 1);
    }
    this.set(0x70, 15);
  }

  descriptor(table: number, index: number, gpa: bigint, length: number, flags: number, next: number): void {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt.asUintN(64, gpa), true);
    view.setUint32(8, length, true);
    view.setUint16(12, flags, true);
    view.setUint16(14, next, true);
    this.vm.guest.write(table + 16 * index, bytes);
  }

  /** Makes a chain available and rings the bell. */
  offer(queue: number, head: number, ahead = 1): void {
    const ring = ringsOf(queue) + 0x100;
    const half = (gpa: number, value: number) =>
      this.vm.guest.write(gpa, Uint8Array.of(value & 255, (value >> 8) & 255));
    half(ring + 4 + 2 * (this.avail[queue]! % SIZE), head);
    this.avail[queue] = (this.avail[queue]! + ahead) & 0xffff;
    half(ring + 2, this.avail[queue]!);
    this.set(0x50, queue);
  }

  used(queue: number): number {
    const bytes = new Uint8Array(2);
    this.vm.guest.read(ringsOf(queue) + 0x202, bytes);
    return bytes[0]! | (bytes[1]! << 8);
  }

  /** A chain that breaks rules, or a register access that does. */
  attack(chance: Chance): void {
    const queue = chance.under(this.queues);
    const { ramBytes } = this.vm.options;
    const kind = chance.under(16);
    if (kind === 0) {
      // Registers as no driver writes them, resets and rings in mid-request among them.
      const offset = chance.of([
        0, 4, 8, 0x10, 0x30, 0x34, 0x38, 0x44, 0x50, 0x60, 0x64, 0x70, 0x80, 0x84, 0x90, 0xa0, 0xfc, 0x100,
        0x104,
      ]);
      const size = chance.of([1, 2, 4] as const);
      const value = chance.of([0, 1, 3, 7, 15, 255, chance.under(2 ** 32), RAM_BASE + ramBytes - 16]);
      this.vm.board.bus.write(this.base + offset + chance.of([0, 0, 0, 1, 2]), size, value % 2 ** (8 * size));
      return;
    }
    const address = () =>
      chance.under(3) === 0 ? BigInt(chance.of([BUFFERS, TABLE, ringsOf(queue)])) : chance.address(ramBytes);
    const length = () =>
      chance.of([0, 1, 16, 64, 4096, ramBytes, 0xffffffff, chance.under(2 ** 32), 16 * chance.under(64)]);
    for (let index = 0; index < SIZE; index++) {
      for (const table of [ringsOf(queue), TABLE])
        this.descriptor(
          table,
          index,
          chance.under(4) === 0 ? BigInt(TABLE) : address(),
          length(),
          chance.of([0, 1, 2, 3, 4, 5, 6, chance.under(65536)]),
          chance.of([index, 0, index + 1, SIZE, chance.under(SIZE), chance.under(65536)]),
        );
    }
    this.offer(
      queue,
      chance.of([0, 1, SIZE - 1, SIZE, 65535]),
      kind < 12 ? 1 : chance.of([0, 2, SIZE + 1, 40000, 65535]),
    );
  }

  /** Whether the device, after its reset, serves a request of one buffer that it reads or writes. */
  serves(queue: number, written: boolean): boolean {
    this.setUp();
    // As before a slice: the console takes so much of one slice, and has the rest wait.
    this.vm.virt.tick();
    this.vm.guest.write(BUFFERS, new Uint8Array(64).fill(0xff));
    this.descriptor(ringsOf(queue), 0, BigInt(BUFFERS), 64, written ? 2 : 0, 0);
    this.offer(queue, 0);
    return this.used(queue) === 1 && this.get(0x70) === 15;
  }
}
