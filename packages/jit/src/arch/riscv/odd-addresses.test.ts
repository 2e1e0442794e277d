/**
 * Program counters that are set to odd addresses, by every way there is: bit 0 is no part of them (QEMU masks it, too).
 * A clone that shares its code with its original would else decode between the entries of a code page, over those that
 * the original runs.
 */
import { assemble } from "@hyperfile/decoder";
import { beforeEach, describe, expect, it } from "vitest";
import { CodePageError } from "../../engine/code-pages.js";
import { tiers } from "../../engine/tiers.js";
import { guestIn } from "../../memory/machine-memory.js";
import { RiscvCpu, riscvPool } from "./cpu.js";
import { RiscvDebug } from "./debug.js";
import { HartStateError } from "./hart-save.js";
import { Wide } from "./hart-state.js";
import { RiscvMode } from "./privilege.js";
import { supervisorBinary } from "./sbi.js";

const RAM = 0x80000000;
const CALLS = RAM + 0x1000;
const PC = 32;
const [A0, A1, A2, A6, A7] = [10, 11, 12, 16, 17];
const CODE = `
  loop: addi a1, a1, 0x155
  addi a2, a2, 0x2aa
  addi a0, a0, -1
  bnez a0, loop
  done: j done`;
const CODE_BYTES = 20;
const ROUNDS = 40;

describe.each(tiers)("in tier %s", (tier) => {
  let original: RiscvCpu;
  let clone: RiscvCpu;

  function cpuOn(memory: RiscvCpu["options"]["memory"], core?: RiscvCpu["core"]): RiscvCpu {
    const cpu: RiscvCpu = new RiscvCpu({
      xlen: 64,
      memory,
      bus: { read: () => undefined, write: () => false },
      clock: { now: () => 0 },
      tier,
      hotThreshold: 1000,
      sbi: supervisorBinary({
        harts: () => [cpu.hart],
        memory: memory.guest,
        console: { write() {}, read: () => new Uint8Array(0) },
        onPower() {},
      }),
      ...(core === undefined ? {} : { core }),
    });
    return cpu;
  }

  beforeEach(() => {
    const pool = riscvPool({ frameBytes: 1 << 20, codePages: 16 });
    const memory = guestIn(pool, { ramBytes: 0x4000, ramBase: RAM });
    const place = (source: string, at: number) =>
      memory.guest.write(at, assemble(`.option norvc\n${source}`, { xlen: 64, origin: at }).bytes);
    place(CODE, RAM);
    place("ecall\n sret", CALLS);
    original = cpuOn(memory);
    original.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.supervisor, args: [] });
    original.run(0);
    clone = cpuOn(original.shareMemory(), original.core);
  });

  /** What the original computes. */
  function compute(): [a1: number, a2: number] {
    original.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.supervisor, args: [ROUNDS] });
    expect(original.run(4 * ROUNDS + 1)).toBe("budget");
    return [original.hart.readXLow(A1), original.hart.readXLow(A2)];
  }

  const expected: [number, number] = [0x155 * ROUNDS, 0x2aa * ROUNDS];

  /** Ways to a program counter. */
  const ways: Readonly<Record<string, (at: number) => void>> = {
    "an entry point": (at) => clone.start({ pcLo: at | 0, pcHi: 0, mode: RiscvMode.supervisor, args: [] }),
    "SBI's hart_suspend": (at) => {
      clone.start({ pcLo: CALLS | 0, pcHi: 0, mode: RiscvMode.supervisor, args: [] });
      const { hart } = clone;
      // A non-retentive suspend that ends at once: an interrupt is pending.
      for (const [register, value] of [
        [A0, 0x80000000],
        [A1, at],
        [A6, 3],
        [A7, 0x48534d],
      ] as const)
        hart.writeX(register, value | 0, 0);
      hart.state.mie = 2;
      hart.state.software = 2;
      expect(clone.run(1)).toBe("budget");
      expect([hart.pcLow, hart.readXLow(A0)]).toEqual([at & -2, 0]);
    },
    sret: (at) => {
      clone.start({ pcLo: (CALLS + 4) | 0, pcHi: 0, mode: RiscvMode.supervisor, args: [] });
      const { state } = clone.hart;
      state.wide[2 * Wide.sepc] = at;
      state.status |= 1 << 8;
      expect(clone.run(1)).toBe("budget");
    },
    "a debugger": (at) => {
      clone.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.supervisor, args: [] });
      new RiscvDebug(clone).writeRegister(PC, BigInt(at));
      expect(new RiscvDebug(clone).readRegister(PC)).toBe(BigInt(at - 1));
    },
  };

  it.each(Object.keys(ways))("%s leads to the even address below, and harms nobody", (way) => {
    expect(compute()).toEqual(expected);
    for (let offset = 1; offset < CODE_BYTES; offset += 2) {
      clone.enter();
      ways[way]!(RAM + offset);
      clone.run(0);
      expect(clone.hart.pcLow).toBe((RAM + offset - 1) | 0);
      clone.hart.writeX(A1, 0, 0);
      clone.hart.writeX(A2, 0, 0);
      clone.run(1);
      // Whole instructions do what they do, from their middle on there is another one.
      if (offset % 4 === 1)
        expect([clone.hart.readXLow(A1), clone.hart.readXLow(A2)]).toEqual([
          offset === 1 ? 0x155 : 0,
          offset === 5 ? 0x2aa : 0,
        ]);
      expect(compute()).toEqual(expected);
    }
  });

  it("a restored state with an odd address is refused by name", () => {
    const state = clone.save();
    const { slots, csrs } = state as Record<"slots" | "csrs", Record<string, number[]>>;
    const odd = (words: readonly number[]) => [words[0]! | 1, ...words.slice(1)];
    expect(() => clone.restore({ ...state, slots: { ...slots, pc: odd(slots.pc!) } })).toThrow(
      /pc must be even/,
    );
    for (const name of ["sepc", "mepc"] as const) {
      const changed = { ...state, csrs: { ...csrs, [name]: odd(csrs[name]!) } };
      expect(() => clone.restore(changed)).toThrow(HartStateError);
      expect(() => clone.restore(changed)).toThrow(new RegExp(`${name} must be even`));
    }
    expect(clone.save()).toEqual(state);
  });
});

