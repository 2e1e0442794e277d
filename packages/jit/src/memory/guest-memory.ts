/**
 * A guest's physical memory: regions of pages, each of which leads to a machine frame, or to nothing. This is what the
 * software TLB caches, so that the indirection costs nothing on the fast path.
 *
 * The main region of RAM is found by one comparison, the others by a search. Pages of RAM are numbered through all its
 * regions, and what can become of them is in `ram-pages.ts`; ROM and flash are in `rom.ts`, windows into which devices
 * lend frames in `lent-window.ts`.
 */
import type { FramePool } from "./frames.js";
import { PAGE_SHIFT, PAGE_SIZE } from "./layout.js";
import { LentWindow } from "./lent-window.js";
import { MemoryError } from "./linear-memory.js";
import { RamPages, type RamPlace } from "./ram-pages.js";
import {
  checkPlace,
  isPlace,
  type MemoryRegion,
  type PlacedRegion,
  RegionMap,
  type RegionOptions,
} from "./regions.js";
import { RomContents } from "./rom.js";

/** What a guest's memory is made from. */
export interface GuestMemoryOptions {
  readonly pool: FramePool;
  /** Guest-physical address of the main region of RAM, a multiple of 4096. */
  readonly ramBase: number;
  /** Bytes of the main region of RAM, a multiple of 4096. */
  readonly ramBytes: number;
  /** Further regions. */
  readonly regions?: readonly RegionOptions[];
}

/** A region, and what has its frames. */
interface Region extends PlacedRegion {
  /** Number of its first page of RAM. */
  readonly firstPage: number;
  readonly rom?: RomContents;
  readonly window?: LentWindow;
}

/** Name of the main region of RAM. */
const MAIN = "ram";
/** First page of what is no RAM. */
const NO_RAM = -1;

/** Physical memory of one guest. */
export class GuestMemory extends RamPages {
  /** Guest-physical address of the first byte of the main region of RAM. */
  readonly base: number;
  /** Bytes of the main region of RAM. */
  readonly bytes: number;
  private readonly space: RegionMap<Region>;
  /** Whether there is more than the main region. */
  private isDivided: boolean;
  /** Windows of devices, wherever they are. */
  private readonly windows = new Set<LentWindow>();

  /**
   * @param twin whose regions it has in place of `options.regions`
   * @throws MemoryError for regions that are none (`E_REGION_RANGE`) or do not go together (`E_REGION_OVERLAP`,
   *   `E_REGION_NAME`), or whose contents do not fit (`E_REGION_CONTENTS`)
   */
  constructor(options: GuestMemoryOptions, twin?: GuestMemory) {
    const { pool, ramBase, ramBytes } = options;
    const space = twin === undefined ? layOut(options) : inherited(twin.space);
    super(pool, placesIn(space));
    this.base = ramBase;
    this.bytes = ramBytes;
    this.space = space;
    this.isDivided = space.all.length > 1;
  }

  /** What it is made of, in the order of addresses; windows that are nowhere are not among it. */
  get regions(): readonly MemoryRegion[] {
    return this.space.all.map(({ kind, name, base, bytes, rom }) => ({
      kind,
      name,
      base,
      bytes,
      ...(rom === undefined ? {} : { hash: rom.hash }),
    }));
  }

  /** The region that an address is in. */
  regionAt(gpa: number): MemoryRegion | undefined {
    const region = this.space.find(gpa);
    return region && this.regions.find(({ name }) => name === region.name);
  }

  /** Whether `length` bytes at `gpa` lie in RAM. */
  contains(gpa: number, length: number): boolean {
    if (gpa >= this.base && length <= this.bytes && gpa - this.base <= this.bytes - length) return true;
    return this.isDivided && this.covers(gpa, length, ({ firstPage }) => firstPage !== NO_RAM);
  }

