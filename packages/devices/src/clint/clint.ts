/**
 * The core-local interruptor: software interrupts and the machine timer of every hart, as SiFive made it and QEMU
 * places it (SiFive U54-MC manual, chapter "Core-Local Interruptor"; RISC-V privileged architecture, section
 * "Machine Timer Registers").
 *
 *   0x0000 + 4 hart   msip      bit 0 raises the machine software interrupt (cause 3)
 *   0x4000 + 8 hart   mtimecmp  the machine timer interrupt (cause 7) is pending while mtime >= mtimecmp
 *   0xbff8            mtime     ticks of the machine's clock; writable
 *
 * `mtime` is the clock plus an offset that guests change by writing it; all 64-bit values are kept as two words, so
 * that they are exact over their whole range and halves can be written in any order. Saved state holds the offset:
 * whoever restores a device also restores the clock.
 */
import type { AccessSize, Clock, DeviceState, HartInterrupts, MmioDevice, WideRegisters } from "../ports.js";
import { StateReader } from "../state.js";

const MTIMECMP = 0x4000;
const MTIME = 0xbff8;
const MACHINE_SOFTWARE = 3;
const MACHINE_TIMER = 7;
const WORD = 0x100000000;
const WORD_MAXIMUM = 0xffffffff;

/** The device. */
export class Clint implements MmioDevice {
  readonly name = "clint";
  readonly counters = { timerInterrupts: 0, softwareInterrupts: 0 };
  private readonly msip: Uint8Array;
  /** Low word, high word of each hart's mtimecmp. */
  private readonly compare: Uint32Array;
  /** Whether each hart's timer interrupt is up. */
  private readonly raised: Uint8Array;
  private offsetLow = 0;
  private offsetHigh = 0;
  /** mtime as `sample` last saw it. */
  private timeLow = 0;
  private timeHigh = 0;
  /** Timers and clock are registers of 64 bits: both halves of a load are of one moment, both of a store act at once. */
  readonly wide: WideRegisters = {
    read: (offset, words) => {
      words[0] = this.readWord(offset);
      // The moment that the low half is of.
      words[1] = offset === MTIME ? this.timeHigh : this.readWord(offset + 4);
    },
    write: (offset, low, high) => {
      const timer = this.timerWord(offset);
      if (timer !== undefined) {
        this.compare[timer] = low;
        this.compare[timer + 1] = high;
        this.tick();
      } else if (offset === MTIME) {
        this.setTime(low, high);
        this.tick();
      } else {
        this.write(offset, 4, low);
        this.write(offset + 4, 4, high);
      }
    },
  };

  constructor(
    private readonly harts: readonly HartInterrupts[],
    private readonly clock: Clock,
  ) {
    this.msip = new Uint8Array(harts.length);
    this.compare = new Uint32Array(2 * harts.length).fill(WORD_MAXIMUM);
    this.raised = new Uint8Array(harts.length);
  }

  read(offset: number, size: AccessSize): number {
    const word = this.readWord(offset - (offset & 3));
    const shift = 8 * (offset & 3);
    return size === 4 ? word : (word >>> shift) & (size === 1 ? 0xff : 0xffff);
  }

  private readWord(offset: number): number {
    if (offset < 4 * this.harts.length) return this.msip[offset >> 2]!;
    const timer = this.timerWord(offset);
    if (timer !== undefined) return this.compare[timer]!;
    if (offset === MTIME) {
      this.sample();
      return this.timeLow;
    }
    if (offset === MTIME + 4) {
      this.sample();
      return this.timeHigh;
    }
    return 0;
  }

  /** Registers are words: narrower and misaligned writes have no effect. */
  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || (offset & 3) !== 0) return;
    if (offset < 4 * this.harts.length) {
      this.setSoftware(offset >> 2, value & 1);
      return;
    }
    const timer = this.timerWord(offset);
    if (timer !== undefined) {
      this.compare[timer] = value;
      this.tick();
    } else if (offset === MTIME || offset === MTIME + 4) {
      this.sample();
      if (offset === MTIME) this.setTime(value, this.timeHigh);
      else this.setTime(this.timeLow, value);
      this.tick();
    }
  }

  private setSoftware(hart: number, level: number): void {
    if (level > this.msip[hart]!) this.counters.softwareInterrupts++;
    this.msip[hart] = level;
    this.harts[hart]!.setPending(MACHINE_SOFTWARE, level === 1);
  }

  /** Place in `compare` of the word at `offset`. */
  private timerWord(offset: number): number | undefined {
    const word = (offset - MTIMECMP) >> 2;
    return word >= 0 && word < this.compare.length ? word : undefined;
  }

  /** Brings `timeLow` and `timeHigh` up to date; returns the clock's tick. */
  private sample(): number {
    const now = this.clock.now();
    const low = (now >>> 0) + this.offsetLow;
    this.timeLow = low >>> 0;
    this.timeHigh = (Math.floor(now / WORD) + this.offsetHigh + (low >= WORD ? 1 : 0)) >>> 0;
    return now;
  }

  private setTime(low: number, high: number): void {
    const now = this.clock.now();
    const difference = low - (now >>> 0);
    this.offsetLow = difference >>> 0;
    this.offsetHigh = (high - Math.floor(now / WORD) - (difference < 0 ? 1 : 0)) >>> 0;
  }

  /** Ticks from the sampled mtime to the hart's mtimecmp; zero or less once it is reached. */
  private remaining(hart: number): number {
    return (this.compare[2 * hart + 1]! - this.timeHigh) * WORD + (this.compare[2 * hart]! - this.timeLow);
  }

  /** Compares the timers with the clock and sets the interrupts accordingly. */
  tick(): void {
    this.sample();
    for (let hart = 0; hart < this.harts.length; hart++) {
      const level = this.remaining(hart) <= 0 ? 1 : 0;
      if (level > this.raised[hart]!) this.counters.timerInterrupts++;
      this.raised[hart] = level;
      this.harts[hart]!.setPending(MACHINE_TIMER, level === 1);
    }
  }

  /**
   * Tick of the clock at which `tick` next has something to do; Infinity if never. A timer whose interrupt is up
   * needs no visit; one that is due but not yet up needs it now.
   */
  deadline(): number {
    const now = this.sample();
    let first = Infinity;
    for (let hart = 0; hart < this.harts.length; hart++) {
      const remaining = this.remaining(hart);
      if (remaining > 0) first = Math.min(first, now + remaining);
      else if (this.raised[hart] === 0) return now;
    }
    // Clocks count exact integers; what lies beyond them never comes.
    return first <= Number.MAX_SAFE_INTEGER ? first : Infinity;
  }

  reset(): void {
    this.compare.fill(WORD_MAXIMUM);
    this.offsetLow = 0;
    this.offsetHigh = 0;
    for (let hart = 0; hart < this.harts.length; hart++) this.setSoftware(hart, 0);
    this.tick();
  }

  save(): DeviceState {
    return {
      msip: [...this.msip],
      compare: [...this.compare],
      offsetLow: this.offsetLow,
      offsetHigh: this.offsetHigh,
    };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const msip = reader.integers("msip", this.msip.length, 1);
    this.compare.set(reader.integers("compare", this.compare.length, WORD_MAXIMUM));
    this.offsetLow = reader.integer("offsetLow", WORD_MAXIMUM);
    this.offsetHigh = reader.integer("offsetHigh", WORD_MAXIMUM);
    for (let hart = 0; hart < this.harts.length; hart++) this.setSoftware(hart, msip[hart]!);
    this.tick();
  }
}
