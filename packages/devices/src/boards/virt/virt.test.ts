import { beforeEach, describe, expect, test } from "vitest";
import { FakeClock, FakeConsole, FakeHart, noMemory } from "../../../test/fakes.js";
import type { DeviceState, DmaMemory, IrqLine, MmioDevice } from "../../ports.js";
import type { PowerEvent } from "../../power/test-finisher.js";
import { wallClockFrom } from "../../rtc/goldfish-rtc.js";
import { type VirtBoard, type VirtBoardOptions, virtBoard } from "./virt.js";

const UART = 0x10000000;
const PLIC = 0xc000000;
const VIRTIO = 0x10001000;

let hart: FakeHart;
let clock: FakeClock;
let terminal: FakeConsole;
let events: PowerEvent[];
beforeEach(() => {
  hart = new FakeHart();
  clock = new FakeClock();
  terminal = new FakeConsole();
  events = [];
});

function board(options: Partial<VirtBoardOptions> = {}): VirtBoard {
  return virtBoard({
    memory: noMemory,
    ramBytes: 0x10000000,
    harts: [hart],
    clock,
    console: terminal,
    wallClock: wallClockFrom(0, clock),
    onPower: (event) => events.push(event),
    ...options,
  });
}

/** A virtio device that is nothing but a register and its interrupt. */
class Probe implements MmioDevice {
  readonly name = "probe";
  readonly counters = { writes: 0 };
  private value = 0;

  constructor(
    private readonly irq: IrqLine,
    readonly memory: DmaMemory,
  ) {}

  read(): number {
    return this.value;
  }

  write(_offset: number, _size: number, value: number): void {
    this.counters.writes++;
    this.value = value;
    this.irq.set(value !== 0);
  }

  reset(): void {
    this.value = 0;
    this.irq.set(false);
  }

  save(): DeviceState {
    return { value: this.value };
  }

  restore(state: DeviceState): void {
    this.value = state.value as number;
    this.irq.set(this.value !== 0);
  }
}
const probe = (irq: IrqLine, memory: DmaMemory): MmioDevice => new Probe(irq, memory);

/** Enables a source for the hart's supervisor mode. */
function open(machine: VirtBoard, source: number): void {
  machine.bus.write(PLIC + 4 * source, 4, 1);
  const enable = PLIC + 0x2080;
  machine.bus.write(enable, 4, machine.bus.read(enable, 4)! | (1 << source));
}

