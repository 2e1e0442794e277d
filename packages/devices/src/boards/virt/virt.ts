/**
 * A board that guests made for QEMU's `virt` boot on unchanged: the same devices at the same addresses with the
 * same interrupts.
 */
import { Bus } from "../../bus/bus.js";
import { Clint } from "../../clint/clint.js";
import { Plic } from "../../irq/plic.js";
import type {
  Clock,
  ConsoleBackend,
  DeviceState,
  DmaMemory,
  HartInterrupts,
  IrqLine,
  MmioDevice,
} from "../../ports.js";
import { type PowerEvent, TestFinisher } from "../../power/test-finisher.js";
import { GoldfishRtc } from "../../rtc/goldfish-rtc.js";
import { Ns16550 } from "../../uart/ns16550.js";
import { EmptySlot } from "../../virtio/empty-slot.js";
import { type VirtTreeOptions, virtDeviceTree } from "./device-tree.js";
import { VIRTIO_SLOTS, virtIrq, virtMap } from "./memory-map.js";

/** Makes the device of one virtio slot. */
export type VirtioFactory = (irq: IrqLine, memory: DmaMemory) => MmioDevice;

/** What a board is made from. */
export interface VirtBoardOptions {
  readonly memory: DmaMemory;
  /** Bytes of RAM. */
  readonly ramBytes: number;
  readonly harts: readonly HartInterrupts[];
  readonly clock: Clock;
  /** The far end of the UART. */
  readonly console: ConsoleBackend;
  /** Milliseconds since 1970; the host's clock unless given. */
  readonly wallClock?: () => number;
  /** Devices for the virtio slots, in order; at most eight. */
  readonly virtio?: readonly VirtioFactory[];
  readonly onPower: (event: PowerEvent) => void;
}

/** A board. */
export interface VirtBoard {
  readonly bus: Bus;
  readonly uart: Ns16550;
  readonly clint: Clint;
  readonly plic: Plic;
  /** Offers console input; returns how many bytes were taken. */
  receive(bytes: Uint8Array): number;
  /** Hands on gathered console output. */
  flush(): void;
  /** Lets the timers catch up with the clock. */
  tick(): void;
  /** Tick at which `tick` is next needed; Infinity if never. */
  deadline(): number;
  /** Brings all devices to power-on. */
  reset(): void;
  /** State of all devices by name. */
  save(): Readonly<Record<string, DeviceState>>;
  /** Restores what `save` returned; throws if a device is missing from it. */
  restore(state: Readonly<Record<string, DeviceState>>): void;
  /** Counters of all devices by name. */
  counters(): Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** The device tree for this board. */
  deviceTree(options: Omit<VirtTreeOptions, "harts" | "ramBytes">): Uint8Array;
}

/**
 * Builds a board.
 * @throws RangeError if there are more virtio devices than slots
 */
export function virtBoard(options: VirtBoardOptions): VirtBoard {
  const { memory, harts, clock, virtio = [] } = options;
  if (virtio.length > VIRTIO_SLOTS) {
    throw new RangeError(`${virtio.length} virtio devices: the board has ${VIRTIO_SLOTS} slots`);
  }
  const bus = new Bus();
  const plic = new Plic(harts);
  const clint = new Clint(harts, clock);
  const uart = new Ns16550("uart0", plic.line(virtIrq.uart), options.console);
  const rtc = new GoldfishRtc(plic.line(virtIrq.rtc), options.wallClock ?? Date.now, clock);
  bus.attach(virtMap.test.base, virtMap.test.size, new TestFinisher(options.onPower));
  bus.attach(virtMap.rtc.base, virtMap.rtc.size, rtc);
  bus.attach(virtMap.clint.base, virtMap.clint.size, clint);
  bus.attach(virtMap.plic.base, virtMap.plic.size, plic);
  bus.attach(virtMap.uart.base, virtMap.uart.size, uart);
  for (let slot = 0; slot < VIRTIO_SLOTS; slot++) {
    const make = virtio[slot];
    const device = make?.(plic.line(virtIrq.firstVirtio + slot), memory) ?? new EmptySlot(`virtio${slot}`);
    bus.attach(virtMap.virtio.base + slot * virtMap.virtio.size, virtMap.virtio.size, device);
  }
  const named = () => bus.devices.map((device) => [device.name, device] as const);

  return {
    bus,
    uart,
    clint,
    plic,
    receive: (bytes) => uart.receive(bytes),
    flush: () => uart.flush(),
    tick() {
      clint.tick();
      rtc.tick();
    },
    deadline: () => Math.min(clint.deadline(), rtc.deadline()),
    reset: () => bus.devices.forEach((device) => device.reset()),
    save: () => Object.fromEntries(named().map(([name, device]) => [name, device.save()])),
    restore(state) {
      for (const [name, device] of named()) {
        const saved = state[name];
        if (saved === undefined) throw new Error(`saved state has no device ${name}: it is from another machine`);
        device.restore(saved);
      }
    },
    counters: () => Object.fromEntries(named().map(([name, device]) => [name, device.counters])),
    deviceTree: (tree) => virtDeviceTree({ ...tree, harts: harts.length, ramBytes: options.ramBytes }),
  };
}
