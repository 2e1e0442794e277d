/**
 * Boot plans: what goes where in RAM, and what the hart finds in its registers.
 *
 *   RAM_BASE              firmware, if there is any
 *   + text_offset         the kernel (2 MiB on RV64, 4 MiB on RV32, unless it says), with its zeroed data
 *   ...
 *   near the top          device tree, initial RAM disk, description of the next stage for firmware
 *
 * With built-in SBI the kernel is entered in S mode with a0 = hart id and a1 = device tree. With firmware (OpenSBI)
 * the hart starts in M mode at its first byte; `fw_dynamic` finds a description of the next stage through a2,
 * `fw_jump` knows its place. Like QEMU this keeps to the first gigabyte of RAM, all that a 32-bit kernel maps by
 * itself, as long as everything fits there. Invariant of a plan: its placements lie in RAM and do not overlap.
 */
import { RAM_BASE } from "../boards/virt/memory-map.js";
import type { ElfFile, ElfSegment } from "./elf.js";
import { ImageError } from "./errors.js";
import type { Kernel } from "./kernel-image.js";

/** Bytes at a guest-physical address, followed by zeros up to `memoryBytes`. */
export interface Placement {
  /** For messages, for instance `"kernel"`. */
  readonly what: string;
  readonly gpa: number;
  readonly bytes: Uint8Array;
  /** Bytes in memory, at least as many as `bytes`; those past it are zero, or room to grow. */
  readonly memoryBytes: number;
}

/** A boot plan. */
export interface BootPlan {
  /** Guest-physical address of the first instruction. */
  readonly entry: number;
  /** 3 for machine mode, 1 for supervisor mode. */
  readonly mode: 1 | 3;
  /** a0, a1, a2. */
  readonly args: readonly number[];
  readonly placements: readonly Placement[];
  /** Where the initial RAM disk is; `end` is past its last byte. */
  readonly initrd?: { readonly start: number; readonly end: number };
  /** Guest-physical address of the device tree; undefined for programs that get none. */
  readonly fdt?: number;
}

/** What is booted. */
export interface BootOptions {
  /** Width of the hart's registers in bits. */
  readonly xlen: 32 | 64;
  /** Bytes of RAM from `RAM_BASE`. */
  readonly ramBytes: number;
  readonly kernel: Kernel;
  readonly initrd?: Uint8Array;
  /** Raw firmware binary, or the segments of an ELF one. Segments linked below RAM are moved to its start. */
  readonly firmware?: Uint8Array | readonly ElfSegment[];
  /** Builds the device tree once the place of the RAM disk is known. */
  readonly deviceTree: (initrd: { start: number; end: number } | undefined) => Uint8Array;
}

/** Distance of a kernel without a say from the start of RAM: one superpage. */
const kernelOffset = (xlen: 32 | 64): number => (xlen === 64 ? 0x200000 : 0x400000);
const DYNAMIC_INFO_MAGIC = 0x4942534f;
const DYNAMIC_INFO_VERSION = 2;
const DYNAMIC_INFO_ROOM = 0x1000;
const SUPERVISOR = 1;
const PAGE = 0x1000;
/** Least room kept for the device tree, and what is kept past its end: firmware edits it in place. */
const TREE_ROOM = 0x10000;
const TREE_SLACK = 0x4000;
/** Room kept for a raw firmware binary, whose zeroed data is not in the file. */
const FIRMWARE_ROOM = 0x80000;
/** Where a layout ends if everything fits below. */
const PREFERRED_END = RAM_BASE + 0x40000000;

const down = (value: number): number => Math.floor(value / PAGE) * PAGE;
const up = (value: number): number => Math.ceil(value / PAGE) * PAGE;
const hex = (value: number): string => `0x${value.toString(16)}`;
const end = (placement: Placement): number => placement.gpa + placement.memoryBytes;
const size = (bytes: number): string =>
  bytes < 0x100000 ? `${Math.ceil(bytes / 1024)} KiB` : `${Math.ceil(bytes / 0x100000)} MiB`;

