import fc from "fast-check";
import { expect, test } from "vitest";
import type { AccessSize, MmioDevice } from "../ports.js";
import { Bus } from "./bus.js";

class Echo implements MmioDevice {
  readonly counters = {};
  written: [number, AccessSize, number][] = [];

  constructor(readonly name: string) {}

  read(offset: number, size: AccessSize): number {
    return offset * 16 + size;
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.written.push([offset, size, value]);
  }

  reset(): void {}

  save() {
    return {};
  }

  restore(): void {}
}

test("accesses reach the device at their address with an offset from its base", () => {
  const bus = new Bus();
  const low = new Echo("low");
  const high = new Echo("high");
  bus.map(0x8_0000_0000, 0x1000, high, high.name);
  bus.map(0x1000, 0x100, low, low.name);
  expect(bus.names).toEqual(["low", "high"]);
  expect(bus.read(0x1004, 4)).toBe(0x44);
  expect(bus.read(0x8_0000_0ffe, 2)).toBe(0xffe2);
  expect(bus.write(0x10ff, 1, 7)).toBe(true);
  expect(low.written).toEqual([[0xff, 1, 7]]);
});

test("an access where nobody is, or past a device's end, is a fault", () => {
  const bus = new Bus();
  expect(bus.read(0, 1)).toBeUndefined();
  const first = new Echo("first");
  const second = new Echo("second");
  bus.map(0x1000, 0x100, first, first.name);
  bus.map(0x1100, 0x100, second, second.name);
  expect(bus.read(0xfff, 1)).toBeUndefined();
  expect(bus.read(0xffe, 4)).toBeUndefined();
  expect(bus.read(0x10fe, 4)).toBeUndefined();
  expect(bus.write(0x10fe, 4, 1)).toBe(false);
  expect(bus.read(0x1200, 1)).toBeUndefined();
  expect([...first.written, ...second.written]).toEqual([]);
});

test("an overlap names both devices; a range must be one", () => {
  const bus = new Bus();
  bus.map(0x1000, 0x100, new Echo("uart0"), "uart0");
  expect(() => bus.map(0x10ff, 0x100, new Echo("rtc"), "rtc")).toThrow(
    expect.objectContaining({
      code: "E_BUS_OVERLAP",
      message: "rtc (0x10ff to 0x11fe) overlaps uart0 (0x1000 to 0x10ff): move one of them",
    }),
  );
  for (const [base, size] of [
    [-1, 4],
    [0, 0],
    [0.5, 4],
    [0, Number.NaN],
    [Number.MAX_SAFE_INTEGER, 4],
  ] as const) {
    expect(() => bus.map(base, size, new Echo("odd"), "odd")).toThrow(
      expect.objectContaining({ code: "E_BUS_RANGE" }),
    );
  }
});

test("any order of accesses finds what a plain search finds", () => {
  const bus = new Bus();
  const bases = [0, 0x100, 0x180, 0x400, 0x1000];
  for (const base of bases) bus.map(base, 0x80, new Echo(`at ${base}`), `at ${base}`);
  const access = fc.tuple(fc.integer({ min: 0, max: 0x1100 }), fc.constantFrom<AccessSize>(1, 2, 4));
  fc.assert(
    fc.property(fc.array(access, { maxLength: 40 }), (accesses) => {
      for (const [gpa, size] of accesses) {
        const base = bases.find((start) => gpa >= start && gpa + size <= start + 0x80);
        expect(bus.read(gpa, size)).toBe(base === undefined ? undefined : (gpa - base) * 16 + size);
      }
    }),
  );
});

test("accesses of 8 bytes reach registers that take them so, and no others", () => {
  const bus = new Bus();
  const written: [number, number, number][] = [];
  const wide = {
    read: (offset: number, words: Uint32Array) => words.set([offset, 0xffffffff]),
    write: (offset: number, low: number, high: number) => void written.push([offset, low, high]),
  };
  const narrow = new Echo("narrow");
  bus.map(0x1000, 0x100, Object.assign(new Echo("wide"), { wide }), "wide");
  bus.map(0x1100, 0x100, narrow, "narrow");
  const words = new Uint32Array(2);
  expect(bus.readWide(0x1008, words)).toBe(true);
  expect([...words]).toEqual([8, 0xffffffff]);
  expect(bus.writeWide(0x10f8, 1, 2)).toBe(true);
  expect(written).toEqual([[0xf8, 1, 2]]);
  for (const gpa of [0xff8, 0x10fc, 0x1100, 0x1200]) {
    expect(bus.readWide(gpa, words)).toBe(false);
    expect(bus.writeWide(gpa, 0, 0)).toBe(false);
  }
  expect([written.length, narrow.written.length]).toEqual([1, 0]);
});

