/** Counters and who may read them (privileged manual, 3.1.10 to 3.1.12 and 12.1.5; unprivileged manual, "Zicntr"). */
import { RiscvMode } from "../privilege.js";
import type { CsrFile, CsrOutcome, CsrRow } from "./csr-file.js";
import { csr, giveZero, numbered, wordRegister, zero } from "./row.js";

const [FIRST_EVENT, LAST_EVENT] = [3, 31];
/** The counters that count: number in `mcounteren`, name, and the name under which its distance is saved. */
const counted = [
  [0, "cycle", "cycleOffset"],
  [2, "instret", "instretOffset"],
] as const;
const TIME = 1;

/** Counters that lower modes may read only if `mcounteren` and `scounteren` say so. */
const enabled =
  (index: number) =>
  (file: CsrFile, mode: RiscvMode): boolean => {
    if (mode === RiscvMode.machine) return true;
    const { mcounteren, scounteren } = file.hart.state;
    return (
      ((mcounteren >>> index) & 1) !== 0 && (mode > RiscvMode.user || ((scounteren >>> index) & 1) !== 0)
    );
  };

/** `cycle`, `time`, `instret` and their upper halves. */
export const userCounters: readonly CsrRow[] = [
  ...counted.flatMap(([index, name, of]): CsrRow[] => [
    csr(name, { of, isAllowed: enabled(index), read: giveCounter }),
    csr(`${name}h`, { width: 32, of, isAllowed: enabled(index), read: giveUpperCounter }),
  ]),
  csr("time", {
    isAllowed: enabled(TIME),
    read: (file) => {
      const now = file.hart.options.clock.now();
      file.give(now | 0, Math.floor(now / 0x100000000) | 0);
    },
  }),
  csr("timeh", {
    width: 32,
    isAllowed: enabled(TIME),
    read: (file) => file.give(Math.floor(file.hart.options.clock.now() / 0x100000000) | 0, 0),
  }),
];

/** Event counters: none counts. */
export const eventCounters: readonly CsrRow[] = [
  ...numbered("hpmcounter", "", FIRST_EVENT, LAST_EVENT, (name, index) =>
    csr(name, { isAllowed: enabled(index), read: giveZero }),
  ),
  ...numbered("hpmcounter", "h", FIRST_EVENT, LAST_EVENT, (name, index) =>
    csr(name, { width: 32, isAllowed: enabled(index), read: giveZero }),
  ),
  ...numbered("mhpmcounter", "", FIRST_EVENT, LAST_EVENT, (name) => zero(name)),
  ...numbered("mhpmcounter", "h", FIRST_EVENT, LAST_EVENT, (name) => zero(name, 32)),
  ...numbered("mhpmevent", "", FIRST_EVENT, LAST_EVENT, (name) => zero(name)),
];

export const machineCounters: readonly CsrRow[] = [
  ...counted.flatMap(([, name, of]): CsrRow[] => [
    csr(`m${name}`, {
      of,
      read: giveCounter,
      write: (file, lo, hi, place) =>
        writeCounter(file, place, lo, file.rv64 ? hi : upperCounter(file, place)),
      // What to add to the count of retired instructions.
      saved: { name: of, isDouble: true },
    }),
    csr(`m${name}h`, {
      width: 32,
      of,
      read: giveUpperCounter,
      write: (file, lo, _hi, place) => writeCounter(file, place, lowerCounter(file, place), lo),
    }),
  ]),
  wordRegister("mcounteren", "mcounteren", -1, "a 32-bit word"),
  wordRegister("mcountinhibit", "mcountinhibit", 0, "0"),
];

export const supervisorCounters: readonly CsrRow[] = [
  wordRegister("scounteren", "scounteren", -1, "a 32-bit word"),
];

/** A counter is the instructions retired plus what software wrote. */
function lowerCounter({ hart }: CsrFile, place: number): number {
  return (hart.retired() + hart.state.wide[2 * place]!) | 0;
}

function upperCounter({ hart }: CsrFile, place: number): number {
  const retired = hart.retired();
  const { wide } = hart.state;
  const low = (retired + wide[2 * place]!) | 0;
  const carry = low >>> 0 < (retired | 0) >>> 0 ? 1 : 0;
  return (Math.floor(retired / 0x100000000) + wide[2 * place + 1]! + carry) | 0;
}

function giveCounter(file: CsrFile, place: number): void {
  file.give(lowerCounter(file, place), file.rv64 ? upperCounter(file, place) : 0);
}

function giveUpperCounter(file: CsrFile, place: number): void {
  file.give(upperCounter(file, place), 0);
}

/** After the write the counter reads as written by the next instruction (3.1.10). */
function writeCounter(file: CsrFile, place: number, lo: number, hi: number): CsrOutcome {
  const retired = file.hart.retired() + file.retiring;
  const retiredLow = retired | 0;
  const borrow = lo >>> 0 < retiredLow >>> 0 ? 1 : 0;
  return file.writeWide(place, (lo - retiredLow) | 0, (hi - Math.floor(retired / 0x100000000) - borrow) | 0);
}
