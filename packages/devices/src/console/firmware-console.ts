/**
 * The console of a machine's firmware: what a built-in SBI reads and writes. A kernel that prints through it may use
 * the UART as well; both go to the same terminal, in the order in which they were printed.
 *
 * Firmware has no interrupt: a guest asks whenever it wants to know, and Linux's `hvc0` does so every two seconds or
 * more often while somebody has it open. From then on it counts as listening until it has printed `PATIENCE` bytes
 * without asking again: kernels print on consoles that nobody has open.
 */
import type { ConsoleBackend, DeviceState } from "../ports.js";
import { StateReader } from "../state.js";
import type { ConsoleInput, ConsolePort } from "./console-input.js";

/** Bytes printed since the guest asked for input after which nobody counts as reading. */
const PATIENCE = 0x4000;

/** The console; it fits `SbiPlatform.console` of the jit package. */
export class FirmwareConsole {
  readonly name = "firmware";
  readonly counters = { sent: 0, received: 0 };
  private readonly port: ConsolePort;
  /** Bytes printed since the guest asked, up to `PATIENCE`. */
  private silence = PATIENCE;

  /** @param before hands on what another console of the same terminal has gathered */
  constructor(
    input: ConsoleInput,
    private readonly backend: ConsoleBackend,
    private readonly before: () => void,
  ) {
    const console = this;
    this.port = input.attach({
      name: this.name,
      certain: true,
      get listening() {
        return console.silence < PATIENCE;
      },
      deliver() {
        // The guest asks.
      },
    });
  }

  /** The guest prints bytes, which are the callee's to keep. */
  write(bytes: Uint8Array): void {
    this.before();
    this.counters.sent += bytes.length;
    this.port.printed();
    const listened = this.silence < PATIENCE;
    this.silence = Math.min(PATIENCE, this.silence + bytes.length);
    if (listened && this.silence === PATIENCE) this.port.changed();
    this.backend.write(bytes);
  }

  /** The guest asks for at most `limit` bytes of input; gives those that have arrived. */
  read(limit: number): Uint8Array {
    this.silence = 0;
    const bytes = this.port.take(limit);
    this.counters.received += bytes.length;
    return bytes;
  }

  reset(): void {
    this.silence = PATIENCE;
  }

  save(): DeviceState {
    return { silence: this.silence };
  }

  restore(state: DeviceState): void {
    this.silence = new StateReader(this.name, state).integer("silence", PATIENCE);
  }
}
