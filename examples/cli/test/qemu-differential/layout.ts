/**
 * Where the parts of a generated program lie in guest-physical memory. Handlers, their data and the constants are
 * mapped at the same addresses in every address space; code and data of the generated blocks elsewhere.
 */

/** Start of RAM: boot code, trap handlers. */
export const RUNTIME = 0x80000000;
export const RUNTIME_BYTES = 0x2000;
/** What the handlers keep: the hart's state of the interrupted block, counters, the log of traps. */
export const STATE = 0x80002000;
/** Constants that blocks load. */
export const POOL = 0x80003000;
/** Four pages that blocks read and write. */
export const DATA = 0x80004000;
export const DATA_BYTES = 0x4000;
/** A region of two pages under a PMP entry of its own; only the first is ever mapped. */
export const GUARDED = 0x8000a000;
/** Page tables of all address spaces. */
export const TABLES = 0x80010000;
export const TABLES_BYTES = 0x40000;
/** Descriptors of the blocks. */
export const DESCRIPTORS = 0x80060000;
/** The blocks. */
export const BLOCKS = 0x80080000;
export const BLOCKS_BYTES = 0x20000;
/** Bytes of RAM of the machines. */
export const RAM_BYTES = 0x1000000;
/** The first address behind RAM, where nothing answers. */
export const NOWHERE = RUNTIME + RAM_BYTES;

/** Offsets in the state page; those reached as `offset(tp)` are below 2048. */
export const State = {
  /** x0 to x31, 8 bytes each. */
  x: 0,
  /** f0 to f31, 8 bytes each. */
  f: 0x100,
  /** fcsr, mstatus, mepc, mtval, mcause and the hash of all traps so far, 8 bytes each: hashed with the registers. */
  fcsr: 0x200,
  mstatus: 0x208,
  mepc: 0x210,
  mtval: 0x218,
  mcause: 0x220,
  trapHash: 0x228,
  /** End of what is hashed. */
  end: 0x230,
  /** Address of the current descriptor, passes left, number of the next checkpoint. */
  descriptor: 0x240,
  passes: 0x248,
  index: 0x250,
  /** Number of the checkpoint whose state is printed in full; -1 for none. */
  wanted: 0x258,
  /** Traps since the last checkpoint. */
  traps: 0x260,
  /** `minstret` when the block was entered, and instructions of blocks so far. */
  entered: 0x268,
  retired: 0x270,
  allTraps: 0x278,
  /** Target of the store-conditional that drops reservations. */
  dummy: 0x280,
  /** Registers of the supervisor's handler. */
  supervisor: 0x290,
  /** Log of the last traps since the checkpoint: cause, tval, epc, status, 8 bytes each. */
  log: 0x400,
} as const;
/** Entries of the log. */
export const LOG_ENTRIES = 16;

/** A descriptor: what a block is entered with. Offsets of fields, 8 bytes each. */
export const Descriptor = {
  entry: 0,
  end: 8,
  satp: 16,
  mstatus: 24,
  medeleg: 32,
  mideleg: 40,
  sp: 48,
  s0: 56,
  s1: 64,
  gp: 72,
  bytes: 128,
} as const;
