/**
 * A board that guests made for QEMU's `virt` boot on unchanged: the same devices at the same addresses with the
 * same interrupts.
 *
 * A saved board names every part by its place and kind, for instance `uart0` and `virtio0:rng`, so that it can only
 * be restored to a board of the same make.
 */
import { Bus } from "../../bus/bus.js";
import { Clint } from "../../clint/clint.js";
import { ConsoleInput } from "../../console/console-input.js";
import { FirmwareConsole } from "../../console/firmware-console.js";
import { BoardError } from "../../errors.js";
import { VmGeneration } from "../../generation/vm-generation.js";
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
import { DeviceStateError } from "../../state.js";
import { Ns16550 } from "../../uart/ns16550.js";
import { EmptySlot } from "../../virtio/empty-slot.js";
import { type VirtTreeOptions, virtDeviceTree } from "./device-tree.js";
import { type Range, VIRTIO_SLOTS, virtIrq, virtMap } from "./memory-map.js";

/** As many as QEMU's `virt` takes. */
const MAXIMUM_HARTS = 512;
const PAGE = 4096;

/** What a board saves, restores, resets and counts. */
type BoardPart = Pick<MmioDevice, "reset" | "save" | "restore" | "counters">;

/** Makes the device of one virtio slot, given its interrupt and the memory that it may reach. */
export type VirtioFactory = (irq: IrqLine, memory: DmaMemory) => MmioDevice;

/** What a board is made from. */
export interface VirtBoardOptions {
  /** The guest's RAM as its devices see it. */
  readonly memory: DmaMemory;
  /** Bytes of RAM, from `RAM_BASE`. */
  readonly ramBytes: number;
  /** Interrupt inputs of the harts; the place in the list is the hart's id. */
  readonly harts: readonly HartInterrupts[];
  readonly clock: Clock;
  /** The far end of the UART and of the firmware's console. */
  readonly console: ConsoleBackend;
  /** What was typed there, if a virtio console is to share it; the board makes one unless given. */
  readonly input?: ConsoleInput;
  /** Milliseconds since 1970; the host's clock unless given. A deterministic machine gives `wallClockFrom`. */
  readonly wallClock?: () => number;
  /** Devices for the virtio slots, in order; at most eight. A slot left undefined stays empty. */
  readonly virtio?: readonly (VirtioFactory | undefined)[];
  /** The guest powers off or resets; called inside its store. */
  readonly onPower: (event: PowerEvent) => void;
  /**
   * An interrupt of a hart has become pending, whenever a device raised it: a VM that sleeps must look at its hart.
   * Called in the middle of whatever raised it, also of the hart's own accesses.
   */
  readonly onWake?: () => void;
}

/** A board. */
export interface VirtBoard {
  /** The devices by address, for the harts. */
  readonly bus: Bus;
  readonly uart: Ns16550;
  readonly clint: Clint;
  readonly plic: Plic;
  /** Which machine this is; its owner renews it when it gets the state of another. */
  readonly generation: VmGeneration;
  /** The console of a built-in SBI. */
  readonly firmware: FirmwareConsole;
  /** Offers console input, which goes to one of the consoles; returns how many bytes were taken, from the front. */
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
  /**
   * Restores what `save` returned. Memory, harts and clock are restored by their owners.
   * @throws DeviceStateError if the state is of another make of board; the board is then to be reset or dropped
   */
  restore(state: Readonly<Record<string, DeviceState>>): void;
  /** Counters of all devices by name. */
  counters(): Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** The device tree for this board. */
  deviceTree(options: Omit<VirtTreeOptions, "harts" | "ramBytes">): Uint8Array;
}

/**
 * Builds a board.
 * @throws BoardError on no or too many harts (`E_HARTS`), an impossible size of RAM (`E_RAM_SIZE`), or more virtio
 *   devices than slots (`E_VIRTIO_SLOTS`)
 */
