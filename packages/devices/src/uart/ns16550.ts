/**
 * The 16550A UART (National Semiconductor PC16550D data sheet, section 8): transmitter, receiver with a FIFO of 16
 * bytes, and the interrupts that Linux's 8250 driver, OpenSBI and small kernels use. Registers are bytes; a wider
 * access reaches the one at its address.
 *
 *   0 RBR/THR/DLL  1 IER/DLM  2 IIR/FCR  3 LCR  4 MCR  5 LSR  6 MSR  7 SCR
 *
 * Transmission takes no time: a byte written is sent, and the transmitter is empty again at once. Reception loses
 * nothing that the host sent: bytes wait in the console's input, and the guest gets them while it listens. It listens
 *
 * - while the receiver interrupt is enabled: bytes move into the FIFO, and the interrupt says so;
 * - while it polls: since the receiver was last set up it has found it empty `LOOKS` times. The line status then shows
 *   a byte that waits, and reading the data register takes it.
 *
 * The receiver is set up by clearing or switching the FIFO, by the divisor latch and by loop-back: what a loop that polls
 * has no reason to do, whatever other registers it touches, and what drivers do when they start, before they read and
 * throw away data. The start of Linux's 8250 that the tests play finds the receiver empty seven times from there until
 * it listens. With piped input that would eat the first commands. A cleared FIFO likewise returns its bytes, as if they
 * were still on their
 * way. Only loop-back mode can overrun the FIFO.
 */
import type { ConsoleInput, ConsolePort } from "../console/console-input.js";
import type { AccessSize, ConsoleBackend, DeviceState, IrqLine, MmioDevice } from "../ports.js";
import { StateReader } from "../state.js";

const REGISTERS = 8;
const IER_RECEIVE = 1;
const IER_TRANSMIT = 2;
const IER_LINE = 4;
const IER_MODEM = 8;
const IIR_MODEM = 0;
const IIR_NONE = 1;
const IIR_TRANSMIT = 2;
const IIR_RECEIVE = 4;
const IIR_LINE = 6;
const IIR_TIMEOUT = 12;
const IIR_FIFO = 0xc0;
const FCR_ENABLE = 1;
const FCR_CLEAR_RECEIVE = 2;
const FCR_TRIGGER = 0xc0;
const LCR_DLAB = 0x80;
const MCR_LOOP = 0x10;
const LSR_READY = 1;
const LSR_OVERRUN = 2;
/** Transmitter holding register and shift register empty. */
const LSR_EMPTY = 0x60;
/** Clear to send, data set ready, carrier detect: somebody is there. */
const MSR_CONNECTED = 0xb0;
const MSR_RING = 0x40;
const MSR_RING_ENDED = 4;
/** Change bits of clear to send, data set ready and carrier detect: four below the lines themselves. */
const MSR_CHANGES = 0x0b;
const FIFO_SIZE = 16;
const triggerLevels = [1, 4, 8, 14] as const;
/** Divisor latch for 9600 baud at QEMU's clock; nothing depends on it. */
const RESET_DIVISOR = 12;
/** Times that the guest finds the receiver empty before it counts as polling. */
const LOOKS = 16;
/** Output bytes gathered before they are handed on without being asked. */
const OUTPUT_CHUNK = 1024;
const NEWLINE = 10;
/** Marks a FIFO entry that came through loop-back, not from the host. */
const LOOPED = 0x100;

/** The device. */
export class Ns16550 implements MmioDevice {
  readonly counters = { sent: 0, received: 0, overruns: 0, interrupts: 0 };
  private interruptEnable = 0;
  private fifoControl = 0;
  private lineControl = 0;
  private modemControl = 0;
  /** Low half of MSR: lines that changed since it was last read. */
  private modemChanges = 0;
  private scratch = 0;
  private divisor = RESET_DIVISOR;
  private overrun = false;
  /** A transmitter interrupt that no read of IIR has answered. */
  private transmitPending = false;
  /** Times, up to `LOOKS`, that the guest has found the receiver empty since it was last set up. */
  private looks = 0;
  private level = false;
  private fifo: number[] = [];
  private readonly port: ConsolePort;
  private readonly output = new Uint8Array(OUTPUT_CHUNK);
  private outputLength = 0;

  constructor(
    readonly name: string,
    private readonly irq: IrqLine,
    private readonly backend: ConsoleBackend,
    input: ConsoleInput,
  ) {
    const uart = this;
    this.port = input.attach({
      name,
      certain: true,
      get listening() {
        return uart.listening;
      },
      deliver() {
        uart.refill();
        uart.update();
      },
    });
  }

