/**
 * The goldfish real-time clock: nanoseconds since 1970 and an alarm, in the registers that QEMU's `virt` offers.
 *
 *   0x00 TIME_LOW (latches TIME_HIGH)  0x04 TIME_HIGH  0x08 ALARM_LOW (sets the alarm)  0x0c ALARM_HIGH
 *   0x10 IRQ_ENABLED  0x14 CLEAR_ALARM  0x18 ALARM_STATUS  0x1c CLEAR_INTERRUPT
 */
import type { AccessSize, Clock, DeviceState, IrqLine, MmioDevice } from "../ports.js";
import { StateReader } from "../state.js";

const NANOSECONDS_PER_MILLISECOND = 1_000_000n;
const NANOSECONDS_PER_TICK = 100;

/** The device. */
export class GoldfishRtc implements MmioDevice {
  readonly name = "rtc";
  readonly counters = { reads: 0, alarms: 0 };
  /** Nanoseconds that a guest set the clock ahead of the host. */
  private offset = 0n;
  private timeHigh = 0;
  private alarmHigh = 0;
  private alarm = 0n;
  private armed = false;
  private enabled = false;
  private pending = false;

  /**
   * @param wallClock milliseconds since 1970
   * @param clock machine time, by which the alarm's deadline is told
   */
  constructor(
    private readonly irq: IrqLine,
    private readonly wallClock: () => number,
    private readonly clock: Clock,
  ) {}

  private now(): bigint {
    const milliseconds = this.wallClock();
    const whole = Math.floor(milliseconds);
    const fraction = Math.floor((milliseconds - whole) * 1_000_000);
    return BigInt(whole) * NANOSECONDS_PER_MILLISECOND + BigInt(fraction) + this.offset;
  }

  read(offset: number, size: AccessSize): number {
    if (size !== 4) return 0;
    switch (offset) {
      case 0x00: {
        this.counters.reads++;
        const now = this.now();
        this.timeHigh = Number((now >> 32n) & 0xffffffffn);
        return Number(now & 0xffffffffn);
      }
      case 0x04:
        return this.timeHigh;
      case 0x08:
        return Number(this.alarm & 0xffffffffn);
      case 0x0c:
        return Number((this.alarm >> 32n) & 0xffffffffn);
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
        const wanted = (BigInt(this.timeHigh >>> 0) << 32n) | BigInt(value);
        this.offset += wanted - this.now();
        break;
      }
      case 0x04:
        this.timeHigh = value;
        break;
      case 0x08:
        this.alarm = (BigInt(this.alarmHigh >>> 0) << 32n) | BigInt(value);
        this.armed = true;
        break;
      case 0x0c:
        this.alarmHigh = value;
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

  /** Tick of machine time at which the alarm fires; Infinity if it is not set. */
  deadline(): number {
    if (!this.armed) return Infinity;
    const ahead = Number(this.alarm - this.now()) / NANOSECONDS_PER_TICK;
    return this.clock.now() + Math.max(0, Math.ceil(ahead));
  }

  reset(): void {
    this.alarmHigh = 0;
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
      alarmHigh: this.alarmHigh,
      armed: this.armed,
      enabled: this.enabled,
      pending: this.pending,
    };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    this.offset = reader.bigint("offset");
    this.alarm = reader.bigint("alarm");
    this.timeHigh = reader.number("timeHigh");
    this.alarmHigh = reader.number("alarmHigh");
    this.armed = reader.boolean("armed");
    this.enabled = reader.boolean("enabled");
    this.pending = reader.boolean("pending");
    this.tick();
  }
}