/**
 * Lays out RAM.
 * @throws ImageError if RAM is too small (`E_DOES_NOT_FIT`; the message tells the smallest that would do) or does
 *   not reach where something is linked to, or if parts are linked over each other (`E_OVERLAP`)
 */
export function bootPlan(options: BootOptions): BootPlan {
  const { kernel, firmware, initrd, xlen, ramBytes } = options;
  const { entry, placements } = placeKernel(kernel, xlen);
  placements.push(...placeFirmware(firmware));
  checkOverlaps(placements);
  const lowEnd = up(Math.max(...placements.map(end)));
  const infoRoom = firmware === undefined ? 0 : DYNAMIC_INFO_ROOM;
  const initrdRoom = up(initrd?.length ?? 0);
  /** Where RAM has to end for a device tree of this size to fit. */
  const endWith = (treeRoom: number): number => lowEnd + treeRoom + initrdRoom + infoRoom;

  const ramEnd = RAM_BASE + down(ramBytes);
  const top = endWith(TREE_ROOM) <= PREFERRED_END ? Math.min(ramEnd, PREFERRED_END) : ramEnd;
  const infoAt = top - infoRoom;
  // Too small a RAM gives no place, but the tree's size is wanted all the same, to say how much would do.
  const initrdAt = Math.max(infoAt - initrdRoom, RAM_BASE);
  const range = initrd === undefined ? undefined : { start: initrdAt, end: initrdAt + initrd.length };
  const tree = options.deviceTree(range);
  const treeRoom = Math.max(up(tree.length + TREE_SLACK), TREE_ROOM);
  checkSize([...placements, ...namedInitrd(initrd)], endWith(treeRoom), ramBytes);

  const treeAt = initrdAt - treeRoom;
  if (range !== undefined && initrd !== undefined) {
    placements.push({ what: "initial RAM disk", gpa: initrdAt, bytes: initrd, memoryBytes: initrd.length });
  }
  placements.push({ what: "device tree", gpa: treeAt, bytes: tree, memoryBytes: treeRoom });
  const common = { placements, fdt: treeAt, ...(range === undefined ? {} : { initrd: range }) };
  if (firmware === undefined) return { entry, mode: 1, args: [0, treeAt, 0], ...common };
  const info = dynamicInfo(xlen, entry);
  placements.push({ what: "firmware description", gpa: infoAt, bytes: info, memoryBytes: info.length });
  return { entry: RAM_BASE, mode: 3, args: [0, treeAt, infoAt], ...common };
}

/**
 * The plan for a bare-metal program: its segments where it is linked, entered in M mode with a0 = hart id.
 * @throws ImageError as {@link bootPlan}
 */
export function programPlan(elf: ElfFile, ramBytes: number): BootPlan {
  const placements = elf.segments.map((segment) =>
    placeSegment("program", withoutHeadersBelowRam(segment), 0),
  );
  checkOverlaps(placements);
  checkSize(placements, up(Math.max(...placements.map(end))), ramBytes);
  return { entry: elf.entryGpa, mode: 3, args: [0, 0, 0], placements };
}

function placeSegment(what: string, segment: ElfSegment, shift: number): Placement {
  return { what, gpa: segment.gpa + shift, bytes: segment.bytes, memoryBytes: segment.memoryBytes };
}

/**
 * A segment without the file's headers, where those lie below RAM: linkers put them into a page before a text at the
 * start of RAM (`-Ttext=0x80000000`). QEMU loads what is in RAM of such a file, too.
 */
function withoutHeadersBelowRam(segment: ElfSegment): ElfSegment {
  const below = RAM_BASE - segment.gpa;
  if (below <= 0 || below > segment.headerBytes || below >= segment.memoryBytes) return segment;
  return {
    ...segment,
    gpa: RAM_BASE,
    va: segment.va + BigInt(below),
    bytes: segment.bytes.subarray(below),
    memoryBytes: segment.memoryBytes - below,
    headerBytes: segment.headerBytes - below,
  };
}

