/**
 * Where things are on the board: the addresses and interrupt numbers of QEMU's `virt` machine, and for what that has not,
 * places that are free there.
 */

import type { AddressRange } from "../part.js";

/** Devices by name. */
export const virtMap = {
  test: { base: 0x100000, size: 0x1000 },
  rtc: { base: 0x101000, size: 0x1000 },
  generation: { base: 0x102000, size: 0x1000 },
  clint: { base: 0x2000000, size: 0x10000 },
  /** Free for devices of one's own, as QEMU's platform bus is. */
  platform: { base: 0x4000000, size: 0x2000000 },
  plic: { base: 0xc000000, size: 0x600000 },
  uart: { base: 0x10000000, size: 0x100 },
  virtio: { base: 0x10001000, size: 0x1000 },
  /** Two banks of flash, one after the other. */
  flash: { base: 0x20000000, size: 0x4000000 },
} as const satisfies Record<string, AddressRange>;

/** Memory beside the main region of RAM. */
export interface VirtMemory extends AddressRange {
  readonly kind: "ram" | "rom" | "flash";
  readonly name: string;
  /** What becomes of stores to ROM and flash: an access fault, or nothing. */
  readonly stores?: "fault" | "ignore";
}

/** First byte of RAM. */
export const RAM_BASE = 0x80000000;
/** Slots for virtio devices, one page each from `virtMap.virtio.base`. */
export const VIRTIO_SLOTS = 8;

/** Interrupt sources of the PLIC. */
export const virtIrq = {
  /** Slot n has source n + 1. */
  firstVirtio: 1,
  uart: 10,
  rtc: 11,
  generation: 12,
  /** The first of 32 that are free for devices of one's own. */
  firstPlatform: 64,
} as const;

/** Ticks of the time base a second. */
export const TIMEBASE_FREQUENCY = 10_000_000;
