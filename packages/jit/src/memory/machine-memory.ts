/**
 * Lays out a linear memory: hart blocks, code arena, frames; see `layout.ts`. One memory serves any number of VMs:
 * they take their frames from its pool, and take turns on its hart blocks and its translations
 * (docs/decisions/0005-one-pool-many-vms.md).
 */
import { FramePool } from "./frames.js";
import { GuestMemory } from "./guest-memory.js";
import { HART_STRIDE, PAGE_SIZE } from "./layout.js";
import { LinearMemory, MAXIMUM_BYTES, MemoryError } from "./linear-memory.js";
import { checkRegions, type RegionOptions } from "./regions.js";
import { RomContents } from "./rom.js";

/** What a memory for VMs is made from. */
export interface MemoryPoolOptions {
  /** Bytes of frames, a multiple of 4096. The host gives them when they are first used. */
  readonly frameBytes: number;
  /** Hart blocks; 1 unless given. */
  readonly harts?: number;
  /** Bytes of the code arena of all harts. */
  readonly arenaBytes: number;
}

/** The memory of VMs that run on one thread. */
export interface MemoryPool {
  readonly memory: LinearMemory;
  readonly pool: FramePool;
  /** Byte offset of the first hart block. */
  readonly hartOffset: number;
  /** Byte offset of the code arena. */
  readonly arenaOffset: number;
  /** Bytes of the code arena. */
  readonly arenaBytes: number;
}

/** Where a VM has memory. */
export interface VmMemoryOptions {
  /** Bytes of guest RAM in its main region, a multiple of 4096. */
  readonly ramBytes: number;
  /** Guest-physical address of the main region of RAM, a multiple of 4096. */
  readonly ramBase: number;
  /** Further regions: RAM elsewhere, ROM, flash. */
  readonly regions?: readonly RegionOptions[];
}

/** What a machine's memory is made from. */
export interface MachineMemoryOptions extends VmMemoryOptions {
  readonly harts: number;
  /** Bytes of frames for what its devices lend to the guest, a multiple of 4096; none unless given. */
  readonly lentBytes?: number;
  /** Bytes of the code arena of all harts. */
  readonly arenaBytes: number;
}

/** The memory of one machine. */
export interface MachineMemory extends MemoryPool {
  readonly guest: GuestMemory;
}

/** The frame of zeros, beside those of RAM. */
const SPARE_FRAMES = 1;

const checkRam = (ramBytes: number): void => {
  if (Number.isInteger(ramBytes) && ramBytes > 0 && ramBytes % PAGE_SIZE === 0) return;
  throw new MemoryError(
    "E_MEMORY_SIZE",
    `RAM of ${ramBytes} bytes is impossible: use a multiple of ${PAGE_SIZE}`,
  );
};

/**
 * Allocates a memory for VMs.
 * @throws MemoryError if the frames are not a positive number of pages, or the whole does not fit
 */
export function memoryPool(options: MemoryPoolOptions): MemoryPool {
  const { frameBytes, harts = 1, arenaBytes } = options;
  checkRam(frameBytes);
  const arenaOffset = harts * HART_STRIDE;
  const frames = arenaOffset + Math.ceil(arenaBytes / PAGE_SIZE) * PAGE_SIZE;
  const bytes = frames + frameBytes + SPARE_FRAMES * PAGE_SIZE;
  if (bytes > MAXIMUM_BYTES) {
    const most = Math.floor((MAXIMUM_BYTES - frames - SPARE_FRAMES * PAGE_SIZE) / 0x100000);
    throw new MemoryError(
      "E_MEMORY_SIZE",
      `RAM of ${frameBytes / 0x100000} MiB is too much: use ${most}M at most`,
    );
  }
  const memory = LinearMemory.create({ bytes });
  const pool = new FramePool(memory, frames, frameBytes / PAGE_SIZE + SPARE_FRAMES);
  return { memory, pool, hartOffset: 0, arenaOffset, arenaBytes };
}

/**
 * Memory of a VM, whose frames come from a pool as they are touched: several VMs may have more RAM than the pool.
 * @throws MemoryError if RAM is not a positive number of pages, or more than 32-bit offsets reach; for its regions as
 *   {@link GuestMemory} says
 */
export function guestIn(pool: MemoryPool, options: VmMemoryOptions): MachineMemory {
  const { ramBytes, regions = [] } = options;
  checkRam(ramBytes);
  checkRegions(regions);
  if (ramBytes > MAXIMUM_BYTES) {
    const most = Math.floor(MAXIMUM_BYTES / 0x100000);
    throw new MemoryError(
      "E_MEMORY_SIZE",
      `RAM of ${ramBytes / 0x100000} MiB is too much: use ${most}M at most`,
    );
  }
  return { ...pool, guest: new GuestMemory({ ...options, pool: pool.pool }) };
}

/**
 * Allocates the memory of a machine that has a pool to itself.
 * @throws MemoryError if RAM is not a positive number of pages, or the whole does not fit; for its regions as
 *   {@link GuestMemory} says
 */
export function machineMemory(options: MachineMemoryOptions): MachineMemory {
  const { ramBytes, harts, arenaBytes, regions = [], lentBytes = 0 } = options;
  checkRam(ramBytes);
  checkRegions(regions);
  if (!Number.isSafeInteger(lentBytes) || lentBytes < 0 || lentBytes % PAGE_SIZE !== 0)
    throw new MemoryError(
      "E_MEMORY_SIZE",
      `lentBytes of ${lentBytes} is impossible: use a multiple of ${PAGE_SIZE}, or 0`,
    );
  const bytes = regions.map((region) =>
    region.kind === "ram" ? region.bytes : RomContents.frameBytes(region),
  );
  const frameBytes = bytes.reduce((sum, each) => sum + each, ramBytes + lentBytes);
  return guestIn(memoryPool({ frameBytes, harts, arenaBytes }), options);
}
