/** What a debugger sees and does: steps over WFI, watchpoints in every tier, CSRs and the privilege mode. */
import { assemble } from "@hyperfile/decoder";
import { beforeEach, describe, expect, it } from "vitest";
import { Csr } from "../../../test/csr-numbers.js";
import { RAM, RiscvMachine } from "../../../test/riscv-machine.js";
import { tiers } from "../../engine/tiers.js";
import { RiscvDebug } from "./debug.js";
import { RiscvMode } from "./privilege.js";

const PC = 32n;
const CSR = 65;
const PRIVILEGE = 4161;
const DATA = RAM + 0x2000;
const NOP = ["addi", { rd: 0, rs1: 0, imm: 0 }] as const;
const [A0, S0] = [10, 8];

function place(machine: RiscvMachine, source: string, at = RAM): void {
  const { bytes } = assemble(`.option norvc\n${source}`, { xlen: machine.xlen, origin: at });
  machine.guest.write(at, bytes);
}

describe("a single step", () => {
  it("of WFI, and of a hart that waits, completes it as a nop", () => {
    const machine = new RiscvMachine({ xlen: 64 });
    const debug = new RiscvDebug(machine.cpu);
    place(machine, "wfi\n addi a0, a0, 1\n wfi\n addi a0, a0, 1\n j .");
    const seen: [bigint, bigint, boolean][] = [];
    for (let step = 0; step < 4; step++) {
      expect(debug.step()).toBeUndefined();
      seen.push([machine.pc, machine.x(A0), machine.hart.waiting]);
    }
    expect(seen).toEqual([
      [BigInt(RAM + 4), 0n, false],
      [BigInt(RAM + 8), 1n, false],
      [BigInt(RAM + 12), 1n, false],
      [BigInt(RAM + 16), 2n, false],
    ]);
    machine.hart.setPc(RAM | 0, 0);
    expect(machine.cpu.run(5)).toBe("wait");
    debug.step();
    expect([machine.pc, machine.x(A0)]).toEqual([BigInt(RAM + 8), 3n]);
  });

  it("that a debugger makes of a breakpoint after WFI comes to it", () => {
    const machine = new RiscvMachine({ xlen: 64 });
    const debug = new RiscvDebug(machine.cpu);
    place(machine, "wfi\n addi a0, a0, 1\n wfi\n j .");
    debug.setBreakpoint(BigInt(RAM + 4), true);
    debug.beforeRun();
    expect([machine.cpu.run(10), debug.stopReason(), machine.pc]).toEqual([
      "wait",
      "breakpoint",
      BigInt(RAM + 4),
    ]);
    debug.beforeRun();
    expect([machine.cpu.run(10), debug.stopReason(), machine.x(A0)]).toEqual(["wait", undefined, 1n]);
  });

  it("is passed by a breakpoint once, where it stands, and by no other", () => {
    const machine = new RiscvMachine({ xlen: 64 });
    const debug = new RiscvDebug(machine.cpu);
    place(machine, "loop: addi a0, a0, 1\n j loop");
    debug.step();
    debug.setBreakpoint(BigInt(RAM), true);
    debug.beforeRun();
    expect([machine.cpu.run(100), debug.stopReason(), machine.x(A0)]).toEqual(["stop", "breakpoint", 1n]);
    debug.beforeRun();
    expect([machine.cpu.run(100), debug.stopReason(), machine.x(A0)]).toEqual(["stop", "breakpoint", 2n]);
  });
});

