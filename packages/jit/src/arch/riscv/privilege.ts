/** Constants of the privileged architecture (privileged manual, chapters 2 and 3). */

/** Privilege modes as encoded in `mstatus.MPP`. */
export const RiscvMode = { user: 0, supervisor: 1, machine: 3 } as const;
export type RiscvMode = (typeof RiscvMode)[keyof typeof RiscvMode];

/** Exception causes (table of `mcause` values). */
export const RiscvCause = {
  instructionMisaligned: 0,
  instructionAccess: 1,
  illegalInstruction: 2,
  breakpoint: 3,
  loadMisaligned: 4,
  loadAccess: 5,
  storeMisaligned: 6,
  storeAccess: 7,
  ecallUser: 8,
  ecallSupervisor: 9,
  ecallMachine: 11,
  instructionPage: 12,
  loadPage: 13,
  storePage: 15,
} as const;

/** Interrupt causes; also their bits in `mip` and `mie`. */
export const RiscvInterrupt = {
  supervisorSoftware: 1,
  machineSoftware: 3,
  supervisorTimer: 5,
  machineTimer: 7,
  supervisorExternal: 9,
  machineExternal: 11,
} as const;

/** Bits of `mstatus` that this hart implements, low word; `FS` lives in a slot of its own. */
export const RiscvStatus = {
  sie: 1 << 1,
  mie: 1 << 3,
  spie: 1 << 5,
  mpie: 1 << 7,
  spp: 1 << 8,
  mpp: 3 << 11,
  fs: 3 << 13,
  mprv: 1 << 17,
  sum: 1 << 18,
  mxr: 1 << 19,
  tvm: 1 << 20,
  tw: 1 << 21,
  tsr: 1 << 22,
} as const;

/** Shifts of the fields above that hold numbers. */
export const MPP_SHIFT = 11;
export const FS_SHIFT = 13;
export const SPP_SHIFT = 8;
/** `mstatus.UXL` and `SXL`, both 64, in the high word of RV64. */
export const XL_64 = 0xa;
/** `sstatus.UXL` in the high word of RV64. */
export const UXL_64 = 0x2;
/** `FS` value: dirty. */
export const FS_DIRTY = 3;
