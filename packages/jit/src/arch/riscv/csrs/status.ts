/** `mstatus` and `sstatus` (privileged manual, 3.1.6 and 12.1.1). `FS` lives in a slot, `SD` follows from it. */
import { FS_SHIFT, MPP_SHIFT, RiscvStatus, UXL_64, XL_64 } from "../privilege.js";
import { type CsrFile, CsrOutcome, type CsrRow } from "./csr-file.js";
import { csr, field, within, zero } from "./row.js";

/** Fields of `mstatus` that software writes, without `FS`. */
const STATUS_WRITABLE =
  RiscvStatus.sie |
  RiscvStatus.mie |
  RiscvStatus.spie |
  RiscvStatus.mpie |
  RiscvStatus.spp |
  RiscvStatus.mpp |
  RiscvStatus.mprv |
  RiscvStatus.sum |
  RiscvStatus.mxr |
  RiscvStatus.tvm |
  RiscvStatus.tw |
  RiscvStatus.tsr;
const SSTATUS_WRITABLE =
  RiscvStatus.sie | RiscvStatus.spie | RiscvStatus.spp | RiscvStatus.sum | RiscvStatus.mxr;

export const machineStatus: readonly CsrRow[] = [
  csr("mstatus", {
    read: (file) => give(file, STATUS_WRITABLE, XL_64),
    write: (file, lo) => write(file, lo, STATUS_WRITABLE),
    saved: {
      ...field("status", STATUS_WRITABLE, ""),
      legal: [
        (lo, hi) => within(lo, STATUS_WRITABLE) && (lo & RiscvStatus.mpp) >> MPP_SHIFT !== 2 && hi === 0,
        "writable bits of mstatus without FS, and MPP no reserved mode",
      ],
    },
  }),
  zero("mstatush", 32),
];

export const supervisorStatus: readonly CsrRow[] = [
  csr("sstatus", {
    read: (file) => give(file, SSTATUS_WRITABLE, UXL_64),
    write: (file, lo) => write(file, lo, SSTATUS_WRITABLE),
  }),
];

function give(file: CsrFile, mask: number, xl: number): void {
  const fs = file.words[file.fs]!;
  const low = (file.hart.state.status & mask) | (fs << FS_SHIFT);
  const dirty = fs === 3 ? -0x80000000 : 0;
  if (file.rv64) file.give(low, xl | dirty);
  else file.give(low | dirty, 0);
}

function write(file: CsrFile, lo: number, mask: number): CsrOutcome {
  const { hart } = file;
  const { state } = hart;
  let written = (state.status & ~mask) | (lo & mask);
  // MPP is WARL: the encoding 2 names no mode and leaves the field as it was.
  if ((written & RiscvStatus.mpp) >> MPP_SHIFT === 2)
    written = (written & ~RiscvStatus.mpp) | (state.status & RiscvStatus.mpp);
  const changed = written ^ state.status;
  state.status = written;
  file.words[file.fs] = (lo & RiscvStatus.fs) >>> FS_SHIFT;
  if ((changed & RiscvStatus.mxr) !== 0) hart.options.tlb.flush();
  if ((changed & (RiscvStatus.mprv | RiscvStatus.sum | RiscvStatus.mpp)) !== 0) hart.selectTlbs();
  return CsrOutcome.done;
}
