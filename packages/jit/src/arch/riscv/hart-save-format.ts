/**
 * Formats of a hart's saved state. Format 1 had slots, wide registers and PMP entries in arrays by place; it is read by
 * giving each its name, and everything else is as in format 2. States of format 1 name no format.
 */
import type { StateShape } from "@hyperfile/decoder";

/** The format that is written. */
export const FORMAT = 2;

type Saved = Readonly<Record<string, unknown>>;

/** Slots of format 1, and pairs of `wide`, in their order. */
const slotOrder = ["x", "f", "pc", "fs", "frm", "fflags"];
const wideOrder =
  "mtvec stvec mscratch sscratch mepc sepc mcause scause mtval stval satp stimecmp menvcfg senvcfg cycleOffset instretOffset".split(
    " ",
  );
/** Words of format 1 that have the names of CSRs now. */
const words = {
  status: "mstatus",
  medeleg: "medeleg",
  mideleg: "mideleg",
  mie: "mie",
  software: "mip",
  mcounteren: "mcounteren",
  scounteren: "scounteren",
  mcountinhibit: "mcountinhibit",
} as const;
const PMP_ENTRIES = 16;
const CONFIG_BYTES = 4;
/** Extensions of the harts that there were. */
const extensions = "i m a f d c zicntr zicsr zifencei zba zbb zbs sm ss sstc svadu svinval".split(" ");

/**
 * A saved state in the format that is written now; one that is of no known shape comes back as it is. Values are not
 * looked at: whoever reads the state does so.
 * @param shape the hart's slots, among them those of format 1 at their old places
 */
export function upgradedHart(saved: Saved, shape: StateShape): Saved {
  if (saved.format !== undefined) return saved;
  const { slots, wide, pmpConfig, pmpLow, pmpHigh, ...others } = saved;
  const rest = Object.entries(others).filter(([field]) => !Object.hasOwn(words, field));
  return {
    ...Object.fromEntries(rest),
    format: FORMAT,
    extensions,
    slots: namedSlots(slots, shape),
    csrs: {
      ...namedPairs(wide),
      ...Object.fromEntries(Object.entries(words).map(([old, name]) => [name, [saved[old], 0]])),
      ...namedEntries(pmpConfig, pmpLow, pmpHigh, saved.xlen === 64),
    },
  };
}

function namedSlots(value: unknown, { slots }: StateShape): unknown {
  const last = slots.get(slotOrder.at(-1)!)!;
  if (!isList(value, (last.offset >> 2) + 2)) return value;
  return Object.fromEntries(
    slotOrder.map((name) => {
      const { offset, length, stride } = slots.get(name)!;
      return [name, value.slice(offset >> 2, (offset + length * stride) >> 2)];
    }),
  );
}

/** A list of another length leaves nothing that a hart could take. */
const namedPairs = (value: unknown): Saved =>
  isList(value, 2 * wideOrder.length)
    ? Object.fromEntries(wideOrder.map((name, place) => [name, value.slice(2 * place, 2 * place + 2)]))
    : { [wideOrder[0]!]: value };

function namedEntries(config: unknown, low: unknown, high: unknown, rv64: boolean): Saved {
  if (!isList(config, PMP_ENTRIES) || !isList(low, PMP_ENTRIES) || !isList(high, PMP_ENTRIES))
    return { pmpcfg0: undefined };
  const isByte = (value: unknown): value is number => typeof value === "number" && (value & 0xff) === value;
  const word = (first: number): number | undefined => {
    const bytes = config.slice(first, first + CONFIG_BYTES);
    return bytes.every(isByte) ? bytes.reduce((all, byte, at) => all | (byte << (8 * at)), 0) : undefined;
  };
  const numbers = Array.from({ length: PMP_ENTRIES / CONFIG_BYTES }, (_, index) => index);
  return Object.fromEntries([
    ...low.map((word, entry) => [`pmpaddr${entry}`, [word, high[entry]]]),
    ...numbers
      .filter((index) => !rv64 || index % 2 === 0)
      .map((index) => [
        `pmpcfg${index}`,
        [word(index * CONFIG_BYTES), rv64 ? word((index + 1) * CONFIG_BYTES) : 0],
      ]),
  ]);
}

const isList = (value: unknown, length: number): value is readonly unknown[] =>
  Array.isArray(value) && value.length === length;
