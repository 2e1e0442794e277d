/**
 * A hart whose memory is several regions, in every tier: code in ROM and in what a device lends runs, is translated, and
 * goes when it is changed, unmapped or moved; stores, atomics and page walks that ROM does not take fault as the
 * privileged manual says (3.7.1 with table 14: causes 1, 5 and 7).
 */
import { assemble } from "@hyperfile/decoder";
import { describe, expect, it } from "vitest";
import { tiers } from "../../engine/tiers.js";
import { LentFrames } from "../../memory/lent-frames.js";
import type { LentWindow } from "../../memory/lent-window.js";
import type { RegionOptions } from "../../memory/regions.js";
import { RiscvCpu, riscvMemory } from "./cpu.js";
import { RiscvCause, RiscvMode } from "./privilege.js";

const RAM = 0x80000000;
const HIGH = 0x90000000;
const ROM = 0x20000000;
const WINDOW = 0x30000000;
const DEVICE = 0x10000000;
const HANDLER = RAM + 0x3000;
const ENTRY = RAM + 0xf000;
const PAGE = 0x1000;
const [A0, A1, A2, A3, A4] = [10, 11, 12, 13, 14];

const code = (source: string, origin: number): Uint8Array =>
  assemble(`.option norvc\n${source}`, { xlen: 64, origin }).bytes;

interface Options {
  readonly tier: (typeof tiers)[number];
  readonly rom?: Uint8Array;
  /** What the device does when it is written. */
  readonly onWrite?: (value: number) => void;
}

/** A CPU with ROM, more RAM and a window of two pages with frames of its own. */
class Machine {
  readonly cpu: RiscvCpu;
  readonly window: LentWindow;
  readonly frames: LentFrames;
  readonly log: string[] = [];

  constructor({ tier, rom = new Uint8Array(PAGE), onWrite }: Options) {
    const regions: RegionOptions[] = [
      { kind: "rom", name: "rom", base: ROM, contents: rom },
      { kind: "ram", name: "high", base: HIGH, bytes: 4 * PAGE },
    ];
    const memory = riscvMemory({ ramBytes: 0x10000, regions, lentBytes: 4 * PAGE, codePages: 16 });
    this.cpu = new RiscvCpu({
      xlen: 64,
      memory,
      bus: {
        read: () => undefined,
        write: (gpa, size, value) => {
          if (gpa !== DEVICE || onWrite === undefined) {
            this.log.push(`${gpa.toString(16)} ${size} ${value.toString(16)}`);
            return false;
          }
          onWrite(value);
          return true;
        },
      },
      clock: { now: () => 0 },
      tier,
      verify: "all",
      hotThreshold: 3,
    });
    this.frames = new LentFrames(memory.pool, 4 * PAGE);
    this.window = memory.guest.lend("window", WINDOW, 2 * PAGE);
    this.window.map(0, this.frames, { bytes: 2 * PAGE });
    // Leaves the cause in a3 and the value in a4, and stays.
    this.place("csrr a3, mcause\n csrr a4, mtval\n j .", HANDLER);
  }

  get guest() {
    return this.cpu.options.memory.guest;
  }

  place(source: string, at: number): void {
    expect(this.guest.write(at, code(source, at))).toBe(true);
  }

  /** Starts at an address in M mode with the handler set. */
  start(pc: number, args: readonly number[] = []): void {
    this.place(`li t0, ${HANDLER}\n csrw mtvec, t0\n li t0, ${pc}\n jr t0`, ENTRY);
    this.cpu.start({ pcLo: ENTRY | 0, pcHi: 0, mode: RiscvMode.machine, args });
  }

  get registers(): number[] {
    return [A0, A1, A2].map((register) => this.cpu.hart.readXLow(register));
  }

  /** Cause and value of the trap that was taken. */
  get trap(): number[] {
    return [this.cpu.hart.readXLow(A3), this.cpu.hart.readXLow(A4) >>> 0];
  }