function placeKernel(kernel: Kernel, xlen: 32 | 64): { entry: number; placements: Placement[] } {
  if (kernel.kind === "elf") {
    const { segments, entryGpa } = kernel.elf;
    const placements = segments.map((segment) => placeSegment("kernel", withoutHeadersBelowRam(segment), 0));
    return { entry: entryGpa, placements };
  }
  const { bytes, textOffset, imageBytes } = kernel;
  const entry = RAM_BASE + (textOffset === 0 ? kernelOffset(xlen) : textOffset);
  const memoryBytes = Math.max(imageBytes, bytes.length);
  return { entry, placements: [{ what: "kernel", gpa: entry, bytes, memoryBytes }] };
}

function placeFirmware(firmware: BootOptions["firmware"]): Placement[] {
  if (firmware === undefined) return [];
  if (firmware instanceof Uint8Array) {
    const memoryBytes = Math.max(firmware.length, FIRMWARE_ROOM);
    return [{ what: "firmware", gpa: RAM_BASE, bytes: firmware, memoryBytes }];
  }
  const segments = firmware.map(withoutHeadersBelowRam);
  // Position-independent firmware is linked at zero, and moves itself.
  const lowest = Math.min(...segments.map(({ gpa }) => gpa));
  const shift = lowest < RAM_BASE ? RAM_BASE - lowest : 0;
  return segments.map((segment) => placeSegment("firmware", segment, shift));
}

const namedInitrd = (initrd: Uint8Array | undefined): Placement[] =>
  initrd === undefined
    ? []
    : [{ what: "initial RAM disk", gpa: RAM_BASE, bytes: initrd, memoryBytes: initrd.length }];

/** `struct fw_dynamic_info` (OpenSBI documentation, firmware/fw_dynamic): words of the hart's width. */
function dynamicInfo(xlen: 32 | 64, nextAddress: number): Uint8Array {
  const nextOptions = 0;
  const bootHart = 0;
  const words = [DYNAMIC_INFO_MAGIC, DYNAMIC_INFO_VERSION, nextAddress, SUPERVISOR, nextOptions, bootHart];
  const bytes = new Uint8Array(words.length * (xlen / 8));
  const view = new DataView(bytes.buffer);
  words.forEach((word, position) => {
    if (xlen === 64) view.setBigUint64(8 * position, BigInt(word), true);
    else view.setUint32(4 * position, word, true);
  });
  return bytes;
}

/** @throws ImageError (`E_DOES_NOT_FIT`) if what was placed begins before RAM, or RAM ends before `needed` */
function checkSize(placements: readonly Placement[], needed: number, ramBytes: number): void {
  const outside = placements.find(({ gpa }) => gpa < RAM_BASE);
  if (outside !== undefined) {
    throw new ImageError(
      "E_DOES_NOT_FIT",
      `the ${outside.what} is linked to ${hex(outside.gpa)}, RAM begins at ${hex(RAM_BASE)}: link it to an address in RAM${end(outside) > RAM_BASE ? "; -Wl,-N keeps its parts together, without a page before them" : ""}`,
    );
  }
  if (needed <= RAM_BASE + down(ramBytes)) return;
  const sizes = new Map<string, number>();
  for (const { what, memoryBytes } of placements) sizes.set(what, (sizes.get(what) ?? 0) + memoryBytes);
  const list = [...sizes].map(([what, bytes]) => `${what} of ${size(bytes)}`).join(", ");
  throw new ImageError(
    "E_DOES_NOT_FIT",
    `${size(ramBytes)} of memory are too few for ${list}: give the guest at least ${Math.ceil((needed - RAM_BASE) / 0x100000)} MiB`,
  );
}

/** @throws ImageError (`E_OVERLAP`) */
function checkOverlaps(placements: readonly Placement[]): void {
  const sorted = [...placements].sort((a, b) => a.gpa - b.gpa);
  sorted.forEach((placement, index) => {
    const next = sorted[index + 1];
    if (next === undefined || next.gpa >= end(placement)) return;
    const range = (each: Placement): string => `${each.what} (${hex(each.gpa)} to ${hex(end(each) - 1)})`;
    throw new ImageError(
      "E_OVERLAP",
      `${range(placement)} and ${range(next)} overlap: link one of them to another address`,
    );
  });
}
