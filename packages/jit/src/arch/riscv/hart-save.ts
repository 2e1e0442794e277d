/**
 * A hart's state as plain data, for snapshots and clones: guest registers, CSRs, the LR reservation by guest-physical
 * address, and what `raise` counts. The state of the engine is not part of it.
 *
 * Slots and CSRs go by their names. One that a saved state has not keeps its value of power-on, so that states outlive
 * the coming of new ones; one that the hart has not is refused, since the guest counts on it.
 */
import { PAGE_SIZE, STATE_OFFSET } from "../../memory/layout.js";
import type { CsrPair } from "./csrs/csr-file.js";
import type { SavedRegister } from "./csrs/csr-table.js";
import { MACHINE_INTERRUPTS } from "./csrs/traps.js";
import type { RiscvHart } from "./hart.js";
import { FORMAT, upgradedHart } from "./hart-save-format.js";
import { RiscvMode } from "./privilege.js";
import { NO_STEAL_AREA, STEAL_AREA_BYTES } from "./steal-time.js";

/** Words by name. */
type SavedWords = Readonly<Record<string, readonly number[]>>;

/** Plain data; it survives a structured clone. */
export type SavedHart = Readonly<
  Record<string, number | boolean | string | readonly number[] | readonly string[] | SavedWords>
>;

/** A saved state that does not fit the hart. */
export class HartStateError extends Error {
  override readonly name = "HartStateError";
  readonly code = "E_HART_STATE";
}

/** Fields of the hart's state that no CSR shows as they are. */
const stateFields = ["mode", "lines", "retiredBefore", "stealArea"] as const;

/** All fields of a saved state. */
const savedFields: ReadonlySet<string> = new Set([
  ...stateFields,
  ...["format", "xlen", "extensions", "slots", "csrs", "waiting", "lastTrap", "raised", "reservation"],
]);

/** A slot's words in linear memory. */
interface SlotWords {
  readonly name: string;
  readonly words: Int32Array;
}

/** The hart's slots in linear memory: what the front end declares. */
function slotsOf(hart: RiscvHart): SlotWords[] {
  const { memory, hartOffset, shape } = hart.options;
  return [...shape.slots.values()].map(({ name, offset, length, stride }) => {
    const start = (hartOffset + STATE_OFFSET + offset) >> 2;
    return { name, words: memory.i32.subarray(start, start + ((length * stride) >> 2)) };
  });
}

