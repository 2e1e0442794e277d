/** The entropy device (virtio 1.2, section 5.4): it fills the driver's buffers with random bytes. */
import type { AccessSize, DeviceState } from "../ports.js";
import type { VirtioDevice, VirtioHost } from "./device.js";

const DEVICE_ID = 4;
const QUEUE_SIZE = 64;
/** Most bytes given at once: a driver that wants more asks again, and the host's work stays bounded. */
const MAXIMUM_BYTES = 4096;

/** Fills an array of at most 4,096 bytes with entropy. */
export type EntropySource = (bytes: Uint8Array) => void;

/** What an entropy device is made from. */
export interface VirtioRngOptions {
  /** For instance `(bytes) => crypto.getRandomValues(bytes)`; a seeded generator makes runs repeatable. */
  readonly entropy: EntropySource;
}

/** An entropy device. To be plugged into one board. */
export function virtioRng(options: VirtioRngOptions): VirtioDevice {
  return new RngDevice(options.entropy);
}

class RngDevice implements VirtioDevice {
  readonly name = "rng";
  readonly id = DEVICE_ID;
  readonly features: readonly number[] = [];
  readonly queueSizes = [QUEUE_SIZE];
  readonly counters = { requests: 0, bytes: 0 };
  private host: VirtioHost | undefined;

  constructor(private readonly entropy: EntropySource) {}

  attach(host: VirtioHost): void {
    this.host = host;
  }

  activate(): void {
    // Nothing to do before the first request.
  }

  notify(index: number): void {
    const host = this.host!;
    const queue = host.queues[index]!;
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      if (chain.writableBytes === 0) {
        queue.reject("request");
        return;
      }
      const bytes = new Uint8Array(Math.min(chain.writableBytes, MAXIMUM_BYTES));
      this.entropy(bytes);
      this.counters.requests++;
      this.counters.bytes += chain.write(bytes);
      queue.push(chain);
    }
    host.signal(index);
  }

  readConfig(): number {
    return 0;
  }

  writeConfig(_offset: number, _size: AccessSize, _value: number): void {
    // The device has no configuration space.
  }

  reset(): void {
    // It has no state.
  }

  save(): DeviceState {
    return {};
  }

  restore(): void {
    // It has no state.
  }
}
