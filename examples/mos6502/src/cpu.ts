/**
 * A 6502 with 64 KiB around it, ready to run: memory, devices on pages of 256 bytes, the IRQ and NMI inputs.
 *
 * Time is cycles: `run(n)` ends with the instruction that uses the n-th, so that an owner who changes an input at a
 * certain cycle runs up to it. Inputs are looked at between instructions; as on the chip, what CLI or PLP lets through
 * comes one instruction later.
 */
import { FlatCpu, type FlatCpuOptions } from "@hyperfile/jit";
import { type Mos6502Options, mos6502 } from "./front-end.js";
import { STACK_WINDOW } from "./semantics.js";

/** Where the address of a handler is. */
export const vectors = { nmi: 0xfffa, reset: 0xfffc, irq: 0xfffe } as const;

/** Guest-physical address of byte 0 of the devices. */
export const DEVICES = 0x10000;

const BRK = 0x00;
const RTI = 0x40;

/** What a machine is made from. */
export interface MachineOptions
  extends Mos6502Options,
    Pick<FlatCpuOptions, "tier" | "hotThreshold" | "verify"> {
  /** Whether an access to this page of 256 bytes goes to `read` and `write`; never unless given. */
  readonly isDevice?: (page: number, kind: "read" | "write") => boolean;
  readonly read?: (address: number) => number;
  readonly write?: (address: number, value: number) => void;
}

/** Memory address that a guest address leads to: the low 16 bits; the window shows the stack twice. */
export const memoryAddress = (address: number): number =>
  address >= STACK_WINDOW && address < STACK_WINDOW + 0x200 ? 0x100 | (address & 0xff) : address & 0xffff;

/** A 6502 and its memory. */
export class Machine {
  readonly cpu: FlatCpu;
  /** The IRQ input: level-triggered. */
  irq = false;
  private nmiPending = false;
  /** CLI or PLP has let an IRQ through: one more instruction comes first. */
  private delayed = false;
  private isDelaying = false;
  /** An IRQ that was seen is taken whatever the mask is now. */
  private forced = false;

  constructor(options: MachineOptions = {}) {
    const { isDevice, read, write, decimal: _, ...rest } = options;
    this.cpu = new FlatCpu({
      ...rest,
      frontEnd: mos6502(options),
      ramBytes: 0x10000,
      map: (address, kind) => {
        const at = memoryAddress(address);
        return kind !== "fetch" && isDevice?.(at >> 8, kind) ? DEVICES + at : at;
      },
      bus: {
        read: (address) => read?.(address - DEVICES) ?? 0xff,
        write: (address, _, value) => {
          write?.(address - DEVICES, value);
          return true;
        },
      },
      helpers: {
        brk: () => this.enter(vectors.irq, 0x30, 2),
        rti: (cpu, target = 0) => {
          cpu.pc = target;
          cpu.interrupt();
        },
        masked: (cpu) => {
          if (!this.irq || cpu.get("i") === 1) return;
          this.delayed = true;
          cpu.stop();
        },
      },
      interruptReady: () => this.nmiPending || this.forced || (this.irqReady() && !this.isDelaying),
      takeInterrupt: (cpu) => {
        this.forced = false;
        this.delayed = false;
        this.enter(this.nmiPending ? vectors.nmi : vectors.irq, 0x20, 0);
        this.nmiPending = false;
        cpu.charge(7);
      },
    });
  }

  /** Cycles since the machine was made. */
  get cycles(): number {
    return this.cpu.elapsed;
  }

  get pc(): number {
    return this.cpu.pc & 0xffff;
  }
  set pc(address: number) {
    this.cpu.pc = address;
  }

  /** The status register, with the bits that have no flag set. */
  get p(): number {
    return statusOf(this.cpu);
  }
  set p(value: number) {
    setStatus(this.cpu, value);
  }

  /** Copies bytes to memory. */
  load(address: number, bytes: Uint8Array): void {
    this.cpu.write(address, bytes);
  }

  /** A byte of memory. */
  peek(address: number): number {
    return this.cpu.read(address & 0xffff, 1)[0]!;
  }

  /** Requests an NMI: the input's edge. */
  nmi(): void {
    this.nmiPending = true;
  }

  /** Starts at the reset vector. */
  reset(): void {
    this.cpu.set("i", 1);
    this.cpu.set("s", (this.cpu.get("s") - 3) & 0xff);
    this.pc = this.wordAt(vectors.reset);
    this.cpu.charge(7);
  }

  /**
   * Runs for `cycles` cycles, and to the end of the instruction that uses the last one.
   * @returns `jam` if an opcode locked the CPU up: the program counter is its address
   */
  run(cycles: number): "budget" | "jam" {
    const { cpu } = this;
    for (const end = cpu.elapsed + cycles; cpu.elapsed < end; ) {
      this.isDelaying = this.delayed;
      const opcode = this.delayed ? this.peek(this.pc) : undefined;
      this.delayed = false;
      const result = cpu.run(this.isDelaying ? 1 : end - cpu.elapsed);
      if (this.isDelaying) this.forced = this.irq && opcode !== BRK && opcode !== RTI;
      this.isDelaying = false;
      if (result === "fault") return "jam";
    }
    return "budget";
  }

  private irqReady(): boolean {
    return this.irq && this.cpu.get("i") === 0;
  }

  private wordAt(address: number): number {
    return this.peek(address) | (this.peek(address + 1) << 8);
  }

  /** Pushes what a handler returns to and goes to it; `marks` are the bits of the status that have no flag. */
  private enter(vector: number, marks: number, skipped: number): void {
    const { cpu } = this;
    const status = (statusOf(cpu) & 0xcf) | marks;
    const from = cpu.pc + skipped;
    let s = cpu.get("s");
    for (const value of [from >> 8, from, status]) {
      cpu.write(0x100 | s, Uint8Array.of(value));
      s = (s - 1) & 0xff;
    }
    cpu.set("s", s);
    cpu.set("i", 1);
    cpu.pc = this.wordAt(vector);
  }
}

/** The status register of a CPU, with the bits that have no flag set. */
export const statusOf = (cpu: FlatCpu): number =>
  (cpu.get("n") & 0x80) |
  ((cpu.get("v") & 0x80) >> 1) |
  0x30 |
  (cpu.get("d") << 3) |
  (cpu.get("i") << 2) |
  (cpu.get("z") === 0 ? 2 : 0) |
  cpu.get("c");

/** Sets the flags from a status byte. */
export function setStatus(cpu: FlatCpu, p: number): void {
  cpu.set("n", p);
  cpu.set("v", p << 1);
  cpu.set("d", (p >> 3) & 1);
  cpu.set("i", (p >> 2) & 1);
  cpu.set("z", (p & 2) ^ 2);
  cpu.set("c", p & 1);
}
