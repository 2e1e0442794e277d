/**
 * The core-local interruptor: software interrupts and the machine timer of every hart, as SiFive made it and QEMU
 * places it.
 *
 *   0x0000 + 4 hart   msip      bit 0 raises the machine software interrupt
 *   0x4000 + 8 hart   mtimecmp  the machine timer interrupt is pending while mtime >= mtimecmp
 *   0xbff8            mtime     ticks of 100 ns
 */
import type { AccessSize, Clock, DeviceState, HartInterrupts, MmioDevice } from "../ports.js";
import { StateReader } from "../state.js";

const MTIMECMP = 0x4000;
const MTIME = 0xbff8;
const MACHINE_SOFTWARE = 3;
const MACHINE_TIMER = 7;
const WORD = 0x100000000;
/** Compare values from here on mean "never": the reset value is all ones. */
const NEVER = 2 ** 63;

/** The device. */
export class Clint implements MmioDevice {
  readonly name = "clint";
  readonly counters = { timerInterrupts: 0, softwareInterrupts: 0 };
  private readonly msip: Uint8Array;
  /** Low and high words, so that halves can be written in any order. */
  private readonly compare: Uint32Array;
  /** What guests added to the clock by writing `mtime`. */
  private offset = 0;

  constructor(
    private readonly harts: readonly HartInterrupts[],
    private readonly clock: Clock,
  ) {
    this.msip = new Uint8Array(harts.length);
    this.compare = new Uint32Array(2 * harts.length).fill(WORD - 1);
  }

  read(offset: number, size: AccessSize): number {
    const word = this.readWord(offset & ~3);
    const shift = 8 * (offset & 3);
    return size === 4 ? word : (word >>> shift) & (size === 1 ? 0xff : 0xffff);
  }

  private readWord(offset: number): number {
    if (offset < 4 * this.harts.length) return this.msip[offset >> 2]!;
    if (offset >= MTIMECMP && offset < MTIMECMP + 8 * this.harts.length) return this.compare[(offset - MTIMECMP) >> 2]!;
    const now = this.clock.now() + this.offset;
    if (offset === MTIME) return now % WORD;
    if (offset === MTIME + 4) return Math.floor(now / WORD);
    return 0;
  }

  /** Registers are words; narrower writes have no effect, as on the real device. */
  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || (offset & 3) !== 0) return;
    if (offset < 4 * this.harts.length) {
      const hart = offset >> 2;
      this.msip[hart] = value & 1;
      if ((value & 1) !== 0) this.counters.softwareInterrupts++;
      this.harts[hart]!.setPending(MACHINE_SOFTWARE, (value & 1) !== 0);
    } else if (offset >= MTIMECMP && offset < MTIMECMP + 8 * this.harts.length) {
      this.compare[(offset - MTIMECMP) >> 2] = value;
      this.tick();
    } else if (offset === MTIME || offset === MTIME + 4) {
      const now = this.clock.now() + this.offset;
      const written = offset === MTIME ? now - (now % WORD) + value : (now % WORD) + value * WORD;
      this.offset += written - now;
      this.tick();
    }
  }

  /** Compares the timers with the clock. */
  tick(): void {
    const now = this.clock.now() + this.offset;
    this.harts.forEach((hart, index) => {
      hart.setPending(MACHINE_TIMER, now >= this.compareOf(index));
    });
  }

  /** Tick at which the next timer fires; Infinity if none will. */
  deadline(): number {
    const now = this.clock.now();
    let first = Infinity;
    for (let hart = 0; hart < this.harts.length; hart++) {
      const at = this.compareOf(hart);
      // One that has fired already keeps its line up and needs no further visit.
      if (at < NEVER && at - this.offset > now) first = Math.min(first, at - this.offset);
    }
    return first;
  }

  private compareOf(hart: number): number {
    return this.compare[2 * hart + 1]! * WORD + this.compare[2 * hart]!;
  }

  reset(): void {
    this.msip.fill(0);
    this.compare.fill(WORD - 1);
    this.offset = 0;
    for (const hart of this.harts) hart.setPending(MACHINE_SOFTWARE, false);
    this.tick();
  }

  save(): DeviceState {
    return { msip: [...this.msip], compare: [...this.compare], offset: this.offset };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    this.msip.set(reader.numbers("msip", this.msip.length));
    this.compare.set(reader.numbers("compare", this.compare.length));
    this.offset = reader.number("offset");
    this.harts.forEach((hart, index) => {
      hart.setPending(MACHINE_SOFTWARE, this.msip[index] === 1);
    });
    this.tick();
  }
}