export function virtBoard(options: VirtBoardOptions): VirtBoard {
  const { memory, clock, onWake } = options;
  const harts = onWake === undefined ? options.harts : options.harts.map((hart) => waking(hart, onWake));
  const virtio = checkedVirtio(options);
  const bus = new Bus();
  const parts = new Map<string, BoardPart>();
  const plic = new Plic(harts);
  const clint = new Clint(harts, clock);
  const input = options.input ?? new ConsoleInput();
  const uart = new Ns16550("uart0", plic.line(virtIrq.uart), options.console, input);
  const firmware = new FirmwareConsole(input, options.console, () => uart.flush());
  const rtc = new GoldfishRtc(plic.line(virtIrq.rtc), options.wallClock ?? Date.now, clock);
  const generation = new VmGeneration(plic.line(virtIrq.generation));
  const place = (range: Range, device: MmioDevice): void => {
    bus.attach(range.base, range.size, device);
    parts.set(device.name, device);
  };
  for (const part of [input, firmware]) parts.set(part.name, part);
  place(virtMap.test, new TestFinisher(options.onPower));
  place(virtMap.rtc, rtc);
  place(virtMap.generation, generation);
  place(virtMap.clint, clint);
  place(virtMap.uart, uart);
  for (let slot = 0; slot < VIRTIO_SLOTS; slot++) {
    const { base, size } = virtMap.virtio;
    const device = virtio[slot]?.(plic.line(virtIrq.firstVirtio + slot), memory);
    bus.attach(base + slot * size, size, device ?? new EmptySlot(`virtio${slot}`));
    if (device !== undefined) parts.set(`virtio${slot}:${device.name}`, device);
  }
  // Last, so that after a reset or a restore of the devices it speaks for the levels of their lines.
  place(virtMap.plic, plic);

  return {
    bus,
    uart,
    clint,
    plic,
    generation,
    firmware,
    receive: (bytes) => input.receive(bytes),
    flush: () => uart.flush(),
    tick() {
      clint.tick();
      rtc.tick();
    },
    deadline: () => Math.min(clint.deadline(), rtc.deadline()),
    reset() {
      for (const device of parts.values()) device.reset();
    },
    save: () => Object.fromEntries([...parts].map(([name, device]) => [name, device.save()])),
    restore(state) {
      const other = Object.keys(state).find((name) => !parts.has(name));
      if (other !== undefined) throw new DeviceStateError(`the saved board has ${other}, this one has not`);
      for (const [name, device] of parts) {
        const saved = state[name];
        if (saved === undefined) throw new DeviceStateError(`the saved board has no ${name}, this one has`);
        device.restore(saved);
      }
    },
    counters: () => Object.fromEntries([...parts].map(([name, device]) => [name, device.counters])),
    deviceTree: (tree) => virtDeviceTree({ ...tree, harts: harts.length, ramBytes: options.ramBytes }),
  };
}

/** A hart's inputs, of which each that rises wakes its VM. */
function waking(hart: HartInterrupts, onWake: () => void): HartInterrupts {
  let levels = 0;
  return {
    setPending(cause, level) {
      const before = levels;
      levels = level ? levels | (1 << cause) : levels & ~(1 << cause);
      hart.setPending(cause, level);
      if ((levels & ~before) !== 0) onWake();
    },
  };
}

function checkedVirtio({
  harts,
  ramBytes,
  virtio = [],
}: VirtBoardOptions): readonly (VirtioFactory | undefined)[] {
  if (harts.length < 1 || harts.length > MAXIMUM_HARTS) {
    throw new BoardError("E_HARTS", `${harts.length} harts: the board takes 1 to ${MAXIMUM_HARTS}`);
  }
  if (!Number.isSafeInteger(ramBytes) || ramBytes < PAGE || ramBytes % PAGE !== 0) {
    throw new BoardError("E_RAM_SIZE", `${ramBytes} bytes of RAM: give a positive multiple of ${PAGE}`);
  }
  if (virtio.length > VIRTIO_SLOTS) {
    throw new BoardError(
      "E_VIRTIO_SLOTS",
      `${virtio.length} virtio devices: the board has ${VIRTIO_SLOTS} slots`,
    );
  }
  return virtio;
}
