/**
 * What boards are made of. A part is a device with its place: its address ranges and interrupts, its nodes in the device
 * tree, and what makes it. Everything that a board does with its parts it does by their names, in their order: resets,
 * saves, restores, counts, disposes of them. So a part of a user's own is treated as those of the board.
 */
import type { AddressMap } from "../bus/bus.js";
import type { FdtNode } from "../fdt/fdt.js";
import type { Clock, DeviceState, DmaMemory, IrqLine, Lender, MmioRegisters } from "../ports.js";
import type { Drain } from "../virtio/requests.js";

/** A range of guest-physical addresses in bytes. */
export interface AddressRange {
  readonly base: number;
  readonly size: number;
}

/** What a part has of the machine around it. */
export interface PartContext {
  /** Its interrupts, in the order in which it named them; level-triggered. */
  readonly interrupts: readonly IrqLine[];
  /** The guest's RAM. */
  readonly memory: DmaMemory;
  readonly clock: Clock;
  /**
   * Memory that the device lends to the guest: a framebuffer, pages of a file. What is in it and where it is mapped is the
   * device's state, to be saved and restored by it; a clone's device makes its own.
   */
  readonly lend: Lender;
  /** The board's addresses, for registers that move while the machine runs. */
  readonly bus: AddressMap;
  /**
   * Has the machine look at its devices soon, also if it sleeps: a deadline came nearer, a backend answered. Raising an
   * interrupt does that by itself.
   */
  wake(): void;
}

/** A part that was made. Whatever is an `MmioDevice` is one. */
export interface PartDevice {
  /** What answers in its ranges, in their order. Without it the device itself does, and has one range. */
  readonly registers?: readonly MmioRegisters[];
  /** Brings it to power-on. */
  reset(): void;
  /** Its whole guest-visible state. */
  save(): DeviceState;
  /**
   * Replaces its state by one that `save` returned, and drives its interrupts accordingly: nobody else remembers them.
   * Throws DeviceStateError on a state of another shape.
   */
  restore(state: DeviceState): void;
  /** The machine goes on from a restored state, and its memory is in place: looks for what it has not been told of. */
  resume?(): void;
  /** Events since power-on by name. */
  readonly counters: Readonly<Record<string, number>>;
  /** Acts on the time that has passed. */
  tick?(): void;
  /** Tick of the clock at which `tick` is next needed; Infinity if never. */
  deadline?(): number;
  /** Hands on output that it has gathered. */
  flush?(): void;
  /** Whether a backend works for it. */
  readonly busy?: boolean;
  /** For how many requests that is so, for messages. */
  readonly inFlight?: number;
  /** Waits until no backend works for it, and holds new work back. */
  drain?(): Drain;
  /** The machine is gone: lets go of what the host gave. Called once. */
  dispose?(): void;
}

/** What a part's nodes can refer to. */
export interface TreeScope {
  /** `reg`, `interrupts` and `interrupt-parent` of the part, as far as it has them. */
  readonly properties: FdtNode["properties"];
  readonly harts: number;
  /** The phandle of a hart's interrupt controller. */
  hart(id: number): number;
  /** The phandle that the node of a part bears, or is to bear; the part's own or another's. */
  phandle(part: string): number;
}

/** Nodes of a part. */
export interface PartNodes {
  /** Under `/soc`. */
  readonly soc?: readonly FdtNode[];
  /** Under the root. */
  readonly root?: readonly FdtNode[];
  /** Properties of `/chosen`. */
  readonly chosen?: FdtNode["properties"];
}

/** A part, as a board is told of it. */
export interface BoardPart {
  /** Its name in messages, counters and saved states; no two parts of a board have the same. */
  readonly name: string;
  /** Where its registers are. */
  readonly ranges?: readonly AddressRange[];
  /** Sources of the interrupt controller that are its own. */
  readonly interrupts?: readonly number[];
  /** Its nodes in the device tree; none unless given. */
  readonly nodes?: (scope: TreeScope) => PartNodes;
  /** Bytes that its state may take, where that is more than its share of a megabyte for all parts. */
  readonly stateBytes?: number;
  /** A place where something could be and nothing is: it is neither saved nor counted. */
  readonly isVacant?: boolean;
  /** Makes it: once for a board, and so once again for each clone of a machine. */
  make(context: PartContext): PartDevice | (PartDevice & MmioRegisters);
}

/** A device with one range of registers. */
export interface MmioPartOptions {
  readonly name: string;
  readonly base: number;
  readonly size: number;
  /** Its interrupt source, if it has one. */
  readonly interrupt?: number;
  /** What drivers know it by, for instance `acme,counter`; without it the device tree does not tell of the device. */
  readonly compatible?: string | readonly string[];
  /** Name of its node without the address; its own unless given. */
  readonly node?: string;
  /** Further properties of its node. */
  readonly properties?: FdtNode["properties"];
  /** Makes the device: once for a board, and so once again for each clone of a machine. */
  make(context: PartContext): PartDevice | (PartDevice & MmioRegisters);
}

/** A part that is a device with one range of registers, with at most one interrupt, described under `/soc`. */
export function mmioPart(options: MmioPartOptions): BoardPart {
  const { name, base, size, interrupt, compatible, node = name, properties = {}, make } = options;
  return {
    name,
    ranges: [{ base, size }],
    ...(interrupt === undefined ? {} : { interrupts: [interrupt] }),
    ...(compatible === undefined
      ? {}
      : {
          nodes: (scope) => ({
            soc: [
              { name: nodeName(node, base), properties: { ...scope.properties, compatible, ...properties } },
            ],
          }),
        }),
    make,
  };
}

/** A node's name with its unit address. */
export const nodeName = (name: string, base: number): string => `${name}@${base.toString(16)}`;
