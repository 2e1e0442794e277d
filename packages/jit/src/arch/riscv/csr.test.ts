/** CSR accesses against the privileged manual: who may access what, and which values a write leaves. */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { Csr } from "../../../test/csr-numbers.js";
import { RiscvMachine } from "../../../test/riscv-machine.js";
import { RiscvMode } from "./privilege.js";

const widths = [32, 64] as const;
const time = { value: 0 };
const pools = { 32: [] as RiscvMachine[], 64: [] as RiscvMachine[] };
const taken = { 32: 0, 64: 0 };
beforeEach(() => {
  taken[32] = taken[64] = 0;
});

/** A machine as after reset; each of a test's calls gives another one, and the next test uses them again. */
function machine(xlen: 32 | 64, now = 0): RiscvMachine {
  const at = taken[xlen]++;
  pools[xlen][at] ??= new RiscvMachine({ xlen, clock: { now: () => time.value } });
  time.value = now;
  return restart(pools[xlen][at]);
}

function restart(machine: RiscvMachine): RiscvMachine {
  machine.start({ pcLo: 0, pcHi: 0, mode: RiscvMode.machine, args: [] });
  return machine;
}
const ones = (xlen: number) => (1n << BigInt(xlen)) - 1n;
const word = (xlen: number) => fc.bigInt({ min: 0n, max: ones(xlen) });

/** CSRs whose reads give only what writes left: no counters or clocks. */
const stored = (xlen: 32 | 64): number[] => {
  const all: number[] = [
    Csr.sstatus,
    Csr.sie,
    Csr.stvec,
    Csr.scounteren,
    Csr.senvcfg,
    Csr.sscratch,
    Csr.sepc,
    Csr.scause,
    Csr.stval,
    Csr.sip,
    Csr.stimecmp,
    Csr.satp,
    Csr.mstatus,
    Csr.misa,
    Csr.medeleg,
    Csr.mideleg,
    Csr.mie,
    Csr.mtvec,
    Csr.mcounteren,
    Csr.menvcfg,
    Csr.mcountinhibit,
    Csr.mhpmevent3,
    Csr.mscratch,
    Csr.mepc,
    Csr.mcause,
    Csr.mtval,
    Csr.mip,
    Csr.pmpcfg0,
    Csr.pmpcfg0 + 2,
    Csr.pmpaddr0,
    Csr.pmpaddr15,
    Csr.tselect,
    Csr.tdata1,
    Csr.mhpmcounter3,
    Csr.fflags,
    Csr.frm,
    Csr.fcsr,
  ];
  return xlen === 64 ? all : [...all, Csr.mstatush, Csr.menvcfgh, Csr.stimecmph, Csr.pmpcfg0 + 1];
};

