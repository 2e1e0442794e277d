/** Steal time (SBI 2.0, chapter 16): the call that sets the structure, and what the guest finds in it. */
import { beforeEach, describe, expect, it } from "vitest";
import { RAM, RAM_BYTES, RiscvMachine } from "../../../test/riscv-machine.js";
import { RiscvMode } from "./privilege.js";
import { supervisorBinary } from "./sbi.js";
import { NO_STEAL_AREA, writeStealTime } from "./steal-time.js";

const STA = 0x535441n;
const AREA = RAM + 0x400;

describe.each([32, 64] as const)("RV%i", (xlen) => {
  const ones = (1n << BigInt(xlen)) - 1n;
  let machine: RiscvMachine;

  function make(stealTime: boolean): RiscvMachine {
    const made: RiscvMachine = new RiscvMachine({
      xlen,
      sbi: supervisorBinary({
        harts: () => [made.hart],
        memory: {
          contains: (gpa, length) => made.guest.contains(gpa, length),
          read: (gpa, target) => made.guest.read(gpa, target),
          write: (gpa, source) => made.guest.write(gpa, source),
        },
        console: { write() {}, read: () => new Uint8Array(0) },
        onPower() {},
        stealTime,
      }),
    });
    made.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.supervisor, args: [] });
    made.program(RAM, [["ecall"]]);
    return made;
  }

  beforeEach(() => {
    machine = make(true);
  });

  /** One call of an extension in S mode; gives error and value. */
  function call(extension: bigint, id: bigint, ...args: bigint[]): [error: bigint, value: bigint] {
    for (let at = 0; at < 6; at++) machine.setX(10 + at, args[at] ?? 0n);
    machine.setX(16, id);
    machine.setX(17, extension);
    machine.run(RAM, RiscvMode.supervisor, 1);
    return [BigInt.asIntN(xlen, machine.x(10)), BigInt.asIntN(xlen, machine.x(11))];
  }

  function area(): { sequence: number; flags: number; steal: bigint; rest: number[] } {
    const bytes = new Uint8Array(64);
    machine.guest.read(AREA, bytes);
    const view = new DataView(bytes.buffer);
    return {
      sequence: view.getUint32(0, true),
      flags: view.getUint32(4, true),
      steal: view.getBigUint64(8, true),
      rest: [...bytes.subarray(16)],
    };
  }

  it("is offered only where somebody accounts it", () => {
    expect(call(0x10n, 3n, STA)).toEqual([0n, 1n]);
    machine = make(false);
    expect(call(0x10n, 3n, STA)).toEqual([0n, 0n]);
    expect(call(STA, 0n, BigInt(AREA))[0]).toBe(-2n);
  });

  it("clears the structure, counts in it, and stops at an address of all ones", () => {
    machine.guest.write(AREA, new Uint8Array(64).fill(0xff));
    expect(call(STA, 0n, BigInt(AREA))[0]).toBe(0n);
    expect(machine.hart.state.stealArea).toBe(AREA);
    expect(area()).toEqual({ sequence: 0, flags: 0, steal: 0n, rest: Array(48).fill(0) });
    writeStealTime(machine.guest, machine.hart.state.stealArea, 5e9 + 0.4);
    writeStealTime(machine.guest, machine.hart.state.stealArea, 2 ** 40);
    expect(area()).toEqual({ sequence: 4, flags: 0, steal: 1n << 40n, rest: Array(48).fill(0) });
    expect(call(STA, 0n, ones, ones)[0]).toBe(0n);
    expect(machine.hart.state.stealArea).toBe(NO_STEAL_AREA);
  });

  it("forgets the structure at a reset", () => {
    call(STA, 0n, BigInt(AREA));
    machine.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.supervisor, args: [] });
    expect(machine.hart.state.stealArea).toBe(NO_STEAL_AREA);
  });

  it.each([
    ["misaligned", BigInt(AREA + 8), 0n, 0n, -3n],
    ["with flags", BigInt(AREA), 0n, 1n, -3n],
    ["below RAM", BigInt(RAM - 64), 0n, 0n, -5n],
    ["beyond RAM", BigInt(RAM + RAM_BYTES), 0n, 0n, -5n],
    ["at zero", 0n, 0n, 0n, -5n],
    ["far beyond", BigInt(AREA), 1n, 0n, -5n],
    ["half all ones", ones, 0n, 0n, -3n],
  ])("refuses one %s", (_what, low, high, flags, error) => {
    expect(call(STA, 0n, low, high, flags)[0]).toBe(error);
    expect(machine.hart.state.stealArea).toBe(NO_STEAL_AREA);
  });

  it("knows no other call", () => {
    expect(call(STA, 1n, BigInt(AREA))[0]).toBe(-2n);
  });
});
