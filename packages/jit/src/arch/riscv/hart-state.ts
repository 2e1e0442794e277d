/**
 * The privileged state of a hart that translated code never touches: plain data, saved and restored as it stands.
 * Registers of 64 bits are pairs in one array, low half first, so that reading one allocates nothing.
 */

/**
 * Places of the wide registers in {@link HartState.wide}, in units of pairs: of those that the hart itself knows. CSRs of
 * extensions have theirs behind them, as the table of CSRs says.
 */
export const Wide = {
  mtvec: 0,
  stvec: 1,
  mscratch: 2,
  sscratch: 3,
  mepc: 4,
  sepc: 5,
  mcause: 6,
  scause: 7,
  mtval: 8,
  stval: 9,
  satp: 10,
  stimecmp: 11,
  menvcfg: 12,
  senvcfg: 13,
  /** What to add to the retired count to get `mcycle` and `minstret`. */
  cycleOffset: 14,
  instretOffset: 15,
} as const;

/** The state. */
export interface HartState {
  mode: number;
  /** `mstatus`, low word, without `FS` and `SD`. */
  status: number;
  medeleg: number;
  mideleg: number;
  mie: number;
  /** Pending bits driven by devices and timers. */
  lines: number;
  /** Pending bits that software set in `mip`. */
  software: number;
  mcounteren: number;
  scounteren: number;
  mcountinhibit: number;
  /** Instructions retired before the current slice. */
  retiredBefore: number;
  /** Guest-physical address of the structure for steal time (`steal-time.ts`); -1 for none. */
  stealArea: number;
  readonly wide: Int32Array;
}

/**
 * State of a hart at power-on.
 * @param wide what its wide registers hold then
 */
export const freshState = (wide: Int32Array): HartState => ({
  mode: 3,
  status: 0,
  medeleg: 0,
  mideleg: 0,
  mie: 0,
  lines: 0,
  software: 0,
  mcounteren: 0,
  scounteren: 0,
  mcountinhibit: 0,
  retiredBefore: 0,
  stealArea: -1,
  wide: wide.slice(),
});
