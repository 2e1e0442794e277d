import { beforeEach, expect, test } from "vitest";
import { FakeClock, FakeHart } from "../../test/fakes.js";
import { Clint } from "./clint.js";

const COMPARE = 0x4000;
const TIME = 0xbff8;
const MAXIMUM = 0xffffffff;

let harts: FakeHart[];
let clock: FakeClock;
let clint: Clint;
beforeEach(() => {
  harts = [new FakeHart(), new FakeHart()];
  clock = new FakeClock(1000);
  clint = new Clint(harts, clock);
});

/** An 8-byte store. */
function writeLong(offset: number, value: bigint): void {
  clint.wide.write(offset, Number(BigInt.asUintN(32, value)), Number(value >> 32n));
}

/** An 8-byte load. */
function readLong(offset: number): bigint {
  const words = new Uint32Array(2);
  clint.wide.read(offset, words);
  return (BigInt(words[1]!) << 32n) | BigInt(words[0]!);
}

test("msip raises and clears the software interrupt of its hart", () => {
  clint.write(4, 4, MAXIMUM);
  expect(harts.map((hart) => hart.pending)).toEqual([[], [3]]);
  expect(clint.read(4, 4)).toBe(1);
  clint.write(4, 4, 1);
  clint.write(4, 4, 2);
  expect(harts[1]!.pending).toEqual([]);
  clint.write(8, 4, 1);
  expect(clint.read(8, 4)).toBe(0);
  expect(clint.counters.softwareInterrupts).toBe(1);
});

test("a timer fires when the clock reaches its compare value, and not before", () => {
  expect(clint.deadline()).toBe(Infinity);
  writeLong(COMPARE, 1500n);
  writeLong(COMPARE + 8, 1200n);
  expect(clint.deadline()).toBe(1200);
  clock.ticks = 1199;
  clint.tick();
  expect(harts.map((hart) => hart.pending)).toEqual([[], []]);
  clock.ticks = 1200;
  clint.tick();
  expect(harts.map((hart) => hart.pending)).toEqual([[], [7]]);
  expect(clint.deadline()).toBe(1500);
  writeLong(COMPARE + 8, 0xffffffffffffffffn);
  expect(harts[1]!.pending).toEqual([]);
  expect(clint.counters.timerInterrupts).toBe(1);
});

test("a deadline that passed unnoticed is still told until `tick` has acted on it", () => {
  writeLong(COMPARE, 1500n);
  clock.ticks = 1600;
  expect(clint.deadline()).toBe(1600);
  clint.tick();
  expect(harts[0]!.pending).toEqual([7]);
  expect(clint.deadline()).toBe(Infinity);
});

test("halves of mtimecmp can be written in any order, as RV32 guests do", () => {
  clint.write(COMPARE, 4, MAXIMUM);
  clint.write(COMPARE + 4, 4, 0);
  clint.write(COMPARE, 4, 1001);
  expect(harts[0]!.pending).toEqual([]);
  expect(readLong(COMPARE)).toBe(1001n);
  clock.ticks = 1001;
  clint.tick();
  expect(harts[0]!.pending).toEqual([7]);
});

test("compare values beyond exact doubles are compared exactly", () => {
  writeLong(TIME, 0x8000000000000000n);
  writeLong(COMPARE, 0x8000000000000001n);
  expect(harts[0]!.pending).toEqual([]);
  expect(clint.deadline()).toBe(1001);
  clock.ticks = 1001;
  clint.tick();
  expect(harts[0]!.pending).toEqual([7]);
  expect(readLong(TIME)).toBe(0x8000000000000001n);
});

test("mtime can be written, by halves too, and wraps at 64 bits", () => {
  clock.ticks = 0x1_2345_6789;
  expect(readLong(TIME)).toBe(0x123456789n);
  clint.write(TIME, 4, 5);
  expect(readLong(TIME)).toBe(0x100000005n);
  clint.write(TIME + 4, 4, 9);
  expect(readLong(TIME)).toBe(0x900000005n);
  clock.ticks += 10;
  expect(readLong(TIME)).toBe(0x90000000fn);
  writeLong(TIME, 0xffffffffffffffffn);
  clock.ticks += 1;
  expect(readLong(TIME)).toBe(0n);
});

test("an 8-byte load sees both halves of one moment", () => {
  let now = MAXIMUM;
  // It goes on at each look, as a host's clock does.
  const moving = new Clint(harts, { now: () => now++ });
  const words = new Uint32Array(2);
  moving.wide.read(TIME, words);
  expect([...words]).toEqual([MAXIMUM, 0]);
  moving.wide.read(TIME, words);
  expect([...words]).toEqual([0, 1]);
});

test("an 8-byte store to a timer raises nothing between its halves", () => {
  clock.ticks = 0x1_0000_0010;
  writeLong(COMPARE, 0x1_0000_0020n);
  writeLong(COMPARE, 0x2_0000_0000n);
  expect([harts[0]!.pending, clint.counters.timerInterrupts]).toEqual([[], 0]);
  writeLong(COMPARE, 0x1_0000_0010n);
  expect([harts[0]!.pending, clint.counters.timerInterrupts]).toEqual([[7], 1]);
  // Halves that are written one by one act one by one.
  writeLong(COMPARE, 0x1_0000_0020n);
  clint.write(COMPARE, 4, 0);
  expect([harts[0]!.pending, clint.counters.timerInterrupts]).toEqual([[7], 2]);
});

test("8-byte accesses to words take both, and see nothing where nothing is", () => {
  writeLong(0, 0x1_0000_0001n);
  expect(harts.map((hart) => hart.pending)).toEqual([[3], [3]]);
  expect(readLong(0)).toBe(0x1_0000_0001n);
  writeLong(0x8000, 0xffff_ffff_ffff_ffffn);
  expect(readLong(0x8000)).toBe(0n);
});

test("narrow reads see parts of a word, narrow and misaligned writes do nothing", () => {
  writeLong(COMPARE, 0x1122334455667788n);
  expect(clint.read(COMPARE + 1, 1)).toBe(0x77);
  expect(clint.read(COMPARE + 6, 2)).toBe(0x1122);
  clint.write(COMPARE, 1, 0);
  clint.write(COMPARE + 2, 4, 0);
  clint.write(0, 2, 1);
  expect(readLong(COMPARE)).toBe(0x1122334455667788n);
  expect(harts[0]!.pending).toEqual([]);
  expect(clint.read(0x8000, 4)).toBe(0);
});

test("reset silences everything", () => {
  clint.write(0, 4, 1);
  writeLong(TIME, 77n);
  writeLong(COMPARE, 0n);
  expect(harts[0]!.pending).toEqual([3, 7]);
  clint.reset();
  expect(harts[0]!.pending).toEqual([]);
  expect(readLong(TIME)).toBe(1000n);
  expect(readLong(COMPARE)).toBe(0xffffffffffffffffn);
});

test("save and restore keep timers, offset and pending interrupts", () => {
  clint.write(4, 4, 1);
  writeLong(TIME, 0xfedcba9876543210n);
  writeLong(COMPARE, 0xfedcba9876543220n);
  const copies = [new FakeHart(), new FakeHart()];
  const copy = new Clint(copies, clock);
  copy.restore(structuredClone(clint.save()));
  expect(copy.save()).toEqual(clint.save());
  expect(copies.map((hart) => hart.pending)).toEqual([[], [3]]);
  expect(copy.deadline()).toBe(1016);
  expect(() => copy.restore({ ...clint.save(), compare: [0, 0, 0, -1] })).toThrow(
    expect.objectContaining({ code: "E_DEVICE_STATE" }),
  );
});
