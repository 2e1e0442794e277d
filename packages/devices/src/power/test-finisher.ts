/**
 * SiFive's test finisher, by which guests of QEMU's `virt` power off and reboot. The device tree also describes it
 * as a `syscon` with `syscon-poweroff` and `syscon-reboot`.
 *
 *   0x0  write, 2 or 4 bytes  0x5555 power off with status 0; 0x7777 reset; 0x3333 with a code in bits 31-16:
 *                             power off with that code as status
 *
 * It reads zero, has no state, and ignores every other word and access.
 */
import type { AccessSize, DeviceState, MmioDevice } from "../ports.js";

/** A change of power that a guest asks for. */
export type PowerEvent = { readonly kind: "off"; readonly status: number } | { readonly kind: "reset" };

/** Low half of the word that powers off with status 0. */
export const FINISHER_PASS = 0x5555;
/** Low half of the word that powers off with the status in its high half. */
export const FINISHER_FAIL = 0x3333;
/** Low half of the word that resets. */
export const FINISHER_RESET = 0x7777;

/** The device. */
export class TestFinisher implements MmioDevice {
  readonly name = "test";
  readonly counters = { requests: 0 };

  /** @param onPower is called inside the guest's store, once for each request */
  constructor(private readonly onPower: (event: PowerEvent) => void) {}

  read(): number {
    return 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset !== 0 || size === 1) return;
    const event = powerEvent(value);
    if (event === undefined) return;
    this.counters.requests++;
    this.onPower(event);
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

function powerEvent(word: number): PowerEvent | undefined {
  switch (word & 0xffff) {
    case FINISHER_PASS:
      return { kind: "off", status: 0 };
    case FINISHER_FAIL:
      // A failure with code 0 is still a failure.
      return { kind: "off", status: word >>> 16 || 1 };
    case FINISHER_RESET:
      return { kind: "reset" };
    default:
      return undefined;
  }
}
