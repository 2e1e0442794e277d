/**
 * The 16550A UART (National Semiconductor PC16550D): transmitter, receiver FIFO of 16 bytes, and the interrupts
 * that Linux's 8250 driver, OpenSBI and small kernels use. Transmission takes no time: a byte written is sent.
 *
 *   0 RBR/THR/DLL  1 IER/DLM  2 IIR/FCR  3 LCR  4 MCR  5 LSR  6 MSR  7 SCR
 */
import type { AccessSize, ConsoleBackend, DeviceState, IrqLine, MmioDevice } from "../ports.js";
import { StateReader } from "../state.js";

const IER_RECEIVE = 1;
const IER_TRANSMIT = 2;
const IER_LINE = 4;
const IIR_NONE = 1;
const IIR_TRANSMIT = 2;
const IIR_RECEIVE = 4;
const IIR_LINE = 6;
const IIR_TIMEOUT = 12;
const IIR_FIFO = 0xc0;
const FCR_ENABLE = 1;
const FCR_CLEAR_RECEIVE = 2;
const LCR_DLAB = 0x80;
const MCR_LOOP = 0x10;
const LSR_READY = 1;
const LSR_OVERRUN = 2;
const LSR_EMPTY = 0x60;
/** Clear to send, data set ready, carrier detect: somebody is there. */
const MSR_CONNECTED = 0xb0;
const FIFO_SIZE = 16;
const triggerLevels = [1, 4, 8, 14] as const;
/** Bytes that wait on the host's side before `receive` takes no more. */
const HOST_QUEUE = 0x10000;
/** Output bytes gathered before they are handed on without being asked. */
const OUTPUT_CHUNK = 1024;
const NEWLINE = 10;

/** The device. */
export class Ns16550 implements MmioDevice {
  readonly counters = { sent: 0, received: 0, overruns: 0 };
  private interruptEnable = 0;
  private fifoControl = 0;
  private lineControl = 0;
  private modemControl = 0;
  private scratch = 0;
  private divisor = 12;
  private overrun = false;
  private transmitPending = false;
  private fifo: number[] = [];
  private waiting: number[] = [];
  private waitingFrom = 0;
  private output = new Uint8Array(OUTPUT_CHUNK);
  private outputLength = 0;

  constructor(
    readonly name: string,
    private readonly irq: IrqLine,
    private readonly backend: ConsoleBackend,
  ) {}

  /** Takes input from the host; returns how many bytes it took. The rest must be offered again later. */
  receive(bytes: Uint8Array): number {
    const room = HOST_QUEUE - (this.waiting.length - this.waitingFrom);
    const taken = bytes.subarray(0, Math.max(0, room));
    for (const byte of taken) this.waiting.push(byte);
    this.refill();
    return taken.length;
  }

  /** Hands gathered output to the backend. */
  flush(): void {
    if (this.outputLength === 0) return;
    const bytes = this.output.slice(0, this.outputLength);
    this.outputLength = 0;
    this.backend.write(bytes);
  }

  read(offset: number, size: AccessSize): number {
    return size === 1 ? this.readRegister(offset & 7) : 0;
  }

  private readRegister(register: number): number {
    const latched = (this.lineControl & LCR_DLAB) !== 0;
    switch (register) {
      case 0:
        return latched ? this.divisor & 0xff : this.readData();
      case 1:
        return latched ? this.divisor >> 8 : this.interruptEnable;
      case 2:
        return this.identify();
      case 3:
        return this.lineControl;
      case 4:
        return this.modemControl;
      case 5:
        return this.readLineStatus();
      case 6:
        return this.modemStatus();
      default:
        return this.scratch;
    }
  }

  private readData(): number {
    const byte = this.fifo.shift() ?? 0;
    this.refill();
    return byte;
  }

  private readLineStatus(): number {
    const status = LSR_EMPTY | (this.fifo.length > 0 ? LSR_READY : 0) | (this.overrun ? LSR_OVERRUN : 0);
    this.overrun = false;
    this.update();
    return status;
  }

  /** In loop-back mode the modem outputs are its inputs. */
  private modemStatus(): number {
    if ((this.modemControl & MCR_LOOP) === 0) return MSR_CONNECTED;
    const { modemControl: out } = this;
    return ((out & 2) << 3) | ((out & 1) << 5) | ((out & 4) << 4) | ((out & 8) << 4);
  }