  /** Hands gathered output to the backend. Newlines and full buffers do so by themselves. */
  flush(): void {
    if (this.outputLength === 0) return;
    const bytes = this.output.slice(0, this.outputLength);
    this.outputLength = 0;
    this.backend.write(bytes);
  }

  read(offset: number, _size: AccessSize): number {
    if (offset >= REGISTERS) return 0;
    const value = this.readRegister(offset);
    this.update();
    return value;
  }

  private readRegister(register: number): number {
    const latched = (this.lineControl & LCR_DLAB) !== 0;
    if (register === 0 && !latched) return this.readData();
    if (register === 5) return this.readLineStatus();
    switch (register) {
      case 0:
        return this.divisor & 0xff;
      case 1:
        return latched ? this.divisor >> 8 : this.interruptEnable;
      case 2:
        return this.identify();
      case 3:
        return this.lineControl;
      case 4:
        return this.modemControl;
      case 6: {
        const status = this.modemLines() | this.modemChanges;
        this.modemChanges = 0;
        return status;
      }
      default:
        return this.scratch;
    }
  }

  private readData(): number {
    const entry = this.fifo.shift() ?? (this.polling ? this.port.take(1)[0] : undefined);
    if (entry === undefined) this.look();
    else if ((entry & LOOPED) === 0) this.counters.received++;
    this.refill();
    return (entry ?? 0) & 0xff;
  }

  private readLineStatus(): number {
    const ready = this.fifo.length > 0 || (this.polling && this.port.offers);
    if (!ready) this.look();
    const status = LSR_EMPTY | (ready ? LSR_READY : 0) | (this.overrun ? LSR_OVERRUN : 0);
    this.overrun = false;
    return status;
  }

  /** The guest has found the receiver empty. */
  private look(): void {
    if (this.looks < LOOKS) this.looks++;
  }

  /** The guest has set the receiver up: what it finds there until it polls again it will throw away. */
  private setUp(): void {
    this.looks = 0;
  }

  /** Whether waiting input is shown to a guest that looks. In loop-back mode the receiver is cut off from the line. */
  private get polling(): boolean {
    return this.looks === LOOKS && (this.modemControl & MCR_LOOP) === 0;
  }

  /** Whether waiting input moves into the FIFO. */
  private get listening(): boolean {
    return (this.interruptEnable & IER_RECEIVE) !== 0 && (this.modemControl & MCR_LOOP) === 0;
  }

  /** High half of MSR. In loop-back mode the modem outputs are its inputs. */
  private modemLines(): number {
    const { modemControl: out } = this;
    if ((out & MCR_LOOP) === 0) return MSR_CONNECTED;
    return ((out & 2) << 3) | ((out & 1) << 5) | ((out & 4) << 4) | ((out & 8) << 4);
  }

  /** Interrupt identification; reading it answers a transmitter interrupt. */
  private identify(): number {
    const cause = this.cause();
    if (cause === IIR_TRANSMIT) this.transmitPending = false;
    return cause | ((this.fifoControl & FCR_ENABLE) !== 0 ? IIR_FIFO : 0);
  }

  /** The most urgent interrupt (data sheet, table IV). */
  private cause(): number {
    const enabled = this.interruptEnable;
    if ((enabled & IER_LINE) !== 0 && this.overrun) return IIR_LINE;
    if ((enabled & IER_RECEIVE) !== 0 && this.fifo.length > 0) {
      const trigger = (this.fifoControl & FCR_ENABLE) !== 0 ? triggerLevels[this.fifoControl >> 6]! : 1;
      // Below the trigger level the character time-out speaks; here no time passes before it does.
      return this.fifo.length >= trigger ? IIR_RECEIVE : IIR_TIMEOUT;
    }
    if ((enabled & IER_TRANSMIT) !== 0 && this.transmitPending) return IIR_TRANSMIT;
    if ((enabled & IER_MODEM) !== 0 && this.modemChanges !== 0) return IIR_MODEM;
    return IIR_NONE;
  }

  write(offset: number, _size: AccessSize, value: number): void {
    if (offset >= REGISTERS) return;
    const listened = this.listening;
    this.writeRegister(offset, value & 0xff);
    this.refill();
    this.update();
    if (listened !== this.listening) this.port.changed();
  }