it("decoding refuses to write where no entry begins", () => {
  const cpu = new RiscvCpu({
    xlen: 64,
    memory: guestIn(riscvPool({ frameBytes: 1 << 20, codePages: 4 }), { ramBytes: 0x1000, ramBase: RAM }),
    bus: { read: () => undefined, write: () => false },
    clock: { now: () => 0 },
    tier: "interpreter",
  });
  cpu.options.memory.guest.write(RAM, new Uint8Array(4096).fill(1));
  cpu.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.machine, args: [] });
  cpu.run(1);
  const { codePages } = cpu.engine;
  const page = codePages.forFrame(cpu.options.memory.guest.frameOffset(RAM), RAM);
  const base = codePages.baseWord(page);
  const before = cpu.options.memory.memory.i32.slice(base, base + codePages.pageWords);
  const wrong = [
    base + 1,
    base + 4095,
    base + 4096,
    codePages.arenaWord,
    codePages.arenaWord - 2,
    codePages.arenaWord + codePages.capacity * codePages.pageWords,
    // A page that holds no code.
    codePages.arenaWord + 3 * codePages.pageWords,
  ];
  for (const entry of wrong) expect(() => codePages.decode(entry)).toThrow(CodePageError);
  expect(cpu.options.memory.memory.i32.slice(base, base + codePages.pageWords)).toEqual(before);
  codePages.decode(base + 4);
  expect(cpu.options.memory.memory.i32[base + 4]).not.toBe(0);
});
