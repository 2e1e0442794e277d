/**
 * The layout of the one linear memory that a VM's harts, translations and RAM live in. Every tier, and every
 * backend, uses these offsets and no others; all are in bytes unless a name says otherwise.
 *
 *   0                 hart blocks, HART_STRIDE bytes each: header, guest state, software TLBs
 *   codeArena         pre-decoded code pages
 *   frames            machine frames, PAGE_SIZE bytes each
 */

/** Bytes of a guest page and of a machine frame. */
export const PAGE_SIZE = 4096;
/** log2 of {@link PAGE_SIZE}. */
export const PAGE_SHIFT = 12;

/** Bytes from one hart's block to the next. */
export const HART_STRIDE = 0x200000;

/**
 * Header of a hart block: 32-bit words of the engine, as byte offsets from the start of the block.
 */
export const header = {
  /** Guest instructions that may still run in this slice. */
  budget: 0,
  /** Why execution must return to the dispatcher; 0 while it may go on. See {@link Exit}. */
  exit: 4,
  /** High half of the last 64-bit result of a helper. */
  resultHigh: 8,
  /** Byte offset, from the start of the linear memory, of the TLB that loads use now. */
  tlbRead: 12,
  /** The same for stores. */
  tlbWrite: 16,
  /** The same for instruction fetches. */
  tlbFetch: 20,
  /** 1 while an LR reservation is held. */
  reserved: 24,
  /** Byte offset in linear memory of the reserved bytes. */
  reservedOffset: 28,
  /** The value that LR saw, low and high half. */
  reservedLow: 32,
  reservedHigh: 36,
  /** Guest instructions that ran in regions, modulo 2^32. */
  inRegions: 40,
  /** What `exit` becomes where the current instruction ends; 0 if it need not end the block. See {@link Exit}. */
  late: 44,
} as const;

/** Byte offset of the guest state (the front end's slots) in a hart block. */
export const STATE_OFFSET = 0x100;

/** Byte offset of a page of scratch memory in a hart block. */
export const SCRATCH_OFFSET = 0x2000;

/** Byte offset of the TLBs in a hart block; `mmu/tlb-layout.ts` says what is there. */
export const TLB_OFFSET = 0x4000;

/** Values of `header.exit`. */
export const Exit = {
  /** Go on. */
  none: 0,
  /** A trap was taken, or the program counter or the mode changed: look the code up again. */
  redirect: 1,
  /** The hart waits for an interrupt. */
  wait: 2,
  /** The machine was powered off, reset, or stopped by a debugger. */
  stop: 3,
} as const;
