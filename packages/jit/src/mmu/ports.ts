/**
 * The ports between translated code's slow paths (`access.ts`), a CPU's model of address translation, and the
 * machine's memory-mapped devices.
 *
 * Guest-virtual addresses travel as two int32 halves (`lo`, `hi`; `hi` is 0 for CPUs with 32-bit addresses),
 * guest-physical ones as exact JavaScript integers.
 */

/** What an access does; also the order of the TLBs in a set. */
export const AccessKind = { read: 0, write: 1, fetch: 2 } as const;
export type AccessKind = (typeof AccessKind)[keyof typeof AccessKind];

/**
 * Where in a translation a slow path was called from, packed into one int32 so that the call stays small:
 * bits 0-11 the instruction's offset in its page, bits 12-15 its length in bytes, bits 16-20 what it costs, bits
 * 21-31 what the instructions of the block cost that are charged to the budget but have not retired, this one included.
 */
export type CallSite = number;

/** Packs a {@link CallSite}; `length` is 1 to 15, `cost` 1 to 31, `unretired` at most 2047: 64 instructions at most. */
export const callSite = (pageOffset: number, length: number, unretired: number, cost = 1): CallSite =>
  (unretired << 21) | (cost << 16) | (length << 12) | (pageOffset & 0xfff);

/** Under what name the slow path of a late store, or the helper of a late call, is bound: see `passes/late-exits.ts`. */
export const lateName = (name: string): string => `late_${name}`;

/** Length in bytes of the instruction at a call site. */
export const lengthAt = (site: CallSite): number => (site >>> 12) & 15;

/** Budget units that are charged for the instruction at a call site and for those after it in its block. */
export const unretiredAt = (site: CallSite): number => site >>> 21;

/** Budget units that are charged for the instructions after the one at a call site. */
export const unretiredAfter = (site: CallSite): number => (site >>> 21) - ((site >>> 16) & 31);

/** Read-modify-write operations by the number that emitted code passes to the slow path. */
export const amoKinds = ["swap", "add", "xor", "and", "or", "min", "max", "minu", "maxu"] as const;

/** A CPU model's side of memory access. */
export interface AddressTranslator {
  /**
   * Translates a guest-virtual address for an access of `bytes` bytes, 1 if not given, which lie in one page. On
   * success returns true and leaves the result in `gpa`, `cacheable` and `pageBytes`. On a fault it raises the CPU's
   * exception (the program counter slot already names the faulting instruction), sets `header.exit`, and returns
   * false.
   */
  translate(kind: AccessKind, lo: number, hi: number, bytes?: number): boolean;
  /** Guest-physical address of the last successful `translate`. */
  gpa: number;
  /** Whether the whole 4 KiB page around the last address translates alike, so that it may enter a TLB. */
  cacheable: boolean;
  /** Bytes of the page that the last translation came from: 4096 or more. */
  pageBytes: number;
  /** Raises the CPU's exception for an access to a guest-physical address where nothing answers. */
  accessFault(kind: AccessKind, lo: number, hi: number): void;
  /** Raises the CPU's exception for a misaligned atomic access. */
  misaligned(kind: AccessKind, lo: number, hi: number): void;
  /** Whether an interrupt would be taken before the next instruction. */
  interruptReady(): boolean;
  /** Takes the interrupt that is ready, if any: enters its handler, sets `header.exit`, and returns true. */
  takeInterrupt(): boolean;
  /** Whether some interrupt would be taken before the next instruction if it became pending. */
  mayBeInterrupted(): boolean;
  /**
   * The budget in the header is to be smaller by `units` than what the owner has granted is left (below zero: to be
   * larger again), without anything having run: instructions that run by themselves get a budget of their own.
   */
  withhold(units: number): void;
}

/** Memory-mapped devices as a hart sees them. */
export interface MmioBus {
  /** Reads 1, 2 or 4 bytes; undefined where no device answers. */
  read(gpa: number, size: 1 | 2 | 4): number | undefined;
  /** Writes 1, 2 or 4 bytes; false where no device answers. */
  write(gpa: number, size: 1 | 2 | 4, value: number): boolean;
  /**
   * Reads 8 bytes at `gpa`, a multiple of 8, as one access: low word into `words[0]`, high word into `words[1]`. False
   * where nobody takes them so, and always unless given: they are then read as two of 4, low half first.
   */
  readWide?(gpa: number, words: Uint32Array): boolean;
  /** Writes 8 bytes at `gpa`, a multiple of 8, as one access; false under the conditions of `readWide`. */
  writeWide?(gpa: number, low: number, high: number): boolean;
}
