/**
 * The virtual machine generation device (Microsoft, "Virtual Machine Generation ID"; device tree binding
 * `microsoft,vmgenid`): 16 bytes that are others whenever the machine is not the one any more that its memory remembers,
 * because a snapshot was restored or it was cloned, and an interrupt that says so. Linux 6.10 and newer then make
 * their random numbers anew at once. A pause or a reset is no new generation.
 *
 * The bytes are registers and not RAM, so that a look at them withdraws the interrupt: its handler looks, whatever
 * else it does, and a driver that starts later has nothing to be told.
 */
import type { AccessSize, DeviceState, IrqLine, MmioDevice } from "../ports.js";
import { StateReader } from "../state.js";

/** Bytes of an identifier. */
export const GENERATION_BYTES = 16;

/** The device. */
export class VmGeneration implements MmioDevice {
  readonly name = "generation";
  readonly counters = { renewals: 0 };
  private readonly id = new Uint8Array(GENERATION_BYTES);
  private readonly view = new DataView(this.id.buffer);
  /** Nobody has looked since the last renewal. */
  private pending = false;

  constructor(private readonly irq: IrqLine) {}

  /** The machine's generation before its first. @param id 16 bytes */
  begin(id: Uint8Array): void {
    this.id.set(id.subarray(0, GENERATION_BYTES));
  }

  /** The machine is another one from now on. @param id 16 bytes, which no machine had before */
  renew(id: Uint8Array): void {
    this.begin(id);
    this.counters.renewals++;
    this.setPending(true);
  }

  read(offset: number, size: AccessSize): number {
    if (offset + size > GENERATION_BYTES) return 0;
    this.setPending(false);
    if (size === 4) return this.view.getUint32(offset, true);
    return size === 2 ? this.view.getUint16(offset, true) : this.view.getUint8(offset);
  }

  write(): void {
    // Only the host changes it.
  }

  /** The generation is the machine's, and outlives a reset. */
  reset(): void {
    this.setPending(false);
  }

  save(): DeviceState {
    return { id: this.id.slice(), pending: this.pending };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const id = reader.bytes("id", GENERATION_BYTES, GENERATION_BYTES);
    const pending = reader.boolean("pending");
    this.id.set(id);
    this.setPending(pending);
  }

  private setPending(pending: boolean): void {
    this.pending = pending;
    this.irq.set(pending);
  }
}
