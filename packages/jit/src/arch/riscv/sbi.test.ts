/** SBI calls as kernels make them, and as hostile guests do: every bad argument is an error code in a0. */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { Csr } from "../../../test/csr-numbers.js";
import { RAM, RAM_BYTES, RiscvMachine } from "../../../test/riscv-machine.js";
import { Exit } from "../../memory/layout.js";
import { RiscvMode } from "./privilege.js";
import { supervisorBinary } from "./sbi.js";

const BASE = 0x10n;
const TIME = 0x54494d45n;
const IPI = 0x735049n;
const RFENCE = 0x52464e43n;
const HSM = 0x48534dn;
const SRST = 0x53525354n;
const DBCN = 0x4442434en;
const extensions = [BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN];
const SUCCESS = 0n;
const NOT_SUPPORTED = -2n;
const INVALID_PARAMETER = -3n;
const ALREADY_AVAILABLE = -6n;

describe.each([32, 64] as const)("RV%i", (xlen) => {
  let machine: RiscvMachine;
  let now = 0;
  let output: number[] = [];
  let input: number[] = [];
  let power: unknown[] = [];
  let fencedBefore = 0;
  const fenced = () => machine.hart.counters.fenceI - fencedBefore;

  const ready: RiscvMachine = new RiscvMachine({
    xlen,
    clock: { now: () => now },
    sbi: supervisorBinary({
      harts: () => [ready.hart],
      memory: {
        contains: (gpa, length) => ready.guest.contains(gpa, length),
        read: (gpa, target) => ready.guest.read(gpa, target),
        write: (gpa, source) => ready.guest.write(gpa, source),
      },
      console: {
        write: (bytes) => void output.push(...bytes),
        read: (limit) => Uint8Array.from(input.splice(0, limit)),
      },
      onPower: (event) => void power.push(event),
    }),
  });

  beforeEach(() => {
    machine = ready;
    [now, output, input, power] = [0, [], [], []];
    fencedBefore = machine.hart.counters.fenceI;
    machine.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.supervisor, args: [] });
    machine.program(RAM, [["ecall"]]);
  });

  it("lets user mode read the time, as firmware does: Linux's vDSO will", () => {
    machine.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.user, args: [] });
    now = 77;
    machine.program(RAM, [["csrrs", { rd: 10, csr: Csr.time, rs1: 0 }]]);
    expect(machine.run(RAM, RiscvMode.user, 1)).toBe("budget");
    expect(machine.x(10)).toBe(77n);
    expect(machine.hart.counters.exceptions).toBe(0);
  });

  const signed = (register: number) => BigInt.asIntN(xlen, machine.x(register));

  /** Runs one `ecall` in S mode; gives a0 and a1. */
  function call(
    extension: bigint,
    id: bigint,
    ...args: bigint[]
  ): { error: bigint; value: bigint; end: string } {
    for (const [at, value] of args.entries()) machine.setX(10 + at, value);
    for (let at = args.length; at < 6; at++) machine.setX(10 + at, 0n);
    machine.setX(16, id);
    machine.setX(17, extension);
    const end = machine.run(RAM, RiscvMode.supervisor, 1);
    return { error: signed(10), value: signed(11), end };
  }

  const status = (extension: bigint, id: bigint, ...args: bigint[]) => call(extension, id, ...args).error;

  describe("unknown calls (chapter 3)", () => {
    it("are not supported, whatever their identifiers and arguments", () => {
      const wide = fc.bigInt({ min: 0n, max: (1n << BigInt(xlen)) - 1n });
      fc.assert(
        fc.property(
          fc.oneof(wide, fc.constantFrom(...extensions)),
          wide,
          fc.array(wide, { maxLength: 6 }),
          (extension, id, args) => {
            fc.pre(extension > 8n && (!extensions.includes(extension) || id > 6n));
            expect(status(extension, id, ...args)).toBe(NOT_SUPPORTED);
          },
        ),
      );
      expect(power).toEqual([]);
    });

    it("with known ones return an error or succeed, and never disturb the host", () => {
      const wide = fc.oneof(
        fc.bigInt({ min: 0n, max: (1n << BigInt(xlen)) - 1n }),
        fc.constantFrom(0n, 1n, BigInt(RAM), (1n << BigInt(xlen)) - 1n, 0xffffffffn, 0x80000000n),
      );
      fc.assert(
        fc.property(
          fc.constantFrom(...extensions),
          fc.bigInt({ min: 0n, max: 6n }),
          fc.array(wide, { minLength: 6, maxLength: 6 }),
          (extension, id, args) => {
            machine.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.supervisor, args: [] });
            const error = status(extension, id, ...args);
            expect(error).toBeLessThanOrEqual(0n);
            expect(error).toBeGreaterThan(-10n);
          },
        ),
        { numRuns: 500 },
      );
    });

    // A register of RV32 has no upper half.
    const wideRegisters = "are those whose upper register half is no sign extension";
    if (xlen === 64)
      it(wideRegisters, () => {
        expect(status(BASE | (1n << 32n), 0n)).toBe(NOT_SUPPORTED);
        expect(status(BASE, 1n << 32n)).toBe(NOT_SUPPORTED);
        expect(status(8n | (1n << 40n), 0n)).toBe(NOT_SUPPORTED);
        expect(call(BASE, 3n, BASE | (1n << 32n))).toMatchObject({ error: SUCCESS, value: 0n });
        expect(power).toEqual([]);
      });
  });

  describe("BASE (chapter 4)", () => {
    it("says version 2.0, and zero for the machine's identity", () => {
      expect(call(BASE, 0n)).toMatchObject({ error: SUCCESS, value: 0x2000000n });
      for (const id of [4n, 5n, 6n]) expect(call(BASE, id)).toMatchObject({ error: SUCCESS, value: 0n });
      expect(status(BASE, 7n)).toBe(NOT_SUPPORTED);
    });

    it("finds what is there and nothing else", () => {
      for (const id of extensions) expect(call(BASE, 3n, id)).toMatchObject({ error: SUCCESS, value: 1n });
      for (const id of [0x504d55n, 0x53555350n, 9n, 0xffffffffn]) {
        expect(call(BASE, 3n, id)).toMatchObject({ error: SUCCESS, value: 0n });
      }
    });
  });

  describe("TIME (chapter 6)", () => {
    it("arms the supervisor timer for a time of 64 bits, and clears its interrupt", () => {
      const at = 0x1_0000_0005n;
      const args = xlen === 64 ? [at] : [at & 0xffffffffn, at >> 32n];
      expect(status(TIME, 0n, ...args)).toBe(SUCCESS);
      expect(machine.hart.deadline()).toBe(Number(at));
      now = Number(at);
      machine.hart.pollTimer();
      expect(machine.hart.pending & 0x20).toBe(0x20);
      status(TIME, 0n, -1n, -1n);
      expect(machine.hart.pending & 0x20).toBe(0);
    });
  });

  describe("IPI and RFENCE (chapters 7 and 8)", () => {
    it("raise the software interrupt of the harts in a mask", () => {
      expect(status(IPI, 0n, 1n, 0n)).toBe(SUCCESS);
      expect(machine.hart.pending & 2).toBe(2);
      machine.hart.state.software = 0;
      expect(status(IPI, 0n, 0n, -1n)).toBe(SUCCESS);
      expect(machine.hart.pending & 2).toBe(2);
    });

    it("act on no hart when the mask names one that isn't there", () => {
      for (const [mask, base] of [
        [3n, 0n],
        [1n, 1n],
        [1n << BigInt(xlen - 1), 0n],
        [1n, -2n],
        [1n, 1n << BigInt(xlen - 2)],
      ] as const) {
        expect(status(IPI, 0n, mask, base)).toBe(INVALID_PARAMETER);
        expect(status(RFENCE, 0n, mask, base)).toBe(INVALID_PARAMETER);
        expect(status(RFENCE, 1n, mask, base)).toBe(INVALID_PARAMETER);
      }
      expect(machine.hart.pending & 2).toBe(0);
      expect(fenced()).toBe(0);
    });

    it("fence instructions and translations", () => {
      expect(status(RFENCE, 0n, 1n, 0n)).toBe(SUCCESS);
      expect(fenced()).toBe(1);
      const before = machine.cpu.tlb.counters.flushes;
      expect(status(RFENCE, 1n, 1n, 0n, 0n, 0x1000n)).toBe(SUCCESS);
      expect(status(RFENCE, 2n, 1n, 0n, -1n, -1n, 5n)).toBe(SUCCESS);
      expect(machine.cpu.tlb.counters.flushes).toBe(before + 2);
      for (const id of [3n, 4n, 5n, 6n]) expect(status(RFENCE, id, 1n, 0n)).toBe(NOT_SUPPORTED);
    });
  });

  describe("HSM (chapter 9)", () => {
    it("knows hart 0 as started and no other", () => {
      expect(call(HSM, 2n, 0n)).toMatchObject({ error: SUCCESS, value: 0n });
      expect(status(HSM, 0n, 0n, BigInt(RAM))).toBe(ALREADY_AVAILABLE);
      for (const id of [1n, -1n, 1n << BigInt(xlen - 1), ...(xlen === 64 ? [1n << 32n] : [])]) {
        expect(status(HSM, 2n, id)).toBe(INVALID_PARAMETER);
        expect(status(HSM, 0n, id, BigInt(RAM))).toBe(INVALID_PARAMETER);
      }
    });

    it("stops a hart for good", () => {
      machine.write(Csr.sie, 0x222n);
      expect(call(HSM, 1n).end).toBe("wait");
      machine.hart.setPending(9, true);
      expect(machine.cpu.run(10)).toBe("wait");
    });

    it("suspends a hart retentively as WFI does", () => {
      machine.write(Csr.sie, 0x200n);
      expect(call(HSM, 3n, 0n)).toEqual({ error: SUCCESS, value: 0n, end: "wait" });
      expect(machine.cpu.run(10)).toBe("wait");
      machine.hart.setPending(9, true);
      expect(machine.cpu.wakeReady()).toBe(true);
    });

    it("resumes a non-retentive suspend at the address with a0 the hart, a1 the argument, interrupts and paging off", () => {
      machine.write(Csr.sie, 0x200n);
      machine.write(Csr.sstatus, 2n, "set");
      expect(call(HSM, 3n, 0x80000000n, BigInt(RAM + 0x100), 0x1234n).end).toBe("wait");
      expect(machine.pc).toBe(BigInt(RAM + 0x100));
      expect([machine.x(10), machine.x(11)]).toEqual([0n, 0x1234n]);
      expect(machine.read(Csr.satp)).toBe(0n);
      expect(machine.read(Csr.sstatus)! & 2n).toBe(0n);
    });

    it("refuses reserved kinds of suspend", () => {
      for (const kind of [1n, 0x7fffffffn, 0x80000001n, 0xffffffffn]) {
        expect(status(HSM, 3n, kind)).toBe(INVALID_PARAMETER);
      }
      expect(machine.hart.waiting).toBe(false);
    });
  });

  describe("SRST (chapter 10)", () => {
    it.each([
      [0n, 0n, { kind: "off", status: 0 }],
      [0n, 1n, { kind: "off", status: 1 }],
      [1n, 0n, { kind: "reset" }],
      [2n, 1n, { kind: "reset" }],
    ])("type %i, reason %i ends the run", (type, reason, event) => {
      expect(call(SRST, 0n, type, reason).end).toBe("stop");
      expect(power).toEqual([event]);
    });

    it("refuses reserved types and reasons", () => {
      for (const [type, reason] of [
        [3n, 0n],
        [0n, 2n],
        [0xffffffffn, 0n],
        [0n, 0xffffffffn],
      ] as const) {
        expect(call(SRST, 0n, type, reason)).toMatchObject({ error: INVALID_PARAMETER, end: "budget" });
      }
      expect(power).toEqual([]);
    });
  });

  describe("DBCN (chapter 12)", () => {
    const text = [...new TextEncoder().encode("hello")];

    it("writes from memory, from its last bytes, and single bytes", () => {
      for (const gpa of [RAM + 0x200, RAM + RAM_BYTES - text.length]) {
        machine.guest.write(gpa, Uint8Array.from(text));
        expect(call(DBCN, 0n, 5n, BigInt(gpa), 0n)).toMatchObject({ error: SUCCESS, value: 5n });
      }
      expect(call(DBCN, 2n, 0x141n)).toMatchObject({ error: SUCCESS, value: 0n });
      expect(output).toEqual([...text, ...text, 0x41]);
    });

    it("writes part of a long buffer", () => {
      const { error, value } = call(DBCN, 0n, BigInt(RAM_BYTES), BigInt(RAM), 0n);
      expect(error).toBe(SUCCESS);
      expect(value).toBe(BigInt(output.length));
      expect(value).toBeGreaterThan(0n);
    });

    it("reads what has arrived", () => {
      input = [...text, ...text];
      expect(call(DBCN, 1n, 7n, BigInt(RAM + 0x300), 0n)).toMatchObject({ error: SUCCESS, value: 7n });
      const bytes = new Uint8Array(8);
      machine.guest.read(RAM + 0x300, bytes);
      expect([...bytes]).toEqual([...text, ...text.slice(0, 2), 0]);
      expect(call(DBCN, 1n, 7n, BigInt(RAM + 0x300), 0n)).toMatchObject({ error: SUCCESS, value: 3n });
      expect(call(DBCN, 1n, 7n, BigInt(RAM + 0x300), 0n)).toMatchObject({ error: SUCCESS, value: 0n });
    });

    it("refuses buffers that reach outside RAM, and neither prints nor loses input", () => {
      input = [...text];
      const top = (1n << BigInt(xlen)) - 1n;
      for (const [length, low, high] of [
        [5n, 0n, 0n],
        [5n, BigInt(RAM - 1), 0n],
        [5n, BigInt(RAM + RAM_BYTES - 4), 0n],
        [5n, BigInt(RAM), 1n],
        [5n, BigInt(RAM), top],
        [5n, top, top],
        [top, BigInt(RAM), 0n],
        [BigInt(RAM_BYTES) + 1n, BigInt(RAM), 0n],
        [0x80000000n, BigInt(RAM), 0n],
        [4096n, BigInt(RAM + RAM_BYTES - 100), 0n],
      ] as const) {
        expect(status(DBCN, 0n, length, low, high)).toBe(INVALID_PARAMETER);
        expect(status(DBCN, 1n, length, low, high)).toBe(INVALID_PARAMETER);
      }
      expect(output).toEqual([]);
      expect(input).toEqual(text);
    });
  });

  describe("legacy calls (chapter 5)", () => {
    it("write and read single bytes", () => {
      expect(status(1n, 0n, 0x42n)).toBe(0n);
      expect(output).toEqual([0x42]);
      expect(status(2n, 0n)).toBe(-1n);
      input = [0x43];
      expect(status(2n, 0n)).toBe(0x43n);
    });

    it("leave a1 alone, set and clear software interrupts, and power off", () => {
      expect(call(4n, 0n, 0n, 77n).value).toBe(77n);
      expect(machine.hart.pending & 2).toBe(2);
      status(3n, 0n);
      expect(machine.hart.pending & 2).toBe(0);
      expect(call(8n, 0n).end).toBe("stop");
      expect(power).toEqual([{ kind: "off", status: 0 }]);
    });
  });

  it("goes on after the call, and is not there for U mode", () => {
    call(BASE, 0n);
    expect(machine.pc).toBe(BigInt(RAM + 4));
    machine.program(RAM + 0x40, [["addi", { rd: 0, rs1: 0, imm: 0 }]]);
    machine.write(Csr.stvec, BigInt(RAM + 0x40));
    machine.run(RAM, RiscvMode.user, 1);
    expect(machine.pc).toBe(BigInt(RAM + 0x44));
    expect(machine.read(Csr.scause)).toBe(8n);
    expect(machine.cpu.options.memory.memory.i32[1]).toBe(Exit.none);
  });
});
