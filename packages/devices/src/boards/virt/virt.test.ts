import { beforeEach, describe, expect, test } from "vitest";
import { FakeClock, FakeConsole, FakeHart, noMemory } from "../../../test/fakes.js";
import type { DeviceState, IrqLine, MmioDevice } from "../../ports.js";
import type { PowerEvent } from "../../power/test-finisher.js";
import { wallClockFrom } from "../../rtc/goldfish-rtc.js";
import { virtioRng } from "../../virtio/rng.js";
import { type BoardPart, mmioPart } from "../part.js";
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

/** A device that is nothing but a register and its interrupt. */
class Probe implements MmioDevice {
  readonly name = "probe";
  readonly counters = { writes: 0 };
  private value = 0;

  constructor(private readonly irq: IrqLine) {}

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
const PROBE = 0x4000000;
/** Probes have a page and an interrupt each, from 20 on. */
const probe = (index = 0, options: Partial<BoardPart> = {}): BoardPart => ({
  ...mmioPart({
    name: `probe${index}`,
    base: PROBE + 0x1000 * index,
    size: 0x1000,
    interrupt: 20 + index,
    make: ({ interrupts }) => new Probe(interrupts[0]!),
  }),
  ...options,
});
const rng = () => virtioRng({ entropy: (bytes) => bytes.fill(1) });

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

  test("virtio devices get their slot and its interrupt", () => {
    const machine = board({ virtio: [undefined, undefined, rng()] });
    const [words, registers] = [[0, 4, 8], VIRTIO + 0x2000];
    expect(words.map((offset) => machine.bus.read(registers + offset, 4))).toEqual([0x74726976, 2, 4]);
    expect(words.map((offset) => machine.bus.read(VIRTIO + offset, 4))).toEqual([0x74726976, 2, 0]);
    open(machine, 3);
    const write = (offset: number, value: number) => machine.bus.write(registers + offset, 4, value);
    for (const [offset, value] of [
      [0x70, 3],
      [0x24, 1],
      [0x20, 1],
      [0x70, 11],
      [0x44, 1],
      [0x70, 15],
    ] as const)
      write(offset, value);
    // A queue of no size: the device needs a reset, and says so.
    expect(machine.bus.read(registers + 0x70, 4)).toBe(15 | 64);
    expect(hart.pending).toEqual([9]);
    expect(machine.bus.read(PLIC + 0x201004, 4)).toBe(3);
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
    const machine = board({ parts: [probe()] });
    open(machine, 20);
    machine.bus.write(PROBE, 4, 1);
    machine.bus.write(0x2000000, 4, 1);
    expect(hart.pending).toEqual([3, 9]);
    machine.reset();
    expect(hart.pending).toEqual([]);
    expect(machine.bus.read(PROBE, 4)).toBe(0);
    expect(machine.bus.read(PLIC + 0x1000, 4)).toBe(0);
  });

  test("whatever raises an interrupt wakes the VM, and nothing else does", () => {
    let wakes = 0;
    let line: IrqLine | undefined;
    let attention = (): void => {};
    const machine = board({
      onWake: () => wakes++,
      parts: [
        probe(0, {
          make: ({ interrupts, wake }) => {
            [line] = interrupts;
            attention = wake;
            return new Probe(line!);
          },
        }),
      ],
    });
    line!.set(true);
    expect(wakes).toBe(0);
    line!.set(false);
    open(machine, 20);
    expect([hart.pending, wakes]).toEqual([[9], 1]);
    expect(machine.bus.read(PLIC + 0x201004, 4)).toBe(20);
    machine.bus.write(PLIC + 0x201004, 4, 20);
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
    attention();
    expect(wakes).toBe(4);
  });

  test("counters go by part", () => {
    const machine = board({ virtio: [rng()], parts: [probe(0), probe(1)] });
    machine.bus.write(PROBE + 0x1000, 4, 1);
    expect(machine.counters()).toMatchObject({
      "virtio0:rng": { requests: 0, kicks: 0, badAccesses: 0 },
      probe0: { writes: 0 },
      probe1: { writes: 1 },
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
      ["E_VIRTIO_SLOTS", { virtio: Array(9).fill(rng()) }],
    ] as const) {
      expect(() => board(options)).toThrow(expect.objectContaining({ code }));
    }
  });
});

describe("save and restore", () => {
  test("a copy goes on where the board was saved", () => {
    const options = { virtio: [undefined, rng()], parts: [probe(0), probe(1)] };
    const machine = board(options);
    open(machine, 20);
    open(machine, 10);
    machine.bus.write(PROBE + 0x1000, 4, 5);
    machine.bus.write(PROBE, 4, 7);
    machine.bus.write(UART + 1, 1, 1);
    machine.receive(Uint8Array.of(1, 2, 3));
    machine.bus.write(0x2004004, 4, 0);
    machine.bus.write(0x2004000, 4, 900);
    expect(machine.bus.read(PLIC + 0x201004, 4)).toBe(10);
    const saved = structuredClone(machine.save());

    const other = new FakeHart();
    const copy = board({ ...options, virtio: [undefined, rng()], harts: [other] });
    copy.restore(saved);
    expect(copy.save()).toEqual(saved);
    expect(other.pending).toEqual(hart.pending);
    expect(copy.deadline()).toBe(900);
    for (const machineUnderTest of [machine, copy]) {
      expect(machineUnderTest.bus.read(PLIC + 0x201004, 4)).toBe(20);
      expect(machineUnderTest.bus.read(PLIC + 0x201004, 4)).toBe(0);
      machineUnderTest.bus.write(PLIC + 0x201004, 4, 20);
      expect(machineUnderTest.bus.read(PLIC + 0x201004, 4)).toBe(20);
      expect([0, 0x1000].map((at) => machineUnderTest.bus.read(PROBE + at, 4))).toEqual([7, 5]);
    }
  });

  test("the state of another make of board is refused", () => {
    const names = [
      "input",
      "firmware",
      "test",
      "rtc",
      "generation",
      "clint",
      "uart0",
      "virtio0:rng",
      "probe0",
      "plic",
    ];
    const saved = board({ virtio: [rng()], parts: [probe()] }).save();
    expect(Object.keys(saved)).toEqual(names);
    const message = (act: () => void): string => {
      try {
        act();
      } catch (error) {
        expect(error).toMatchObject({ code: "E_DEVICE_STATE" });
        return (error as Error).message;
      }
      return "";
    };
    expect(message(() => board().restore(saved))).toBe("the saved board has virtio0:rng, this one has not");
    const { rtc: _rtc, ...rest } = saved;
    expect(message(() => board({ virtio: [rng()] }).restore(saved))).toBe(
      "the saved board has probe0, this one has not",
    );
    expect(message(() => board({ virtio: [rng()], parts: [probe()] }).restore(rest))).toBe(
      "the saved board has no rtc, this one has",
    );
  });
});
