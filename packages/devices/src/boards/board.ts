/**
 * A board as a list of parts: checks that they go together, puts them on a bus, and does to all what is done to a board.
 *
 * Invariants: names are unique, ranges do not overlap each other or RAM, an interrupt belongs to one part. A saved board
 * names every part, so that it can only be restored to a board of the same make. The interrupt controller is reset and
 * restored after the parts that drive its lines, and then speaks for their levels.
 */
import { Bus } from "../bus/bus.js";
import { BoardError } from "../errors.js";
import type { Clock, DeviceState, DmaMemory, IrqLine, Lender, MmioRegisters } from "../ports.js";
import { DeviceStateError } from "../state.js";
import type { Drain } from "../virtio/requests.js";
import type { AddressRange, BoardPart, PartContext, PartDevice } from "./part.js";

/** What a board has around it. */
export interface BoardEnvironment {
  readonly memory: DmaMemory;
  /** Where RAM is: no part can be there. */
  readonly ram: AddressRange;
  /** Further memory that no part can be at. */
  readonly reserved?: readonly (AddressRange & { readonly name: string })[];
  /** Makes what parts lend; a board without it has no parts that do. */
  readonly lend?: Lender;
  readonly clock: Clock;
  /** Has the machine look at its devices soon. */
  wake(): void;
  /** Name of the part that is the interrupt controller. */
  readonly controller: string;
  /** An input of the interrupt controller; throws BoardError (`E_IRQ_SOURCE`) if there is none of that number. */
  line(source: number): IrqLine;
}

const cannotLend = (): never => {
  throw new BoardError("E_PART_DEVICE", "this board has no memory to lend: make it with a lender");
};
const NO_LENDER: Lender = { allocate: cannotLend, window: cannotLend };

const NAME = /^[A-Za-z][\w:.-]{0,63}$/;

/** Parts that were put together. */
export class Board {
  /** The devices by address, for the harts. */
  readonly bus = new Bus();
  /** In the order of reset and restore. */
  private readonly devices: readonly (readonly [string, PartDevice])[];
  /** Those that are saved and counted. */
  private readonly kept: ReadonlyMap<string, PartDevice>;
  private readonly ticking: readonly PartDevice[];
  private isDisposed = false;

  /**
   * @throws BoardError on parts that do not go together: `E_PART_NAME`, `E_BUS_OVERLAP`, `E_BUS_RANGE`, `E_IRQ_TAKEN`,
   *   `E_IRQ_SOURCE` before any is made, `E_PART_DEVICE` after those that were made are disposed of
   */
  constructor(parts: readonly BoardPart[], environment: BoardEnvironment) {
    checkNames(parts);
    const { memory, ram, reserved = [], lend = NO_LENDER, clock, controller, wake, line } = environment;
    const taken = [{ ...ram, name: "RAM" }, ...reserved];
    checkRanges(parts, taken);
    checkInterrupts(parts);
    const contexts = parts.map(
      ({ interrupts = [] }): PartContext => ({
        interrupts: interrupts.map((source) => line(source)),
        memory,
        clock,
        lend,
        bus: this.bus,
        wake,
      }),
    );
    for (const { base, size, name } of taken) this.bus.reserve(base, size, name);
    const made: [BoardPart, PartDevice][] = [];
    try {
      for (const [index, part] of parts.entries()) {
        const device = part.make(contexts[index]!);
        made.push([part, device]);
        this.place(part, device);
      }
    } catch (error) {
      disposeAll(made.map(([part, device]) => [part.name, device]));
      throw error;
    }
    const isLast = ([part]: [BoardPart, PartDevice]): boolean => part.name === controller;
    const ordered = [...made.filter((each) => !isLast(each)), ...made.filter(isLast)];
    this.devices = ordered.map(([part, device]) => [part.name, device]);
    this.kept = new Map(
      ordered.flatMap(([part, device]) => (part.isVacant === true ? [] : [[part.name, device] as const])),
    );
    this.ticking = ordered.flatMap(([, device]) =>
      device.tick === undefined && device.deadline === undefined ? [] : [device],
    );
  }

  /** Lets the parts catch up with the clock. */
  tick(): void {
    for (const part of this.ticking) part.tick?.();
  }

  /** Tick at which `tick` is next needed; Infinity if never. */
  deadline(): number {
    let first = Infinity;
    for (const part of this.ticking) first = Math.min(first, part.deadline?.() ?? Infinity);
    return first;
  }

  /** Hands on gathered output. */
  flush(): void {
    for (const [, device] of this.devices) device.flush?.();
  }

  /** Whether a backend works for a part: a guest that waits may be waiting for that. */
  busy(): boolean {
    return this.devices.some(([, device]) => device.busy === true);
  }