  private writeRegister(register: number, value: number): void {
    const latched = (this.lineControl & LCR_DLAB) !== 0;
    switch (register) {
      case 0:
        if (latched) this.divisor = (this.divisor & 0xff00) | value;
        else this.transmit(value);
        break;
      case 1:
        if (latched) this.divisor = (this.divisor & 0xff) | (value << 8);
        else {
          // Enabling the transmitter interrupt while the transmitter is empty raises it.
          if ((value & ~this.interruptEnable & IER_TRANSMIT) !== 0) this.transmitPending = true;
          this.interruptEnable = value & 15;
        }
        break;
      case 2:
        if ((value & FCR_CLEAR_RECEIVE) !== 0 || ((value ^ this.fifoControl) & FCR_ENABLE) !== 0)
          this.clearFifo();
        this.fifoControl = value & (FCR_TRIGGER | FCR_ENABLE);
        break;
      case 3:
        this.lineControl = value;
        if ((value & LCR_DLAB) !== 0) this.setUp();
        break;
      case 4: {
        if ((value & MCR_LOOP) !== 0) this.setUp();
        const before = this.modemLines();
        this.modemControl = value & 31;
        const after = this.modemLines();
        this.modemChanges |= ((before ^ after) >> 4) & MSR_CHANGES;
        if ((before & ~after & MSR_RING) !== 0) this.modemChanges |= MSR_RING_ENDED;
        break;
      }
      case 7:
        this.scratch = value;
        break;
      default:
        // LSR and MSR are for reading.
        break;
    }
  }

  private transmit(byte: number): void {
    this.transmitPending = true;
    if ((this.modemControl & MCR_LOOP) !== 0) {
      if (this.fifo.length >= this.capacity()) {
        this.overrun = true;
        this.counters.overruns++;
      } else this.fifo.push(byte | LOOPED);
      return;
    }
    this.counters.sent++;
    this.port.printed();
    this.output[this.outputLength++] = byte;
    if (this.outputLength === OUTPUT_CHUNK || byte === NEWLINE) this.flush();
  }

  private capacity(): number {
    return (this.fifoControl & FCR_ENABLE) !== 0 ? FIFO_SIZE : 1;
  }

  private clearFifo(): void {
    for (let index = this.fifo.length - 1; index >= 0; index--) {
      const entry = this.fifo[index]!;
      if ((entry & LOOPED) === 0) this.port.giveBack(entry);
    }
    this.fifo = [];
    this.setUp();
  }

  /** Moves waiting input into the FIFO if the guest listens by interrupt. */
  private refill(): void {
    if (!this.listening) return;
    const room = this.capacity() - this.fifo.length;
    for (const byte of this.port.take(room)) this.fifo.push(byte);
  }

  private update(): void {
    const level = this.cause() !== IIR_NONE;
    if (level && !this.level) this.counters.interrupts++;
    this.level = level;
    this.irq.set(level);
  }

  /** Input that the host has sent and the guest not read stays: the line is not part of the device. */
  reset(): void {
    this.flush();
    this.clearFifo();
    this.interruptEnable = 0;
    this.fifoControl = 0;
    this.lineControl = 0;
    this.modemControl = 0;
    this.modemChanges = 0;
    this.scratch = 0;
    this.divisor = RESET_DIVISOR;
    this.overrun = false;
    this.transmitPending = false;
    this.update();
  }

  /** Hands on gathered output first: what the guest has sent is not state. */
  save(): DeviceState {
    this.flush();
    return {
      interruptEnable: this.interruptEnable,
      fifoControl: this.fifoControl,
      lineControl: this.lineControl,
      modemControl: this.modemControl,
      modemChanges: this.modemChanges,
      scratch: this.scratch,
      divisor: this.divisor,
      overrun: this.overrun,
      transmitPending: this.transmitPending,
      looks: this.looks,
      fifo: [...this.fifo],
    };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const fifoControl = reader.integer("fifoControl", 0xff) & (FCR_TRIGGER | FCR_ENABLE);
    const size = (fifoControl & FCR_ENABLE) !== 0 ? FIFO_SIZE : 1;
    const restored = {
      fifoControl,
      fifo: [...reader.list("fifo", size, 0xff | LOOPED)],
      interruptEnable: reader.integer("interruptEnable", 15),
      lineControl: reader.integer("lineControl", 0xff),
      modemControl: reader.integer("modemControl", 31),
      modemChanges: reader.integer("modemChanges", 15),
      scratch: reader.integer("scratch", 0xff),
      divisor: reader.integer("divisor", 0xffff),
      overrun: reader.boolean("overrun"),
      transmitPending: reader.boolean("transmitPending"),
      looks: reader.integer("looks", LOOKS),
    };
    this.flush();
    Object.assign(this, restored);
    this.update();
  }
}
