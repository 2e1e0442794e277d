/**
 * A hart's state as plain data, for snapshots and clones: guest registers, privileged registers, PMP, the LR
 * reservation by guest-physical address, and what `raise` counts. The state of the engine is not part of it.
 */
import { PAGE_SIZE, STATE_OFFSET } from "../../memory/layout.js";
import type { RiscvHart } from "./hart.js";
import { freshState, type HartState, WIDE_COUNT } from "./hart-state.js";
import { PMP_ENTRIES } from "./pmp.js";

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

/**
 * Restores a hart; gives the reservation for the core.
 * @throws HartStateError if the state is of another shape; the hart is unchanged then
 */
export function restoreHart(hart: RiscvHart, saved: Readonly<Record<string, unknown>>): number[] {
  const slots = slotsOf(hart);
  if (saved.xlen !== hart.options.xlen) throw mismatch("xlen", `${hart.options.xlen}`);
  const int32 = (value: unknown): value is number => typeof value === "number" && (value | 0) === value;
  const words = (field: string, length: number): readonly number[] => {
    const value = saved[field];
    if (Array.isArray(value) && value.length === length && value.every(int32)) return value;
    throw mismatch(field, `${length} 32-bit words`);
  };
  const safe = (value: unknown): value is number => Number.isSafeInteger(value);
  const { mode, waiting, raised, reservation } = saved;
  if (mode !== 0 && mode !== 1 && mode !== 3) throw mismatch("mode", "0, 1 or 3");
  if (typeof waiting !== "boolean") throw mismatch("waiting", "true or false");
  const fields = stateFields.map((field) => {
    const value = saved[field];
    if (!safe(value)) throw mismatch(field, "an integer");
    return [field, value] as const;
  });
  const savedSlots = words("slots", slots.length);
  const wide = words("wide", 2 * WIDE_COUNT);
  const config = words("pmpConfig", PMP_ENTRIES);
  const pmpLow = words("pmpLow", PMP_ENTRIES);
  const pmpHigh = words("pmpHigh", PMP_ENTRIES);
  const lastTrap = words("lastTrap", hart.lastTrap.length);
  if (!Array.isArray(raised) || raised.length !== 2 || !raised.every(safe))
    throw mismatch("raised", "2 integers");
  if (
    !Array.isArray(reservation) ||
    !(reservation.length === 0 || reservation.length === 3) ||
    !reservation.every(safe)
  )
    throw mismatch("reservation", "nothing or 3 integers");

  slots.set(savedSlots);
  const { state, pmp } = hart;
  for (const [field, value] of fields) state[field] = value;
  state.wide.set(wide);
  pmp.config.set(config);
  pmp.addressLow.set(pmpLow);
  pmp.addressHigh.set(pmpHigh);
  pmp.update();
  hart.waiting = waiting;
  hart.lastTrap.set(lastTrap);
  [hart.raisedAt, hart.fruitless] = raised as [number, number];
  hart.pagingChanged();
  const [gpa, low, high] = reservation as number[];
  const frame = gpa === undefined ? -1 : hart.options.guest.writableFrame(gpa);
  return frame < 0 ? [0, 0, 0, 0] : [1, frame + (gpa! % PAGE_SIZE), low!, high!];
}

const mismatch = (field: string, expected: string): HartStateError =>
  new HartStateError(`saved state of the hart: ${field} must be ${expected}`);