  /** Requests for which backends work, by part; only parts that have some. */
  inFlight(): Readonly<Record<string, number>> {
    return Object.fromEntries(
      this.devices.flatMap(([name, { busy, inFlight = 1 }]) => (busy === true ? [[name, inFlight]] : [])),
    );
  }

  /** Waits until no backend works for any part; new work waits until it is released. */
  drain(): Drain {
    const drains = this.devices.flatMap(([, device]) => device.drain?.() ?? []);
    return {
      drained: Promise.all(drains.map(({ drained }) => drained)).then(() => {}),
      release: () => {
        for (const drain of drains) drain.release();
      },
    };
  }

  /** Brings all parts to power-on. */
  reset(): void {
    for (const [, device] of this.devices) device.reset();
  }

  /**
   * State of all parts by name.
   * @throws DeviceStateError if one has requests in flight: drain first
   */
  save(): Readonly<Record<string, DeviceState>> {
    return Object.fromEntries([...this.kept].map(([name, device]) => [name, device.save()]));
  }

  /**
   * Restores what `save` returned. Memory, harts and clock are restored by their owners.
   * @throws DeviceStateError if the state is of another make of board; the board is then to be reset or dropped
   */
  restore(state: Readonly<Record<string, DeviceState>>): void {
    const other = Object.keys(state).find((name) => !this.kept.has(name));
    if (other !== undefined) throw new DeviceStateError(`the saved board has ${other}, this one has not`);
    for (const name of this.kept.keys())
      if (!Object.hasOwn(state, name))
        throw new DeviceStateError(`the saved board has no ${name}, this one has`);
    for (const [name, device] of this.kept) device.restore(state[name]!);
  }

  /** The machine goes on from what was restored, memory included. */
  resume(): void {
    for (const [, device] of this.devices) device.resume?.();
  }

  /** Counters of all parts by name. */
  counters(): Readonly<Record<string, Readonly<Record<string, number>>>> {
    return Object.fromEntries([...this.kept].map(([name, device]) => [name, device.counters]));
  }

  /**
   * Lets all parts go of what the host gave them, also where one of them throws; the first such error is thrown at the
   * end. A second call does nothing.
   */
  dispose(): void {
    if (this.isDisposed) return;
    this.isDisposed = true;
    disposeAll(this.devices);
  }

  private place(part: BoardPart, device: PartDevice): void {
    const { name, ranges = [] } = part;
    const itself = ranges.length > 0 && isRegisters(device) ? [device] : [];
    const { registers = itself } = device;
    if (registers.length !== ranges.length)
      throw new BoardError(
        "E_PART_DEVICE",
        `${name} has ${ranges.length} address ranges and registers for ${registers.length}: give it registers for each`,
      );
    ranges.forEach(({ base, size }, index) => {
      this.bus.map(base, size, registers[index]!, name);
    });
  }
}

const isRegisters = (device: PartDevice): device is PartDevice & MmioRegisters =>
  "read" in device && "write" in device;

function disposeAll(devices: readonly (readonly [string, PartDevice])[]): void {
  const errors: unknown[] = [];
  for (const [, device] of [...devices].reverse()) {
    try {
      device.dispose?.();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

/** A part with its place, for messages. */
function placed({ name, ranges = [] }: BoardPart): string {
  const [first] = ranges;
  return first === undefined ? name : `${name} (at 0x${first.base.toString(16)})`;
}

function checkNames(parts: readonly BoardPart[]): void {
  const seen = new Map<string, BoardPart>();
  for (const part of parts) {
    const { name } = part;
    if (!NAME.test(name))
      throw new BoardError(
        "E_PART_NAME",
        `a part can't be called ${JSON.stringify(name)}: use up to 64 letters, digits and _ : . - after a letter`,
      );
    const other = seen.get(name);
    if (other !== undefined)
      throw new BoardError(
        "E_PART_NAME",
        `${placed(part)} has the name of ${placed(other)}: call one of them otherwise`,
      );
    seen.set(name, part);
  }
}

/** Before any part is made: what does not fit leaves nothing behind. */
function checkRanges(
  parts: readonly BoardPart[],
  taken: readonly (AddressRange & { readonly name: string })[],
): void {
  const bus = new Bus();
  const nobody: MmioRegisters = { read: () => 0, write: () => {} };
  for (const { base, size, name } of taken) bus.reserve(base, size, name);
  for (const { name, ranges = [] } of parts)
    for (const { base, size } of ranges) bus.map(base, size, nobody, name);
}

function checkInterrupts(parts: readonly BoardPart[]): void {
  const owners = new Map<number, BoardPart>();
  for (const part of parts)
    for (const source of part.interrupts ?? []) {
      const other = owners.get(source);
      if (other !== undefined)
        throw new BoardError(
          "E_IRQ_TAKEN",
          `${placed(part)} wants interrupt ${source}, which ${placed(other)} has: give it another`,
        );
      owners.set(source, part);
    }
}
