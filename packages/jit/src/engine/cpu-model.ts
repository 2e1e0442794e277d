/**
 * The port between the core, which runs code, and the model of a CPU, which knows what its architecture adds: modes, the
 * way of an address, the entry of a trap, pending interrupts, and time. All of it is called between or inside
 * instructions, never by translated code itself: that calls {@link CoreGuest.helpers} by name.
 */
import type { AddressTranslator } from "../mmu/ports.js";
import type { Budget } from "./budget.js";

/** A CPU's model. Addresses and the entry of their traps are the {@link AddressTranslator}'s part. */
export interface CpuModel extends AddressTranslator {
  /** What may run, and the time that passes. */
  readonly budget: Budget;
  /** Chooses the TLBs of the current mode. */
  selectTlbs(): void;
  /**
   * An instruction has ended: takes the interrupt that is ready, if any: enters its handler, sets `header.exit`, and
   * returns true.
   */
  takeInterrupt(): boolean;
  /** Whether some interrupt would be taken before the next instruction if it became pending. */
  mayBeInterrupted(): boolean;
  /** A slice ends: what its last instruction left open is done. */
  endSlice?(): void;
}
