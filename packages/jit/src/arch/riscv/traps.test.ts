/** Traps, interrupts, returns, WFI, reservations and counters of a hart, against the privileged manual. */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { Csr } from "../../../test/csr-numbers.js";
import { type Insn, RAM, RiscvMachine } from "../../../test/riscv-machine.js";
import { RiscvCause, RiscvInterrupt, RiscvMode } from "./privilege.js";

const CODE = RAM + 0x1000;
const M_HANDLER = RAM + 0x2000;
const S_HANDLER = RAM + 0x3000;
const SIE = 1n << 1n;
const MIE = 1n << 3n;
const SPIE = 1n << 5n;
const MPIE = 1n << 7n;
const SPP = 1n << 8n;
const MPP = 3n << 11n;
const MPRV = 1n << 17n;
const TVM = 1n << 20n;
const TW = 1n << 21n;
const TSR = 1n << 22n;
const NOP: Insn = ["addi", { rd: 0, rs1: 0, imm: 0 }];
const modes = [RiscvMode.user, RiscvMode.supervisor, RiscvMode.machine] as const;

describe.each([32, 64] as const)("RV%i", (xlen) => {
  let now = 0;
  const machine = new RiscvMachine({ xlen, clock: { now: () => now } });
  const top = 1n << BigInt(xlen - 1);
  const signExtend = (value: number) => BigInt.asUintN(xlen, BigInt(value));

  beforeEach(() => {
    now = 0;
    machine.start({ pcLo: CODE | 0, pcHi: 0, mode: RiscvMode.machine, args: [] });
    // All of memory is open to S and U mode.
    machine.write(Csr.pmpaddr0, (1n << BigInt(xlen === 64 ? 54 : 32)) - 1n);
    machine.write(Csr.pmpcfg0, 0x1fn);
    machine.write(Csr.mtvec, BigInt(M_HANDLER));
    machine.write(Csr.stvec, BigInt(S_HANDLER));
    machine.program(M_HANDLER, [NOP, NOP, NOP, NOP]);
    machine.program(S_HANDLER, [NOP, NOP, NOP, NOP]);
  });

  /** Reads a CSR from M mode without leaving the mode that the test is in. */
  function peek(csr: number): bigint {
    const { mode } = machine.hart.state;
    machine.hart.state.mode = RiscvMode.machine;
    const value = machine.read(csr);
    machine.hart.state.mode = mode;
    return value!;
  }

  /** Runs as many instructions in `mode` as are given; for each that traps one of the handler's runs. */
  function run(mode: RiscvMode, ...insns: (Insn | number)[]) {
    machine.program(CODE, [...insns, NOP, NOP]);
    return machine.run(CODE, mode, insns.length);
  }

  const inMachineHandler = () =>
    machine.pc === BigInt(M_HANDLER + 4) && machine.hart.state.mode === RiscvMode.machine;
  const inSupervisorHandler = () =>
    machine.pc === BigInt(S_HANDLER + 4) && machine.hart.state.mode === RiscvMode.supervisor;

  describe("exceptions (3.1.8, 3.1.14 to 3.1.16)", () => {
    it.each([
      [RiscvMode.user, RiscvCause.ecallUser],
      [RiscvMode.supervisor, RiscvCause.ecallSupervisor],
      [RiscvMode.machine, RiscvCause.ecallMachine],
    ] as const)("calls from mode %i have cause %i and no trap value", (mode, cause) => {
      machine.write(Csr.mtval, 5n);
      run(mode, ["ecall"]);
      expect(inMachineHandler()).toBe(true);
      expect(peek(Csr.mcause)).toBe(BigInt(cause));
      expect(peek(Csr.mepc)).toBe(BigInt(CODE));
      expect(peek(Csr.mtval)).toBe(0n);
      expect((peek(Csr.mstatus) & MPP) >> 11n).toBe(BigInt(mode));
    });

    it("have the instruction's bits as trap value when it is illegal, 16 of a compressed one", () => {
      for (const [word, value] of [
        [0xffffffff, 0xffffffffn],
        [0xabcd0000, 0n],
        [0xabcd8002, 0x8002n],
      ] as const) {
        machine.write(Csr.mtval, 5n);
        run(RiscvMode.user, word);
        expect([peek(Csr.mcause), peek(Csr.mepc)]).toEqual([
          BigInt(RiscvCause.illegalInstruction),
          BigInt(CODE),
        ]);
        expect(BigInt.asUintN(32, peek(Csr.mtval))).toBe(value);
        machine.enter(RiscvMode.machine);
      }
    });

    it("have the address as trap value on breakpoints", () => {
      run(RiscvMode.user, ["ebreak"]);
      expect([peek(Csr.mcause), peek(Csr.mtval)]).toEqual([BigInt(RiscvCause.breakpoint), BigInt(CODE)]);
    });

    it("go to S mode when delegated, but never out of M mode", () => {
      machine.write(Csr.medeleg, (1n << 8n) | (1n << 2n));
      run(RiscvMode.user, ["ecall"]);
      expect(inSupervisorHandler()).toBe(true);
      expect([peek(Csr.scause), peek(Csr.sepc)]).toEqual([8n, BigInt(CODE)]);
      expect(peek(Csr.mcause)).toBe(0n);
      run(RiscvMode.supervisor, 0xffffffff);
      expect(inSupervisorHandler()).toBe(true);
      expect(peek(Csr.sstatus) & SPP).toBe(SPP);
      run(RiscvMode.machine, 0xffffffff);
      expect(inMachineHandler()).toBe(true);
    });

    it("stack the interrupt enable and the mode, of M and of S alone (3.1.6.1)", () => {
      for (const mode of modes) {
        for (const enabled of [0n, MIE | SIE]) {
          machine.write(Csr.medeleg, 0n);
          machine.write(Csr.mstatus, enabled);
          run(mode, ["ecall"]);
          const status = peek(Csr.mstatus);
          expect(status & MIE).toBe(0n);
          expect(status & MPIE).toBe(enabled === 0n ? 0n : MPIE);
          expect(status & SIE).toBe(enabled & SIE);
          expect((status & MPP) >> 11n).toBe(BigInt(mode));
          if (mode === RiscvMode.machine) continue;
          machine.write(Csr.medeleg, 0x300n);
          machine.write(Csr.mstatus, enabled);
          run(mode, ["ecall"]);
          const delegated = peek(Csr.mstatus);
          expect(delegated & SIE).toBe(0n);
          expect(delegated & SPIE).toBe(enabled === 0n ? 0n : SPIE);
          expect(delegated & MIE).toBe(enabled & MIE);
          expect(delegated & SPP).toBe(mode === RiscvMode.supervisor ? SPP : 0n);
          machine.enter(RiscvMode.machine);
        }
      }
    });

    it("leave registers alone and retire nothing", () => {
      machine.setX(5, 77n);
      machine.write(Csr.minstret, 0n);
      const before = machine.cpu.retired();
      run(RiscvMode.user, ["csrrw", { rd: 5, csr: Csr.mscratch, rs1: 6 }]);
      expect(machine.x(5)).toBe(77n);
      expect(machine.pc).toBe(BigInt(M_HANDLER + 4));
      expect(machine.cpu.retired()).toBe(before + 1);
    });

    it("in a row use up the budget, so that a handler that faults at its first instruction can't run for ever", () => {
      machine.write(Csr.mtvec, BigInt(CODE));
      machine.program(CODE, [0]);
      expect(machine.run(CODE, RiscvMode.machine, 1000)).toBe("budget");
      expect(machine.hart.counters.exceptions).toBeGreaterThan(10);
      expect(machine.cpu.retired()).toBe(0);
      // The charge grows, or a long slice would hold its core for long.
      expect(machine.cpu.run(1_000_000)).toBe("budget");
      expect(machine.hart.counters.exceptions).toBeLessThan(5000);
      expect(machine.cpu.retired()).toBe(0);
    });

    it("always go to the base of a vectored handler (3.1.7)", () => {
      machine.write(Csr.mtvec, BigInt(M_HANDLER) | 1n);
      run(RiscvMode.user, ["ecall"]);
      expect(inMachineHandler()).toBe(true);
    });
  });

  describe("interrupts (3.1.9)", () => {
    const line = (cause: number, level = true) => machine.hart.setPending(cause, level);
    const step = (mode: RiscvMode) => run(mode, NOP);
    const all = 0xaaan;

    it("are taken by order of MEI, MSI, MTI, SEI, SSI, STI", () => {
      const order = [11, 3, 7, 9, 1, 5];
      machine.write(Csr.mie, all);
      machine.write(Csr.mstatus, MIE);
      for (const cause of order) line(cause);
      for (const cause of order) {
        machine.write(Csr.mstatus, MIE);
        step(RiscvMode.machine);
        expect(peek(Csr.mcause)).toBe(top | BigInt(cause));
        expect(peek(Csr.mepc)).toBe(BigInt(CODE));
        expect(peek(Csr.mtval)).toBe(0n);
        line(cause, false);
      }
    });

    it("for M mode are taken when their enables, and the global one or a lower mode, say so", () => {
      fc.assert(
        fc.property(
          fc.constantFrom(1, 3, 5, 7, 9, 11),
          fc.constantFrom(...modes),
          fc.boolean(),
          fc.boolean(),
          fc.boolean(),
          fc.boolean(),
          (cause, mode, enabled, mie, sie, delegate) => {
            machine.start({ pcLo: CODE | 0, pcHi: 0, mode: RiscvMode.machine, args: [] });
            machine.write(Csr.mideleg, delegate ? all : 0n);
            machine.write(Csr.mie, enabled ? 1n << BigInt(cause) : 0n);
            machine.write(Csr.mstatus, (mie ? MIE : 0n) | (sie ? SIE : 0n));
            line(cause);
            machine.enter(mode);
            const delegated = delegate && cause % 4 === 1;
            const allowed = delegated
              ? mode < RiscvMode.supervisor || (mode === RiscvMode.supervisor && sie)
              : mode < RiscvMode.machine || mie;
            expect(machine.hart.interruptReady()).toBe(enabled && allowed);
            expect(machine.hart.takeInterrupt()).toBe(enabled && allowed);
            if (!(enabled && allowed)) return;
            expect(machine.hart.state.mode).toBe(delegated ? RiscvMode.supervisor : RiscvMode.machine);
            expect(peek(delegated ? Csr.scause : Csr.mcause)).toBe(top | BigInt(cause));
          },
        ),
        { numRuns: 300 },
      );
    });

    it("for M mode come before delegated ones", () => {
      machine.write(Csr.mideleg, 0x222n);
      machine.write(Csr.mie, all);
      line(RiscvInterrupt.supervisorExternal);
      line(RiscvInterrupt.machineTimer);
      step(RiscvMode.user);
      expect(peek(Csr.mcause)).toBe(top | 7n);
    });

    it("enter a vectored handler at four times the cause (3.1.7)", () => {
      machine.write(Csr.mideleg, 0x222n);
      machine.write(Csr.mie, all);
      machine.write(Csr.stvec, BigInt(S_HANDLER) | 1n);
      machine.hart.setPending(RiscvInterrupt.supervisorExternal, true);
      machine.enter(RiscvMode.user);
      machine.hart.takeInterrupt();
      expect(machine.pc).toBe(BigInt(S_HANDLER + 4 * 9));
    });

    it("are taken right after the write that enables them", () => {
      machine.write(Csr.mie, all);
      line(RiscvInterrupt.machineTimer);
      machine.setX(6, MIE);
      run(RiscvMode.machine, ["csrrs", { rd: 5, csr: Csr.mstatus, rs1: 6 }], NOP);
      expect(peek(Csr.mepc)).toBe(BigInt(CODE + 4));
      expect(machine.x(5) & MIE).toBe(0n);
    });

    it("of the supervisor timer follow stimecmp (Sstc)", () => {
      if (xlen === 64) machine.write(Csr.menvcfg, 1n << 63n, "set");
      else machine.write(Csr.menvcfgh, 1n << 31n, "set");
      machine.write(Csr.mideleg, 0x222n);
      machine.write(Csr.mie, all);
      if (xlen === 32) machine.write(Csr.stimecmph, 0n);
      machine.write(Csr.stimecmp, 50n);
      expect(machine.hart.deadline()).toBe(50);
      now = 50;
      machine.hart.pollTimer();
      step(RiscvMode.user);
      expect(peek(Csr.scause)).toBe(top | 5n);
    });
  });

  describe("returns (3.1.6.1, 3.3.2)", () => {
    it.each(modes)(
      "mret goes to mode %i, restores MIE and clears MPP, and MPRV if it leaves M mode",
      (mode) => {
        for (const enabled of [0n, MPIE]) {
          machine.enter(RiscvMode.machine);
          machine.write(Csr.mepc, BigInt(CODE + 0x100));
          machine.write(Csr.mstatus, (BigInt(mode) << 11n) | enabled | MPRV);
          run(RiscvMode.machine, ["mret"]);
          expect(machine.pc).toBe(BigInt(CODE + 0x100));
          expect(machine.hart.state.mode).toBe(mode);
          const status = peek(Csr.mstatus);
          expect(status & MIE).toBe(enabled === 0n ? 0n : MIE);
          expect(status & MPIE).toBe(MPIE);
          expect(status & MPP).toBe(0n);
          expect(status & MPRV).toBe(mode === RiscvMode.machine ? MPRV : 0n);
        }
      },
    );

    it.each([RiscvMode.user, RiscvMode.supervisor])(
      "sret goes to mode %i, restores SIE and clears SPP and MPRV",
      (mode) => {
        for (const from of [RiscvMode.supervisor, RiscvMode.machine]) {
          machine.enter(RiscvMode.machine);
          machine.write(Csr.sepc, BigInt(CODE + 0x100));
          machine.write(Csr.mstatus, (mode === RiscvMode.supervisor ? SPP : 0n) | SPIE | MPRV | MPP);
          run(from, ["sret"]);
          expect([machine.pc, machine.hart.state.mode]).toEqual([BigInt(CODE + 0x100), mode]);
          const status = peek(Csr.mstatus);
          expect(status & (SIE | SPIE)).toBe(SIE | SPIE);
          expect(status & (SPP | MPRV)).toBe(0n);
        }
      },
    );

    const forbidden: [string, RiscvMode, bigint, Insn][] = [
      ["mret in S mode", RiscvMode.supervisor, 0n, ["mret"]],
      ["mret in U mode", RiscvMode.user, 0n, ["mret"]],
      ["sret in U mode", RiscvMode.user, 0n, ["sret"]],
      ["sret in S mode under TSR", RiscvMode.supervisor, TSR, ["sret"]],
      ["wfi in S mode under TW", RiscvMode.supervisor, TW, ["wfi"]],
      ["wfi in U mode, where it may not wait for ever (3.3.3)", RiscvMode.user, 0n, ["wfi"]],
      ["sfence.vma in U mode", RiscvMode.user, 0n, ["sfence.vma", {}]],
      ["sfence.vma in S mode under TVM", RiscvMode.supervisor, TVM, ["sfence.vma", {}]],
      ["sinval.vma in S mode under TVM", RiscvMode.supervisor, TVM, ["sinval.vma", {}]],
      ["satp in S mode under TVM", RiscvMode.supervisor, TVM, ["csrrs", { rd: 5, csr: Csr.satp, rs1: 0 }]],
    ];
    it.each(forbidden)("%s is an illegal instruction", (_, mode, status, insn) => {
      machine.write(Csr.mstatus, status);
      run(mode, insn);
      expect(inMachineHandler()).toBe(true);
      expect(peek(Csr.mcause)).toBe(BigInt(RiscvCause.illegalInstruction));
      expect(peek(Csr.mepc)).toBe(BigInt(CODE));
      expect(peek(Csr.mtval)).not.toBe(0n);
    });

    it("and WFI and fences are not touched by TSR, TW and TVM in M mode", () => {
      machine.write(Csr.mstatus, TSR | TW | TVM);
      machine.write(Csr.mie, 0x80n);
      machine.hart.setPending(7, true);
      run(RiscvMode.machine, ["wfi"], ["sfence.vma", {}], ["csrrs", { rd: 5, csr: Csr.satp, rs1: 0 }]);
      expect(machine.pc).toBe(BigInt(CODE + 12));
    });
  });

  describe("WFI (3.3.3)", () => {
    it("waits until an enabled interrupt is pending, whatever the global enables and delegation say", () => {
      machine.write(Csr.mie, 0x20n);
      machine.write(Csr.mideleg, 0x222n);
      expect(run(RiscvMode.machine, ["wfi"], NOP)).toBe("wait");
      expect(machine.cpu.run(5)).toBe("wait");
      machine.hart.setPending(RiscvInterrupt.machineTimer, true);
      expect(machine.cpu.run(5)).toBe("wait");
      machine.hart.setPending(RiscvInterrupt.supervisorTimer, true);
      expect(machine.cpu.run(1)).toBe("budget");
      expect(machine.pc).toBe(BigInt(CODE + 8));
    });

    it("has retired when the interrupt that ends it is taken", () => {
      machine.write(Csr.mie, 0x80n);
      machine.write(Csr.mstatus, MIE);
      expect(run(RiscvMode.machine, ["wfi"])).toBe("wait");
      machine.hart.setPending(RiscvInterrupt.machineTimer, true);
      machine.cpu.run(1);
      expect(peek(Csr.mepc)).toBe(BigInt(CODE + 4));
    });
  });

  describe("LR and SC (unprivileged manual, 13.2)", () => {
    const DATA = RAM + 0x8000;
    const lr: Insn = ["lr.w", { rd: 5, rs1: 10 }];
    const sc: Insn = ["sc.w", { rd: 6, rs1: 10, rs2: 7 }];

    beforeEach(() => {
      machine.poke(DATA, 0x11111111n, 32);
      machine.poke(DATA + 64, 0x11111111n, 32);
      machine.setX(6, 99n);
      machine.setX(7, 0x22222222n);
      machine.setX(10, signExtend(DATA));
      machine.setX(11, signExtend(DATA + 64));
    });

    it("SC stores after LR, and fails without one, or a second time", () => {
      run(RiscvMode.machine, lr, sc);
      expect([machine.x(6), machine.peek(DATA, 32)]).toEqual([0n, 0x22222222n]);
      machine.setX(7, 0x33333333n);
      run(RiscvMode.machine, sc);
      expect(machine.x(6)).toBe(1n);
      expect(machine.peek(DATA, 32)).toBe(0x22222222n);
    });

    it("SC fails at another address, and gives the reservation up", () => {
      run(RiscvMode.machine, lr, ["sc.w", { rd: 6, rs1: 11, rs2: 7 }], ["sc.w", { rd: 8, rs1: 10, rs2: 7 }]);
      expect([machine.x(6), machine.x(8)]).toEqual([1n, 1n]);
      expect(machine.peek(DATA, 32)).toBe(0x11111111n);
    });

    it("a reservation does not outlive a reset", () => {
      run(RiscvMode.machine, lr);
      machine.start({ pcLo: CODE | 0, pcHi: 0, mode: RiscvMode.machine, args: [] });
      machine.setX(10, signExtend(DATA));
      run(RiscvMode.machine, sc);
      expect(machine.x(6)).toBe(1n);
    });

    it("raise store faults for SC and AMOs, load faults for LR (table of causes)", () => {
      machine.setX(10, signExtend(DATA + 2));
      for (const [insn, cause] of [
        [lr, RiscvCause.loadMisaligned],
        [sc, RiscvCause.storeMisaligned],
        [["amoadd.w", { rd: 5, rs1: 10, rs2: 7 }], RiscvCause.storeMisaligned],
      ] as const) {
        run(RiscvMode.machine, insn);
        expect([peek(Csr.mcause), peek(Csr.mtval)]).toEqual([BigInt(cause), signExtend(DATA + 2)]);
      }
    });
  });

  describe("counters (3.1.10)", () => {
    it("count retired instructions, seen from inside a block", () => {
      machine.write(Csr.mcounteren, 7n);
      machine.write(Csr.scounteren, 7n);
      run(RiscvMode.user, ["csrrs", { rd: 5, csr: Csr.instret, rs1: 0 }], NOP, NOP, [
        "csrrs",
        { rd: 6, csr: Csr.instret, rs1: 0 },
      ]);
      expect(machine.x(6) - machine.x(5)).toBe(3n);
    });

    it("read as written by the next instruction", () => {
      machine.setX(7, 1000n);
      run(
        RiscvMode.machine,
        ["csrrw", { rd: 0, csr: Csr.minstret, rs1: 7 }],
        ["csrrs", { rd: 5, csr: Csr.minstret, rs1: 0 }],
      );
      expect(machine.x(5)).toBe(1000n);
    });
  });
});
