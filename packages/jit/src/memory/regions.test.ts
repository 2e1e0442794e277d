/**
 * Address spaces of several regions against a map from addresses to bytes: random layouts, windows that are mapped, moved
 * and taken away, guests that share; what does not fit is refused by name before anything is made.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DirtyPages } from "./dirty-pages.js";
import { FramePool } from "./frames.js";
import { GuestMemory } from "./guest-memory.js";
import { PAGE_SIZE } from "./layout.js";
import { LentFrames } from "./lent-frames.js";
import type { LentWindow } from "./lent-window.js";
import { LinearMemory, MemoryError } from "./linear-memory.js";
import { guestIn, memoryPool } from "./machine-memory.js";
import type { RegionOptions } from "./regions.js";

const FRAMES = 200;
/** Pages of the address space that is looked at. */
const SPACE = 40;
const ROM_BYTES = 3 * PAGE_SIZE;

const poolOf = (frames = FRAMES): FramePool =>
  new FramePool(LinearMemory.create({ bytes: (frames + 1) * PAGE_SIZE }), PAGE_SIZE, frames);

const romBytes = (seed: number, length = ROM_BYTES): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => (at * 7 + (at >> 12) * 3 + seed) & 0xff);

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof MemoryError) return error.code;
    throw error;
  }
  return "none";
};

/** What is at a byte of a page: its kind, and what reads there. */
interface Modelled {
  readonly kind: "ram" | "rom" | "flash";
  readonly first: Uint8Array;
}

const layout = fc.record({
  main: fc.record({ page: fc.nat(SPACE - 4), pages: fc.integer({ min: 1, max: 4 }) }),
  others: fc.array(
    fc.record({
      kind: fc.constantFrom("ram" as const, "rom" as const, "flash" as const),
      page: fc.nat(SPACE - 4),
      pages: fc.integer({ min: 3, max: 4 }),
    }),
    { maxLength: 5 },
  ),
});

const step = fc.record({
  kind: fc.constantFrom(
    "store" as const,
    "write" as const,
    "read" as const,
    "discard" as const,
    "share" as const,
    "map" as const,
    "unmap" as const,
    "move" as const,
    "lend" as const,
  ),
  page: fc.nat(SPACE - 1),
  pages: fc.integer({ min: 1, max: 3 }),
  value: fc.integer({ min: 1, max: 255 }),
  isReadOnly: fc.boolean(),
});