  /**
   * Byte offset in linear memory of the frame that `gpa`'s page is read from; it must not be written. -1 where nothing
   * is, or if a swapped page finds no frame.
   */
  frameOffset(gpa: number): number {
    const offset = gpa - this.base;
    if (offset < 0 || offset >= this.bytes) return this.isDivided ? this.frameElsewhere(gpa) : -1;
    const page = offset >>> PAGE_SHIFT;
    const frame = this.map[page]!;
    return frame > 0 ? frame * PAGE_SIZE : this.findFrame(page);
  }

  /**
   * Byte offset in linear memory of a frame that `gpa`'s page may be written in: in RAM the page's alone, made if need
   * be. -1 where nothing is that can be written, or if no frame is left.
   */
  writableFrame(gpa: number): number {
    const offset = gpa - this.base;
    if (offset < 0 || offset >= this.bytes) return this.isDivided ? this.writableElsewhere(gpa) : -1;
    const page = offset >>> PAGE_SHIFT;
    const frame = this.map[page]!;
    if (frame > 0 && this.pool.references[frame] === 1 && !this.isLogged) return frame * PAGE_SIZE;
    return this.makeWritable(page);
  }

  /** Whether translations were made from bytes of the page of `pageBytes` bytes around `gpa`. */
  holdsCode(gpa: number, pageBytes = PAGE_SIZE): boolean {
    const frame = this.peekAt(gpa);
    if (frame < 0) return false;
    if (pageBytes === PAGE_SIZE) return this.pool.holdsCode(frame);
    return this.pool.holdsCodeIn(frame + (gpa & (PAGE_SIZE - 1) & -pageBytes), pageBytes);
  }

  /** Bytes at `gpa` were written that lie on one page: true if code that may be running has gone. */
  noteCodeWrite(gpa: number, length: number, byHart: boolean): boolean {
    return this.observers.codeWritten(gpa, length, byHart);
  }

  /** Fills `target` from `gpa`. False if any byte is nowhere. */
  read(gpa: number, target: Uint8Array): boolean {
    if (!this.covers(gpa, target.length, () => true)) return false;
    for (let done = 0; done < target.length; ) {
      const at = gpa + done;
      const inPage = at % PAGE_SIZE;
      const count = Math.min(PAGE_SIZE - inPage, target.length - done);
      if (!this.readAt(at, target.subarray(done, done + count))) return false;
      done += count;
    }
    return true;
  }

  /** Copies `source` to `gpa`. False if any byte can't be written, and nothing is, or finds no frame. */
  write(gpa: number, source: Uint8Array): boolean {
    if (!this.covers(gpa, source.length, ({ rom }) => rom === undefined)) return false;
    const start = gpa - (gpa % PAGE_SIZE);
    for (let page = start; page < gpa + source.length; page += PAGE_SIZE) {
      if (this.writableFrame(page) < 0) return false;
    }
    for (let done = 0; done < source.length; ) {
      const at = gpa + done;
      const inPage = at % PAGE_SIZE;
      const count = Math.min(PAGE_SIZE - inPage, source.length - done);
      // Where frames are short, the page may have been swapped out since it was made writable.
      const frame = this.writableFrame(at);
      if (frame < 0) return false;
      this.pool.memory.u8.set(source.subarray(done, done + count), frame + inPage);
      if (this.holdsCode(at)) this.noteCodeWrite(at, count, false);
      done += count;
    }
    return true;
  }

  /** Writes `length` zero bytes at `gpa`; pages never touched stay so. False if any byte lies outside RAM. */
  clear(gpa: number, length: number): boolean {
    if (!this.contains(gpa, length)) return false;
    for (let done = 0; done < length; ) {
      const at = gpa + done;
      const inPage = at % PAGE_SIZE;
      const count = Math.min(PAGE_SIZE - inPage, length - done);
      const page = this.pageOf(at);
      if (count === PAGE_SIZE && !this.holdsCode(at)) this.discardPage(page);
      else if (this.isTouched(page)) {
        const frame = this.writableFrame(at);
        if (frame < 0) return false;
        this.pool.memory.u8.fill(0, frame + inPage, frame + inPage + count);
        if (this.holdsCode(at)) this.noteCodeWrite(at, count, false);
      }
      done += count;
    }
    return true;
  }

