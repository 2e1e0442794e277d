/** Saved states of a hart: what a hart saves can be restored, and what no hart can have is refused by name. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { halves, RAM, RAM_BYTES, RiscvMachine } from "../../../test/riscv-machine.js";
import { Csr } from "./csr-numbers.js";
import { HartStateError, type SavedHart } from "./hart-save.js";
import { Wide } from "./hart-state.js";
import { Mode } from "./privilege.js";

const writable = Object.values(Csr).filter((csr) => csr >>> 10 !== 3);

describe.each([32, 64] as const)("RV%i", (xlen) => {
  const machine = new RiscvMachine({ xlen });
  const start = () => machine.start({ pcLo: RAM | 0, pcHi: 0, mode: Mode.machine, args: [] });
  const saved = (): SavedHart => {
    start();
    return machine.cpu.save();
  };
  /** A saved state with one wide register replaced. */
  const withWide = (name: keyof typeof Wide, value: bigint): SavedHart => {
    const state = saved();
    const wide = [...(state.wide as number[])];
    [wide[2 * Wide[name]], wide[2 * Wide[name] + 1]] = halves(value);
    return { ...state, wide };
  };
  const withSlot = (name: string, value: number, word = 0): SavedHart => {
    const state = saved();
    const slots = [...(state.slots as number[])];
    slots[(machine.cpu.frontEnd.shape.slots.get(name)!.offset >> 2) + word] = value;
    return { ...state, slots };
  };

  it("whatever software writes into CSRs can be saved and restored", () => {
    const write = fc.tuple(
      fc.constantFrom(...writable),
      fc.bigInt({ min: 0n, max: (1n << BigInt(xlen)) - 1n }),
    );
    fc.assert(
      fc.property(fc.array(write, { minLength: 1, maxLength: 40 }), (writes) => {
        start();
        for (const [csr, value] of writes) machine.write(csr, value);
        const state = machine.cpu.save();
        start();
        machine.cpu.restore(state);
        expect(machine.cpu.save()).toEqual(state);
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ["mode", { mode: 2 }],
    ["status", { status: 1 << 13 }],
    ["status", { status: 2 << 11 }],
    ["medeleg", { medeleg: 1 << 11 }],
    ["mideleg", { mideleg: 1 << 7 }],
    ["mie", { mie: 1 }],
    ["lines", { lines: 1 << 16 }],
    ["software", { software: 1 << 11 }],
    ["mcounteren", { mcounteren: 2 ** 32 }],
    ["mcountinhibit", { mcountinhibit: 1 }],
    ["retiredBefore", { retiredBefore: -1 }],
    ["retiredBefore", { retiredBefore: 2 ** 53 - 1 }],
    ["stealArea", { stealArea: RAM + 1 }],
    ["stealArea", { stealArea: RAM + RAM_BYTES }],
    ["waiting", { waiting: 1 }],
    ["slots", { slots: [] }],
    ["wide", { wide: { length: 32 } }],
    ["pmpConfig", { pmpConfig: [2, ...Array(15).fill(0)] }],
    ["pmpConfig", { pmpConfig: [0x100, ...Array(15).fill(0)] }],
    ["pmpHigh", { pmpHigh: [-1, ...Array(15).fill(0)] }],
    ["lastTrap", { lastTrap: [0, 0, 0, 0, 0.5] }],
    ["raised", { raised: [-2, 0] }],
    ["raised", { raised: [0, -1] }],
    ["reservation", { reservation: [RAM + 2, 0, 0] }],
    ["reservation", { reservation: [RAM + RAM_BYTES, 0, 0] }],
    ["reservation", { reservation: [RAM, 2 ** 31, 0] }],
  ])("%s of %j is refused", (name, change) => {
    const state = saved();
    expect(() => machine.cpu.restore({ ...state, ...change })).toThrow(new RegExp(`: ${name} must be `));
    expect(() => machine.cpu.restore({ ...state, ...change })).toThrow(HartStateError);
    expect(machine.cpu.save()).toEqual(state);
  });

  it("registers that hold what software can't write are refused", () => {
    for (const [name, value] of [
      ["mtvec", 2n],
      ["stvec", 0x80000003n],
      ["sepc", 1n],
      ["mepc", 0x80000001n],
      ["senvcfg", 2n],
      ["menvcfg", 2n],
      ["menvcfg", 1n << 40n],
      // An address-space identifier, and a mode that there is not.
      ["satp", xlen === 64 ? (8n << 60n) | (1n << 44n) : (1n << 31n) | (1n << 22n)],
      ["satp", xlen === 64 ? 7n << 60n : 1n << 32n],
    ] as const)
      expect(() => machine.cpu.restore(withWide(name, value)), name).toThrow(
        new RegExp(`: ${name} must be `),
      );
    for (const [name, value] of [
      ["x", 1],
      ["pc", RAM + 1],
      ["fs", 4],
      ["frm", 8],
      ["fflags", -1],
    ] as const)
      expect(() => machine.cpu.restore(withSlot(name, value | 0)), name).toThrow(
        new RegExp(`: ${name === "x" ? "x0" : name} must be `),
      );
  });

  it("a paging scheme that the hart has not is refused", () => {
    const shallow = new RiscvMachine({ xlen, pagingLevels: 3 });
    const sv57 = xlen === 64 ? 10n << 60n : 1n << 31n;
    const restore = () => shallow.cpu.restore(withWide("satp", sv57));
    if (xlen === 64) expect(restore).toThrow(/satp must be/);
    else expect(restore).not.toThrow();
  });

  it("any change to a saved state is refused, or gives a hart that runs and saves what was restored", () => {
    const value = fc.oneof(
      fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      fc.constantFrom(
        0,
        -0,
        1,
        2,
        3,
        RAM,
        2 ** 32,
        2 ** 53,
        0.5,
        Number.NaN,
        Infinity,
        "1",
        null,
        undefined,
        true,
      ),
      fc.constant([]),
    );
    const state = saved();
    let [refused, restored] = [0, 0];
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(state)), fc.nat(), value, (field, place, replacement) => {
        const old = state[field];
        const changed = { ...state, [field]: Array.isArray(old) ? [...old] : replacement };
        if (Array.isArray(old)) (changed[field] as unknown[])[place % (old.length + 1)] = replacement;
        start();
        try {
          machine.cpu.restore(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(HartStateError);
          expect(machine.cpu.save()).toEqual(state);
          refused++;
          return;
        }
        expect(machine.cpu.save()).toEqual(JSON.parse(JSON.stringify(changed)));
        machine.cpu.run(50);
        restored++;
      }),
      { numRuns: 1000 },
    );
    expect(refused).toBeGreaterThan(100);
    expect(restored).toBeGreaterThan(100);
  });
});