describe("an address space", () => {
  it("reads and takes what a map of its pages says, whatever the layout", () => {
    let made = 0;
    fc.assert(
      fc.property(layout, fc.array(step, { maxLength: 40 }), ({ main, others }, steps) => {
        const taken = new Set<number>();
        const claim = (page: number, pages: number): boolean => {
          const all = Array.from({ length: pages }, (_, index) => page + index);
          if (all.some((each) => taken.has(each))) return false;
          for (const each of all) taken.add(each);
          return true;
        };
        claim(main.page, main.pages);
        const fits = others.map(({ page, pages }) => claim(page, pages)).every((each) => each);
        const regions = others.map(
          ({ kind, page, pages }, index): RegionOptions => ({
            name: `r${index}`,
            base: page * PAGE_SIZE,
            bytes: pages * PAGE_SIZE,
            ...(kind === "ram" ? { kind } : { kind, contents: romBytes(index) }),
          }),
        );
        const pool = poolOf();
        const make = () =>
          new GuestMemory({
            pool,
            ramBase: main.page * PAGE_SIZE,
            ramBytes: main.pages * PAGE_SIZE,
            regions,
          });
        if (!fits) {
          expect(codeOf(make)).toBe("E_REGION_OVERLAP");
          expect(pool.used).toBe(0);
          return;
        }
        made++;
        const guest = make();
        expect(guest.pages).toBe(
          others.reduce((sum, { kind, pages }) => sum + (kind === "ram" ? pages : 0), main.pages),
        );
        const model = new Map<number, Modelled>();
        for (let page = 0; page < main.pages; page++)
          model.set(main.page + page, { kind: "ram", first: new Uint8Array(2) });
        others.forEach(({ kind, page, pages }, region) => {
          for (let index = 0; index < pages; index++) {
            const contents = romBytes(region).subarray(index * PAGE_SIZE, index * PAGE_SIZE + 2);
            const blank = new Uint8Array(2).fill(kind === "flash" ? 0xff : 0);
            const first = kind === "ram" ? new Uint8Array(2) : contents.length > 0 ? contents : blank;
            model.set(page + index, { kind, first: first.slice() });
          }
        });
        play(guest, model, steps);
        guest.free();
        // The frame of zeros stays.
        expect(pool.used).toBeLessThanOrEqual(1);
      }),
      { numRuns: 300 },
    );
    expect(made).toBeGreaterThan(50);
  });

  /** Does the steps to a guest and its model, and looks at every page after each. */
  function play(
    guest: GuestMemory,
    model: Map<number, Modelled>,
    steps: readonly (typeof step extends fc.Arbitrary<infer T> ? T : never)[],
  ): void {
    const { pool } = guest;
    const lent = new LentFrames(pool, 3 * PAGE_SIZE);
    const lentFirst = [0, 1, 2].map((page) => new Uint8Array(2).fill(0x40 + page));
    lentFirst.forEach((bytes, page) => {
      lent.write(page * PAGE_SIZE, bytes);
    });
    const twins: { guest: GuestMemory; model: Map<number, Modelled> }[] = [];
    let window: LentWindow | undefined;
    /** What is mapped by page of the window. */
    const mapped = new Map<number, { page: number; isReadOnly: boolean }>();
    const windowPage = (page: number): number | undefined =>
      window?.base === undefined ? undefined : page - window.base / PAGE_SIZE;
    const expected = (page: number): Uint8Array | undefined => {
      const inWindow = mapped.get(windowPage(page) ?? -1);
      return inWindow === undefined ? model.get(page)?.first : lentFirst[inWindow.page];
    };
    const isWritable = (page: number): boolean => {
      const inWindow = mapped.get(windowPage(page) ?? -1);
      return inWindow === undefined ? model.get(page)?.kind === "ram" : !inWindow.isReadOnly;
    };
    for (const { kind, page, pages, value, isReadOnly } of steps) {
      const gpa = page * PAGE_SIZE;
      const bytes = Uint8Array.of(value, value ^ 0xff);
      switch (kind) {
        case "store": {
          const frame = guest.writableFrame(gpa);
          expect(frame >= 0).toBe(isWritable(page));
          if (frame < 0) break;
          pool.memory.u8.set(bytes, frame);
          expected(page)!.set(bytes);
          break;
        }
        case "write": {
          // Two bytes before the next page as well.
          const many = new Uint8Array(PAGE_SIZE + 2);
          many.set(bytes);
          many.set(bytes, PAGE_SIZE);
          const wanted = isWritable(page) && isWritable(page + 1);
          expect(guest.write(gpa, many)).toBe(wanted);
          if (!wanted) break;
          expected(page)!.set(bytes);
          expected(page + 1)!.set(bytes);
          break;
        }
        case "read":
          expect(guest.frameOffset(gpa) >= 0).toBe(expected(page) !== undefined);
          expect(guest.contains(gpa, 2 * PAGE_SIZE)).toBe(
            [page, page + 1].every((each) => model.get(each)?.kind === "ram"),
          );
          break;
        case "discard": {
          const number = guest.pageOf(gpa);
          expect(number >= 0).toBe(model.get(page)?.kind === "ram");
          if (number < 0) break;
          expect(guest.addressOfPage(number)).toBe(gpa);
          guest.discardPage(number);
          model.get(page)!.first.fill(0);
          break;
        }
        case "share": {
          if (twins.length > 1) break;
          const copy = new Map(
            [...model].map(([at, each]) => [at, { ...each, first: each.first.slice() }] as const),
          );
          twins.push({ guest: guest.share()!, model: copy });
          break;
        }
        case "lend": {
          if (window !== undefined) break;
          const overlaps = [0, 1, 2].some((index) => model.has(page + index));
          const code = codeOf(() => {
            window = guest.lend("window", gpa, 3 * PAGE_SIZE);
          });
          expect(code).toBe(overlaps ? "E_REGION_OVERLAP" : "none");
          break;
        }
        case "map": {
          const at = page % 3;
          const count = Math.min(pages, 3 - at);
          if (window === undefined) break;
          window.map(at * PAGE_SIZE, lent, { from: 0, bytes: count * PAGE_SIZE, isReadOnly });
          for (let index = 0; index < count; index++) mapped.set(at + index, { page: index, isReadOnly });
          break;
        }
        case "unmap":
          if (window === undefined) break;
          window.unmap((page % 3) * PAGE_SIZE, PAGE_SIZE);
          mapped.delete(page % 3);
          break;
        default: {
          const overlaps = [0, 1, 2].some((index) => model.has(page + index));
          expect(window?.move(gpa) ?? !overlaps).toBe(!overlaps);
        }
      }
      for (let each = 0; each < SPACE + 4; each++) {
        const read = new Uint8Array(2);
        const is = guest.read(each * PAGE_SIZE, read);
        expect(is ? [...read] : undefined).toEqual(expected(each) && [...expected(each)!]);
      }
    }
    for (const twin of twins) {
      for (let each = 0; each < SPACE + 4; each++) {
        const read = new Uint8Array(2);
        const is = twin.guest.read(each * PAGE_SIZE, read);
        expect(is ? [...read] : undefined).toEqual(
          twin.model.has(each) ? [...twin.model.get(each)!.first] : undefined,
        );
      }
      twin.guest.free();
    }
    lent.free();
    window?.close();
  }

  const ram = { ramBase: 0x80000000, ramBytes: 4 * PAGE_SIZE };
  const rom = (more: Partial<RegionOptions>): RegionOptions =>
    ({ kind: "rom", name: "boot", base: 0x1000, contents: romBytes(1), ...more }) as RegionOptions;

  it.each([
    [
      "a base within a page",
      rom({ base: 0x1001 }),
      "E_REGION_RANGE",
      "boot: 12288 bytes from 0x1001 are no region",
    ],
    ["a base below zero", rom({ base: -4096 }), "E_REGION_RANGE", "boot: 12288 bytes from 0x-1000"],
    ["a base that is no number", rom({ base: Number.NaN }), "E_REGION_RANGE", "boot: 12288 bytes from NaN"],
    ["bytes within a page", rom({ bytes: 0x3001 }), "E_REGION_RANGE", "boot: 12289 bytes from 0x1000"],
    ["nothing in it", rom({ contents: new Uint8Array(0) }), "E_REGION_RANGE", "boot: 0 bytes from 0x1000"],
    ["more than 4 GiB", rom({ bytes: 2 ** 32 + 4096 }), "E_REGION_RANGE", "use at most 4 GiB"],
    [
      "contents that do not fit",
      rom({ bytes: 0x2000 }),
      "E_REGION_CONTENTS",
      "boot: 12288 bytes of contents do not fit into 8192: make the region larger",
    ],
    [
      "a place in RAM",
      rom({ base: 0x80003000 }),
      "E_REGION_OVERLAP",
      "boot (0x80003000 to 0x80005fff) overlaps ram (0x80000000 to 0x80003fff): move one of them",
    ],
    [
      "the name of another",
      rom({ name: "ram" }),
      "E_REGION_NAME",
      "ram (0x1000 to 0x3fff) has the name of ram (0x80000000 to 0x80003fff): call one of them otherwise",
    ],
    ["no name", rom({ name: "" }), "E_REGION_NAME", "region 0 of the memory has no name: give it one"],
  ])("refuses a region with %s", (_, region, code, message) => {
    const pool = memoryPool({ frameBytes: 1 << 16, arenaBytes: 0 });
    const make = () => guestIn(pool, { ...ram, regions: [region] });
    expect(codeOf(make)).toBe(code);
    expect(make).toThrow(message);
    expect(pool.pool.used).toBe(0);
  });

  it("takes frames for pages of ROM when they are used, once for all twins", () => {
    const pool = poolOf();
    const contents = romBytes(5, 2 * PAGE_SIZE + 5);
    const flash: RegionOptions = { kind: "flash", name: "flash", base: 0, bytes: 1 << 25, contents };
    const guest = new GuestMemory({ pool, ...ram, regions: [flash] });
    const twin = guest.share()!;
    expect(guest.regions.map(({ kind, base, bytes }) => [kind, base, bytes])).toEqual([
      ["flash", 0, 1 << 25],
      ["ram", ram.ramBase, ram.ramBytes],
    ]);
    expect(pool.used).toBe(0);
    const frame = guest.frameOffset(PAGE_SIZE + 8);
    expect([...pool.memory.u8.subarray(frame, frame + 2)]).toEqual([
      ...contents.subarray(PAGE_SIZE, PAGE_SIZE + 2),
    ]);
    const blanks = [3, 1000, (1 << 13) - 1].map((page) => guest.frameOffset(page * PAGE_SIZE));
    expect(new Set(blanks).size).toBe(1);
    expect(pool.memory.u8[blanks[0]!]).toBe(0xff);
    const tail = guest.frameOffset(2 * PAGE_SIZE);
    expect([...pool.memory.u8.subarray(tail + 4, tail + 6)]).toEqual([contents[2 * PAGE_SIZE + 4], 0xff]);
    expect(twin.frameOffset(PAGE_SIZE)).toBe(frame);
    expect(pool.used).toBe(3);
    guest.free();
    const read = new Uint8Array(4);
    expect([twin.read(PAGE_SIZE, read), ...read]).toEqual([
      true,
      ...contents.subarray(PAGE_SIZE, PAGE_SIZE + 4),
    ]);
    twin.free();
    expect(pool.used).toBe(0);
  });

  it("refuses what a window is not, and keeps frames that are mapped when their owner lets them go", () => {
    const pool = poolOf(8);
    const guest = new GuestMemory({ pool, ...ram });
    expect(codeOf(() => guest.lend("fb", 0x1001, PAGE_SIZE))).toBe("E_REGION_RANGE");
    expect(codeOf(() => guest.lend("fb", undefined, 100))).toBe("E_REGION_RANGE");
    expect(codeOf(() => guest.lend("ram", 0x1000, PAGE_SIZE))).toBe("E_REGION_NAME");
    expect(codeOf(() => new LentFrames(pool, 4097))).toBe("E_REGION_RANGE");
    expect(codeOf(() => new LentFrames(pool, 9 * PAGE_SIZE))).toBe("E_MEMORY_UNAVAILABLE");
    expect(pool.used).toBe(0);
    const frames = new LentFrames(pool, 2 * PAGE_SIZE);
    const window = guest.lend("fb", undefined, 2 * PAGE_SIZE);
    for (const [offset, options] of [
      [PAGE_SIZE, {}],
      [100, { bytes: PAGE_SIZE }],
      [0, { from: PAGE_SIZE, bytes: 2 * PAGE_SIZE }],
      [0, { bytes: 5 }],
    ] as const)
      expect(codeOf(() => window.map(offset, frames, options))).toBe("E_REGION_RANGE");
    expect(codeOf(() => window.map(0, new LentFrames(poolOf(), PAGE_SIZE)))).toBe("E_REGION_RANGE");
    expect(codeOf(() => window.unmap(0, 3 * PAGE_SIZE))).toBe("E_REGION_RANGE");
    expect(codeOf(() => frames.write(2 * PAGE_SIZE - 1, new Uint8Array(2)))).toBe("E_REGION_RANGE");
    window.map(0, frames);
    expect([window.move(ram.ramBase), window.base, window.move(0x2000), window.base]).toEqual([
      false,
      undefined,
      true,
      0x2000,
    ]);
    frames.write(PAGE_SIZE - 1, Uint8Array.of(1, 2));
    frames.free();
    expect(pool.used).toBe(2);
    const read = new Uint8Array(2);
    expect([guest.read(0x2fff, read), ...read]).toEqual([true, 1, 2]);
    expect(codeOf(() => guest.lend("fb", undefined, PAGE_SIZE))).toBe("E_REGION_NAME");
    window.close();
    expect([pool.used, guest.read(0x2fff, read), window.move(0x2000)]).toEqual([0, false, false]);
    // What is nowhere has frames, too.
    guest.lend("fb", undefined, PAGE_SIZE).map(0, new LentFrames(pool, PAGE_SIZE));
    expect(pool.used).toBe(1);
    guest.free();
    expect(pool.references.some((count) => count > 1)).toBe(false);
  });
});

