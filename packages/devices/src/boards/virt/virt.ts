/**
 * A board that guests made for QEMU's `virt` boot on unchanged: the same devices at the same addresses with the
 * same interrupts.
 *
 * It is a list of parts, to which a user adds his own. Their names tell place and kind, for instance `uart0` and
 * `virtio0:rng`.
 */
import { Clint } from "../../clint/clint.js";
import { ConsoleInput } from "../../console/console-input.js";
import { FirmwareConsole } from "../../console/firmware-console.js";
import { BoardError } from "../../errors.js";
import type { VmGeneration } from "../../generation/vm-generation.js";
import { Plic } from "../../irq/plic.js";
import type { Clock, ConsoleBackend, DmaMemory, HartInterrupts, Lender } from "../../ports.js";
import type { PowerEvent } from "../../power/test-finisher.js";
import type { Ns16550 } from "../../uart/ns16550.js";
import type { VirtioDevice } from "../../virtio/device.js";
import { Board } from "../board.js";
import type { BoardPart } from "../part.js";
import { type VirtTreeOptions, virtDeviceTree } from "./device-tree.js";
import { RAM_BASE, VIRTIO_SLOTS, type VirtMemory } from "./memory-map.js";
import {
  CONTROLLER,
  clintPart,
  generationPart,
  plicPart,
  powerPart,
  rtcPart,
  sinkPart,
  statePart,
  uartPart,
  virtioPart,
} from "./parts.js";

/** As many as QEMU's `virt` takes. */
const MAXIMUM_HARTS = 512;
const PAGE = 4096;

/** What a board is made from. */
export interface VirtBoardOptions {
  /** The guest's RAM as its devices see it. */
  readonly memory: DmaMemory;
  /** Bytes of RAM, from `RAM_BASE`. */
  readonly ramBytes: number;
  /** Memory at other places. */
  readonly memories?: readonly VirtMemory[];
  /** Makes memory that parts lend to the guest. */
  readonly lend?: Lender;
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
  readonly virtio?: readonly (VirtioDevice | undefined)[];
  /**
   * Milliseconds that the backend of a virtio device has for requests of a driver that is gone, while a new one waits for
   * it; the device then says that it needs a reset. Ten seconds unless given.
   */
  readonly drainMs?: number;
  /**
   * Parts of one's own. Addresses from `virtMap.platform` and interrupts from `virtIrq.firstPlatform` on are free; so is
   * whatever no other part has.
   */
  readonly parts?: readonly BoardPart[];
  /** The guest powers off or resets; called inside its store. */
  readonly onPower: (event: PowerEvent) => void;
  /**
   * An interrupt of a hart has become pending, whenever a device raised it, or a device wants the machine's attention: a
   * VM that sleeps must look at its hart and its board. Called in the middle of whatever raised it, also of the hart's
   * own accesses.
   */
  readonly onWake?: () => void;
}

/** A board. */
export interface VirtBoard
  extends Pick<
    Board,
    | "bus"
    | "tick"
    | "deadline"
    | "flush"
    | "busy"
    | "inFlight"
    | "drain"
    | "reset"
    | "save"
    | "restore"
    | "resume"
    | "counters"
    | "dispose"
  > {
  readonly uart: Ns16550;
  readonly clint: Clint;
  readonly plic: Plic;
  /** Which machine this is; its owner renews it when it gets the state of another. */
  readonly generation: VmGeneration;
  /** The console of a built-in SBI. */
  readonly firmware: FirmwareConsole;
  /** Offers console input, which goes to one of the consoles; returns how many bytes were taken, from the front. */
  receive(bytes: Uint8Array): number;
  /** The device tree for this board. */
  deviceTree(options: Omit<VirtTreeOptions, "harts" | "ramBytes" | "memories">): Uint8Array;
}

/**
 * Builds a board.
 * @throws BoardError on no or too many harts (`E_HARTS`), an impossible size of RAM (`E_RAM_SIZE`), more virtio
 *   devices than slots (`E_VIRTIO_SLOTS`), or parts that do not fit beside the others, as {@link Board} says
 */
export function virtBoard(options: VirtBoardOptions): VirtBoard {
  const { memory, ramBytes, memories = [], clock, onWake = () => {}, console, onPower } = options;
  const virtio = checkedVirtio(options);
  const harts = options.harts.map((hart) => waking(hart, onWake));
  const plic = new Plic(harts);
  const clint = new Clint(harts, clock);
  const input = options.input ?? new ConsoleInput();
  const firmware = new FirmwareConsole(input, console, () => uart.flush());
  let uart!: Ns16550;
  let generation!: VmGeneration;
  const parts: readonly BoardPart[] = [
    statePart(input.name, input),
    statePart(firmware.name, firmware),
    powerPart(onPower),
    rtcPart(options.wallClock ?? Date.now),
    generationPart((made) => {
      generation = made;
    }),
    clintPart(clint),
    uartPart(console, input, (made) => {
      uart = made;
    }),
    ...Array.from({ length: VIRTIO_SLOTS }, (_, slot) => virtioPart(slot, virtio[slot], options.drainMs)),
    ...memories.filter(({ stores }) => stores === "ignore").map(sinkPart),
    ...(options.parts ?? []),
    plicPart(plic),
  ];
  const board = new Board(parts, {
    memory,
    ram: { base: RAM_BASE, size: ramBytes },
    reserved: memories.filter(({ stores }) => stores !== "ignore"),
    ...(options.lend === undefined ? {} : { lend: options.lend }),
    clock,
    wake: onWake,
    controller: CONTROLLER,
    line: (source) => plic.line(source),
  });

  return {
    bus: board.bus,
    uart,
    clint,
    plic,
    generation,
    firmware,
    receive: (bytes) => input.receive(bytes),
    flush: () => board.flush(),
    tick: () => board.tick(),
    deadline: () => board.deadline(),
    busy: () => board.busy(),
    inFlight: () => board.inFlight(),
    drain: () => board.drain(),
    reset: () => board.reset(),
    save: () => board.save(),
    restore: (state) => board.restore(state),
    resume: () => board.resume(),
    counters: () => board.counters(),
    dispose: () => board.dispose(),
    deviceTree: (tree) => virtDeviceTree({ ...tree, harts: harts.length, ramBytes, memories }, parts),
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
}: VirtBoardOptions): readonly (VirtioDevice | undefined)[] {
  if (harts.length < 1 || harts.length > MAXIMUM_HARTS) {
    throw new BoardError("E_HARTS", `${harts.length} harts: the board takes 1 to ${MAXIMUM_HARTS}`);
  }
  if (!Number.isSafeInteger(ramBytes) || ramBytes < PAGE || ramBytes % PAGE !== 0) {
    throw new BoardError("E_RAM_SIZE", `${ramBytes} bytes of RAM: give a positive multiple of ${PAGE}`);
  }
  if (virtio.length > VIRTIO_SLOTS) {
    throw new BoardError(
      "E_VIRTIO_SLOTS",
      `${virtio.length} virtio devices: the board has ${VIRTIO_SLOTS} slots: leave some out`,
    );
  }
  return virtio;
}