  /** Interrupt identification; reading it answers a transmitter interrupt. */
  private identify(): number {
    const cause = this.cause();
    if (cause === IIR_TRANSMIT) {
      this.transmitPending = false;
      this.update();
    }
    return cause | ((this.fifoControl & FCR_ENABLE) !== 0 ? IIR_FIFO : 0);
  }

  private cause(): number {
    if ((this.interruptEnable & IER_LINE) !== 0 && this.overrun) return IIR_LINE;
    if ((this.interruptEnable & IER_RECEIVE) !== 0 && this.fifo.length > 0) {
      const trigger = (this.fifoControl & FCR_ENABLE) !== 0 ? triggerLevels[this.fifoControl >> 6]! : 1;
      // Below the trigger level the character time-out speaks; here no time passes before it does.
      return this.fifo.length >= trigger ? IIR_RECEIVE : IIR_TIMEOUT;
    }
    if ((this.interruptEnable & IER_TRANSMIT) !== 0 && this.transmitPending) return IIR_TRANSMIT;
    return IIR_NONE;
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size === 1) this.writeRegister(offset & 7, value);
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
        if ((value & FCR_CLEAR_RECEIVE) !== 0 || ((value ^ this.fifoControl) & FCR_ENABLE) !== 0) this.fifo = [];
        this.fifoControl = value & (0xc0 | FCR_ENABLE);
        this.refill();
        break;
      case 3:
        this.lineControl = value;
        break;
      case 4:
        this.modemControl = value & 31;
        break;
      case 7:
        this.scratch = value;
        break;
      default:
        break;
    }
    this.update();
  }

  private transmit(byte: number): void {
    this.transmitPending = true;
    if ((this.modemControl & MCR_LOOP) !== 0) {
      if (this.fifo.length >= this.capacity()) {
        this.overrun = true;
        this.counters.overruns++;
      } else this.fifo.push(byte);
      return;
    }
    this.counters.sent++;
    this.output[this.outputLength++] = byte;
    if (this.outputLength === OUTPUT_CHUNK || byte === NEWLINE) this.flush();
  }

  private capacity(): number {
    return (this.fifoControl & FCR_ENABLE) !== 0 ? FIFO_SIZE : 1;
  }

  /** Moves waiting input into the FIFO: the host holds bytes back, so none is lost. */
  private refill(): void {
    const capacity = this.capacity();
    while (this.fifo.length < capacity && this.waitingFrom < this.waiting.length) {
      this.fifo.push(this.waiting[this.waitingFrom++]!);
      this.counters.received++;
    }
    if (this.waitingFrom === this.waiting.length) {
      this.waiting = [];
      this.waitingFrom = 0;
    }
    this.update();
  }

  private update(): void {
    this.irq.set(this.cause() !== IIR_NONE);
  }

  reset(): void {
    this.flush();
    this.interruptEnable = 0;
    this.fifoControl = 0;
    this.lineControl = 0;
    this.modemControl = 0;
    this.scratch = 0;
    this.divisor = 12;
    this.overrun = false;
    this.transmitPending = false;
    this.fifo = [];
    this.update();
  }

  save(): DeviceState {
    return {
      interruptEnable: this.interruptEnable,
      fifoControl: this.fifoControl,
      lineControl: this.lineControl,
      modemControl: this.modemControl,
      scratch: this.scratch,
      divisor: this.divisor,
      overrun: this.overrun,
      transmitPending: this.transmitPending,
      fifo: Uint8Array.from(this.fifo),
      waiting: Uint8Array.from(this.waiting.slice(this.waitingFrom)),
    };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    this.interruptEnable = reader.number("interruptEnable");
    this.fifoControl = reader.number("fifoControl");
    this.lineControl = reader.number("lineControl");
    this.modemControl = reader.number("modemControl");
    this.scratch = reader.number("scratch");
    this.divisor = reader.number("divisor");
    this.overrun = reader.boolean("overrun");
    this.transmitPending = reader.boolean("transmitPending");
    this.fifo = [...reader.bytes("fifo")];
    this.waiting = [...reader.bytes("waiting")];
    this.waitingFrom = 0;
    this.update();
  }
}