describe("observers", () => {
  it("hear of it at the same time, and no more once they have ended", () => {
    const pool = poolOf();
    const guest = new GuestMemory({ pool, ramBase: 0, ramBytes: 4 * PAGE_SIZE });
    const heard: string[] = [];
    const listen = (name: string, answer: boolean) =>
      guest.observe({
        onCodeWrite: (gpa, length, byHart) => {
          heard.push(`${name} code ${gpa} ${length} ${byHart}`);
          return answer;
        },
        onRemap: (_, gpa, cause) => heard.push(`${name} ${cause} ${gpa}`),
        onProtect: () => heard.push(`${name} protect`),
      });
    const ends = [listen("a", false), listen("b", true), listen("c", false)];
    guest.write(0, Uint8Array.of(1));
    guest.write(PAGE_SIZE, Uint8Array.of(2));
    expect(heard.splice(0)).toEqual([]);
    pool.markCode(guest.frameOffset(0));
    guest.write(8, Uint8Array.of(1, 2));
    expect(heard.splice(0)).toEqual(["a code 8 2 false", "b code 8 2 false", "c code 8 2 false"]);
    expect(guest.noteCodeWrite(8, 2, true)).toBe(true);
    heard.length = 0;
    ends[1]!();
    expect(guest.noteCodeWrite(8, 2, true)).toBe(false);
    expect(heard.splice(0)).toEqual(["a code 8 2 true", "c code 8 2 true"]);
    ends[2]!();
    const twin = guest.share()!;
    guest.write(0, Uint8Array.of(3));
    guest.protectPage(1);
    guest.mergePage(1, twin.peekFrame(0));
    guest.watchPage(0);
    guest.discardPage(0);
    expect(heard).toEqual([
      "a protect",
      "a copied 0",
      "a protected 4096",
      "a merged 4096",
      "a watched 0",
      "a dropped 0",
    ]);
    twin.free();
    guest.free();
  });

  it("that log writes hear of each page once between two looks, however it changes", () => {
    const pool = poolOf();
    const rom: RegionOptions = { kind: "rom", name: "rom", base: 0x100000, contents: romBytes(1) };
    const more: RegionOptions = { kind: "ram", name: "high", base: 0x200000, bytes: 2 * PAGE_SIZE };
    const guest = new GuestMemory({ pool, ramBase: 0, ramBytes: 8 * PAGE_SIZE, regions: [rom, more] });
    const frames = new LentFrames(pool, PAGE_SIZE);
    guest.lend("lent", 0x300000, PAGE_SIZE).map(0, frames);
    for (let page = 0; page < 6; page++) guest.write(page * PAGE_SIZE, Uint8Array.of(page + 1));
    const logs = [new DirtyPages(guest), new DirtyPages(guest)];
    const [one, two] = logs as [DirtyPages, DirtyPages];
    expect(one.take()).toEqual([]);
    guest.frameOffset(0);
    guest.read(0, new Uint8Array(1));
    guest.write(5 * PAGE_SIZE - 1, Uint8Array.of(1, 2));
    guest.writableFrame(0x1234);
    guest.writableFrame(0x100000);
    guest.writableFrame(0x200008);
    guest.writableFrame(0x300008);
    guest.discardPage(0);
    const dirty = [0, PAGE_SIZE, 4 * PAGE_SIZE, 5 * PAGE_SIZE, 0x200000, 0x300000];
    expect(one.take()).toEqual(dirty);
    expect(one.take()).toEqual([]);
    guest.clear(2 * PAGE_SIZE, PAGE_SIZE);
    expect(one.take()).toEqual([2 * PAGE_SIZE]);
    one.stop();
    guest.writableFrame(6 * PAGE_SIZE);
    expect(two.take()).toEqual([...dirty, 2 * PAGE_SIZE, 6 * PAGE_SIZE].sort((a, b) => a - b));
    expect(one.take()).toEqual([]);
  });
});
