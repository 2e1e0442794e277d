/** Execution environment, supervisor timer (Sstc) and address translation (privileged manual, 3.1.18, 12.1.10, 12.1.11). */
import { pagingModes } from "../page-walk.js";
import { RiscvInterrupt, RiscvMode, RiscvStatus } from "../privilege.js";
import { ADUE_HIGH, type CsrFile, CsrOutcome, type CsrRow, STCE_HIGH } from "./csr-file.js";
import { csr, within } from "./row.js";

/** Writable bits of the high word of `menvcfg`. */
const MENVCFG_HIGH = STCE_HIGH | ADUE_HIGH;
/** `menvcfg.FIOM` and `senvcfg.FIOM`; the cache-block extensions are not there. */
const ENVCFG_LOW = 1;
/** Address-space identifiers in the high word of RV64's `satp`, and in RV32's: hardwired to zero. */
const ASID_HIGH = 0x0ffff000;
const ASID_LOW = 0x7fc00000;
const SUPERVISOR_TIMER = 1 << RiscvInterrupt.supervisorTimer;

export const machineEnvironment: readonly CsrRow[] = [
  csr("menvcfg", {
    read: (file, place) => file.giveWide(place),
    write: (file, lo, hi, place) =>
      writeEnvironment(file, place, lo, file.rv64 ? hi : file.hart.state.wide[2 * place + 1]!),
    saved: {
      reset: [0, ADUE_HIGH],
      isDouble: true,
      legal: [(lo, hi) => within(lo, ENVCFG_LOW) && within(hi, MENVCFG_HIGH), "writable bits of menvcfg"],
    },
  }),
  csr("menvcfgh", {
    width: 32,
    of: "menvcfg",
    read: giveUpper,
    write: (file, lo, _hi, place) => writeEnvironment(file, place, file.hart.state.wide[2 * place]!, lo),
  }),
];

export const supervisorEnvironment: readonly CsrRow[] = [
  csr("senvcfg", {
    read: (file, place) => file.giveWide(place),
    write: (file, lo, _hi, place) => file.writeWide(place, lo & ENVCFG_LOW, 0),
    saved: { legal: [(lo, hi) => within(lo, ENVCFG_LOW) && hi === 0, "writable bits of senvcfg"] },
  }),
  csr("satp", {
    isAllowed: (file, mode) =>
      mode !== RiscvMode.supervisor || (file.hart.state.status & RiscvStatus.tvm) === 0,
    read: (file, place) => file.giveWide(place),
    write: writeSatp,
    saved: {
      legal: [
        (lo, hi, { options: { xlen, pagingLevels } }) => {
          const [legalLow, legalHigh] = legalSatp(lo, hi, xlen);
          return isPagingMode(lo, hi, xlen, pagingLevels) && lo === legalLow && hi === legalHigh;
        },
        "off or a paging scheme of this hart, without an address-space identifier",
      ],
    },
  }),
];

export const supervisorTimer: readonly CsrRow[] = [
  csr("stimecmp", {
    isAllowed: timerAllowed,
    read: (file, place) => file.giveWide(place),
    write: (file, lo, hi, place) =>
      writeTimer(file, place, lo, file.rv64 ? hi : file.hart.state.wide[2 * place + 1]!),
    saved: { reset: [-1, -1], isDouble: true },
  }),
  csr("stimecmph", {
    width: 32,
    of: "stimecmp",
    isAllowed: timerAllowed,
    read: giveUpper,
    write: (file, lo, _hi, place) => writeTimer(file, place, file.hart.state.wide[2 * place]!, lo),
  }),
];

function giveUpper(file: CsrFile, place: number): void {
  file.give(file.hart.state.wide[2 * place + 1]!, 0);
}

function writeEnvironment(file: CsrFile, place: number, lo: number, hi: number): CsrOutcome {
  const { hart } = file;
  file.writeWide(place, lo & ENVCFG_LOW, hi & MENVCFG_HIGH);
  if (file.supervisorTimerEnabled) {
    hart.state.software &= ~SUPERVISOR_TIMER;
    hart.pollTimer();
  } else hart.setPending(RiscvInterrupt.supervisorTimer, false);
  return CsrOutcome.done;
}

function timerAllowed(file: CsrFile, mode: RiscvMode): boolean {
  if (mode === RiscvMode.machine) return true;
  return file.supervisorTimerEnabled && ((file.hart.state.mcounteren >>> 1) & 1) !== 0;
}

function writeTimer(file: CsrFile, place: number, lo: number, hi: number): CsrOutcome {
  file.writeWide(place, lo, hi);
  file.hart.pollTimer();
  return CsrOutcome.done;
}

/** Whether `satp` may hold the mode in its top bits: off, or a scheme that a hart with `levels` levels has (12.1.11). */
function isPagingMode(lo: number, hi: number, xlen: 32 | 64, levels: number): boolean {
  const mode = xlen === 64 ? hi >>> 28 : lo >>> 31;
  if (mode === 0) return true;
  const scheme = pagingModes.find((candidate) => candidate.satpMode === mode);
  if (scheme === undefined || scheme.satpMode > 1 !== (xlen === 64)) return false;
  return xlen === 32 || scheme.levels <= levels;
}

/** A value of `satp` whose mode is supported as the register holds it. */
const legalSatp = (lo: number, hi: number, xlen: 32 | 64): [lo: number, hi: number] =>
  xlen === 64 ? [lo, hi & ~ASID_HIGH] : [lo & ~ASID_LOW, 0];

function writeSatp(file: CsrFile, lo: number, hi: number, place: number): CsrOutcome {
  const { hart } = file;
  const { xlen, pagingLevels } = hart.options;
  // A write with an unsupported mode has no effect at all (12.1.11).
  if (!isPagingMode(lo, hi, xlen, pagingLevels)) return CsrOutcome.done;
  file.writeWide(place, ...legalSatp(lo, hi, xlen));
  hart.pagingChanged();
  return CsrOutcome.leave;
}
