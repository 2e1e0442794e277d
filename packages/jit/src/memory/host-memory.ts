/**
 * One linear memory for the VMs of all threads of a host: control areas (hart blocks and a code arena for each thread),
 * then frames, which every thread takes from the same table. Memory that one VM gives up, another thread's VM can have,
 * and what the host gives for all of them together is bounded by the frames and what the control areas touch.
 *
 * A frame belongs to one thread at a time, so reference counts, page maps and translations stay each thread's own and
 * need no locks (docs/decisions/0007-one-memory-many-threads.md).
 */
import { FrameTable, MOST_OWNERS, SharedFrames } from "./frame-store.js";
import { FramePool } from "./frames.js";
import { HART_STRIDE, PAGE_SIZE } from "./layout.js";
import { LinearMemory, MAXIMUM_BYTES, MemoryError, type WasmMemory } from "./linear-memory.js";
import type { MemoryPool } from "./machine-memory.js";

/** Most bytes of frames in one memory: control areas need the rest of what 32-bit offsets reach. */
export const MOST_FRAME_BYTES = 3 * 2 ** 30;

/** A thread's place in a host memory; it can be sent to the thread. */
export interface ThreadPlace {
  readonly memory: WasmMemory | SharedArrayBuffer;
  readonly table: SharedArrayBuffer;
  /** Byte offset of the first frame. */
  readonly firstFrame: number;
  /** The thread's number in the table. */
  readonly owner: number;
  /** Byte offset of the thread's hart blocks; the code arena follows. */
  readonly hartOffset: number;
  readonly harts: number;
  readonly arenaBytes: number;
}

interface Area {
  readonly start: number;
  readonly end: number;
}

/** The host's side of the memory: gives places to threads, and takes back what a thread leaves when it ends. */
export class HostMemory {
  readonly table: FrameTable;
  private readonly linear: LinearMemory;
  private readonly firstFrame: number;
  /** Control areas in use, by owner. */
  private readonly areas = new Map<number, Area>();

  /**
   * @param frameBytes bytes of frames, a multiple of 4096; the host gives them when they are first used
   * @throws MemoryError if the size is impossible or the host refuses it
   */
  constructor(readonly frameBytes: number) {
    if (!(frameBytes > 0 && frameBytes <= MOST_FRAME_BYTES && frameBytes % PAGE_SIZE === 0)) {
      throw new MemoryError(
        "E_MEMORY_SIZE",
        `${frameBytes} bytes of frames are impossible: use a multiple of ${PAGE_SIZE} up to ${MOST_FRAME_BYTES}`,
      );
    }
    this.firstFrame = MAXIMUM_BYTES - frameBytes;
    this.linear = LinearMemory.create({ bytes: MAXIMUM_BYTES, shared: true });
    this.table = FrameTable.allocate(frameBytes / PAGE_SIZE);
  }

  /** Frames in all. */
  get frames(): number {
    return this.table.count;
  }

  /** Frames that no thread has. */
  get free(): number {
    return this.table.free;
  }

  /** A place for a thread; undefined if there is no room for its control area. */
  enter(options: { readonly arenaBytes: number; readonly harts?: number }): ThreadPlace | undefined {
    const { harts = 1 } = options;
    const arenaBytes = Math.ceil(options.arenaBytes / PAGE_SIZE) * PAGE_SIZE;
    const hartOffset = this.findRoom(harts * HART_STRIDE + arenaBytes);
    let owner = 1;
    while (this.areas.has(owner)) owner++;
    if (hartOffset === undefined || owner > MOST_OWNERS) return undefined;
    this.areas.set(owner, { start: hartOffset, end: hartOffset + harts * HART_STRIDE + arenaBytes });
    return {
      memory: this.linear.handle,
      table: this.table.buffer,
      firstFrame: this.firstFrame,
      owner,
      hartOffset,
      harts,
      arenaBytes,
    };
  }

  /** Takes back all that a thread has which has ended, in whatever state. */
  leave(place: ThreadPlace): void {
    const area = this.areas.get(place.owner);
    if (area === undefined) return;
    this.areas.delete(place.owner);
    this.table.evict(place.owner);
    this.zero(area);
  }

  /** The next thread there finds what a new memory has. Pages that were never used are only looked at, which takes none. */
  private zero({ start, end }: Area): void {
    const { i32 } = this.linear;
    for (let page = start / 4; page < end / 4; page += PAGE_SIZE / 4) {
      let at = page;
      while (at < page + PAGE_SIZE / 4 && i32[at] === 0) at++;
      if (at < page + PAGE_SIZE / 4) i32.fill(0, page, page + PAGE_SIZE / 4);
    }
  }

  /** Lowest place for so many bytes among the control areas. */
  private findRoom(bytes: number): number | undefined {
    let start = 0;
    for (const area of [...this.areas.values()].sort((one, other) => one.start - other.start)) {
      if (area.start - start >= bytes) break;
      start = area.end;
    }
    return start + bytes <= this.firstFrame ? start : undefined;
  }
}

/** A thread's pool in a host memory, and its frames out of the common table. */
export function poolAt(place: ThreadPlace): MemoryPool & { readonly frames: SharedFrames } {
  const memory = LinearMemory.adopt(place.memory);
  const frames = new SharedFrames(new FrameTable(place.table), place.owner);
  const pool = new FramePool(memory, place.firstFrame, frames.count, frames);
  const arenaOffset = place.hartOffset + place.harts * HART_STRIDE;
  return { memory, pool, frames, hartOffset: place.hartOffset, arenaOffset, arenaBytes: place.arenaBytes };
}
