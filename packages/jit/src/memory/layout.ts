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

/** Byte offset of the TLBs in a hart block. */
export const TLB_OFFSET = 0x4000;
/**
 * Entries of one TLB; direct-mapped by the low bits of the page number. 8192 entries reach 32 MiB: programs with working
 * sets of tens of MiB (compressors, databases) spend up to half their time in page walks with a quarter of that.
 */
export const TLB_ENTRIES = 8192;
/**
 * Bytes of a TLB entry: four 32-bit words.
 * - word 0: low half of the page's virtual address, with the low 12 bits zero; -1 if the entry is empty
 * - word 1: high half
 * - word 2: addend: byte offset in linear memory = (low half of the address + addend) modulo 2^32
 * - word 3: fetch TLB: index of the code page; otherwise free
 */
export const TLB_ENTRY_SIZE = 16;
/** Bytes of one TLB. */
export const TLB_SIZE = TLB_ENTRIES * TLB_ENTRY_SIZE;
/** The three TLBs of a translation regime, in this order: read, write, fetch. */
export const TLB_SET_SIZE = 3 * TLB_SIZE;
/** Translation regimes of a hart, each with its own set of TLBs, so that changing between them flushes nothing. */
export const TLB_SETS = 4;

/** Word 0 of an empty TLB entry. No page's address has low bits set, so it never matches. */
export const TLB_EMPTY = -1;

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
