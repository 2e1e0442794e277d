import { beforeEach, expect, test } from "vitest";
import { FakeClock, FakeIrq } from "../../test/fakes.js";
import { GoldfishRtc, wallClockFrom } from "./goldfish-rtc.js";

const TIME_LOW = 0;
const TIME_HIGH = 4;
const ALARM_LOW = 8;
const ALARM_HIGH = 12;
const IRQ_ENABLED = 16;
const CLEAR_ALARM = 20;
const ALARM_STATUS = 24;
const CLEAR_INTERRUPT = 28;
/** Small enough that a double tells single ticks apart; of today it tells a quarter of a microsecond. */
const EPOCH = 1_000_000;

let irq: FakeIrq;
let clock: FakeClock;
let rtc: GoldfishRtc;
beforeEach(() => {
  irq = new FakeIrq();
  clock = new FakeClock();
  rtc = new GoldfishRtc(irq, wallClockFrom(EPOCH, clock), clock);
});

function time(): bigint {
  const low = rtc.read(TIME_LOW, 4);
  return (BigInt(rtc.read(TIME_HIGH, 4)) << 32n) | BigInt(low);
}

function write(low: number, high: number, value: bigint): void {
  rtc.write(high, 4, Number(value >> 32n));
  rtc.write(low, 4, Number(BigInt.asUintN(32, value)));
}

test("the time is the wall clock in nanoseconds, fractions of a millisecond included", () => {
  expect(time()).toBe(BigInt(EPOCH) * 1_000_000n);
  clock.ticks = 5000;
  expect(time()).toBe(BigInt(EPOCH) * 1_000_000n + 500_000n);
});

test("TIME_HIGH belongs to the TIME_LOW read before it", () => {
  const nanoseconds = (2n << 32n) - 1n;
  let now = Number(nanoseconds / 1_000_000n) + Number(nanoseconds % 1_000_000n) / 1_000_000;
  const other = new GoldfishRtc(irq, () => now, clock);
  other.read(TIME_LOW, 4);
  now += 1000;
  expect(other.read(TIME_HIGH, 4)).toBe(1);
});

test("the time can be set and goes on from there", () => {
  write(TIME_LOW, TIME_HIGH, 0x123456789abcdef0n);
  expect(time()).toBe(0x123456789abcdef0n);
  clock.ticks += 3;
  expect(time()).toBe(0x123456789abcdef0n + 300n);
  rtc.reset();
  expect(time()).toBe(0x123456789abcdef0n + 300n);
});

test("an alarm fires at its time and interrupts if it may", () => {
  rtc.write(IRQ_ENABLED, 4, 1);
  const at = time() + 12_345n;
  write(ALARM_LOW, ALARM_HIGH, at);
  expect(rtc.read(ALARM_STATUS, 4)).toBe(1);
  expect(rtc.deadline()).toBe(124);
  clock.ticks = 123;
  rtc.tick();
  expect(irq.level).toBe(false);
  clock.ticks = 124;
  rtc.tick();
  expect(irq.level).toBe(true);
  expect(rtc.read(ALARM_STATUS, 4)).toBe(0);
  expect(rtc.deadline()).toBe(Infinity);
  rtc.write(CLEAR_INTERRUPT, 4, 1);
  expect(irq.level).toBe(false);
  expect(rtc.counters.alarms).toBe(1);
});

test("an alarm in the past fires at once; a masked one waits for IRQ_ENABLED", () => {
  write(ALARM_LOW, ALARM_HIGH, 1n);
  expect(irq.level).toBe(false);
  rtc.write(IRQ_ENABLED, 4, 1);
  expect(irq.level).toBe(true);
});

test("a cleared alarm does not fire", () => {
  rtc.write(IRQ_ENABLED, 4, 1);
  write(ALARM_LOW, ALARM_HIGH, time() + 1000n);
  rtc.write(CLEAR_ALARM, 4, 1);
  clock.ticks = 1000;
  rtc.tick();
  expect(irq.level).toBe(false);
  expect(rtc.deadline()).toBe(Infinity);
});

test("an alarm at the end of time has no deadline", () => {
  write(ALARM_LOW, ALARM_HIGH, 0xffffffffffffffffn);
  expect(rtc.deadline()).toBeGreaterThan(1e12);
  expect(rtc.read(ALARM_LOW, 4)).toBe(0xffffffff);
  expect(rtc.read(ALARM_HIGH, 4)).toBe(0xffffffff);
});

test("narrow accesses and unknown registers read zero and write nothing", () => {
  rtc.write(IRQ_ENABLED, 1, 1);
  expect(rtc.read(IRQ_ENABLED, 4)).toBe(0);
  expect(rtc.read(TIME_LOW, 2)).toBe(0);
  rtc.write(0x20, 4, 1);
  expect(rtc.read(0x20, 4)).toBe(0);
});

test("save and restore keep the set time and the alarm", () => {
  rtc.write(IRQ_ENABLED, 4, 1);
  write(TIME_LOW, TIME_HIGH, 1_000_000n);
  write(ALARM_LOW, ALARM_HIGH, 1_000_500n);
  const line = new FakeIrq();
  const copy = new GoldfishRtc(line, wallClockFrom(EPOCH, clock), clock);
  copy.restore(structuredClone(rtc.save()));
  expect(copy.save()).toEqual(rtc.save());
  expect(copy.deadline()).toBe(5);
  clock.ticks = 5;
  copy.tick();
  expect(line.level).toBe(true);
  const saved = copy.save();
  for (const [change, field] of [
    [{ alarm: "soon" }, "alarm"],
    [{ alarm: "-1" }, "alarm"],
    [{ alarm: "18446744073709551616" }, "alarm"],
    [{ offset: "9223372036854775808" }, "offset"],
    [{ offset: "9".repeat(41) }, "offset"],
    [{ offset: 5 }, "offset"],
  ] as const) {
    expect(() => copy.restore({ ...saved, ...change })).toThrow(
      `saved state of rtc: ${field} must be a decimal integer from`,
    );
  }
  expect(copy.save()).toEqual(saved);
});

test("a clock that is set past its end again and again can still be saved", () => {
  for (let round = 0; round < 5; round++) {
    write(TIME_LOW, TIME_HIGH, 0xffff_ffff_ffff_ff00n);
    clock.ticks += 1000;
    const copy = new GoldfishRtc(new FakeIrq(), wallClockFrom(EPOCH, clock), clock);
    copy.restore(rtc.save());
    expect(copy.save()).toEqual(rtc.save());
    expect(copy.read(TIME_HIGH, 4)).toBe(rtc.read(TIME_HIGH, 4));
  }
});