describe("the board", () => {
  test("has QEMU's devices at QEMU's addresses, and faults between them", () => {
    const { bus } = board();
    expect(bus.read(0x100000, 4)).toBe(0);
    expect(bus.read(0x101018, 4)).toBe(0);
    expect(bus.read(0x2004004, 4)).toBe(0xffffffff);
    expect(bus.read(PLIC, 4)).toBe(0);
    expect(bus.read(UART + 5, 1)).toBe(0x60);
    for (const gpa of [0, 0xfffff, 0x103000, 0x2010000, 0xc600000, 0x10000100, 0x10009000, 0x80000000]) {
      expect(bus.read(gpa, 4), gpa.toString(16)).toBeUndefined();
      expect(bus.write(gpa, 4, 0)).toBe(false);
    }
  });

  test("empty virtio slots say that nobody is there", () => {
    const { bus } = board();
    for (let slot = 0; slot < 8; slot++) {
      const words = [0, 4, 8].map((offset) => bus.read(VIRTIO + 0x1000 * slot + offset, 4));
      expect(words).toEqual([0x74726976, 2, 0]);
    }
  });

  test("virtio devices get their slot, its interrupt and the memory", () => {
    let memory: DmaMemory | undefined;
    const machine = board({
      virtio: [
        undefined,
        undefined,
        (irq, given) => {
          memory = given;
          return probe(irq, given);
        },
      ],
    });
    expect(memory).toBe(noMemory);
    open(machine, 3);
    machine.bus.write(VIRTIO + 0x2000, 4, 1);
    expect(hart.pending).toEqual([9]);
    expect(machine.bus.read(PLIC + 0x201004, 4)).toBe(3);
    expect(machine.bus.read(VIRTIO, 4)).toBe(0x74726976);
  });

  test("input interrupts through source 10, output reaches the console, power reaches the machine", () => {
    const machine = board();
    open(machine, 10);
    machine.bus.write(UART + 1, 1, 1);
    expect(machine.receive(Uint8Array.of(97))).toBe(1);
    expect(hart.pending).toEqual([9]);
    expect(machine.bus.read(UART, 1)).toBe(97);
    // The request was made, and stays until it is claimed.
    expect(hart.pending).toEqual([9]);
    expect(machine.bus.read(PLIC + 0x201004, 4)).toBe(10);
    expect(hart.pending).toEqual([]);
    machine.bus.write(UART, 1, 98);
    machine.flush();
    expect(terminal.writes).toEqual(["b"]);
    machine.bus.write(0x100000, 4, 0x5555);
    expect(events).toEqual([{ kind: "off", status: 0 }]);
  });

  test("the next deadline is the first of timer and alarm", () => {
    const machine = board();
    expect(machine.deadline()).toBe(Infinity);
    machine.bus.write(0x2004004, 4, 0);
    machine.bus.write(0x2004000, 4, 500);
    expect(machine.deadline()).toBe(500);
    open(machine, 11);
    machine.bus.write(0x101010, 4, 1);
    machine.bus.write(0x101008, 4, 30_000);
    expect(machine.deadline()).toBe(300);
    clock.ticks = 300;
    machine.tick();
    expect(hart.pending).toEqual([9]);
    expect(machine.deadline()).toBe(500);
    clock.ticks = 500;
    machine.tick();
    expect(hart.pending).toEqual([7, 9]);
  });

  test("a reset withdraws every interrupt", () => {
    const machine = board({ virtio: [probe] });
    open(machine, 1);
    machine.bus.write(VIRTIO, 4, 1);
    machine.bus.write(0x2000000, 4, 1);
    expect(hart.pending).toEqual([3, 9]);
    machine.reset();
    expect(hart.pending).toEqual([]);
    expect(machine.bus.read(VIRTIO, 4)).toBe(0);
    expect(machine.bus.read(PLIC + 0x1000, 4)).toBe(0);
  });

  test("whatever raises an interrupt wakes the VM, and nothing else does", () => {
    let wakes = 0;
    let line: IrqLine | undefined;
    const machine = board({
      onWake: () => wakes++,
      virtio: [
        (irq, memory) => {
          line = irq;
          return probe(irq, memory);
        },
      ],
    });
    line!.set(true);
    expect(wakes).toBe(0);
    line!.set(false);
    open(machine, 1);
    expect([hart.pending, wakes]).toEqual([[9], 1]);
    expect(machine.bus.read(PLIC + 0x201004, 4)).toBe(1);
    machine.bus.write(PLIC + 0x201004, 4, 1);
    expect(wakes).toBe(1);
    line!.set(true);
    expect(wakes).toBe(2);
    machine.bus.write(0x2004000, 4, 900);
    machine.bus.write(0x2004004, 4, 0);
    clock.ticks = 900;
    machine.tick();
    expect([hart.pending, wakes]).toEqual([[7, 9], 3]);
    machine.tick();
    machine.bus.write(UART, 1, 65);
    expect(wakes).toBe(3);
  });

  test("counters go by part", () => {
    const machine = board({ virtio: [probe, probe] });
    machine.bus.write(VIRTIO + 0x1000, 4, 1);
    expect(machine.counters()).toMatchObject({
      "virtio0:probe": { writes: 0 },
      "virtio1:probe": { writes: 1 },
      uart0: { sent: 0 },
      plic: { raised: 1 },
    });
  });

  test("impossible boards are refused", () => {
    for (const [code, options] of [
      ["E_HARTS", { harts: [] }],
      ["E_RAM_SIZE", { ramBytes: 0 }],
      ["E_RAM_SIZE", { ramBytes: 4097 }],
      ["E_RAM_SIZE", { ramBytes: Number.NaN }],
      ["E_VIRTIO_SLOTS", { virtio: Array(9).fill(probe) }],
    ] as const) {
      expect(() => board(options)).toThrow(expect.objectContaining({ code }));
    }
  });
});

describe("save and restore", () => {
  test("a copy goes on where the board was saved", () => {
    const machine = board({ virtio: [probe, undefined, probe] });
    open(machine, 1);
    open(machine, 10);
    machine.bus.write(VIRTIO + 0x2000, 4, 5);
    machine.bus.write(VIRTIO, 4, 7);
    machine.bus.write(UART + 1, 1, 1);
    machine.receive(Uint8Array.of(1, 2, 3));
    machine.bus.write(0x2004004, 4, 0);
    machine.bus.write(0x2004000, 4, 900);
    expect(machine.bus.read(PLIC + 0x201004, 4)).toBe(1);
    const saved = structuredClone(machine.save());

    const other = new FakeHart();
    const copy = board({ harts: [other], virtio: [probe, undefined, probe] });
    copy.restore(saved);
    expect(copy.save()).toEqual(saved);
    expect(other.pending).toEqual(hart.pending);
    expect(copy.deadline()).toBe(900);
    for (const machineUnderTest of [machine, copy]) {
      expect(machineUnderTest.bus.read(PLIC + 0x201004, 4)).toBe(10);
      expect(machineUnderTest.bus.read(PLIC + 0x201004, 4)).toBe(0);
      machineUnderTest.bus.write(PLIC + 0x201004, 4, 1);
      expect(machineUnderTest.bus.read(PLIC + 0x201004, 4)).toBe(1);
    }
  });

  test("the state of another make of board is refused", () => {
    const saved = board({ virtio: [probe] }).save();
    const message = (act: () => void): string => {
      try {
        act();
      } catch (error) {
        expect(error).toMatchObject({ code: "E_DEVICE_STATE" });
        return (error as Error).message;
      }
      return "";
    };
    expect(message(() => board().restore(saved))).toBe("the saved board has virtio0:probe, this one has not");
    const { rtc: _rtc, ...rest } = saved;
    expect(message(() => board({ virtio: [probe] }).restore(rest))).toBe(
      "the saved board has no rtc, this one has",
    );
  });
});
