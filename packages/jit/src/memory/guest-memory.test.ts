/**
 * Guests that share frames, against plain arrays: whatever is shared, copied, merged, swapped, watched or given up, and
 * however short frames are, every guest reads what it wrote itself. A stand-in for the TLBs holds on to frames as long as
 * it is allowed to.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FramePool } from "./frames.js";
import { GuestMemory } from "./guest-memory.js";
import { PAGE_SIZE } from "./layout.js";
import { LinearMemory } from "./linear-memory.js";
import { movesBytes } from "./observers.js";
import type { MemoryUsage, Pager } from "./ram-pages.js";

const RAM = 0x80000000;
const PAGES = 6;

/** A pager that keeps pages in an array, and knows when it is misused. */
class ArrayPager implements Pager {
  readonly slots: { bytes: Uint8Array; references: number }[] = [];

  constructor(private readonly room = 1000) {}

  get used(): number {
    return this.slots.filter(({ references }) => references > 0).length;
  }

  store(page: Uint8Array): number {
    if (this.used >= this.room) return -1;
    return this.slots.push({ bytes: page.slice(), references: 1 }) - 1;
  }

  load(slot: number, target: Uint8Array): void {
    if (this.slots[slot]!.references < 1) throw new Error(`slot ${slot} is free`);
    target.set(this.slots[slot]!.bytes);
  }

  retain(slot: number): void {
    this.slots[slot]!.references++;
  }

  release(slot: number): void {
    if (--this.slots[slot]!.references < 0) throw new Error(`slot ${slot} was free`);
  }
}

/** A guest with what its TLBs would hold, and the bytes that it should have. */
class Guest {
  readonly model: Uint8Array[];
  /** Frames that may be read, and written, without asking. */
  readonly readable = new Map<number, number>();
  readonly writable = new Map<number, number>();

  constructor(
    readonly memory: GuestMemory,
    model?: Uint8Array[],
  ) {
    this.model =
      model?.map((bytes) => bytes.slice()) ?? Array.from({ length: PAGES }, () => new Uint8Array(2));
    const drop = (entries: Map<number, number>, frame: number) => {
      for (const [page, known] of entries) if (known === frame) entries.delete(page);
    };
    memory.observe({
      onRemap: (frame) => {
        drop(this.readable, frame);
        drop(this.writable, frame);
      },
      onProtect: () => this.writable.clear(),
    });
  }

  /** Reads the first two bytes of a page as a hart would. */
  read(page: number): number[] | undefined {
    const frame = this.readable.get(page) ?? this.memory.frameOffset(RAM + page * PAGE_SIZE);
    if (frame < 0) return undefined;
    this.readable.set(page, frame);
    return [...this.memory.pool.memory.u8.subarray(frame, frame + 2)];
  }

  /** Writes the first two bytes of a page as a hart would; false if no frame is left. */
  write(page: number, value: number): boolean {
    const frame = this.writable.get(page) ?? this.memory.writableFrame(RAM + page * PAGE_SIZE);
    if (frame < 0) return false;
    this.writable.set(page, frame);
    const bytes = [value, value ^ 0xff];
    this.memory.pool.memory.u8.set(bytes, frame);
    this.model[page]!.set(bytes);
    return true;
  }

  check(): void {
    const bytes = new Uint8Array(2);
    for (let page = 0; page < PAGES; page++) {
      this.memory.read(RAM + page * PAGE_SIZE, bytes);
      expect([...bytes]).toEqual([...this.model[page]!]);
    }
  }
}

/** What `usage` says, by looking at every page. */
function usageByScan(guest: GuestMemory): MemoryUsage {
  const all = Array.from({ length: guest.pages }, (_, index) => index);
  const bytes = (isSo: (page: number) => boolean) => all.filter(isSo).length * PAGE_SIZE;
  const frameOf = (page: number) => guest.peekFrame(page);
  return {
    granted: bytes((page) => frameOf(page) >= 0),
    touched: bytes((page) => guest.isTouched(page)),
    ballooned: bytes((page) => guest.isBallooned(page)),
    shared: bytes((page) => frameOf(page) >= 0 && !guest.pool.isPrivate(frameOf(page))),
    swapped: bytes((page) => guest.isTouched(page) && frameOf(page) < 0),
  };
}

const page = fc.nat(PAGES - 1);
const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      page,
      value: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("read" as const), page }) },
  fc.record({ kind: fc.constant("dma" as const), page, value: fc.nat(255) }),
  fc.record({ kind: fc.constant("share" as const) }),
  fc.record({ kind: fc.constant("merge" as const), page }),
  fc.record({ kind: fc.constant("swap" as const), page }),
  fc.record({ kind: fc.constant("watch" as const), page }),
  fc.record({ kind: fc.constant("unwatch" as const), page }),
  fc.record({ kind: fc.constant("balloon" as const), page }),
  fc.record({ kind: fc.constant("deflate" as const), page }),
  fc.record({ kind: fc.constant("clear" as const) }),
  fc.record({ kind: fc.constant("free" as const) }),
);