  word(gpa: number): number {
    const bytes = new Uint8Array(4);
    expect(this.guest.read(gpa, bytes)).toBe(true);
    return new DataView(bytes.buffer).getInt32(0, true);
  }
}

const LOOP = `
  loop: addi a1, a1, 3
  addi a0, a0, -1
  bnez a0, loop
  j .`;

describe.each(tiers)("in tier %s", (tier) => {
  const hasRegions = tier !== "interpreter" && tier !== "wasm-interpreter";

  it.each([
    ["ROM", ROM],
    ["more RAM", HIGH],
    ["a window", WINDOW],
  ])("runs and translates code in %s", (name, at) => {
    const machine = new Machine({ tier, rom: code(LOOP, ROM) });
    if (name !== "ROM") machine.place(LOOP, at);
    machine.start(at, [1000]);
    machine.cpu.run(5000);
    expect(machine.registers.slice(0, 2)).toEqual([0, 3000]);
    expect(machine.cpu.engine.counters.translations > 0).toBe(hasRegions);
  });

  it.each([
    ["a store", "sw t1, 8(t0)", RiscvCause.storeAccess, ["20000008 4 55"]],
    ["a store of eight bytes", "sd t1, 8(t0)", RiscvCause.storeAccess, ["20000008 4 55"]],
    ["a misaligned store", "sw t1, 6(t0)", RiscvCause.storeAccess, ["20000006 2 55"]],
    ["a read-modify-write", "addi t0, t0, 8\n amoadd.w a2, t1, (t0)", RiscvCause.storeAccess, []],
    ["a store-conditional", "addi t0, t0, 8\n lr.w a2, (t0)\n sc.w a2, t1, (t0)", RiscvCause.storeAccess, []],
  ])("ROM takes no %s: the bus is asked, and it faults", (_, store, cause, asked) => {
    const rom = Uint8Array.from({ length: PAGE }, (_, at) => at & 0xff);
    const machine = new Machine({ tier, rom });
    const body = `li t0, ${ROM}\n li t1, 0x55\n again: lw a1, 8(t0)\n addi a0, a0, -1\n bnez a0, again\n ${store}\n li a1, 1\n j .`;
    machine.place(body, RAM);
    machine.start(RAM, [20]);
    machine.cpu.run(300);
    const at = store.includes("6(t0)") ? ROM + 6 : ROM + 8;
    expect(machine.trap).toEqual([cause, at]);
    expect(machine.registers[1]).toBe(0x0b0a0908);
    expect(machine.log).toEqual(asked);
    expect(machine.word(ROM + 8)).toBe(0x0b0a0908);
  });

  it("a window that is read-only takes no stores, and others do", () => {
    const machine = new Machine({ tier });
    machine.window.map(PAGE, machine.frames, { from: PAGE, bytes: PAGE, isReadOnly: true });
    machine.frames.write(PAGE + 4, Uint8Array.of(7, 0, 0, 0));
    machine.place(
      `li t0, ${WINDOW}\n li t1, ${WINDOW + PAGE}\n sw a0, 4(t0)\n lw a1, 4(t1)\n sw a0, 4(t1)\n j .`,
      RAM,
    );
    machine.start(RAM, [99]);
    machine.cpu.run(100);
    expect(machine.trap).toEqual([RiscvCause.storeAccess, WINDOW + PAGE + 4]);
    const bytes = new Uint8Array(1);
    machine.frames.read(4, bytes);
    expect([bytes[0], machine.registers[1]]).toEqual([99, 7]);
  });

  it("pages in the hole between two regions of RAM are nowhere", () => {
    const machine = new Machine({ tier });
    machine.place(`li t0, ${HIGH}\n sd a0, -8(t0)\n j .`, RAM);
    machine.start(RAM, [1]);
    machine.cpu.run(100);
    expect(machine.trap).toEqual([RiscvCause.storeAccess, HIGH - 8]);
    machine.place(`li t0, ${HIGH}\n sd a0, 8(t0)\n ld a1, 8(t0)\n ld a2, 16(t0)\n j .`, RAM);
    machine.start(RAM, [77]);
    machine.cpu.run(100);
    expect(machine.registers).toEqual([77, 77, 0]);
    machine.place(`li t0, ${HIGH + 4 * PAGE - 2}\n sw a0, 0(t0)\n j .`, RAM);
    machine.start(RAM, [-1]);
    machine.cpu.run(100);
    expect(machine.trap).toEqual([RiscvCause.storeAccess, HIGH + 4 * PAGE]);
  });

  it("code in a window goes when the device or the guest writes it", () => {
    const machine = new Machine({ tier });
    machine.place(LOOP, WINDOW);
    machine.start(WINDOW, [1000]);
    machine.cpu.run(5000);
    expect(machine.registers[1]).toBe(3000);
    machine.frames.write(0, code("addi a1, a1, 5", WINDOW));
    machine.start(WINDOW, [1000]);
    machine.cpu.run(5000);
    expect(machine.registers[1]).toBe(5000);
    const [low, high] = [code("addi a1, a1, 7", WINDOW), WINDOW];
    const word = new DataView(low.buffer, low.byteOffset).getInt32(0, true);
    machine.place(`li t0, ${high}\n li t1, ${word}\n sw t1, 0(t0)\n fence.i\n jr t0`, RAM);
    machine.start(RAM, [1000]);
    machine.cpu.run(5000);
    expect(machine.registers[1]).toBe(7000);
  });

  it.each(["unmaps", "moves"])("a device that %s a window takes the code away that runs there", (how) => {
    const machine: Machine = new Machine({
      tier,
      onWrite: (value) => {
        if (value !== 40) return;
        if (how === "unmaps") machine.window.unmap();
        else expect(machine.window.move(WINDOW + 0x100000)).toBe(true);
      },
    });
    // Each turn tells the device how often it has been; the fourtieth time it takes the code away.
    machine.place(
      `li t0, ${DEVICE}\n loop: addi a1, a1, 1\n sw a1, 0(t0)\n addi a2, a2, 1\n addi a0, a0, -1\n bnez a0, loop\n j .`,
      WINDOW,
    );
    machine.start(WINDOW, [1000]);
    machine.cpu.run(100000);
    // The store has retired; the next instruction can't be fetched any more.
    const next = new DataView(code(`li t0, ${DEVICE}`, WINDOW).buffer).byteLength + 8;
    expect(machine.trap).toEqual([RiscvCause.instructionAccess, WINDOW + next]);
    expect(machine.registers).toEqual([1000 - 39, 40, 39]);
    if (how === "unmaps") {
      machine.window.map(0, machine.frames, { bytes: 2 * PAGE });
      machine.start(WINDOW, [10]);
    } else machine.start(WINDOW + 0x100000, [10]);
    machine.cpu.run(1000);
    expect(machine.registers).toEqual([0, 10, 10]);
  });

  it("a window is mapped to other frames under a hart that has used it", () => {
    const machine = new Machine({ tier });
    machine.frames.write(0, Uint8Array.of(1));
    machine.frames.write(2 * PAGE, Uint8Array.of(2));
    machine.place(
      `li t0, ${WINDOW}\n loop: lw a1, 0(t0)\n sw a0, 4(t0)\n addi a0, a0, -1\n bnez a0, loop\n j .`,
      RAM,
    );
    const seen: number[] = [];
    for (const from of [0, 2 * PAGE, 0]) {
      machine.window.map(0, machine.frames, { from, bytes: PAGE });
      machine.start(RAM, [50]);
      machine.cpu.run(1000);
      seen.push(machine.registers[1]!);
    }
    expect(seen).toEqual([1, 2, 1]);
    const bytes = new Uint8Array(1);
    machine.frames.read(2 * PAGE + 4, bytes);
    expect(bytes[0]).toBe(1);
  });

  it("page tables in ROM are walked, and where an entry would have to be written the access faults", () => {
    // Sv39, one gigapage each: RAM at 0x80000000 with A and D; at 0x0 the first gigabyte, without them.
    const rom = new Uint8Array(PAGE);
    const table = new DataView(rom.buffer);
    const leaf = (gpa: number, bits: number): bigint => (BigInt(gpa >>> 12) << 10n) | BigInt(bits);
    const [valid, read, write, execute, accessed, dirty] = [1, 2, 4, 8, 64, 128];
    table.setBigUint64(2 * 8, leaf(RAM, valid | read | write | execute | accessed | dirty), true);
    table.setBigUint64(0, leaf(0, valid | read | write), true);
    table.setBigUint64(1 * 8, leaf(0, valid | read | write | accessed), true);
    const machine = new Machine({ tier, rom });
    // Supervisor mode by mret; menvcfg.ADUE (bit 61) has the hart set A and D itself.
    const enter = `
      li t0, ${HANDLER}
      csrw mtvec, t0
      li t0, -1
      csrw pmpaddr0, t0
      li t0, 31
      csrw pmpcfg0, t0
      li t0, 1
      slli t0, t0, 61
      csrw 0x30a, t0
      li t0, 8
      slli t0, t0, 60
      li t1, ${ROM / PAGE}
      or t0, t0, t1
      csrw satp, t0
      li t0, ${RAM + 0x800}
      csrw mepc, t0
      li t0, 0x800
      csrs mstatus, t0
      mret`;
    for (const [body, expected] of [
      [`li t0, ${RAM + 0x6000}\n sw a0, 0(t0)\n lw a1, 0(t0)\n ecall\n j .`, [RiscvCause.ecallSupervisor, 0]],
      [`li t0, ${ROM}\n lw a1, 0(t0)\n j .`, [RiscvCause.loadAccess, ROM]],
      [`li t0, ${0x40000000 + WINDOW}\n sw a0, 0(t0)\n j .`, [RiscvCause.storeAccess, 0x40000000 + WINDOW]],
      [`li t0, ${0x40000000 + WINDOW}\n lw a1, 0(t0)\n ecall\n j .`, [RiscvCause.ecallSupervisor, 0]],
    ] as const) {
      machine.place(enter, RAM);
      machine.place(body, RAM + 0x800);
      machine.cpu.start({ pcLo: RAM | 0, pcHi: 0, mode: RiscvMode.machine, args: [5] });
      machine.cpu.run(200);
      expect(machine.trap).toEqual([...expected]);
    }
    expect(machine.word(ROM)).toBe(7);
  });

  it("a clone shares ROM and RAM, and has no windows", () => {
    const machine = new Machine({ tier, rom: code(LOOP, ROM) });
    machine.place(LOOP.replace("3", "4"), HIGH);
    machine.start(ROM, [500]);
    machine.cpu.run(1000);
    const memory = machine.cpu.shareMemory();
    const twin = new RiscvCpu({ ...machine.cpu.options, memory, core: machine.cpu.core });
    twin.restore(machine.cpu.save() as unknown as Record<string, unknown>);
    for (const cpu of [twin, machine.cpu]) {
      cpu.run(5000);
      expect([cpu.hart.readXLow(A0), cpu.hart.readXLow(A1)]).toEqual([0, 1500]);
    }
    memory.guest.write(HIGH, code("addi a1, a1, 9", HIGH));
    for (const [cpu, step] of [
      [machine.cpu, 4],
      [twin, 9],
    ] as const) {
      cpu.start({ pcLo: HIGH | 0, pcHi: 0, mode: RiscvMode.machine, args: [100] });
      cpu.run(2000);
      expect(cpu.hart.readXLow(A1)).toBe(100 * step);
    }
    const read = new Uint8Array(1);
    expect([machine.guest.read(WINDOW, read), memory.guest.read(WINDOW, read)]).toEqual([true, false]);
    expect(memory.guest.regions.map(({ name }) => name)).toEqual(["rom", "ram", "high"]);
  });
});