  /** Number of the page of RAM that an address is in; -1 if it is in none. */
  pageOf(gpa: number): number {
    const offset = gpa - this.base;
    if (offset >= 0 && offset < this.bytes) return offset >>> PAGE_SHIFT;
    const region = this.isDivided ? this.space.find(gpa) : undefined;
    return region === undefined || region.firstPage === NO_RAM ? -1 : region.firstPage + indexIn(region, gpa);
  }

  /** Guest-physical address of a byte of linear memory: of the first page of RAM whose frame holds it; -1 if none does. */
  addressOf(offset: number): number {
    for (let page = 0; page < this.pages; page++) {
      const frame = this.peekFrame(page);
      if (frame >= 0 && offset >= frame && offset < frame + PAGE_SIZE)
        return this.addressOfPage(page) + (offset - frame);
    }
    return -1;
  }

  /**
   * A window for frames that a device lends. It has nothing mapped, and belongs to this guest alone: a twin's device
   * makes its own.
   * @param base where it is, a multiple of 4096; nowhere yet if it is undefined
   * @throws MemoryError `E_REGION_RANGE`, `E_REGION_OVERLAP`, `E_REGION_NAME`
   */
  lend(name: string, base: number | undefined, bytes: number): LentWindow {
    checkPlace({ kind: "lent", name, base: base ?? 0, bytes });
    if ([...this.windows, ...this.space.all].some((other) => other.name === name))
      throw new MemoryError("E_REGION_NAME", `${name}: there is a region of that name: lend it by another`);
    const window = new LentWindow(name, bytes, {
      pool: this.pool,
      place: (moved, to) => this.placeWindow(moved, to),
      forget: (gone) => void this.windows.delete(gone),
      unmapped: (frame, gpa) => this.observers.remapped(frame, gpa, "unmapped"),
    });
    // What is wrong is said by the map; a move that fails says nothing.
    if (base !== undefined) {
      this.space.add({ kind: "lent", name, base, bytes, firstPage: NO_RAM, window });
      this.isDivided = true;
      window.begin(base);
    }
    this.windows.add(window);
    return window;
  }

  /**
   * Another guest with the same memory, by copy-on-write: both keep reading the same frames until one of them writes. It
   * has no windows: its own devices make them.
   * @param apart byte offset of a frame that must stay this guest's alone, whose bytes the twin gets as a copy: an LR
   *   reservation lies there; -1 if none does
   * @returns undefined if the pool has no frame for that copy
   */
  share(apart = -1): GuestMemory | undefined {
    const { pool, base: ramBase, bytes: ramBytes } = this;
    const twin = new GuestMemory({ pool, ramBase, ramBytes }, this);
    if (this.shareWith(twin, apart)) return twin;
    twin.free();
    return undefined;
  }

  override free(): void {
    for (const window of this.windows) window.close();
    for (const { rom } of this.space.all) rom?.release();
    super.free();
  }

  private frameElsewhere(gpa: number): number {
    const region = this.space.find(gpa);
    if (region === undefined) return -1;
    const index = indexIn(region, gpa);
    if (region.firstPage === NO_RAM) return (region.rom?.frameOf(index) ?? region.window?.peekFrame(index))!;
    const frame = this.map[region.firstPage + index]!;
    return frame > 0 ? frame * PAGE_SIZE : this.findFrame(region.firstPage + index);
  }

  private writableElsewhere(gpa: number): number {
    const region = this.space.find(gpa);
    if (region === undefined || region.rom !== undefined) return -1;
    const index = indexIn(region, gpa);
    if (region.window === undefined) return this.makeWritable(region.firstPage + index);
    const frame = region.window.writableFrame(index);
    if (frame >= 0 && this.isLogged) this.observers.written(region.base + index * PAGE_SIZE);
    return frame;
  }