describe("guests of one pool", () => {
  it.each([200, 12, 7])("keep their bytes apart with %i frames", (frames) => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3), action), { maxLength: 60 }), (steps) => {
        const memory = LinearMemory.create({ bytes: (frames + 1) * PAGE_SIZE });
        const pool = new FramePool(memory, PAGE_SIZE, frames);
        const pager = new ArrayPager();
        const first = new GuestMemory({ pool, ramBase: RAM, ramBytes: PAGES * PAGE_SIZE });
        first.usePager(pager);
        let guests = [new Guest(first)];
        pool.onExhausted = () =>
          guests.some(({ memory: guest }) =>
            Array.from({ length: PAGES }, (_, index) => index).some((index) => {
              const frame = guest.peekFrame(index);
              return frame >= 0 && !pool.isPinned(frame) && guest.swapOut(index);
            }),
          );
        for (const [which, step] of steps) {
          const guest = guests[which % guests.length]!;
          switch (step.kind) {
            case "write":
              guest.write(step.page, step.value);
              break;
            case "read": {
              const bytes = guest.read(step.page);
              if (bytes !== undefined) expect(bytes).toEqual([...guest.model[step.page]!]);
              break;
            }
            case "dma": {
              const bytes = Uint8Array.of(step.value, 1);
              if (guest.memory.write(RAM + step.page * PAGE_SIZE, bytes)) guest.model[step.page]!.set(bytes);
              break;
            }
            case "share": {
              const apart = guest.memory.peekFrame(0);
              const twin =
                guests.length < 4 ? guest.memory.share(pool.isPrivate(apart) ? apart : -1) : undefined;
              if (twin === undefined) break;
              guests.push(new Guest(twin, guest.model));
              if (pool.isPrivate(apart)) expect(guest.memory.peekFrame(0)).toBe(apart);
              break;
            }
            case "merge":
              mergeEqual(guests, guest, step.page);
              break;
            case "swap":
              guest.memory.swapOut(step.page);
              break;
            case "watch":
              guest.memory.watchPage(step.page);
              break;
            case "unwatch":
              guest.memory.unwatchPage(step.page);
              break;
            case "balloon":
              guest.memory.balloonPage(step.page);
              guest.model[step.page]!.fill(0);
              break;
            case "deflate":
              guest.memory.deflatePage(step.page);
              break;
            case "clear":
              guest.memory.clearTouched();
              // A hart is reset along with its memory.
              guest.readable.clear();
              guest.writable.clear();
              for (const bytes of guest.model) bytes.fill(0);
              break;
            default:
              if (guests.length < 2) break;
              guest.memory.free();
              guests = guests.filter((other) => other !== guest);
          }
        }
        for (const guest of guests) guest.check();
        const references = new Map<number, number>();
        for (const { memory: guest } of guests) {
          expect(guest.usage()).toEqual(usageByScan(guest));
          for (let index = 0; index < PAGES; index++) {
            const frame = guest.peekFrame(index);
            if (frame >= 0) references.set(frame, (references.get(frame) ?? 0) + 1);
          }
        }
        for (const [frame, count] of references) expect(pool.references[frame / PAGE_SIZE]).toBe(count);
        for (const guest of guests) guest.memory.free();
        expect(pool.used).toBeLessThanOrEqual(1);
        expect(pager.used).toBe(0);
      }),
      { numRuns: 400 },
    );
  });

  it("know their usage without a look at any page", () => {
    const memory = LinearMemory.create({ bytes: 9 * PAGE_SIZE });
    const pool = new FramePool(memory, PAGE_SIZE, 8);
    const guest = new GuestMemory({ pool, ramBase: RAM, ramBytes: PAGES * PAGE_SIZE });
    for (let page = 0; page < 3; page++) guest.write(RAM + page * PAGE_SIZE, Uint8Array.of(1));
    guest.balloonPage(PAGES - 1);
    guest.share();
    let looks = 0;
    for (const [name, value] of [...Object.entries(guest), ...Object.entries(pool)]) {
      if (!ArrayBuffer.isView(value)) continue;
      const watched = new Proxy(value, {
        get(target, key) {
          looks++;
          return Reflect.get(target, key);
        },
      });
      Object.defineProperty(Object.hasOwn(guest, name) ? guest : pool, name, { value: watched });
    }
    const usage = guest.usage();
    expect([looks, usage.granted, usage.shared, usage.ballooned]).toEqual([
      0,
      3 * PAGE_SIZE,
      3 * PAGE_SIZE,
      PAGE_SIZE,
    ]);
    expect(usageByScan(guest)).toEqual(usage);
    expect(looks).toBeGreaterThanOrEqual(PAGES);
  });

  it("frees a frame that held code only after its code is forgotten", () => {
    const memory = LinearMemory.create({ bytes: 9 * PAGE_SIZE });
    const pool = new FramePool(memory, PAGE_SIZE, 8);
    const guest = new GuestMemory({ pool, ramBase: RAM, ramBytes: PAGES * PAGE_SIZE });
    const frame = guest.writableFrame(RAM);
    pool.markCode(frame);
    const moved: boolean[] = [];
    guest.observe({ onRemap: (each, _, cause) => moved.push(each === frame && movesBytes(cause)) });
    guest.discardPage(0);
    expect(moved).toEqual([true]);
    expect([pool.used, pool.mourning]).toEqual([1, true]);
    const forgotten: number[] = [];
    pool.observe({ onForget: (each) => forgotten.push(each) });
    pool.bury();
    expect([pool.used, pool.mourning, forgotten, pool.holdsCode(frame)]).toEqual([0, false, [frame], false]);
  });

  it("says when a page that holds code was copied, so that running code is left", () => {
    const memory = LinearMemory.create({ bytes: 9 * PAGE_SIZE });
    const pool = new FramePool(memory, PAGE_SIZE, 8);
    const guest = new GuestMemory({ pool, ramBase: RAM, ramBytes: PAGES * PAGE_SIZE });
    pool.markCode(guest.writableFrame(RAM));
    const twin = guest.share()!;
    expect([guest.holdsCode(RAM), twin.holdsCode(RAM)]).toEqual([true, true]);
    const moved: string[] = [];
    for (const [name, memory] of Object.entries({ guest, twin }))
      memory.observe({
        onRemap: (frame, gpa, cause) => moved.push(`${name} ${cause} ${gpa - RAM} ${pool.holdsCode(frame)}`),
      });
    twin.writableFrame(RAM);
    expect(moved).toEqual(["twin copied 0 true"]);
    expect([guest.holdsCode(RAM), twin.holdsCode(RAM)]).toEqual([true, false]);
  });

  it("takes pages from a pager as they are used, and the rest when asked to", () => {
    const memory = LinearMemory.create({ bytes: 9 * PAGE_SIZE });
    const pool = new FramePool(memory, PAGE_SIZE, 8);
    const guest = new GuestMemory({ pool, ramBase: RAM, ramBytes: PAGES * PAGE_SIZE });
    const loads: number[] = [];
    const source: Pager = {
      store: () => -1,
      load(slot, target) {
        loads.push(slot);
        target.fill(slot + 1);
      },
      retain: () => {},
      release: () => {},
    };
    expect(guest.mapPager(source, [1, 4, 5])).toBe(true);
    expect(pool.used).toBe(0);
    const frame = guest.frameOffset(RAM + 4 * PAGE_SIZE);
    expect([memory.u8[frame], loads]).toEqual([2, [1]]);
    expect([guest.bringIn(1), guest.bringIn(5), guest.bringIn(5)]).toEqual([1, 1, 0]);
    expect(loads).toEqual([1, 0, 2]);
    // Forgotten pagers make room for others.
    for (let at = 0; at < 3; at++) expect(guest.mapPager(source, [])).toBe(true);
    expect(guest.mapPager(source, [])).toBe(false);
  });

  it("hands out no more frames than its limit", () => {
    const memory = LinearMemory.create({ bytes: 9 * PAGE_SIZE });
    const pool = new FramePool(memory, PAGE_SIZE, 8);
    pool.limit = 2;
    expect([pool.allocate() > 0, pool.allocate() > 0, pool.allocate(), pool.available]).toEqual([
      true,
      true,
      -1,
      0,
    ]);
    pool.limit = 100;
    expect([pool.limit, pool.available]).toEqual([8, 6]);
  });
});

/** Maps a page to the frame of any other page with the same bytes, as the search for equal pages does. */
function mergeEqual(guests: readonly Guest[], guest: Guest, index: number): void {
  const { pool } = guest.memory;
  const frame = guest.memory.peekFrame(index);
  if (frame < 0) return;
  const bytes = (at: number) => Buffer.from(pool.memory.u8.subarray(at, at + PAGE_SIZE));
  for (const other of guests) {
    for (let page = 0; page < PAGES; page++) {
      const found = other.memory.peekFrame(page);
      if (found < 0 || found === frame || Buffer.compare(bytes(found), bytes(frame)) !== 0) continue;
      other.memory.protectPage(page);
      guest.memory.mergePage(index, found);
      return;
    }
  }
}
