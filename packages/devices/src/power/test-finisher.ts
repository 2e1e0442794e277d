/**
 * SiFive's test finisher, by which guests of QEMU's `virt` power off and reboot: one word at offset 0. The device
 * tree also describes it as a `syscon` with `syscon-poweroff` and `syscon-reboot`.
 */
import type { AccessSize, DeviceState, MmioDevice } from "../ports.js";

/** A change of power that a guest asks for. */
export type PowerEvent = { readonly kind: "off"; readonly status: number } | { readonly kind: "reset" };

/** Words that the guest writes; the exit code of a failure is in bits 31-16. */
export const FINISHER_PASS = 0x5555;
export const FINISHER_FAIL = 0x3333;
export const FINISHER_RESET = 0x7777;

/** The device. */
export class TestFinisher implements MmioDevice {
  readonly name = "test";
  readonly counters = { requests: 0 };

  constructor(private readonly onPower: (event: PowerEvent) => void) {}

  read(): number {
    return 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset !== 0 || size === 1) return;
    this.counters.requests++;
    const code = value >>> 16;
    switch (value & 0xffff) {
      case FINISHER_PASS:
        this.onPower({ kind: "off", status: 0 });
        break;
      case FINISHER_FAIL:
        // A failure with code 0 is still a failure.
        this.onPower({ kind: "off", status: code === 0 ? 1 : code });
        break;
      case FINISHER_RESET:
        this.onPower({ kind: "reset" });
        break;
      default:
        this.counters.requests--;
    }
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
