/**
 * Instructions that the engine runs by themselves: those that lie in two pages, under a breakpoint, or in a page of
 * which a part may not be executed. Counters and clocks read in them what the instruction count of the program says,
 * which is computed here, not what another tier reads.
 */
import { assemble, assembleRows, type Helper, insnRow, rowFrontEnd } from "@hyperfile/decoder";
import { describe, expect, it } from "vitest";
import { RAM, RiscvMachine } from "../../test/riscv-machine.js";
import { RiscvCpu, RiscvDebug, RiscvMode, riscvMemory } from "../arch/riscv/index.js";
import { FlatCpu, type Tier, tiers } from "../index.js";

const A0 = 10;
const A1 = 11;
const DEVICE = 0x10000000;
const NOP = [0x01, 0x00];
/** Where an instruction of four bytes has two in each page. */
const EDGE = 0xffe;
/** What the programs below have run when they come to `EDGE`: nops of two bytes. */
const BEFORE = EDGE / 2;

/** A CPU with `source` at `at` in RAM, nops of two bytes before it; its clock counts instructions. */
function cpuWith(source: string, tier: Tier, at = EDGE, prepare = (_: RiscvCpu) => {}): RiscvCpu {
  const memory = riscvMemory({ ramBytes: 1 << 20, codePages: 16 });
  const { bytes } = assemble(`.option norvc\n${source}`, { xlen: 64, origin: RAM + at });
  for (let nop = 0; nop < at; nop += 2) memory.guest.write(RAM + nop, Uint8Array.from(NOP));
  memory.guest.write(RAM + at, bytes);
  const cpu: RiscvCpu = new RiscvCpu({
    xlen: 64,
    memory,
    bus: {
      read: (gpa) => (gpa === DEVICE ? cpu.retired() : undefined),
      write: () => false,
    },
    clock: { now: () => cpu.retired() },
    tier,
    hotThreshold: 3,
    verify: "all",
  });
  cpu.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.machine, args: [] });
  prepare(cpu);
  return cpu;
}