  /** Byte offset of the frame of `gpa`'s page, without making one or counting the look as use; -1 if there is none. */
  private peekAt(gpa: number): number {
    const offset = gpa - this.base;
    if (offset >= 0 && offset < this.bytes) return this.peekFrame(offset >>> PAGE_SHIFT);
    const region = this.isDivided ? this.space.find(gpa) : undefined;
    if (region === undefined) return -1;
    const index = indexIn(region, gpa);
    if (region.firstPage !== NO_RAM) return this.peekFrame(region.firstPage + index);
    return (region.rom ?? region.window)!.peekFrame(index);
  }

  /** Whether all of some bytes are in regions of a kind. */
  private covers(gpa: number, length: number, isRight: (region: Region) => boolean): boolean {
    if (gpa >= this.base && length <= this.bytes && gpa - this.base <= this.bytes - length) return true;
    if (!this.isDivided) return false;
    let at = gpa;
    do {
      const region = this.space.find(at);
      if (region === undefined || !isRight(region)) return false;
      at = region.base + region.bytes;
    } while (at < gpa + length);
    return true;
  }

  /** Fills `target` with bytes of one page; false if nothing is there. */
  private readAt(gpa: number, target: Uint8Array): boolean {
    const inPage = gpa % PAGE_SIZE;
    const page = this.pageOf(gpa);
    if (page >= 0) {
      this.readInPage(page, inPage, target);
      return true;
    }
    const region = this.space.find(gpa)!;
    const index = indexIn(region, gpa);
    if (region.rom !== undefined) region.rom.readPage(index, inPage, target);
    else {
      const frame = region.window!.peekFrame(index);
      if (frame < 0) return false;
      target.set(this.pool.memory.u8.subarray(frame + inPage, frame + inPage + target.length));
    }
    return true;
  }

  private placeWindow(window: LentWindow, to: number | undefined): boolean {
    const { space } = this;
    const { name, bytes } = window;
    if (!this.windows.has(window)) return false;
    const old = space.all.find((region) => region.window === window);
    if (to !== undefined && (!isPlace(to, bytes) || space.rival(to, bytes, old) !== undefined)) return false;
    if (old !== undefined) space.remove(old);
    if (to !== undefined) space.add({ kind: "lent", name, base: to, bytes, firstPage: NO_RAM, window });
    this.isDivided = space.all.length > 1;
    return true;
  }
}

/** Index of an address's page in a region. */
const indexIn = (region: Region, gpa: number): number => (gpa - region.base) >>> PAGE_SHIFT;

function layOut({ pool, ramBase, ramBytes, regions = [] }: GuestMemoryOptions): RegionMap<Region> {
  const space = new RegionMap<Region>();
  space.add({ kind: "ram", name: MAIN, base: ramBase, bytes: ramBytes, firstPage: 0 });
  let pages = ramBytes / PAGE_SIZE;
  for (const options of regions) {
    const { kind, name, base } = options;
    if (kind === "ram") {
      space.add({ kind, name, base, bytes: options.bytes, firstPage: pages });
      pages += options.bytes / PAGE_SIZE;
    } else {
      const rom = new RomContents(pool, options);
      space.add({ kind, name, base, bytes: rom.bytes, firstPage: NO_RAM, rom });
    }
  }
  return space;
}

/** A twin's regions: the same, without the windows. */
function inherited(space: RegionMap<Region>): RegionMap<Region> {
  const own = new RegionMap<Region>();
  for (const region of space.all) {
    if (region.window !== undefined) continue;
    region.rom?.retain();
    own.add(region);
  }
  return own;
}

const placesIn = (space: RegionMap<Region>): RamPlace[] =>
  space.all
    .filter(({ firstPage }) => firstPage !== NO_RAM)
    .sort((one, other) => one.firstPage - other.firstPage)
    .map(({ base, firstPage, bytes }) => ({ base, firstPage, pages: bytes / PAGE_SIZE }));
