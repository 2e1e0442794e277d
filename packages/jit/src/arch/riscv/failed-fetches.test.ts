/**
 * Trap handlers that can't be fetched. A machine is called stuck only where nothing could ever get it out: fetching one
 * handler in one mode faults, that fault leads to the same handler, and no interrupt can be taken.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { Csr } from "../../../test/csr-numbers.js";
import { RAM, RiscvMachine } from "../../../test/riscv-machine.js";
import { tiers } from "../../index.js";
import { RiscvCause, RiscvInterrupt, RiscvMode } from "./privilege.js";

const M_HANDLER = RAM + 0x1000;
/** A page that S and U mode may not fetch from. */
const DENIED = RAM + 0x2000;
const ROOT = RAM + 0x3000;
const NOWHERE = 0x1000;
const MTIE = 1n << 7n;
const NOP = ["addi", { rd: 0, rs1: 0, imm: 0 }] as const;

describe.each(tiers)("in tier %s", (tier) => {
  let machine: RiscvMachine;

  beforeEach(() => {
    machine = new RiscvMachine({ xlen: 64, tier });
    machine.write(Csr.pmpaddr0, (BigInt(DENIED) >> 2n) | 0x1ffn);
    machine.write(Csr.pmpaddr0 + 1, -1n);
    // Entry 0 denies its page, entry 1 allows the rest (NAPOT both).
    machine.write(Csr.pmpcfg0, 0x1f18n);
    machine.write(Csr.mtvec, BigInt(M_HANDLER));
    machine.write(Csr.stvec, BigInt(DENIED));
    machine.program(M_HANDLER, [["csrrs", { rd: 10, csr: Csr.mcause, rs1: 0 }], NOP, NOP]);
    machine.program(DENIED, [NOP, NOP, NOP]);
    machine.program(RAM, [NOP]);
  });

  /** Fetches of user code fault in a way that is delegated; those of S mode's handler in one that is not. */
  function pageUser(): void {
    machine.write(Csr.satp, (8n << 60n) | BigInt(ROOT / 4096));
    machine.poke(ROOT + 8 * 2, 0x200000cfn);
    machine.write(Csr.medeleg, 1n << BigInt(RiscvCause.instructionPage));
  }

  it("M mode takes the fault of S mode's handler, which took that of user code", () => {
    pageUser();
    expect(machine.run(0, RiscvMode.user, 1)).toBe("budget");
    expect(machine.cpu.engine.stuck).toBe(false);
    expect([machine.x(10), machine.hart.state.mode, machine.pc]).toEqual([
      BigInt(RiscvCause.instructionAccess),
      RiscvMode.machine,
      BigInt(M_HANDLER + 4),
    ]);
    expect(machine.read(Csr.scause)).toBe(BigInt(RiscvCause.instructionPage));
    expect(machine.read(Csr.mepc)).toBe(BigInt(DENIED));
  });

  it("one address as the handler of two modes is two handlers", () => {
    pageUser();
    machine.write(Csr.mtvec, BigInt(DENIED));
    expect(machine.run(0, RiscvMode.user, 2)).toBe("budget");
    expect(machine.cpu.engine.stuck).toBe(false);
    expect([machine.hart.state.mode, machine.pc]).toEqual([RiscvMode.machine, BigInt(DENIED + 8)]);
  });

  it("a handler that faults in its own mode is stuck, and the program counter names it", () => {
    machine.write(Csr.mtvec, BigInt(NOWHERE));
    expect(machine.run(NOWHERE, RiscvMode.machine, 1000)).toBe("stop");
    expect(machine.cpu.engine.stuck).toBe(true);
    expect([machine.pc, machine.cpu.retired()]).toEqual([BigInt(NOWHERE), 0]);
    expect(machine.cpu.describeStuck()).toMatch(/its M-mode trap handler at 0x1000 can't be fetched/);
  });

  it("S mode's handler is not stuck while an interrupt of M mode can come", () => {
    machine.write(Csr.medeleg, 1n << BigInt(RiscvCause.instructionAccess));
    machine.write(Csr.mie, MTIE);
    expect(machine.run(DENIED, RiscvMode.supervisor, 1000)).toBe("budget");
    expect([machine.cpu.engine.stuck, machine.pc]).toEqual([false, BigInt(DENIED)]);
    machine.hart.setPending(RiscvInterrupt.machineTimer, true);
    expect(machine.cpu.run(1)).toBe("budget");
    expect([machine.x(10), machine.pc]).toEqual([(1n << 63n) | 7n, BigInt(M_HANDLER + 4)]);
  });

  it("is stuck where M mode has no interrupt enabled", () => {
    machine.write(Csr.medeleg, 1n << BigInt(RiscvCause.instructionAccess));
    expect(machine.run(DENIED, RiscvMode.supervisor, 1000)).toBe("stop");
    expect([machine.cpu.engine.stuck, machine.pc]).toEqual([true, BigInt(DENIED)]);
    expect(machine.cpu.describeStuck()).toMatch(/its S-mode trap handler/);
  });
});