describe.each(widths)("RV%i: WARL fields (privileged manual, 2.3)", (xlen) => {
  it("reads a legal value after any write, and writing that value back changes nothing", () => {
    const csrs = stored(xlen);
    const hart = machine(xlen);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...csrs), word(xlen)), { maxLength: 12 }), (writes) => {
        restart(hart).write(Csr.mstatus, 1n << 13n, "set");
        for (const [csr, value] of writes) {
          if (!hart.write(csr, value)) continue;
          const first = hart.read(csr);
          expect(first).toBeDefined();
          hart.write(csr, first!);
          expect(hart.read(csr), `CSR 0x${csr.toString(16)}`).toBe(first);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("sets and clears exactly the bits that a swap of the same value would leave", () => {
    const csrs = [
      Csr.mscratch,
      Csr.mstatus,
      Csr.mie,
      Csr.medeleg,
      Csr.mideleg,
      Csr.mtval,
      Csr.sepc,
      Csr.scounteren,
    ];
    const [left, right] = [machine(xlen), machine(xlen)];
    fc.assert(
      fc.property(
        fc.constantFrom(...csrs),
        word(xlen),
        word(xlen),
        fc.boolean(),
        (csr, before, bits, set) => {
          [left, right].forEach(restart);
          left.write(csr, before);
          right.write(csr, before);
          const old = left.read(csr)!;
          left.write(csr, bits, set ? "set" : "clear");
          right.write(csr, set ? old | bits : old & ~bits);
          expect(left.read(csr)).toBe(right.read(csr));
        },
      ),
    );
  });

  it("keeps mtvec and stvec aligned, in direct or vectored mode (3.1.7, 12.1.2)", () => {
    const hart = machine(xlen);
    for (const csr of [Csr.mtvec, Csr.stvec]) {
      for (const mode of [0n, 1n, 2n, 3n]) {
        hart.write(csr, 0x80001000n | mode);
        const value = hart.read(csr)!;
        expect(value >> 2n).toBe(0x80001000n >> 2n);
        expect(value & 2n).toBe(0n);
      }
    }
  });

  it("keeps bit 0 of mepc and sepc zero, and bit 1 writable since C is there (3.1.14)", () => {
    const hart = machine(xlen);
    for (const csr of [Csr.mepc, Csr.sepc]) {
      hart.write(csr, ones(xlen));
      expect(hart.read(csr)).toBe(ones(xlen) - 1n);
    }
  });

  it("never leaves the reserved value 2 in mstatus.MPP (3.1.6.1)", () => {
    const hart = machine(xlen);
    for (const mode of [3n, 2n, 1n, 2n, 0n, 2n]) {
      hart.write(Csr.mstatus, mode << 11n);
      expect([0n, 1n, 3n]).toContain((hart.read(Csr.mstatus)! >> 11n) & 3n);
    }
  });

  it("delegates no call from M mode, no reserved exception and no machine interrupt (3.1.8)", () => {
    const hart = machine(xlen);
    hart.write(Csr.medeleg, ones(xlen));
    hart.write(Csr.mideleg, ones(xlen));
    expect(hart.read(Csr.medeleg)).toBe(0xb3ffn);
    expect(hart.read(Csr.mideleg)).toBe(0x222n);
  });

  it("ignores writes to misa and names the base and A, C, D, F, I, M, S, U (3.1.1)", () => {
    const hart = machine(xlen);
    const before = hart.read(Csr.misa)!;
    expect(hart.write(Csr.misa, 0n)).toBe(true);
    expect(hart.read(Csr.misa)).toBe(before);
    expect(before >> BigInt(xlen - 2)).toBe(xlen === 64 ? 2n : 1n);
    const letters = [..."ACDFIMSU"].reduce(
      (bits, letter) => bits | (1n << BigInt(letter.charCodeAt(0) - 65)),
      0n,
    );
    expect(before & 0x3ffffffn).toBe(letters);
  });

  it("gives W without R in pmpcfg no meaning (3.7.1)", () => {
    const hart = machine(xlen);
    hart.write(Csr.pmpcfg0, 0x1a1b1en);
    const value = hart.read(Csr.pmpcfg0)!;
    for (const shift of [0n, 8n, 16n]) expect((value >> shift) & 3n).not.toBe(2n);
  });
});

describe.each(widths)("RV%i: access by mode (2.1)", (xlen) => {
  const addresses = Array.from({ length: 4096 }, (_, csr) => csr);

  it("lets no mode touch the CSRs of a higher one, and nobody write read-only ones", () => {
    for (const mode of [RiscvMode.user, RiscvMode.supervisor, RiscvMode.machine]) {
      const hart = machine(xlen);
      hart.write(Csr.mcounteren, 0xffffffffn);
      hart.write(Csr.scounteren, 0xffffffffn);
      hart.enter(mode);
      for (const csr of addresses) {
        if (((csr >> 8) & 3) > mode) expect(hart.read(csr), `CSR 0x${csr.toString(16)}`).toBeUndefined();
        if (csr >> 10 === 3) expect(hart.write(csr, 0n)).toBe(false);
      }
    }
  });

  it("has the upper halves of counters on RV32 only (3.1.10)", () => {
    const hart = machine(xlen);
    for (const csr of [
      Csr.cycleh,
      Csr.timeh,
      Csr.instreth,
      Csr.mcycleh,
      Csr.minstreth,
      Csr.menvcfgh,
      Csr.mstatush,
      Csr.stimecmph,
      Csr.pmpcfg0 + 1,
    ]) {
      expect(hart.read(csr) === undefined, `CSR 0x${csr.toString(16)}`).toBe(xlen === 64);
    }
  });

  it("shows counters to S mode by mcounteren and to U mode by both enables (3.1.11, 12.1.5)", () => {
    for (const index of [0, 1, 2, 3, 31]) {
      const counter = Csr.cycle + index;
      const bit = 1n << BigInt(index);
      for (const [machineBits, supervisorBits] of [
        [0n, 0n],
        [bit, 0n],
        [0n, bit],
        [bit, bit],
      ] as const) {
        const hart = machine(xlen);
        hart.write(Csr.mcounteren, machineBits);
        hart.write(Csr.scounteren, supervisorBits);
        expect(hart.read(counter)).toBeDefined();
        hart.enter(RiscvMode.supervisor);
        expect(hart.read(counter) !== undefined).toBe(machineBits !== 0n);
        hart.enter(RiscvMode.user);
        expect(hart.read(counter) !== undefined).toBe(machineBits !== 0n && supervisorBits !== 0n);
      }
    }
  });

  it("hides satp from S mode under TVM (3.1.6.5)", () => {
    const hart = machine(xlen);
    hart.write(Csr.mstatus, 1n << 20n, "set");
    expect(hart.read(Csr.satp)).toBeDefined();
    hart.enter(RiscvMode.supervisor);
    expect(hart.read(Csr.satp)).toBeUndefined();
    expect(hart.write(Csr.satp, 0n)).toBe(false);
  });

  it("hides floating-point CSRs while FS is off (3.1.6.6)", () => {
    const hart = machine(xlen);
    for (const csr of [Csr.fflags, Csr.frm, Csr.fcsr]) expect(hart.read(csr)).toBeUndefined();
    hart.write(Csr.mstatus, 1n << 13n, "set");
    for (const csr of [Csr.fflags, Csr.frm, Csr.fcsr]) expect(hart.read(csr)).toBe(0n);
  });
});

describe.each(widths)("RV%i: status (3.1.6, 12.1.1)", (xlen) => {
  const top = 1n << BigInt(xlen - 1);

  it("makes FS dirty and raises SD when a floating-point CSR is written", () => {
    const hart = machine(xlen);
    hart.write(Csr.mstatus, 1n << 13n, "set");
    expect(hart.read(Csr.mstatus)! & top).toBe(0n);
    hart.write(Csr.fcsr, 0xffn);
    expect(hart.read(Csr.frm)).toBe(7n);
    expect(hart.read(Csr.fflags)).toBe(31n);
    expect((hart.read(Csr.mstatus)! >> 13n) & 3n).toBe(3n);
    expect(hart.read(Csr.mstatus)! & top).toBe(top);
    expect(hart.read(Csr.sstatus)! & top).toBe(top);
  });

  it("shows in sstatus no field of M mode, and leaves those alone when it is written", () => {
    const hart = machine(xlen);
    hart.write(Csr.mstatus, ones(xlen));
    const all = hart.read(Csr.mstatus)!;
    const visible = hart.read(Csr.sstatus)!;
    const machineOnly = (1n << 3n) | (1n << 7n) | (3n << 11n) | (1n << 17n) | (7n << 20n);
    expect(visible & machineOnly).toBe(0n);
    hart.write(Csr.sstatus, 0n);
    expect(hart.read(Csr.mstatus)! & machineOnly).toBe(all & machineOnly);
    expect(hart.read(Csr.sstatus)! & 0xc6122n).toBe(0n);
  });

  it("fixes the widths of S and U mode", () => {
    const hart = machine(xlen);
    hart.write(Csr.mstatus, 0n);
    expect(hart.read(Csr.mstatus)! >> 32n).toBe(xlen === 64 ? 0xan : 0n);
    expect(hart.read(Csr.sstatus)! >> 32n).toBe(xlen === 64 ? 2n : 0n);
  });
});

describe.each(widths)("RV%i: interrupt registers (3.1.9, 12.1.3)", (xlen) => {
  it("shows in sie and sip only what is delegated", () => {
    const hart = machine(xlen);
    hart.write(Csr.mie, ones(xlen));
    expect(hart.read(Csr.mie)).toBe(0xaaan);
    hart.write(Csr.mip, ones(xlen));
    expect(hart.read(Csr.mip)).toBe(0x222n);
    expect(hart.read(Csr.sie)).toBe(0n);
    expect(hart.read(Csr.sip)).toBe(0n);
    hart.write(Csr.mideleg, 0x22n);
    expect(hart.read(Csr.sie)).toBe(0x22n);
    expect(hart.read(Csr.sip)).toBe(0x22n);
    hart.write(Csr.sie, 0n);
    expect(hart.read(Csr.mie)).toBe(0xa88n | 0x200n);
  });

  it("lets sip write SSIP alone, and only when delegated", () => {
    const hart = machine(xlen);
    hart.write(Csr.sip, ones(xlen));
    expect(hart.read(Csr.mip)).toBe(0n);
    hart.write(Csr.mideleg, 0x222n);
    hart.write(Csr.sip, ones(xlen));
    expect(hart.read(Csr.mip)).toBe(2n);
  });

  it("reads SEIP as the software bit or the controller's, and read-modify-writes only the former", () => {
    const hart = machine(xlen);
    hart.hart.setPending(9, true);
    expect(hart.read(Csr.mip)).toBe(0x200n);
    hart.write(Csr.mip, 2n, "set");
    hart.hart.setPending(9, false);
    expect(hart.read(Csr.mip)).toBe(2n);
    hart.write(Csr.mip, 0x200n, "set");
    hart.hart.setPending(9, true);
    hart.hart.setPending(9, false);
    expect(hart.read(Csr.mip)).toBe(0x202n);
    hart.write(Csr.mip, 0x200n, "clear");
    expect(hart.read(Csr.mip)).toBe(2n);
  });

  it("makes STIP read-only while stimecmp drives it (Sstc)", () => {
    const hart = machine(xlen);
    hart.write(Csr.mip, 0x20n);
    expect(hart.read(Csr.mip)).toBe(0x20n);
    if (xlen === 64) hart.write(Csr.menvcfg, 1n << 63n, "set");
    else hart.write(Csr.menvcfgh, 1n << 31n, "set");
    expect(hart.read(Csr.mip)).toBe(0n);
    hart.write(Csr.mip, 0x20n, "set");
    expect(hart.read(Csr.mip)).toBe(0n);
  });
});

describe.each(widths)("RV%i: Sstc", (xlen) => {
  const enable = (hart: RiscvMachine) =>
    xlen === 64 ? hart.write(Csr.menvcfg, 1n << 63n, "set") : hart.write(Csr.menvcfgh, 1n << 31n, "set");

  it("hides stimecmp from S mode unless STCE and mcounteren.TM are set", () => {
    for (const [stce, tm] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ]) {
      const hart = machine(xlen);
      if (stce) enable(hart);
      hart.write(Csr.mcounteren, tm ? 2n : 0n);
      hart.enter(RiscvMode.supervisor);
      expect(hart.read(Csr.stimecmp) !== undefined).toBe(stce && tm);
    }
  });

  it("raises STIP as soon as the time reaches stimecmp, and lowers it when that moves on", () => {
    let now = 99;
    const hart = new RiscvMachine({ xlen, clock: { now: () => now } });
    enable(hart);
    if (xlen === 32) hart.write(Csr.stimecmph, 0n);
    hart.write(Csr.stimecmp, 100n);
    expect(hart.read(Csr.mip)).toBe(0n);
    expect(hart.hart.deadline()).toBe(100);
    now = 100;
    hart.hart.pollTimer();
    expect(hart.read(Csr.mip)).toBe(0x20n);
    hart.write(Csr.stimecmp, 101n);
    expect(hart.read(Csr.mip)).toBe(0n);
  });

  it("never fires at the reset value of all ones", () => {
    const hart = machine(xlen, 2 ** 52);
    enable(hart);
    hart.hart.pollTimer();
    expect(hart.read(Csr.mip)).toBe(0n);
    expect(hart.hart.deadline()).toBe(Infinity);
  });
});

