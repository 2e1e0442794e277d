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
  bus.attach(0x8_0000_0000, 0x1000, high);
  bus.attach(0x1000, 0x100, low);
  expect(bus.devices.map((device) => device.name)).toEqual(["low", "high"]);
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
  bus.attach(0x1000, 0x100, first);
  bus.attach(0x1100, 0x100, second);
  expect(bus.read(0xfff, 1)).toBeUndefined();
  expect(bus.read(0xffe, 4)).toBeUndefined();
  expect(bus.read(0x10fe, 4)).toBeUndefined();
  expect(bus.write(0x10fe, 4, 1)).toBe(false);
  expect(bus.read(0x1200, 1)).toBeUndefined();
  expect([...first.written, ...second.written]).toEqual([]);
});

test("an overlap names both devices; a range must be one", () => {
  const bus = new Bus();
  bus.attach(0x1000, 0x100, new Echo("uart0"));
  expect(() => bus.attach(0x10ff, 0x100, new Echo("rtc"))).toThrow(
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
    expect(() => bus.attach(base, size, new Echo("odd"))).toThrow(
      expect.objectContaining({ code: "E_BUS_RANGE" }),
    );
  }
});

test("any order of accesses finds what a plain search finds", () => {
  const bus = new Bus();
  const bases = [0, 0x100, 0x180, 0x400, 0x1000];
  for (const base of bases) bus.attach(base, 0x80, new Echo(`at ${base}`));
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
