/**
 * A hart's state as plain data, for snapshots and clones: guest registers, privileged registers, PMP, the LR
 * reservation by guest-physical address, and what `raise` counts. The state of the engine is not part of it.
 */
import { PAGE_SIZE, STATE_OFFSET } from "../../memory/layout.js";
import {
  DELEGABLE,
  ENVCFG_LOW,
  isPagingMode,
  legalSatp,
  MACHINE_INTERRUPTS,
  MENVCFG_HIGH,
  STATUS_WRITABLE,
  SUPERVISOR_INTERRUPTS,
} from "./csr.js";
import type { RiscvHart } from "./hart.js";
import { freshState, type HartState, WIDE_COUNT, Wide } from "./hart-state.js";
import { legalConfig, PMP_ADDRESS_HIGH, PMP_ENTRIES } from "./pmp.js";
import { Mode, MPP_SHIFT, Status } from "./privilege.js";
import { NO_STEAL_AREA, STEAL_AREA_BYTES } from "./steal-time.js";

/** Plain data; it survives a structured clone. */
export type SavedHart = Readonly<Record<string, number | boolean | string | readonly number[]>>;

/** A saved state that does not fit the hart. */
export class HartStateError extends Error {
  override readonly name = "HartStateError";
  readonly code = "E_HART_STATE";
}

/** All fields of {@link HartState} but the wide registers: numbers. */
const stateFields = Object.keys(freshState()).filter(
  (field): field is Exclude<keyof HartState, "wide"> => field !== "wide",
);

/** The hart's slots in linear memory: what the front end declares. */
function slotsOf(hart: RiscvHart): Int32Array {
  const { memory, hartOffset, shape } = hart.options;
  const start = (hartOffset + STATE_OFFSET) >> 2;
  return memory.i32.subarray(start, start + (shape.size >> 2));
}

/** Saves a hart whose registers are in its hart block, and its reservation as the core has it. */
export function saveHart(hart: RiscvHart, reservation: readonly number[]): SavedHart {
  const { state, pmp } = hart;
  const [held = 0, offset = 0, low = 0, high = 0] = reservation;
  const gpa = held === 1 ? hart.options.guest.addressOf(offset >>> 0) : -1;
  return {
    xlen: hart.options.xlen,
    slots: [...slotsOf(hart)],
    ...Object.fromEntries(stateFields.map((field) => [field, state[field]])),
    wide: [...state.wide],
    pmpConfig: [...pmp.config],
    pmpLow: [...pmp.addressLow],
    pmpHigh: [...pmp.addressHigh],
    waiting: hart.waiting,
    lastTrap: [...hart.lastTrap],
    raised: [hart.raisedAt, hart.fruitless],
    reservation: gpa < 0 ? [] : [gpa, low, high],
  };
}

/** Instructions that a hart may have retired: 2^52 leave room to count on exactly. */
const MOST_RETIRED = 2 ** 52;

const isInt32 = (value: unknown): value is number => typeof value === "number" && (value | 0) === value;
const isCount = (value: number): boolean => value >= 0 && value <= MOST_RETIRED;
/** Whether a number has none but these bits. */
const within =
  (mask: number) =>
  (value: number): boolean =>
    isInt32(value) && (value & ~mask) === 0;

/** What the numbers of {@link HartState} may be, by name, and how that is said. */
const fieldRules: Readonly<
  Record<(typeof stateFields)[number], readonly [(value: number, hart: RiscvHart) => boolean, string]>