describe("satp (12.1.11)", () => {
  it("has no effect at all when the mode is not supported", () => {
    const hart = new RiscvMachine({ xlen: 64, pagingLevels: 4 });
    hart.write(Csr.satp, (8n << 60n) | 0x80001n);
    for (const mode of [1n, 2n, 7n, 10n, 11n, 15n]) hart.write(Csr.satp, (mode << 60n) | 0x12345n);
    expect(hart.read(Csr.satp)).toBe((8n << 60n) | 0x80001n);
    hart.write(Csr.satp, (9n << 60n) | 0x80002n);
    expect(hart.read(Csr.satp)).toBe((9n << 60n) | 0x80002n);
  });

  it.each(widths)("RV%i: hardwires address-space identifiers to zero", (xlen) => {
    const hart = machine(xlen);
    if (xlen === 64) {
      hart.write(Csr.satp, (8n << 60n) | (0xffffn << 44n) | ((1n << 44n) - 1n));
      expect(hart.read(Csr.satp)).toBe((8n << 60n) | ((1n << 44n) - 1n));
    } else {
      hart.write(Csr.satp, 0xffffffffn);
      expect(hart.read(Csr.satp)).toBe(0x803fffffn);
    }
  });
});

describe.each(widths)("RV%i: counters (3.1.10)", (xlen) => {
  it("reads the clock in time and timeh", () => {
    const hart = machine(xlen, 0x123_4567_89ab);
    expect(hart.read(Csr.time)).toBe(xlen === 64 ? 0x12345_6789abn : 0x456789abn);
    if (xlen === 32) expect(hart.read(Csr.timeh)).toBe(0x123n);
  });

  it("reads a written value at the next instruction, and counts on from it", () => {
    const hart = machine(xlen);
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 10n }), (value) => {
        restart(hart);
        for (const [low, high, user] of [
          [Csr.mcycle, Csr.mcycleh, Csr.cycle],
          [Csr.minstret, Csr.minstreth, Csr.instret],
        ] as const) {
          if (xlen === 32) {
            hart.write(high, value >> 32n);
            hart.hart.state.retiredBefore++;
          }
          hart.write(low, xlen === 64 ? value : value & 0xffffffffn);
          hart.hart.state.retiredBefore++;
          const counted = () =>
            xlen === 64 ? hart.read(user)! : (hart.read(high)! << 32n) | hart.read(user)!;
          expect(counted()).toBe(value);
          hart.hart.state.retiredBefore += 5;
          expect(counted()).toBe(value + 5n);
        }
      }),
    );
  });
});
