/** Saved states of a hart: what a hart saves can be restored, and what no hart can have is refused by name. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Csr } from "../../../test/csr-numbers.js";
import { halves, RAM, RAM_BYTES, RiscvMachine } from "../../../test/riscv-machine.js";
import savedByFormat1 from "../../../test/saved-hart-1.json" with { type: "json" };
import { HartStateError, type SavedHart } from "./hart-save.js";
import { RiscvMode } from "./privilege.js";

const writable = Object.values(Csr).filter((csr) => csr >>> 10 !== 3);

describe.each([32, 64] as const)("RV%i", (xlen) => {
  const machine = new RiscvMachine({ xlen });
  const start = () => machine.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.machine, args: [] });
  const saved = (): SavedHart => {
    start();
    return machine.cpu.save();
  };
  type Words = Readonly<Record<string, readonly number[]>>;
  /** A saved state with other words of some CSRs, or slots. */
  const withWords = (field: "csrs" | "slots", words: Words, state = saved()): SavedHart => ({
    ...state,
    [field]: { ...(state[field] as Words), ...words },
  });
  const withCsr = (name: string, value: bigint): SavedHart => withWords("csrs", { [name]: halves(value) });
  const withSlot = (name: string, value: number, word = 0): SavedHart => {
    const words = [...(saved().slots as Words)[name]!];
    words[word] = value;
    return withWords("slots", { [name]: words });
  };
  const without = (field: "csrs" | "slots", name: string, state: SavedHart): SavedHart => ({
    ...state,
    [field]: Object.fromEntries(Object.entries(state[field] as Words).filter(([each]) => each !== name)),
  });

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
    ["lines", { lines: 1 << 16 }],
    ["retiredBefore", { retiredBefore: -1 }],
    ["retiredBefore", { retiredBefore: 2 ** 53 - 1 }],
    ["stealArea", { stealArea: RAM + 1 }],
    ["stealArea", { stealArea: RAM + RAM_BYTES }],
    ["waiting", { waiting: 1 }],
    ["slots", { slots: [] }],
    ["csrs", { csrs: [] }],
    ["csrs", { csrs: null }],
    ["format", { format: 3 }],
    ["format", { format: "2" }],
    ["extensions", { extensions: "imafdc" }],
    ["extensions", { extensions: [1] }],
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
      ["mstatus", 1n << 13n],
      ["mstatus", 2n << 11n],
      ["mstatus", 1n << 32n],
      ["medeleg", 1n << 11n],
      ["mideleg", 1n << 7n],
      ["mie", 1n],
      ["mip", 1n << 11n],
      ["mcountinhibit", 1n],
      ["mcounteren", 1n << 32n],
      ["mtvec", 2n],
      ["stvec", 0x80000003n],
      ["sepc", 1n],
      ["mepc", 0x80000001n],
      ["senvcfg", 2n],
      ["menvcfg", 2n],
      ["menvcfg", 1n << 40n],
      ["pmpcfg0", 2n],
      ["pmpcfg0", 0x60n],
      ["pmpcfg2", 2n << 24n],
      ["pmpaddr3", 1n << 54n],
      // An address-space identifier, and a mode that there is not.
      ["satp", xlen === 64 ? (8n << 60n) | (1n << 44n) : (1n << 31n) | (1n << 22n)],
      ["satp", xlen === 64 ? 7n << 60n : 1n << 32n],
    ] as const)
      expect(() => machine.cpu.restore(withCsr(name, value)), name).toThrow(new RegExp(`: ${name} must be `));
    for (const words of [[], [0], [0, 0, 0], [0, 0.5], [2 ** 31, 0]])
      expect(() => machine.cpu.restore(withWords("csrs", { mscratch: words }))).toThrow(
        /: mscratch must be 2 32-bit words/,
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
    const restore = () => shallow.cpu.restore(withCsr("satp", sv57));
    if (xlen === 64) expect(restore).toThrow(/satp must be/);
    else expect(restore).not.toThrow();
  });

  it("each CSR and slot that a state has not has its value of power-on, and the others theirs", () => {
    const fresh = saved();
    start();
    for (const { name, number } of machine.hart.options.csrs.rows)
      if (number >>> 10 !== 3 && !name.startsWith("pmp")) machine.write(number, 0x1f5a5a5an);
    machine.setX(5, 7n);
    const state = machine.cpu.save();
    let differing = 0;
    for (const field of ["csrs", "slots"] as const)
      for (const [name, words] of Object.entries(fresh[field] as Words)) {
        const initial = field === "slots" ? words.map(() => 0) : words;
        machine.cpu.restore(without(field, name, state));
        expect(machine.cpu.save(), name).toEqual(withWords(field, { [name]: initial }, state));
        if (String(initial) !== String((state[field] as Words)[name])) differing++;
      }
    expect(differing).toBeGreaterThan(15);
  });

  it("a CSR, a slot or an extension that the hart has not is refused by name", () => {
    const state = saved();
    for (const [change, message] of [
      [withWords("csrs", { xfoo: [0, 0] }), /csrs has "xfoo", which this hart has not/],
      [withWords("csrs", { "a\nb": [0, 0] }), /csrs has "a\\nb", which this hart has not/],
      [withWords("slots", { v: [0] }), /slots has "v", which this hart has not/],
      [{ ...state, extensions: [...(state.extensions as string[]), "xfoo"] }, /extensions has "xfoo", which/],
    ] as const) {
      expect(() => machine.cpu.restore(change)).toThrow(message);
      expect(() => machine.cpu.restore(change)).toThrow(HartStateError);
    }
    expect(machine.cpu.save()).toEqual(state);
  });

  it("a state of format 1 is read, with every register at its name", () => {
    const old = savedByFormat1[xlen];
    machine.cpu.restore(old);
    const { csrs, slots, ...rest } = machine.cpu.save() as SavedHart & Record<"csrs" | "slots", Words>;
    const { mode, lines, retiredBefore, stealArea, waiting, lastTrap, raised, reservation } = old;
    expect(rest).toMatchObject({
      format: 2,
      ...{ xlen, mode, lines, retiredBefore, stealArea, waiting, lastTrap, raised, reservation },
    });
    const rv64 = xlen === 64;
    const double = (lo: number, hi: number) => [lo, rv64 ? hi : 0];
    expect(csrs).toMatchObject({
      mstatus: [0x7e19aa, 0],
      medeleg: [0xb109, 0],
      mideleg: [0x222, 0],
      mie: [0xaaa, 0],
      mip: [0x202, 0],
      mcounteren: [7, 0],
      scounteren: [5, 0],
      mcountinhibit: [0, 0],
      mtvec: double(0x80000101 | 0, 1),
      mscratch: double(0x11223344, 0x55667788),
      mepc: double(0x80001002 | 0, 2),
      mcause: double(13, -0x80000000),
      mtval: double(0x1234, 3),
      stvec: double(0x80000201 | 0, 4),
      sscratch: double(-1, 5),
      sepc: double(0x80002004 | 0, 6),
      scause: [15, 0],
      stval: double(0x4321, 7),
      satp: rv64 ? [0x80123, -0x80000000] : [0x80080123 | 0, 0],
      stimecmp: [0x777, rv64 ? 8 : 9],
      menvcfg: [1, -0x80000000],
      senvcfg: [1, 0],
      cycleOffset: [999, rv64 ? 1 : 0],
      instretOffset: [1999, rv64 ? 2 : 0],
      pmpcfg0: [0x008b1f0f, 0],
      pmpcfg2: [0x18, rv64 ? 0x99 : 0],
      pmpaddr0: double(0x20000000, 1),
      pmpaddr1: double(0x3fffffff, 2),
      pmpaddr15: [0x55, 0],
    });
    expect(slots).toMatchObject({ pc: rv64 ? [0x80000004 | 0, 0] : [0x80000004 | 0] });
    expect(slots).toMatchObject({ fs: [3], frm: [7], fflags: [5] });
    for (let register = 0; register < 32; register++)
      expect(machine.x(register)).toBe(BigInt(0x01010101 * register) | (rv64 ? BigInt(register) << 32n : 0n));
    for (const field of ["slots", "wide", "pmpConfig", "pmpLow", "pmpHigh"] as const) {
      expect(() => machine.cpu.restore({ ...old, [field]: old[field].slice(1) })).toThrow(HartStateError);
      expect(() => machine.cpu.restore({ ...old, [field]: undefined })).toThrow(HartStateError);
    }
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
    /** Where a value stands: a field, or a name in one of the records. */
    const places = Object.entries(state).flatMap(([field, old]): (readonly string[])[] =>
      typeof old === "object" && !Array.isArray(old)
        ? [[field], ...Object.keys(old).map((name) => [field, name])]
        : [[field]],
    );
    let [refused, restored] = [0, 0];
    fc.assert(
      fc.property(fc.constantFrom(...places), fc.nat(), value, ([field = "", name], at, replacement) => {
        const changed = structuredClone(state) as Record<string, unknown>;
        const holder = name === undefined ? changed : (changed[field] as Record<string, unknown>);
        const old = holder[name ?? field];
        if (Array.isArray(old)) old[at % (old.length + 1)] = replacement;
        else holder[name ?? field] = replacement;
        start();
        try {
          machine.cpu.restore(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(HartStateError);
          expect(machine.cpu.save()).toEqual(state);
          refused++;
          return;
        }
        if (changed.format !== undefined)
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