> = {
  mode: [(mode) => mode === Mode.user || mode === Mode.supervisor || mode === Mode.machine, "0, 1 or 3"],
  status: [
    (status) => within(STATUS_WRITABLE)(status) && (status & Status.mpp) >> MPP_SHIFT !== 2,
    "writable bits of mstatus, and MPP no reserved mode",
  ],
  medeleg: [within(DELEGABLE), "exceptions that can be delegated"],
  mideleg: [within(SUPERVISOR_INTERRUPTS), "interrupts of S mode"],
  mie: [within(MACHINE_INTERRUPTS), "interrupts that there are"],
  lines: [within(MACHINE_INTERRUPTS), "interrupts that there are"],
  software: [within(SUPERVISOR_INTERRUPTS), "interrupts of S mode"],
  mcounteren: [isInt32, "a 32-bit word"],
  scounteren: [isInt32, "a 32-bit word"],
  mcountinhibit: [within(0), "0"],
  retiredBefore: [isCount, "a count of instructions"],
  stealArea: [
    (gpa, { options }) =>
      gpa === NO_STEAL_AREA ||
      (gpa % STEAL_AREA_BYTES === 0 && options.guest.contains(gpa, STEAL_AREA_BYTES)),
    `-1 or the address of ${STEAL_AREA_BYTES} aligned bytes of RAM`,
  ],
};

type Pair = readonly [lo: number, hi: number];

/** Values of wide registers that software can't write are refused; others may hold anything. */
const wideRules: Partial<
  Record<keyof typeof Wide, readonly [(pair: Pair, hart: RiscvHart) => boolean, string]>
> = {
  mtvec: [([lo]) => (lo & 2) === 0, "a base address and a mode of 0 or 1"],
  stvec: [([lo]) => (lo & 2) === 0, "a base address and a mode of 0 or 1"],
  mepc: [([lo]) => (lo & 1) === 0, "even"],
  sepc: [([lo]) => (lo & 1) === 0, "even"],
  satp: [isLegalSatp, "off or a paging scheme of this hart, without an address-space identifier"],
  menvcfg: [([lo, hi]) => within(ENVCFG_LOW)(lo) && within(MENVCFG_HIGH)(hi), "writable bits of menvcfg"],
  senvcfg: [([lo, hi]) => within(ENVCFG_LOW)(lo) && hi === 0, "writable bits of senvcfg"],
};

/** Wide registers that have 64 bits on RV32 too. */
const wideOnRv32: ReadonlySet<string> = new Set(["stimecmp", "menvcfg", "cycleOffset", "instretOffset"]);

function isLegalSatp([lo, hi]: Pair, { options }: RiscvHart): boolean {
  const { xlen, pagingLevels } = options;
  const [legalLow, legalHigh] = legalSatp(lo, hi, xlen);
  return (
    isPagingMode(xlen === 64 ? hi >>> 28 : lo >>> 31, xlen, pagingLevels) &&
    lo === legalLow &&
    hi === legalHigh
  );
}

/** Refuses guest registers that no instruction leaves behind: translated code counts on what it wrote itself. */
function checkSlots(hart: RiscvHart, saved: readonly number[]): void {
  const { slots } = hart.options.shape;
  const word = (name: string) => saved[slots.get(name)!.offset >> 2]!;
  const x0 = saved.slice(slots.get("x")!.offset >> 2).slice(0, slots.get("x")!.stride >> 2);
  if (x0.some((half) => half !== 0)) throw mismatch("x0", "0");
  if ((word("pc") & 1) !== 0) throw mismatch("pc", "even");
  for (const [name, mask] of [
    ["fs", 3],
    ["frm", 7],
    ["fflags", 31],
  ] as const)
    if (!within(mask)(word(name))) throw mismatch(name, `0 to ${mask}`);
}

function checkWide(hart: RiscvHart, saved: readonly number[]): void {
  for (const [name, place] of Object.entries(Wide)) {
    const pair: Pair = [saved[2 * place]!, saved[2 * place + 1]!];
    if (hart.options.xlen === 32 && pair[1] !== 0 && !wideOnRv32.has(name)) throw mismatch(name, "32 bits");
    const rule = wideRules[name as keyof typeof Wide];
    if (rule !== undefined && !rule[0](pair, hart)) throw mismatch(name, rule[1]);
  }
}

/** An array of `length` words of 32 bits. */
function wordsOf(value: unknown, field: string, length: number): readonly number[] {
  if (!Array.isArray(value) || value.length !== length) throw mismatch(field, `${length} 32-bit words`);
  for (let at = 0; at < length; at++)
    if (!isInt32(value[at])) throw mismatch(field, `${length} 32-bit words`);
  return value;
}

