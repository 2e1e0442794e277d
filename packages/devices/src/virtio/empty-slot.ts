/** A virtio-mmio slot without a device (virtio 1.2, section 4.2.2): device id 0 tells drivers to leave it alone. */
import type { AccessSize, DeviceState, MmioDevice } from "../ports.js";

const MAGIC = 0x74726976;
const VERSION = 2;

/** The device that is not there. */
export class EmptySlot implements MmioDevice {
  readonly counters = {};

  constructor(readonly name: string) {}

  read(offset: number, size: AccessSize): number {
    if (size !== 4) return 0;
    return offset === 0 ? MAGIC : offset === 4 ? VERSION : 0;
  }

  write(): void {
    // Nothing is here to be written to.
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