describe.each(tiers)("watchpoints in tier %s", (tier) => {
  let machine: RiscvMachine;
  let debug: RiscvDebug;

  beforeEach(() => {
    machine = new RiscvMachine({ xlen: 64, tier });
    debug = new RiscvDebug(machine.cpu);
    machine.setX(S0, BigInt(DATA));
  });

  /** Runs on; gives what stopped it, and the offset of the program counter. */
  const run = (budget = 1000) => {
    debug.beforeRun();
    machine.cpu.run(budget);
    return [debug.stopReason(), Number(machine.pc) - RAM];
  };

  it("stop before the access, once for each, and let the rest of the page be", () => {
    place(machine, "sd s0, 0(s0)\n sd s0, 16(s0)\n ld a0, 8(s0)\n sw zero, 12(s0)\n ld a0, 8(s0)\n j .");
    debug.setWatchpoint("write", BigInt(DATA + 8), 8, true);
    expect(run()).toEqual([{ watch: "write", address: BigInt(DATA + 8) }, 12]);
    expect([machine.peek(DATA), machine.cpu.retired()]).toEqual([BigInt(DATA), 3]);
    expect(run()).toEqual([undefined, 20]);
    debug.setWatchpoint("write", BigInt(DATA + 8), 8, false);
    debug.setWatchpoint("read", BigInt(DATA + 15), 1, true);
    machine.hart.setPc(RAM | 0, 0);
    expect(run()).toEqual([{ watch: "read", address: BigInt(DATA + 15) }, 8]);
    expect(debug.step()).toBeUndefined();
    expect(Number(machine.pc) - RAM).toBe(12);
    expect(run()).toEqual([{ watch: "read", address: BigInt(DATA + 15) }, 16]);
    debug.clearPoints();
    expect(machine.hart.watchpoints).toBeUndefined();
    machine.hart.setPc(RAM | 0, 0);
    expect(run()).toEqual([undefined, 20]);
  });

  it("see misaligned accesses over two pages, and both halves of atomics", () => {
    machine.setX(S0, BigInt(DATA + 0xffc));
    place(machine, "sd s0, 0(s0)\n amoadd.w a0, s0, (s0)\n sc.w a0, s0, (s0)\n j .");
    debug.setWatchpoint("write", BigInt(DATA + 0x1000), 1, true);
    expect(run()).toEqual([{ watch: "write", address: BigInt(DATA + 0x1000) }, 0]);
    expect(machine.peek(DATA + 0xff8)).toBe(0n);
    debug.clearPoints();
    debug.setWatchpoint("read", BigInt(DATA + 0xffc), 4, true);
    // SC reads nothing.
    expect(run()).toEqual([{ watch: "read", address: BigInt(DATA + 0xffc) }, 4]);
    expect(run()).toEqual([undefined, 12]);
  });

  it("stop code that is hot already, in the iteration that it is", () => {
    const rounds = 60_000;
    place(machine, "loop: ld a0, 0(s0)\n addi a0, a0, 1\n sd a0, 0(s0)\n j loop");
    machine.cpu.run(4 * rounds);
    expect(machine.peek(DATA)).toBe(BigInt(rounds));
    debug.setWatchpoint("access", BigInt(DATA), 8, true);
    expect(run(100)).toEqual([{ watch: "access", address: BigInt(DATA) }, 0]);
    expect(run(100)).toEqual([{ watch: "access", address: BigInt(DATA) }, 8]);
    expect(machine.peek(DATA)).toBe(BigInt(rounds));
    expect(machine.cpu.retired()).toBe(4 * rounds + 2);
    debug.clearPoints();
    machine.cpu.run(2);
    expect(machine.peek(DATA)).toBe(BigInt(rounds + 1));
  });

  it("are bounded in number and length", () => {
    expect(debug.setWatchpoint("write", 0n, 0, true)).toBe(false);
    expect(debug.setWatchpoint("write", 0n, 0x10001, true)).toBe(false);
    for (let at = 0; at < 256; at++) expect(debug.setWatchpoint("write", BigInt(at), 1, true)).toBe(true);
    expect(debug.setWatchpoint("write", 256n, 1, true)).toBe(false);
    expect(debug.setWatchpoint("write", 5n, 1, false)).toBe(true);
    for (let at = 0; at < 256; at++) expect(debug.setBreakpoint(BigInt(at), true)).toBe(true);
    expect([debug.setBreakpoint(256n, true), debug.setBreakpoint(0n, true)]).toEqual([false, true]);
  });
});

