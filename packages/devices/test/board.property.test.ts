/**
 * Guests without manners at the devices that are no virtio: UART, PLIC, CLINT, clock and power. Accesses of every width
 * and alignment, on, beside and across the registers, in any order with time and input: nothing is thrown, every value
 * fits its width, the state can be saved and restored, and after a reset the board is as new.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { RAM_BASE, virtMap } from "../src/boards/virt/memory-map.js";
import { virtBoard } from "../src/boards/virt/virt.js";
import type { AccessSize } from "../src/ports.js";
import { FakeClock, FakeConsole, FakeHart, noMemory } from "./fakes.js";

const plain = ["uart", "plic", "clint", "rtc", "test"] as const;
/** Bytes beyond a device's ends that are tried too. */
const BESIDE = 8;
/** Registers of a device, by the first bytes of each of its parts; the rest of it is tried anywhere. */
const parts: Readonly<Record<(typeof plain)[number], readonly number[]>> = {
  uart: [0],
  plic: [0, 0x1000, 0x2000, 0x2080, 0x200000, 0x201000],
  clint: [0, 0x4000, 0xbff8],
  rtc: [0],
  test: [0],
};

const address = fc.constantFrom(...plain).chain((name) => {
  const { base, size } = virtMap[name];
  return fc.oneof(
    {
      weight: 6,
      arbitrary: fc.tuple(fc.constantFrom(...parts[name]), fc.nat(48)).map(([part, at]) => base + part + at),
    },
    { weight: 1, arbitrary: fc.integer({ min: base - BESIDE, max: base + size + BESIDE }) },
  );
});
const size = fc.constantFrom<AccessSize>(1, 2, 4);
const value = fc.oneof(fc.constantFrom(0, 1, 0x80, 0x5555, 0x3333, 0x7777, 0xffffffff), fc.nat(0xffffffff));
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("read" as const), address, size }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("write" as const), address, size, value }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("wide" as const),
      address,
      low: value,
      high: value,
      isWrite: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("time" as const), ticks: fc.nat(2 ** 40) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("input" as const), bytes: fc.uint8Array({ maxLength: 64 }) }),
  },
);

function makeBoard() {
  const clock = new FakeClock();
  const console = new FakeConsole();
  const board = virtBoard({
    memory: noMemory,
    ramBytes: 1 << 20,
    harts: [new FakeHart()],
    clock,
    console,
    wallClock: () => 0,
    onPower: () => {},
  });
  return { board, clock, console };
}

test("no sequence of accesses breaks the board", () => {
  const fresh = makeBoard();
  fresh.board.reset();
  const { input: _atInput, rtc: atRtc, ...atOthers } = fresh.board.save();
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 80 }), (steps) => {
      const { board, clock, console } = makeBoard();
      for (const action of steps) {
        if (action.kind === "read") {
          const read = board.bus.read(action.address, action.size);
          if (read !== undefined)
            expect(Number.isInteger(read) && read >= 0 && read < 2 ** (8 * action.size)).toBe(true);
        } else if (action.kind === "write") {
          board.bus.write(action.address, action.size, action.value % 2 ** (8 * action.size));
        } else if (action.kind === "wide") {
          // As harts do: at multiples of 8.
          const gpa = action.address - (action.address % 8);
          const words = new Uint32Array(2);
          if (action.isWrite) board.bus.writeWide(gpa, action.low, action.high);
          else if (!board.bus.readWide(gpa, words)) expect([...words]).toEqual([0, 0]);
        } else if (action.kind === "time") {
          clock.ticks += action.ticks;
          board.tick();
        } else {
          expect(board.receive(action.bytes)).toBeLessThanOrEqual(action.bytes.length);
        }
        expect(board.deadline()).toBeGreaterThanOrEqual(0);
      }
      const saved = structuredClone(board.save());
      const twin = makeBoard();
      twin.clock.ticks = clock.ticks;
      twin.board.restore(saved);
      expect(twin.board.save()).toEqual(saved);

      clock.ticks = 0;
      board.reset();
      const { input, rtc, ...others } = board.save();
      expect(others).toEqual(atOthers);
      // The clock stays set, as one with a battery. What was typed waits for whoever reads it.
      expect({ ...rtc, offset: atRtc?.offset }).toEqual(atRtc);
      expect(input).toMatchObject({ printed: [] });
      console.writes.length = 0;
      board.bus.write(virtMap.uart.base, 1, "!".charCodeAt(0));
      board.flush();
      expect(console.writes.join("")).toBe("!");
    }),
    { numRuns: 2000 },
  );
});

test("nothing answers between the devices, nor in RAM", () => {
  const { board } = makeBoard();
  const ranges = [
    ...plain.map((name) => virtMap[name]),
    { base: virtMap.virtio.base, size: 8 * virtMap.virtio.size },
  ];
  fc.assert(
    fc.property(fc.integer({ min: 0, max: RAM_BASE + (1 << 20) }), size, value, (gpa, width, written) => {
      fc.pre(!ranges.some(({ base, size: bytes }) => gpa + width > base && gpa < base + bytes));
      expect(board.bus.read(gpa, width)).toBeUndefined();
      expect(board.bus.write(gpa, width, written % 2 ** (8 * width))).toBe(false);
    }),
  );
});
