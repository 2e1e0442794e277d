/** Lays out a VM's linear memory: hart blocks, code arena, frames; see `layout.ts`. */
import { FramePool } from "./frames.js";
import { GuestMemory } from "./guest-memory.js";
import { HART_STRIDE, PAGE_SIZE } from "./layout.js";
import { LinearMemory, MAXIMUM_BYTES, MemoryError } from "./linear-memory.js";

/** What a machine's memory is made from. */
export interface MachineMemoryOptions {
  /** Bytes of guest RAM, a multiple of 4096. */
  readonly ramBytes: number;
  /** Guest-physical address of RAM. */
  readonly ramBase: number;
  readonly harts: number;
  /** Bytes of the code arena of all harts. */
  readonly arenaBytes: number;
}

/** The memory of one machine. */
export interface MachineMemory {
  readonly memory: LinearMemory;
  readonly guest: GuestMemory;
  readonly pool: FramePool;
  /** Byte offset of the code arena. */
  readonly arenaOffset: number;
  /** Bytes of the code arena. */
  readonly arenaBytes: number;
}

/**
 * Allocates a machine's memory.
 * @throws MemoryError if RAM is not a positive number of pages, or the whole does not fit
 */
export function machineMemory(options: MachineMemoryOptions): MachineMemory {
  const { ramBytes, ramBase, harts, arenaBytes } = options;
  if (!Number.isInteger(ramBytes) || ramBytes <= 0 || ramBytes % PAGE_SIZE !== 0) {
    throw new MemoryError(
      "E_MEMORY_SIZE",
      `RAM of ${ramBytes} bytes is impossible: use a multiple of ${PAGE_SIZE}`,
    );
  }
  const arenaOffset = harts * HART_STRIDE;
  const frames = arenaOffset + Math.ceil(arenaBytes / PAGE_SIZE) * PAGE_SIZE;
  if (frames + ramBytes > MAXIMUM_BYTES) {
    const most = Math.floor((MAXIMUM_BYTES - frames) / 0x100000);
    throw new MemoryError(
      "E_MEMORY_SIZE",
      `RAM of ${ramBytes / 0x100000} MiB is too much: use ${most}M at most`,
    );
  }
  const memory = LinearMemory.create({ bytes: frames + ramBytes });
  const pool = new FramePool(memory, frames, ramBytes / PAGE_SIZE);
  return { memory, pool, arenaOffset, arenaBytes, guest: new GuestMemory({ pool, ramBase, ramBytes }) };
}