describe.each([32, 64] as const)("CSRs of RV%i", (xlen) => {
  const machine = new RiscvMachine({ xlen });
  const debug = new RiscvDebug(machine.cpu);
  const registers = debug.features.flatMap((feature) => feature.registers);

  beforeEach(() => {
    machine.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.machine, args: [] });
    machine.program(RAM, [NOP, NOP]);
  });

  it("are described by their names, those that the hart has", () => {
    const number = (name: string) => registers.find((register) => register.name === name)?.number;
    expect([number("mstatus"), number("satp"), number("fcsr"), number("priv"), number("pc")]).toEqual([
      CSR + 0x300,
      CSR + 0x180,
      CSR + 3,
      PRIVILEGE,
      Number(PC),
    ]);
    expect([number("vstart"), number("hstatus"), number("time")]).toEqual([
      undefined,
      undefined,
      CSR + 0xc01,
    ]);
    expect(number("cycleh")).toBe(xlen === 32 ? CSR + 0xc80 : undefined);
    expect(new Set(registers.map((register) => register.number)).size).toBe(registers.length);
    for (const register of registers)
      expect(debug.readRegister(register.number), register.name).toBeDefined();
  });

  it("are read and written in any mode, and without floating point", () => {
    machine.enter(RiscvMode.user);
    expect(debug.writeRegister(CSR + Csr.mscratch, 0x1234n)).toBe(true);
    expect(debug.readRegister(CSR + Csr.mscratch)).toBe(0x1234n);
    expect(debug.writeRegister(CSR + Csr.fcsr, 0xe5n)).toBe(true);
    expect(debug.readRegister(CSR + Csr.frm)).toBe(7n);
    expect(debug.readRegister(CSR + Csr.mstatus)! & 0x6000n).toBe(0n);
    expect(machine.hart.state.mode).toBe(RiscvMode.user);
    expect(debug.writeRegister(CSR + Csr.mepc, BigInt(RAM + 3))).toBe(true);
    expect(debug.readRegister(CSR + Csr.mepc)).toBe(BigInt(RAM + 2));
    expect([debug.writeRegister(CSR + Csr.mhartid, 1n), debug.writeRegister(CSR + 0x7ff, 1n)]).toEqual([
      false,
      false,
    ]);
  });

  it("counters read as they were written", () => {
    machine.cpu.run(1);
    debug.writeRegister(CSR + Csr.minstret, 500n);
    expect(debug.readRegister(CSR + Csr.minstret)).toBe(500n);
    debug.step();
    expect(debug.readRegister(CSR + Csr.minstret)).toBe(501n);
  });

  it("have the privilege mode beside them", () => {
    expect(debug.readRegister(PRIVILEGE)).toBe(3n);
    expect(debug.writeRegister(PRIVILEGE, 1n)).toBe(true);
    expect([machine.hart.state.mode, debug.readRegister(PRIVILEGE)]).toEqual([1, 1n]);
    expect([debug.writeRegister(PRIVILEGE, 2n), debug.writeRegister(PRIVILEGE + 1, 0n)]).toEqual([
      false,
      false,
    ]);
  });

  it("commands show addresses and the last exception", () => {
    const { translate, trap } = debug.commands as Record<string, { run(text: string): string }>;
    expect(translate!.run(`0x${RAM.toString(16)}`)).toBe(
      "0x80000000 in M mode: read 0x80000000, write 0x80000000, execute 0x80000000",
    );
    expect(translate!.run("nonsense")).toMatch(/needs an address/);
    machine.hart.counters.exceptions = 0;
    expect(trap!.run("")).toBe("no exception so far");
    machine.program(RAM, [0]);
    debug.step();
    expect(trap!.run("")).toBe("illegal instruction at 0x80000000, value 0x0");
  });
});