/** Saves a hart whose registers are in its hart block, and its reservation as the core has it. */
export function saveHart(hart: RiscvHart, reservation: readonly number[]): SavedHart {
  const { state, options } = hart;
  const [held = 0, offset = 0, low = 0, high = 0] = reservation;
  const gpa = held === 1 ? options.guest.addressOf(offset >>> 0) : -1;
  return {
    format: FORMAT,
    xlen: options.xlen,
    extensions: [...options.extensions],
    slots: Object.fromEntries(slotsOf(hart).map(({ name, words }) => [name, [...words]])),
    csrs: Object.fromEntries(options.csrs.saved.map((csr) => [csr.name, [...csr.load(hart)]])),
    ...Object.fromEntries(stateFields.map((field) => [field, state[field]])),
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

/** What the numbers among {@link stateFields} may be, by name, and how that is said. */
const fieldRules: Readonly<
  Record<(typeof stateFields)[number], readonly [(value: number, hart: RiscvHart) => boolean, string]>
> = {
  mode: [
    (mode) => mode === RiscvMode.user || mode === RiscvMode.supervisor || mode === RiscvMode.machine,
    "0, 1 or 3",
  ],
  lines: [within(MACHINE_INTERRUPTS), "interrupts that there are"],
  retiredBefore: [isCount, "a count of instructions"],
  stealArea: [
    (gpa, { options }) =>
      gpa === NO_STEAL_AREA ||
      (gpa % STEAL_AREA_BYTES === 0 && options.guest.contains(gpa, STEAL_AREA_BYTES)),
    `-1 or the address of ${STEAL_AREA_BYTES} aligned bytes of RAM`,
  ],
};

/** Words of slots that no instruction leaves behind: translated code counts on what it wrote itself. */
function checkSlot(name: string, words: readonly number[], xlen: 32 | 64): void {
  if (name === "x" && words.slice(0, xlen / 32).some((half) => half !== 0)) throw mismatch("x0", "0");
  if (name === "pc" && (words[0]! & 1) !== 0) throw mismatch("pc", "even");
  const mask = { fs: 3, frm: 7, fflags: 31 }[name];
  if (mask !== undefined && !within(mask)(words[0]!)) throw mismatch(name, `0 to ${mask}`);
}

/** A record whose names the hart all knows. */
function recordOf(
  value: unknown,
  field: string,
  known: readonly { readonly name: string }[],
): Map<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw mismatch(field, "a record of words by name");
  const names = new Set(known.map(({ name }) => name));
  for (const name of Object.keys(value))
    if (!names.has(name))
      throw new HartStateError(
        `saved state of the hart: ${field} has ${JSON.stringify(name.slice(0, 40))}, which this hart has not: restore it where that is`,
      );
  return new Map(Object.entries(value));
}

/** The words of all slots; 0 for one that the state has not. */
function savedSlots(value: unknown, slots: readonly SlotWords[], xlen: 32 | 64): (readonly number[])[] {
  const saved = recordOf(value, "slots", slots);
  return slots.map(({ name, words: { length } }) => {
    if (!saved.has(name)) return new Array<number>(length).fill(0);
    const words = wordsOf(saved.get(name), name, length);
    checkSlot(name, words, xlen);
    return words;
  });
}

/** The words of all CSRs; those of power-on for one that the state has not. */
function savedCsrs(value: unknown, hart: RiscvHart, registers: readonly SavedRegister[]): CsrPair[] {
  const saved = recordOf(value, "csrs", registers);
  return registers.map((register) => {
    const { name, reset } = register;
    if (!saved.has(name)) return reset;
    const [lo = 0, hi = 0] = wordsOf(saved.get(name), name, 2);
    const expected = register.problem(hart, lo, hi);
    if (expected !== undefined) throw mismatch(name, expected);
    return [lo | 0, hi | 0];
  });
}

/** Refuses a state whose guest may use instructions that there are not here. */
function checkExtensions(value: unknown, present: readonly string[]): void {
  if (!Array.isArray(value) || value.some((name) => typeof name !== "string"))
    throw mismatch("extensions", "names of extensions");
  const absent = (value as string[]).find((name) => !present.includes(name));
  if (absent !== undefined)
    throw new HartStateError(
      `saved state of the hart: extensions has ${JSON.stringify(absent.slice(0, 40))}, which this hart has not: restore it where that is`,
    );
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
  const state = upgradedHart(saved, hart.options.shape);
  if (state.format !== FORMAT) throw mismatch("format", `1 to ${FORMAT}: a newer version has made it`);
  const strange = Object.keys(state).find((field) => !savedFields.has(field));
  if (strange !== undefined)
    throw new HartStateError(
      `saved state of the hart: there is no field ${JSON.stringify(strange.slice(0, 40))} in format ${FORMAT}`,
    );
  const { xlen, csrs, extensions } = hart.options;
  if (state.xlen !== xlen) throw mismatch("xlen", `${xlen}`);
  checkExtensions(state.extensions, extensions);
  const { waiting, raised } = state;
  if (typeof waiting !== "boolean") throw mismatch("waiting", "true or false");
  const fields = stateFields.map((field) => {
    const value = state[field];
    const [isLegal, expected] = fieldRules[field];
    if (typeof value !== "number" || !Number.isSafeInteger(value) || !isLegal(value, hart))
      throw mismatch(field, expected);
    return [field, value] as const;
  });
  const slots = slotsOf(hart);
  const slotWords = savedSlots(state.slots, slots, xlen);
  const csrWords = savedCsrs(state.csrs, hart, csrs.saved);
  const lastTrap = wordsOf(state.lastTrap, "lastTrap", hart.lastTrap.length);
  if (!Array.isArray(raised) || raised.length !== 2) throw mismatch("raised", "2 integers");
  const [raisedAt, fruitless] = raised as unknown[];
  const isNumber = (value: unknown): value is number => Number.isSafeInteger(value);
  if (!isNumber(raisedAt) || !isNumber(fruitless) || raisedAt < -1 || !isCount(fruitless))
    throw mismatch("raised", "an instruction count or -1, and a count");
  const reservation = reservationOf(state.reservation, hart);

  for (const [at, { words }] of slots.entries()) words.set(slotWords[at]!);
  for (const [at, csr] of csrs.saved.entries()) csr.store(hart, ...csrWords[at]!);
  // A zero has no sign here.
  for (const [field, value] of fields) hart.state[field] = value + 0;
  hart.pmp.update();
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