describe.each(tiers)("in tier %s", (tier) => {
  describe("an instruction that lies in two pages", () => {
    it.each(["minstret", "mcycle", "instret", "cycle", "time"])("reads %s", (name) => {
      const cpu = cpuWith(`csrr a0, ${name}\n csrr a1, ${name}\n j .`, tier);
      cpu.run(100_000);
      expect([cpu.hart.readXLow(A0), cpu.hart.readXLow(A1)]).toEqual([BEFORE, BEFORE + 1]);
      expect(cpu.retired()).toBe(100_000);
    });

    it("sets a counter to what it writes", () => {
      const cpu = cpuWith("csrrw a0, minstret, t0\n csrr a1, minstret\n j .", tier, EDGE, ({ hart }) =>
        hart.writeX(5, 5000, 0),
      );
      cpu.run(100_000);
      expect([cpu.hart.readXLow(A0), cpu.hart.readXLow(A1)]).toEqual([BEFORE, 5000]);
      expect(cpu.retired()).toBe(100_000);
    });

    it("lets a device see the time", () => {
      const cpu = cpuWith("lw a0, 0(s0)\n lw a1, 0(s0)\n j .", tier, EDGE, ({ hart }) =>
        hart.writeX(8, DEVICE, 0),
      );
      cpu.run(100_000);
      expect([cpu.hart.readXLow(A0), cpu.hart.readXLow(A1)]).toEqual([BEFORE, BEFORE + 1]);
    });

    it("compares stimecmp with the time of the write", () => {
      // The time has come when it is written, or comes with the next instruction.
      for (const [time, pending] of [
        [BEFORE, 1],
        [BEFORE + 1, 0],
      ] as const) {
        const cpu = cpuWith("csrw stimecmp, t0\n csrr a0, mip\n j .", tier, EDGE, ({ hart }) => {
          hart.writeX(5, time, 0);
          hart.csr.enableForSupervisor();
        });
        cpu.run(100_000);
        expect((cpu.hart.readXLow(A0) >> 5) & 1).toBe(pending);
      }
    });

    it("counts the same in a loop that becomes hot, in slices of any length", () => {
      // The loop has four instructions: the first lies in two pages.
      const source = "loop: csrr a0, minstret\n addi s0, s0, 1\n add s1, s1, a0\n j loop";
      const rounds = 400;
      for (const slices of [[100_000], [1], [2, 3, 1, 7], [61, 1000]]) {
        const cpu = cpuWith(source, tier);
        const end = BEFORE + 4 * rounds;
        for (let turn = 0; cpu.retired() < end; turn++)
          cpu.run(Math.min(slices[turn % slices.length]!, end - cpu.retired()));
        const sum = rounds * BEFORE + (4 * rounds * (rounds - 1)) / 2;
        expect([cpu.hart.readXLow(8), cpu.hart.readXLow(9)]).toEqual([rounds, sum]);
        expect(cpu.retired()).toBe(end);
      }
    });
  });

  it("an instruction that lies in two pages tells its helper what has elapsed, costs and all", () => {
    const stamp: Helper = {
      name: "stamp",
      parameters: [],
      result: null,
      effects: { reads: true, writes: true, exits: true },
    };
    const frontEnd = rowFrontEnd({
      name: "stamps",
      slots: [
        { name: "r", type: "i32", length: 1 },
        { name: "pc", type: "i32", length: 1 },
      ],
      rows: {
        nop: insnRow("0000000000000001", "", () => {}, { cost: 3 }),
        stamp: insnRow("00000000000000000000000000000010", "", (m) => void m.call(stamp, []), { cost: 5 }),
      },
      illegal: 1,
    });
    const seen: number[] = [];
    const cpu = new FlatCpu({
      frontEnd,
      ramBytes: 0x4000,
      tier,
      helpers: { stamp: (owner) => void seen.push(owner.elapsed) },
    });
    cpu.write(0, assembleRows(frontEnd, `${"nop\n".repeat(BEFORE)} stamp\n stamp\n nop`).bytes);
    cpu.run(3 * BEFORE + 5 + 5 + 3);
    expect(seen).toEqual([3 * BEFORE, 3 * BEFORE + 5]);
    expect([cpu.elapsed, cpu.pc]).toEqual([3 * BEFORE + 13, EDGE + 10]);
  });

  it("an instruction under a breakpoint reads counters as it does without", () => {
    const cpu = cpuWith("csrr a0, minstret\n csrr a1, minstret\n j .", tier, 0x100);
    const debug = new RiscvDebug(cpu);
    debug.setBreakpoint(BigInt(RAM + 0x100), true);
    expect(cpu.run(100_000)).toBe("stop");
    expect([cpu.engine.atBreakpoint, cpu.retired()]).toEqual([true, 0x80]);
    cpu.engine.passBreakpoint();
    cpu.run(100_000);
    expect([cpu.hart.readXLow(A0), cpu.hart.readXLow(A1)]).toEqual([0x80, 0x81]);
  });

  describe("a page of which a part may not be executed", () => {
    const [PMPCFG0, PMPADDR0] = [0x3a0, 0x3b0];
    const TOR_RWX = 0x0fn;

    /** A machine with two regions of RAM for user mode: each page of code is cut by a border. */
    function machineWith(): RiscvMachine {
      const machine = new RiscvMachine({ xlen: 64, tier });
      for (const [entry, offset] of [0x0, 0x800, 0x1800, 0x10000].entries())
        machine.write(PMPADDR0 + entry, BigInt(RAM + offset) >> 2n);
      machine.write(PMPCFG0, (TOR_RWX << 8n) | (TOR_RWX << 16n) | (TOR_RWX << 24n));
      machine.write(0x306, 7n);
      machine.write(0x106, 7n);
      return machine;
    }

    it("reads counters exactly", () => {
      const machine = machineWith();
      machine.program(RAM, [
        ["addi", { rd: 0, rs1: 0, imm: 0 }],
        ["csrrs", { rd: A0, csr: 0xc02, rs1: 0 }],
        ["csrrs", { rd: A1, csr: 0xc02, rs1: 0 }],
        ["jal", { rd: 0, imm: 0 }],
      ]);
      machine.run(RAM, RiscvMode.user, 5000);
      expect([machine.x(A0), machine.x(A1), machine.cpu.retired()]).toEqual([1n, 2n, 5000]);
    });

    it("goes on in another such page without end, and within the budget", () => {
      const machine = machineWith();
      machine.program(RAM, [
        ["addi", { rd: A0, rs1: A0, imm: 1 }],
        ["jal", { rd: 0, imm: 0x1000 - 4 }],
      ]);
      machine.program(RAM + 0x1000, [["jal", { rd: 0, imm: -0x1000 }]]);
      expect(machine.run(RAM, RiscvMode.user, 60_001)).toBe("budget");
      expect([machine.x(A0), machine.pc, machine.cpu.retired()]).toEqual([20_001n, BigInt(RAM + 4), 60_001]);
      const { interpreted, translated } = machine.cpu.engine.counters;
      expect(interpreted + translated).toBe(60_001);
    });
  });
});