test("registers move, go and come back while the machine runs", () => {
  const bus = new Bus();
  const bar = bus.map(undefined, 0x100, new Echo("bar"), "bar");
  expect([bar.base, bus.read(0, 4), bus.names]).toEqual([undefined, undefined, []]);
  expect(bar.move(0x4000)).toBe(true);
  expect(bus.read(0x4004, 4)).toBe(0x44);
  // By less than their own size, too: they are no rival of themselves.
  expect(bar.move(0x4080)).toBe(true);
  expect([bus.read(0x4004, 4), bus.read(0x4084, 4)]).toEqual([undefined, 0x44]);
  bar.unmap();
  bar.unmap();
  expect([bar.base, bus.read(0x4084, 4)]).toEqual([undefined, undefined]);
  expect(bar.move(0x1000)).toBe(true);
  expect(bus.read(0x1004, 4)).toBe(0x44);
});

test("what a guest moves over somebody else, over RAM or nowhere stays where it is", () => {
  const bus = new Bus();
  bus.reserve(0x80000000, 0x100000, "RAM");
  bus.map(0x1000, 0x100, new Echo("uart0"), "uart0");
  const bar = bus.map(0x4000, 0x100, new Echo("bar"), "bar");
  for (const base of [0x1000, 0xf01, 0x10ff, 0x7fffff01, 0x800fffff, -1, 0.5, Number.NaN, 2 ** 53 - 0x80]) {
    expect(bar.move(base), String(base)).toBe(false);
    expect([bar.base, bus.read(0x4000, 4), bus.read(0x1004, 4)]).toEqual([0x4000, 4, 0x44]);
  }
  expect(() => bus.map(0x80000ffc, 8, new Echo("late"), "late")).toThrow(
    "late (0x80000ffc to 0x80001003) overlaps RAM (0x80000000 to 0x800fffff): move one of them",
  );
  expect(() => bus.map(undefined, 0, new Echo("empty"), "empty")).toThrow(
    expect.objectContaining({ code: "E_BUS_RANGE" }),
  );
});

test("registers that move themselves during an access end that access where it began", () => {
  const bus = new Bus();
  const written: string[] = [];
  const hop = bus.map(
    0x1000,
    0x100,
    {
      read: (offset) => {
        hop.unmap();
        return offset;
      },
      write: (offset) => {
        written.push(`${hop.base?.toString(16)}+${offset}`);
        hop.move(0x2000);
      },
    },
    "hop",
  );
  expect(bus.write(0x1008, 4, 0)).toBe(true);
  expect(bus.write(0x1008, 4, 0)).toBe(false);
  expect(bus.write(0x2010, 4, 0)).toBe(true);
  expect(written).toEqual(["1000+8", "2000+16"]);
  expect(bus.read(0x2004, 4)).toBe(4);
  expect(bus.read(0x2004, 4)).toBeUndefined();
});

test("any order of moves leaves every address with one owner", () => {
  const move = fc.record({ bar: fc.nat(3), base: fc.option(fc.nat(0x40), { nil: undefined }) });
  fc.assert(
    fc.property(fc.array(move, { maxLength: 40 }), (moves) => {
      const bus = new Bus();
      const sizes = [4, 8, 12, 16];
      const bars = sizes.map((size, index) => bus.map(undefined, size, new Echo(`${index}`), `${index}`));
      const places: (number | undefined)[] = sizes.map(() => undefined);
      for (const { bar, base } of moves) {
        const free = (at: number) =>
          places.every(
            (other, i) =>
              i === bar || other === undefined || at + sizes[bar]! <= other || at >= other + sizes[i]!,
          );
        if (base === undefined) {
          bars[bar]!.unmap();
          places[bar] = undefined;
        } else {
          expect(bars[bar]!.move(base)).toBe(free(base));
          if (free(base)) places[bar] = base;
        }
        const addresses = Array.from({ length: 0x50 }, (_, gpa) => gpa);
        const expected = addresses.map((gpa) => {
          const owner = places.findIndex((at, i) => at !== undefined && gpa >= at && gpa < at + sizes[i]!);
          return owner === -1 ? undefined : (gpa - places[owner]!) * 16 + 1;
        });
        expect(addresses.map((gpa) => bus.read(gpa, 1))).toEqual(expected);
      }
    }),
    { numRuns: 200 },
  );
});