/** The reservation as it is saved: nothing, or address and value. */
function reservationOf(value: unknown, { options }: RiscvHart): readonly number[] {
  if (Array.isArray(value) && value.length === 0) return [];
  if (!Array.isArray(value) || value.length !== 3) throw mismatch("reservation", "nothing or 3 integers");
  const [gpa, low, high] = value as unknown[];
  const isPlace =
    Number.isSafeInteger(gpa) && (gpa as number) % 4 === 0 && options.guest.contains(gpa as number, 4);
  if (!isPlace || !isInt32(low) || !isInt32(high))
    throw mismatch("reservation", "the address of an aligned word of RAM, and two 32-bit words");
  return [gpa as number, low, high];
}

/**
 * Restores a hart; gives the reservation for the core. Every value must be one that a hart can have: a saved state may
 * come from anywhere.
 * @throws HartStateError naming the first register that can't be what the state says; the hart is unchanged then
 */
export function restoreHart(hart: RiscvHart, saved: Readonly<Record<string, unknown>>): number[] {
  const slots = slotsOf(hart);
  if (saved.xlen !== hart.options.xlen) throw mismatch("xlen", `${hart.options.xlen}`);
  const { waiting, raised } = saved;
  if (typeof waiting !== "boolean") throw mismatch("waiting", "true or false");
  const fields = stateFields.map((field) => {
    const value = saved[field];
    const [isLegal, expected] = fieldRules[field];
    if (typeof value !== "number" || !Number.isSafeInteger(value) || !isLegal(value, hart))
      throw mismatch(field, expected);
    return [field, value] as const;
  });
  const savedSlots = wordsOf(saved.slots, "slots", slots.length);
  checkSlots(hart, savedSlots);
  const wide = wordsOf(saved.wide, "wide", 2 * WIDE_COUNT);
  checkWide(hart, wide);
  const config = wordsOf(saved.pmpConfig, "pmpConfig", PMP_ENTRIES);
  if (config.some((value) => value !== legalConfig(value)))
    throw mismatch("pmpConfig", "legal bytes of pmpcfg");
  const pmpLow = wordsOf(saved.pmpLow, "pmpLow", PMP_ENTRIES);
  const pmpHigh = wordsOf(saved.pmpHigh, "pmpHigh", PMP_ENTRIES);
  const topBits = hart.options.xlen === 64 ? PMP_ADDRESS_HIGH : 0;
  if (!pmpHigh.every(within(topBits))) throw mismatch("pmpHigh", "bits that addresses have");
  const lastTrap = wordsOf(saved.lastTrap, "lastTrap", hart.lastTrap.length);
  if (!Array.isArray(raised) || raised.length !== 2) throw mismatch("raised", "2 integers");
  const [raisedAt, fruitless] = raised as unknown[];
  const isNumber = (value: unknown): value is number => Number.isSafeInteger(value);
  if (!isNumber(raisedAt) || !isNumber(fruitless) || raisedAt < -1 || !isCount(fruitless))
    throw mismatch("raised", "an instruction count or -1, and a count");
  const reservation = reservationOf(saved.reservation, hart);

  slots.set(savedSlots);
  const { state, pmp } = hart;
  // A zero has no sign here.
  for (const [field, value] of fields) state[field] = value + 0;
  state.wide.set(wide);
  pmp.config.set(config);
  pmp.addressLow.set(pmpLow);
  pmp.addressHigh.set(pmpHigh);
  pmp.update();
  hart.waiting = waiting;
  hart.lastTrap.set(lastTrap);
  [hart.raisedAt, hart.fruitless] = [raisedAt + 0, fruitless + 0];
  hart.pagingChanged();
  const [gpa = -1, low = 0, high = 0] = reservation;
  const frame = gpa < 0 ? -1 : hart.options.guest.writableFrame(gpa);
  return frame < 0 ? [0, 0, 0, 0] : [1, frame + (gpa % PAGE_SIZE), low, high];
}

const mismatch = (field: string, expected: string): HartStateError =>
  new HartStateError(`saved state of the hart: ${field} must be ${expected}`);
