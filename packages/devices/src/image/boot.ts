/**
 * Boot plans: what goes where in RAM, and what the hart finds in its registers.
 *
 * With built-in SBI the kernel is entered in S mode with a0 = hart id and a1 = device tree. With firmware (OpenSBI)
 * the hart starts at the start of RAM in M mode; `fw_dynamic` finds a description of the next stage through a2,
 * `fw_jump` knows its place. The device tree goes near the top of RAM, the initial RAM disk below it: both clear of
 * everything that the kernel claims for itself.
 */
import { RAM_BASE } from "../boards/virt/memory-map.js";
import type { ElfSegment } from "./elf.js";
import { ImageError } from "./errors.js";
import type { Kernel } from "./kernel-image.js";

/** Bytes at a guest-physical address, followed by zeros up to `memoryBytes`. */
export interface Placement {
  readonly what: string;
  readonly gpa: number;
  readonly bytes: Uint8Array;
  readonly memoryBytes: number;
}

/** A boot plan. */
export interface BootPlan {
  readonly entry: number;
  /** 3 for machine mode, 1 for supervisor mode. */
  readonly mode: 1 | 3;
  /** a0, a1, a2. */
  readonly args: readonly number[];
  readonly placements: readonly Placement[];
}

/** What is booted. */
export interface BootOptions {
  readonly xlen: 32 | 64;
  readonly ramBytes: number;
  readonly kernel: Kernel;
  readonly initrd?: Uint8Array;
  /** Raw firmware binary or the segments of an ELF one. */
  readonly firmware?: Uint8Array | readonly ElfSegment[];
  /** Builds the device tree once the place of the RAM disk is known. */
  readonly deviceTree: (initrd: { start: number; end: number } | undefined) => Uint8Array;
}

/** Distance of a kernel without a say from the start of RAM: one superpage. */
const kernelOffset = (xlen: 32 | 64): number => (xlen === 64 ? 0x200000 : 0x400000);
const DYNAMIC_INFO_MAGIC = 0x4942534f;
const DYNAMIC_INFO_VERSION = 2;
const ALIGNMENT = 0x1000;
/** Room kept for the device tree: firmware edits it in place. */
const TREE_ROOM = 0x10000;

const down = (value: number): number => Math.floor(value / ALIGNMENT) * ALIGNMENT;
const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 0x100000)} MiB`;

/**
 * Lays out RAM.
 * @throws ImageError if it does not all fit
 */
export function bootPlan(options: BootOptions): BootPlan {
  const { kernel, firmware, initrd, xlen, ramBytes } = options;
  const end = RAM_BASE + ramBytes;
  const placements: Placement[] = [];
  let entry: number;
  if (kernel.kind === "image") {
    const offset = kernel.textOffset === 0 ? kernelOffset(xlen) : kernel.textOffset;
    entry = RAM_BASE + offset;
    placements.push({ what: "kernel", gpa: entry, bytes: kernel.bytes, memoryBytes: Math.max(kernel.imageBytes, kernel.bytes.length) });
  } else {
    // A kernel linked at virtual addresses starts at the physical address of its entry.
    const { elf } = kernel;
    const home = elf.segments.find((segment) => elf.entry >= segment.va && elf.entry < segment.va + BigInt(segment.memoryBytes));
    entry = home === undefined ? Number(elf.entry) : home.gpa + Number(elf.entry - home.va);
    for (const segment of elf.segments) {
      placements.push({ what: "kernel", gpa: segment.gpa, bytes: segment.bytes, memoryBytes: segment.memoryBytes });
    }
  }
  if (firmware instanceof Uint8Array) {
    placements.push({ what: "firmware", gpa: RAM_BASE, bytes: firmware, memoryBytes: firmware.length });
  } else {
    for (const segment of firmware ?? []) {
      placements.push({ what: "firmware", gpa: segment.gpa, bytes: segment.bytes, memoryBytes: segment.memoryBytes });
    }
  }

  const treeAt = down(end - TREE_ROOM);
  let range: { start: number; end: number } | undefined;
  if (initrd !== undefined) {
    const start = down(treeAt - initrd.length);
    range = { start, end: start + initrd.length };
    placements.push({ what: "initial RAM disk", gpa: start, bytes: initrd, memoryBytes: initrd.length });
  }
  const tree = options.deviceTree(range);
  placements.push({ what: "device tree", gpa: treeAt, bytes: tree, memoryBytes: Math.max(tree.length, TREE_ROOM - ALIGNMENT) });
  if (firmware === undefined) {
    checkFit(placements, ramBytes);
    return { entry, mode: 1, args: [0, treeAt], placements };
  }
  const infoAt = end - ALIGNMENT;
  placements.push({ what: "firmware description", gpa: infoAt, bytes: dynamicInfo(xlen, entry), memoryBytes: 64 });
  checkFit(placements, ramBytes);
  return { entry: RAM_BASE, mode: 3, args: [0, treeAt, infoAt], placements };
}

/** `struct fw_dynamic_info` (OpenSBI documentation, firmware/fw_dynamic). */
function dynamicInfo(xlen: 32 | 64, next: number): Uint8Array {
  const supervisor = 1;
  const words = [DYNAMIC_INFO_MAGIC, DYNAMIC_INFO_VERSION, next, supervisor, 0, 0];
  const bytes = new Uint8Array(words.length * (xlen / 8));
  const view = new DataView(bytes.buffer);
  words.forEach((word, position) => {
    if (xlen === 64) view.setBigUint64(8 * position, BigInt(word), true);
    else view.setUint32(4 * position, word, true);
  });
  return bytes;
}

function checkFit(placements: readonly Placement[], ramBytes: number): void {
  const end = RAM_BASE + ramBytes;
  const total = placements.reduce((sum, placement) => sum + placement.memoryBytes, 0);
  const sorted = [...placements].sort((a, b) => a.gpa - b.gpa);
  sorted.forEach((placement, index) => {
    const last = placement.gpa + placement.memoryBytes;
    if (placement.gpa < RAM_BASE || last > end) {
      throw new ImageError(
        "E_DOES_NOT_FIT",
        `the ${placement.what} needs 0x${placement.gpa.toString(16)} to 0x${last.toString(16)}, RAM is 0x${RAM_BASE.toString(16)} to 0x${end.toString(16)}: give the guest more memory than ${mebibytes(ramBytes)}`,
      );
    }
    const next = sorted[index + 1];
    if (next !== undefined && next.gpa < last) {
      throw new ImageError(
        "E_DOES_NOT_FIT",
        `${placement.what} and ${next.what} overlap at 0x${next.gpa.toString(16)}: give the guest more than ${mebibytes(Math.max(total, ramBytes))} of memory`,
      );
    }
  });
}
