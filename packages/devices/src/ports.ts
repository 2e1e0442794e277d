/**
 * The ports of the device package: everything a device needs from the machine around it, as small structural
 * interfaces. Devices import nothing from other packages; a memory, a hart or a clock fits if its shape fits.
 *
 * Addresses are guest-physical (`gpa`), in bytes, as exact JavaScript integers.
 */

/** Width of one MMIO access in bytes. Accesses of 8 bytes are {@link WideRegisters}. */
export type AccessSize = 1 | 2 | 4;

/** Plain data that describes a device's state: what `save` returns and `restore` takes. */
export type DeviceState = { readonly [name: string]: DeviceValue };
/** A value inside a {@link DeviceState}; everything in it survives a structured clone. */
export type DeviceValue =
  | number
  | string
  | boolean
  | null
  | Uint8Array
  | readonly DeviceValue[]
  | { readonly [name: string]: DeviceValue };

/** Registers of 64 bits that are read and written whole. Offsets are multiples of 8. */
export interface WideRegisters {
  /** Reads 8 bytes at `offset`: the low word into `words[0]`, the high one into `words[1]`. */
  read(offset: number, words: Uint32Array): void;
  /** Writes 8 bytes at `offset`, as two unsigned words. */
  write(offset: number, low: number, high: number): void;
}

/** Memory-mapped registers: what answers in an address range. */
export interface MmioRegisters {
  /** Reads `size` bytes at `offset` bytes from the range's base; the result is unsigned. */
  read(offset: number, size: AccessSize): number;
  /** Writes the low `size` bytes of `value` (unsigned) at `offset` bytes from the range's base. */
  write(offset: number, size: AccessSize, value: number): void;
  /** Takes accesses of 8 bytes as such. Without it they come as two of 4, low half first. */
  readonly wide?: WideRegisters;
}

/** A device with memory-mapped registers. */
export interface MmioDevice extends MmioRegisters {
  /** Name for messages, dumps and snapshots, for instance `"uart0"`. */
  readonly name: string;
  /** Brings the device to its power-on state. */
  reset(): void;
  /** The device's whole guest-visible state. */
  save(): DeviceState;
  /** Replaces the device's state by one that `save` returned; throws on a state of another shape. */
  restore(state: DeviceState): void;
  /** Events since power-on by name (interrupts raised, bytes moved, bad requests), for `--stats` and `top`. */
  readonly counters: Readonly<Record<string, number>>;
}

/** Guest memory as a device sees it (DMA). Nothing outside the guest's RAM can be reached through it. */
export interface DmaMemory {
  /** Fills `target` from guest memory at `gpa`. False, and `target` unspecified, if any byte lies outside RAM. */
  read(gpa: number, target: Uint8Array): boolean;
  /** Copies `source` to guest memory at `gpa`. False, and nothing is written, if any byte lies outside RAM. */
  write(gpa: number, source: Uint8Array): boolean;
}

/** Memory of a device that it can lend to the guest. Offsets outside it are refused by an error. */
export interface LentBytes {
  readonly bytes: number;
  read(offset: number, target: Uint8Array): void;
  write(offset: number, source: Uint8Array): void;
  /** Gives it back; where the guest has it still, it stays until it is unmapped. */
  free(): void;
}

/** A range of guest-physical addresses into which a device maps memory of its own. Offsets and sizes are whole pages. */
export interface MemoryWindow {
  /** Where it is; undefined while it is nowhere. */
  readonly base: number | undefined;
  /** Lets the guest use `bytes` bytes of `memory` from `from` on, at `offset` of the window: also to write, unless told not to. */
  map(
    offset: number,
    memory: LentBytes,
    options?: { readonly from?: number; readonly bytes?: number; readonly isReadOnly?: boolean },
  ): void;
  /** Takes what is mapped away, all of it unless told; code that runs there is left at once. */
  unmap(offset?: number, bytes?: number): void;
  /** Takes the window to another place, or to none; false, and it stays, if something is there. */
  move(base: number | undefined): boolean;
  /** Takes it away for good. */
  close(): void;
}

/** Makes memory that devices lend, and where they lend it. */
export interface Lender {
  /** Memory of a multiple of 4096 bytes, zeroed. */
  allocate(bytes: number): LentBytes;
  /** A window; nowhere yet if `base` is undefined. */
  window(name: string, base: number | undefined, bytes: number): MemoryWindow;
}

/** An interrupt line from a device to its interrupt controller. Level-triggered. */
export interface IrqLine {
  /** Drives the line: true asserts the interrupt, false withdraws it. */
  set(level: boolean): void;
}

/** The interrupt inputs of one hart, numbered by cause as in `mip`: 3 MSI, 7 MTI, 9 SEI, 11 MEI. */
export interface HartInterrupts {
  /** Sets or clears the pending bit of interrupt `cause`. */
  setPending(cause: number, level: boolean): void;
}

/** The machine's time base. */
export interface Clock {
  /** Ticks since power-on; 10,000,000 a second of machine time, as on QEMU's `virt`. An integer. */
  now(): number;
}

/** The far end of a console device: a terminal, a socket, a test. */
export interface ConsoleBackend {
  /** Takes bytes that the guest printed. The array is the callee's to keep. */
  write(bytes: Uint8Array): void;
  /** Whether a device that can wait with what it has should: it is then told to go on. Never, if this is left out. */
  full?(): boolean;
}
