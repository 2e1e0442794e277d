/**
 * The console device (virtio 1.2, section 5.3) with one port: queue 0 brings input to the guest, queue 1 its output
 * to the host; VIRTIO_CONSOLE_F_SIZE tells the terminal's size.
 *
 * Input that the driver has no buffer for waits on the host's side, in the machine's console input or one of its own:
 * a reset by the driver loses none of it.
 */
import { ConsoleInput, type ConsolePort } from "../console/console-input.js";
import type { AccessSize, ConsoleBackend, DeviceState } from "../ports.js";
import { StateReader } from "../state.js";
import { readConfigBytes, type VirtioDevice, type VirtioHost, type VirtioResetCause } from "./device.js";

const DEVICE_ID = 3;
/** VIRTIO_CONSOLE_F_SIZE. */
const FEATURE_SIZE = 0;
const QUEUE_SIZE = 128;
const RECEIVE = 0;
const TRANSMIT = 1;
/** Output handed to the backend at once. */
const CHUNK = 0x4000;
/** Longest output in one chain; drivers send pages. A longer one is an attempt to keep the host busy. */
const MAXIMUM_OUTPUT = 0x100000;
const DEFAULT_COLUMNS = 80;
const DEFAULT_ROWS = 25;
/** cols, rows: 2 bytes each; max_nr_ports, emerg_wr: 4 bytes each. */
const CONFIG_BYTES = 12;

/** What a console device is made from. */
export interface VirtioConsoleOptions {
  /** Where the guest's output goes. */
  readonly backend: ConsoleBackend;
  /** The input that it shares with the machine's other consoles; one of its own unless given. */
  readonly input?: ConsoleInput;
  /** Width of the terminal in characters at power-on, up to 65,535; 80 unless given. */
  readonly columns?: number;
  /** Height of the terminal in characters at power-on, up to 65,535; 25 unless given. */
  readonly rows?: number;
}

/** A console device and the host's handles on it. */
export interface VirtioConsole {
  /** The device. To be plugged into one board. */
  readonly device: VirtioDevice;
  /** Offers input; returns how many bytes were taken, from the front: fewer than offered when the queue is full. */
  receive(bytes: Uint8Array): number;
  /** The terminal has this size in characters. */
  resize(columns: number, rows: number): void;
  /** The backend was full, or the device has been restored: goes on with the guest's output, as far as it is not full. */
  drain(): void;
}

/** A console; Linux calls it `hvc0`. */
export function virtioConsole(options: VirtioConsoleOptions): VirtioConsole {
  const input = options.input ?? new ConsoleInput();
  const device = new ConsoleDevice(
    options.backend,
    input,
    options.input === undefined,
    options.columns ?? DEFAULT_COLUMNS,
    options.rows ?? DEFAULT_ROWS,
  );
  return {
    device,
    receive: (bytes) => input.receive(bytes),
    resize: (columns, rows) => device.resize(columns, rows),
    drain: () => device.drain(),
  };
}

class ConsoleDevice implements VirtioDevice {
  readonly name = "console";
  readonly id = DEVICE_ID;
  readonly features = [FEATURE_SIZE];
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE];
  readonly counters = { sent: 0, received: 0 };
  private host: VirtioHost | undefined;
  private readonly port: ConsolePort;
  /** Whether chains may lie in the transmit queue of which the driver has told already. */
  private stalled = false;
  private readonly config = new Uint8Array(CONFIG_BYTES);

  /** @param ownsInput whether nobody else has the input, so that its state is the device's */
  constructor(
    private readonly backend: ConsoleBackend,
    private readonly input: ConsoleInput,
    private readonly ownsInput: boolean,
    columns: number,
    rows: number,
  ) {
    const device = this;
    this.port = input.attach({
      name: this.name,
      certain: false,
      get listening() {
        return device.host?.live === true && device.host.queues[RECEIVE]!.ready;
      },
      deliver: () => this.deliver(),
    });
    this.setSize(columns, rows);
  }

  attach(host: VirtioHost): void {
    this.host = host;
  }

  /** Linux reads the size of a single-port console only when it is told of a change. */
  activate(): void {
    if (this.host!.hasFeature(FEATURE_SIZE)) this.host!.configChanged();
  }

  resize(columns: number, rows: number): void {
    if (this.setSize(columns, rows) && this.host?.hasFeature(FEATURE_SIZE) === true)
      this.host.configChanged();
  }

  notify(index: number): void {
    if (index === RECEIVE) this.deliver();
    else this.transmit();
  }

  readConfig(offset: number, size: AccessSize): number {
    return readConfigBytes(this.config, offset, size);
  }

  writeConfig(_offset: number, _size: AccessSize, _value: number): void {
    // Nothing in it is the driver's to change: emergency write is not offered.
  }

  drain(): void {
    if (this.stalled && this.host?.live === true) this.transmit();
  }

  reset(cause: VirtioResetCause): void {
    this.stalled = false;
    if (cause === "power" && this.ownsInput) this.input.clear();
  }

  save(): DeviceState {
    return {
      config: this.config.slice(),
      ...(this.ownsInput ? { input: this.input.save() } : {}),
    };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const config = reader.bytes("config", CONFIG_BYTES, CONFIG_BYTES);
    if (this.ownsInput) this.input.restore(reader.record("input"));
    this.config.set(config);
    this.stalled = true;
  }

  /** Whether the size is another than before. */
  private setSize(columns: number, rows: number): boolean {
    const view = new DataView(this.config.buffer);
    if (view.getUint16(0, true) === columns && view.getUint16(2, true) === rows) return false;
    view.setUint16(0, columns, true);
    view.setUint16(2, rows, true);
    return true;
  }

  private deliver(): void {
    const { host, port } = this;
    if (host === undefined || !host.live) return;
    const queue = host.queues[RECEIVE]!;
    while (port.offers) {
      const chain = queue.pop();
      if (chain === undefined) break;
      if (chain.writableBytes === 0) {
        queue.reject("request");
        return;
      }
      this.counters.received += chain.write(port.take(chain.writableBytes));
      queue.push(chain);
    }
    host.signal(RECEIVE);
  }

  private transmit(): void {
    const host = this.host!;
    const queue = host.queues[TRANSMIT]!;
    for (;;) {
      // Not more than a chain goes out beyond what the backend takes.
      this.stalled = this.backend.full?.() === true;
      if (this.stalled) break;
      const chain = queue.pop();
      if (chain === undefined) break;
      if (chain.readableBytes > MAXIMUM_OUTPUT) {
        queue.reject("request");
        return;
      }
      while (chain.unread > 0) {
        const bytes = new Uint8Array(Math.min(chain.unread, CHUNK));
        const count = chain.read(bytes);
        if (count > 0) {
          this.counters.sent += count;
          this.port.printed();
          this.backend.write(bytes.subarray(0, count));
        }
        if (count < bytes.length) break;
      }
      queue.push(chain, 0);
    }
    host.signal(TRANSMIT);
  }
}
