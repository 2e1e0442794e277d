/**
 * The goldfish real-time clock (Android emulator documentation, "goldfish RTC"; QEMU's `virt` has the same):
 * nanoseconds since 1970, and an alarm. Registers are words.
 *
 *   0x00 TIME_LOW         read: low word, and keeps the high word for TIME_HIGH; write: sets the low word
 *   0x04 TIME_HIGH        read: the high word kept; write: sets the high word
 *   0x08 ALARM_LOW        write: low word of the alarm's time, and sets the alarm
 *   0x0c ALARM_HIGH       high word of the alarm's time
 *   0x10 IRQ_ENABLED      bit 0 lets the interrupt through
 *   0x14 CLEAR_ALARM      write: unsets the alarm
 *   0x18 ALARM_STATUS     read: 1 while the alarm is set
 *   0x1c CLEAR_INTERRUPT  write: withdraws the interrupt
 *
 * The time comes from an injected wall clock, so that a deterministic machine can derive it from its own clock (see
 * {@link wallClockFrom}). What a guest sets is kept as an offset; like a battery-backed clock it survives a reset.
 */
import type { AccessSize, Clock, DeviceState, IrqLine, MmioDevice } from "../ports.js";
import { StateReader } from "../state.js";

const NANOSECONDS_PER_MILLISECOND = 1_000_000;
const NANOSECONDS_PER_TICK = 100;
const TICKS_PER_MILLISECOND = 10_000;
const WORD_MAXIMUM = 0xffffffff;
/** Past the last nanosecond that the registers can hold. */
const TIME_END = 1n << 64n;

/**
 * A wall clock that shows `epoch` (milliseconds since 1970) at power-on and runs with the machine's own clock:
 * the same instructions see the same time in every run.
 */
export function wallClockFrom(epoch: number, clock: Clock): () => number {
  return () => epoch + clock.now() / TICKS_PER_MILLISECOND;
}

const low = (value: bigint): number => Number(BigInt.asUintN(32, value));
const high = (value: bigint): number => Number(BigInt.asUintN(32, value >> 32n));
const join = (highWord: number, lowWord: number): bigint => (BigInt(highWord) << 32n) | BigInt(lowWord);

/** The device. */
export class GoldfishRtc implements MmioDevice {
  readonly name = "rtc";
  readonly counters = { reads: 0, alarms: 0 };
  /** Nanoseconds that a guest set the clock ahead of the wall clock. */
  private offset = 0n;
  /** What TIME_HIGH reads. */
  private timeHigh = 0;
  /** The alarm's time in nanoseconds. */
  private alarm = 0n;
  private armed = false;
  private enabled = false;
  private pending = false;

  /**
   * @param wallClock milliseconds since 1970, a finite number that may have a fraction (a double of
   *   today's date resolves 244 ns). It must move with `clock`,
   *   or alarms wait for a time that does not come.
   * @param clock machine time, in which the alarm's deadline is told
   */
  constructor(
    private readonly irq: IrqLine,
    private readonly wallClock: () => number,
    private readonly clock: Clock,
  ) {}

  private now(): bigint {
    const milliseconds = this.wallClock();
    const whole = Math.floor(milliseconds);
    const rest = Math.round((milliseconds - whole) * NANOSECONDS_PER_MILLISECOND);
    const host = BigInt(whole) * BigInt(NANOSECONDS_PER_MILLISECOND) + BigInt(rest);
    return BigInt.asUintN(64, host + this.offset);
  }

  /** Sets the clock so many nanoseconds ahead of what it shows. The clock has 64 bits, and so has the offset. */
  private set(ahead: bigint): void {
    this.offset = BigInt.asIntN(64, this.offset + ahead);
  }

  read(offset: number, size: AccessSize): number {
    if (size !== 4) return 0;
    switch (offset) {
      case 0x00: {
        this.counters.reads++;
        const now = this.now();
        this.timeHigh = high(now);
        return low(now);
      }
      case 0x04:
        return this.timeHigh;
      case 0x08:
        return low(this.alarm);
      case 0x0c:
        return high(this.alarm);
      case 0x10:
        return this.enabled ? 1 : 0;
      case 0x18:
        return this.armed ? 1 : 0;
      default:
        return 0;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4) return;
    switch (offset) {
      case 0x00: {
        const now = this.now();
        this.set(BigInt(value - low(now)));
        break;
      }
      case 0x04: {
        const now = this.now();
        this.set(BigInt(value - high(now)) << 32n);
        break;
      }
      case 0x08:
        this.alarm = join(high(this.alarm), value);
        this.armed = true;
        break;
      case 0x0c:
        this.alarm = join(value, low(this.alarm));
        break;
      case 0x10:
        this.enabled = (value & 1) !== 0;
        break;
      case 0x14:
        this.armed = false;
        break;
      case 0x1c:
        this.pending = false;
        break;
      default:
        return;
    }
    this.tick();
  }

  /** Fires the alarm if its time has come. */
  tick(): void {
    if (this.armed && this.now() >= this.alarm) {
      this.armed = false;
      this.pending = true;
      this.counters.alarms++;
    }
    this.irq.set(this.pending && this.enabled);
  }

  /** Tick of machine time at which the alarm fires; Infinity if none is set. */
  deadline(): number {
    if (!this.armed) return Infinity;
    const ahead = Math.ceil(Number(this.alarm - this.now()) / NANOSECONDS_PER_TICK);
    const at = this.clock.now() + Math.max(0, ahead);
    return at <= Number.MAX_SAFE_INTEGER ? at : Infinity;
  }

  reset(): void {
    this.timeHigh = 0;
    this.alarm = 0n;
    this.armed = false;
    this.enabled = false;
    this.pending = false;
    this.irq.set(false);
  }

  save(): DeviceState {
    return {
      offset: this.offset.toString(),
      alarm: this.alarm.toString(),
      timeHigh: this.timeHigh,
      armed: this.armed,
      enabled: this.enabled,
      pending: this.pending,
    };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const restored = {
      offset: reader.bigint("offset", -TIME_END / 2n, TIME_END / 2n),
      alarm: reader.bigint("alarm", 0n, TIME_END),
      timeHigh: reader.integer("timeHigh", WORD_MAXIMUM),
      armed: reader.boolean("armed"),
      enabled: reader.boolean("enabled"),
      pending: reader.boolean("pending"),
    };
    Object.assign(this, restored);
    this.tick();
  }
}
