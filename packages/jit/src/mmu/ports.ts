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

/** Under what name the slow path of a late store, or the helper of a late call, is bound: see `passes/late-exits.ts`. */
export const lateName = (name: string): string => `late_${name}`;

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
