/**
 * CSR instructions after which code is looked up anew, from another page: their destination is that of the instruction
 * that ran, not of what lies at its address under the new page table.
 */
import { assemble } from "@hyperfile/decoder";
import { beforeEach, describe, expect, it } from "vitest";
import { Csr } from "../../../test/csr-numbers.js";
import { RAM, RiscvMachine } from "../../../test/riscv-machine.js";
import { tiers } from "../../engine/tiers.js";
import { RiscvCause, RiscvMode } from "./privilege.js";

const [A0, A1, T0] = [10, 11, 5];
const HERE = RAM + 0x1000;
const THERE = RAM + 0x2000;
const ROOT = RAM + 0x3000;
const MIDDLE = RAM + 0x4000;
const LEAF = RAM + 0x5000;
const M_HANDLER = RAM + 0x6000;
const [V, R, W, X, A, D] = [1n, 2n, 4n, 8n, 0x40n, 0x80n];
const pageNumber = (address: number) => BigInt(address / 4096);
const SATP = (8n << 60n) | pageNumber(ROOT);

describe.each(tiers)("in tier %s", (tier) => {
  let machine: RiscvMachine;

  /** Maps HERE to the page at THERE, once paging is on. */
  beforeEach(() => {
    machine = new RiscvMachine({ xlen: 64, tier });
    machine.write(Csr.pmpaddr0, -1n);
    machine.write(Csr.pmpcfg0, 0x1fn);
    machine.write(Csr.mtvec, BigInt(M_HANDLER));
    machine.program(M_HANDLER, [["jal", { rd: 0, imm: 0 }]]);
    machine.poke(ROOT + 8 * 2, (pageNumber(MIDDLE) << 10n) | V);
    machine.poke(MIDDLE, (pageNumber(LEAF) << 10n) | V);
    machine.poke(LEAF + 8, (pageNumber(THERE) << 10n) | V | R | W | X | A | D);
  });

  const place = (source: string, at: number) =>
    machine.guest.write(at, assemble(`.option norvc\n${source}`, { xlen: 64, origin: at }).bytes);

  it.each([
    ["csrrw a0, satp, t0", 0n],
    ["csrrs a0, satp, t0", 0n],
    ["csrrw x0, satp, t0", undefined],
    ["csrrs x0, satp, t0", undefined],
  ] as const)("%s", (insn, result) => {
    place(insn, HERE);
    // What the new page table has at the same address names other registers.
    place("csrrw a1, satp, t0\n addi a2, zero, 1", THERE);
    machine.setX(A0, 77n);
    machine.setX(A1, 88n);
    machine.setX(T0, SATP);
    expect(machine.run(HERE, RiscvMode.supervisor, 2)).toBe("budget");
    expect([machine.x(A0), machine.x(A1), machine.x(12)]).toEqual([result ?? 77n, 88n, 1n]);
    expect(machine.x(0)).toBe(0n);
  });

  it("csrrc and csrrci, which turn paging off", () => {
    for (const [insn, at] of [
      ["csrrc a0, satp, t0", 0],
      ["csrrw a0, satp, zero", 0x40],
    ] as const) {
      machine.write(Csr.satp, SATP);
      place(`${insn}`, THERE + at);
      place("csrrw a1, satp, t0\n addi a2, a2, 1", HERE + at);
      machine.setX(A1, 88n);
      machine.setX(T0, SATP);
      machine.setX(12, 0n);
      machine.run(HERE + at, RiscvMode.supervisor, 2);
      expect([machine.x(A0), machine.x(A1), machine.x(12)]).toEqual([SATP, 88n, 1n]);
    }
  });

  it("an interrupt that the access lets in finds the destination written", () => {
    machine.write(Csr.mie, 0x80n);
    machine.hart.setPending(7, true);
    place("csrrs a0, mstatus, t0", HERE);
    machine.setX(T0, 8n);
    machine.setX(A0, 77n);
    machine.run(HERE, RiscvMode.machine, 2);
    expect([machine.x(A0), machine.pc]).toEqual([0xa_0000_0000n, BigInt(M_HANDLER)]);
    expect(machine.read(Csr.mepc)).toBe(BigInt(HERE + 4));
  });

  it("an illegal instruction has the bits that were fetched, whatever page tables say by now", () => {
    machine.write(Csr.satp, SATP);
    machine.setX(T0, BigInt(LEAF + 8));
    machine.setX(6, (pageNumber(HERE) << 10n) | V | R | W | X | A | D);
    // The page table changes without a fence: instructions are still those of the old page.
    machine.write(Csr.mstatus, 0n);
    machine.poke(LEAF + 8 * 5, (pageNumber(LEAF) << 10n) | V | R | W | A | D);
    machine.setX(7, BigInt(LEAF + 8));
    place("sd t1, 0(t2)\n csrrw x0, 0x7ff, a1", THERE);
    place("nop\n nop", HERE);
    machine.run(HERE, RiscvMode.supervisor, 2);
    expect(machine.read(Csr.mcause)).toBe(BigInt(RiscvCause.illegalInstruction));
    expect(machine.read(Csr.mtval)).toBe(0x7ff59073n);
  });
});
