/**
 * The machine around the CPU: interrupts at exact cycles, devices, decimal arithmetic, code that changes itself, and
 * the chip's known faults, in every tier.
 */
import { describe, expect, it } from "vitest";
import { assemble6502, Machine, type MachineOptions, opcodes } from "../src/index.js";

const tiers = ["interpreter", "js", "wasm-interpreter", "wasm"] as const;

function machineOf(source: string, options: MachineOptions = {}): Machine & { at(name: string): number } {
  const machine = new Machine({ hotThreshold: 20, verify: "all", ...options });
  const { origin, bytes, symbols } = assemble6502(source, 0x400);
  machine.load(origin, bytes);
  machine.pc = symbols.get("start") ?? origin;
  machine.cpu.set("s", 0xff);
  return Object.assign(machine, { at: (name: string) => machine.peek(symbols.get(name)!) });
}

/** Decimal sums and differences by the digits of the operands; only for operands that are decimal. */
const toDecimal = (number: number): number => ((number / 10) | 0) * 16 + (number % 10);

describe.each(tiers)("a machine in tier %s", (tier) => {
  it("adds and subtracts all decimal numbers", () => {
    const source = `
      sum = $10
      start: sed
      loop: lda $20
      cmp #1          ; the carry is $20's lowest bit
      lda $21
      adc $22
      sta sum
      lda #0
      rol a
      sta sum+1
      lda $20
      cmp #1
      lda $21
      sbc $22
      sta sum+2
      lda #0
      rol a
      sta sum+3
      end: jmp loop`;
    const machine = machineOf(source, { tier });
    machine.run(2);
    for (let a = 0; a < 100; a += 7) {
      for (let b = 0; b < 100; b += 3) {
        for (let c = 0; c < 2; c++) {
          machine.load(0x20, Uint8Array.of(c, toDecimal(a), toDecimal(b)));
          machine.run(45);
          const sum = a + b + c;
          const difference = a - b - 1 + c;
          expect([...machine.cpu.read(0x10, 4)], `${a} ${b} ${c}`).toEqual([
            toDecimal(sum % 100),
            sum > 99 ? 1 : 0,
            toDecimal((difference + 100) % 100),
            difference < 0 ? 0 : 1,
          ]);
          expect(machine.pc).toBe(0x401);
        }
      }
    }
  });

  it("jumps to subroutines from the stack's page, whose return addresses change the code that runs", () => {
    const machine = new Machine({ tier, hotThreshold: 20, verify: "all" });
    machine.load(0x300, Uint8Array.of(0xe8, 0x60)); // inx, rts
    const code = Uint8Array.of(0x20, 0x00, 0x03, 0xc8, 0x4c, 0x40, 0x01); // loop: jsr $300, iny, jmp loop
    machine.load(0x140, code);
    machine.pc = 0x140;
    machine.cpu.set("s", 0xff);
    for (let round = 0; round < 200; round++) {
      machine.run(1); // the JSR
      expect([machine.pc, machine.cpu.get("s"), machine.cycles]).toEqual([0x300, 0xfd, 19 * round + 6]);
      expect([machine.peek(0x1ff), machine.peek(0x1fe)]).toEqual([0x01, 0x42]);
      machine.run(13); // INX, RTS, INY, JMP
      expect([machine.pc, machine.cpu.get("x"), machine.cpu.get("y")]).toEqual([
        0x140,
        (round + 1) & 0xff,
        (round + 1) & 0xff,
      ]);
    }
    // Here the return address lands on the JSR's own operand.
    machine.load(0x1fb, Uint8Array.of(0x20, 0x00, 0x03));
    machine.pc = 0x1fb;
    machine.cpu.set("s", 0xfd);
    machine.run(1);
    expect([machine.pc, machine.peek(0x1fd), machine.peek(0x1fc)]).toEqual([0x300, 0x01, 0xfd]);
  });

  it("takes an NMI after the instruction that the run ends with", () => {
    const times: number[] = [];
    const source = `
      start: inx
      lda $1234,x
      jmp start
      nmi: sta $d000
      rti`;
    const machine = machineOf(source, {
      tier,
      isDevice: (page) => page === 0xd0,
      write: () => times.push(machine.cycles),
    });
    machine.load(0xfffa, Uint8Array.of(0x07, 0x04));
    for (let count = 0; count < 100; count++) {
      machine.run(1000);
      const before = machine.cycles;
      machine.nmi();
      machine.run(7 + 1);
      expect(times).toHaveLength(count + 1);
      expect(times[count]).toBe(before + 7);
    }
    expect(machine.cycles).toBeGreaterThan(100_000);
  });

  it("lets one more instruction run after CLI before an IRQ that waited", () => {
    const source = `
      start: sei
      loop: sta $d001      ; the device interrupts
      inc $10
      cli
      inc $11
      sei
      inc $12
      lda $12
      bne loop
      brk
      irq: sta $d000
      lda $10
      eor $11
      ora $14
      sta $14        ; 0 if both instructions ran each time
      inc $13
      rti`;
    const machine: Machine = machineOf(source, {
      tier,
      isDevice: (page) => page === 0xd0,
      write: (address) => {
        machine.irq = address === 0xd001;
      },
    });
    const handler = assemble6502(source, 0x400).symbols.get("irq")!;
    machine.load(0xfffe, Uint8Array.of(handler & 0xff, handler >> 8));
    machine.run(12_000);
    expect(machine.peek(0x13)).toBeGreaterThan(150);
    expect(machine.peek(0x14)).toBe(0);
  });

  it("returns from BRK behind the byte after it, with the mark that it was one", () => {
    const source = `
      start: ldx #0
      loop: brk
      .byte $ea
      inx
      bne loop
      end: jmp end
      irq: sta $20
      pla
      pha
      ora $21
      sta $21
      inc $22
      rti`;
    const machine = machineOf(source, { tier });
    const { symbols } = assemble6502(source, 0x400);
    machine.load(0xfffe, Uint8Array.of(symbols.get("irq")! & 0xff, symbols.get("irq")! >> 8));
    machine.run(20_000);
    expect([machine.pc, machine.peek(0x22), machine.peek(0x21) & 0x30]).toEqual([
      symbols.get("end"),
      0,
      0x30,
    ]);
  });

  it("gives devices every access once, at its time", () => {
    const seen: [string, number, number][] = [];
    const source = `
      start: lda $d012
      inc $d0ff
      ldx #1
      sta $d000,x
      nop $d003
      jmp start`;
    const machine = machineOf(source, {
      tier,
      isDevice: (page) => page === 0xd0,
      read: (address) => {
        seen.push(["read", address, machine.cycles]);
        return address & 0xff;
      },
      write: (address, value) => void seen.push(["write", address, machine.cycles + value / 1000]),
    });
    for (let round = 0; round < 60; round++) machine.run(24);
    expect(machine.cycles).toBe(60 * 24);
    for (let round = 0; round < 60; round++) {
      const from = 24 * round;
      expect(seen.slice(5 * round, 5 * round + 5)).toEqual([
        ["read", 0xd012, from],
        ["read", 0xd0ff, from + 4],
        ["write", 0xd0ff, from + 4],
        ["write", 0xd001, from + 12 + 0x12 / 1000],
        ["read", 0xd003, from + 17],
      ]);
    }
  });

  it("runs what it has just written", () => {
    const source = `
      start: ldy #0
      loop: inc change+1
      change: lda #0
      clc
      adc $10
      sta $10
      iny
      bne loop
      end: jmp end`;
    const machine = machineOf(source, { tier });
    machine.run(30 * 256);
    expect(machine.peek(0x10)).toBe(((256 * 257) / 2) & 0xff);
  });

  it("has the chip's faults: vectors and pointers that wrap, the stack that does", () => {
    const source = `
      start: ldx #0
      txs
      ldx #$ff
      jsr sub            ; pushes at $100 and $1ff
      jmp ($10ff)
      sub: lda $80,x     ; $7f
      sta $20
      lda ($00,x)        ; the pointer at $ff and $00
      sta $21
      lda ($ff),y
      sta $22
      rts`;
    const machine = machineOf(source, { tier });
    machine.load(0x7f, Uint8Array.of(0x11));
    machine.load(0xff, Uint8Array.of(0x34));
    machine.load(0x00, Uint8Array.of(0x12));
    machine.load(0x1234, Uint8Array.of(0x77));
    machine.load(0x10ff, Uint8Array.of(0x00));
    machine.load(0x1000, Uint8Array.of(0x04));
    for (let round = 0; round < 100; round++) machine.run(2 + 2 + 2 + 6 + 4 + 3 + 6 + 3 + 5 + 3 + 6 + 5);
    expect([...machine.cpu.read(0x20, 3)]).toEqual([0x11, 0x77, 0x77]);
    expect([machine.pc, machine.cpu.get("s")]).toEqual([0x400, 0]);
    expect([machine.peek(0x100), machine.peek(0x1ff)]).toEqual([0x04, 0x07]);
  });

  it("stops where an opcode locks it up", () => {
    const machine = machineOf("start: nop\n jam\n nop", { tier });
    expect([machine.run(100), machine.pc, machine.cycles]).toEqual(["jam", 0x401, 2]);
  });
});

describe("the assembler", () => {
  it("assembles what the front end prints", () => {
    const { frontEnd } = new Machine().cpu;
    for (const opcode of opcodes) {
      const bytes = Uint8Array.of(opcode.byte, 0x34, 0x12);
      const text = frontEnd.format(frontEnd.decode(bytes, 0, 3)!, 0x400, 0);
      const again = assemble6502(text, 0x400).bytes;
      const canonical = opcodes.find(({ name, mode }) => name === opcode.name && mode === opcode.mode)!;
      expect(again.length, text).toBe(opcode.length);
      expect([...again.subarray(1)], text).toEqual([...bytes.subarray(1, opcode.length)]);
      expect(opcodes[again[0]!], text).toMatchObject({ name: canonical.name, mode: canonical.mode });
    }
  });

  it("names the line of a fault", () => {
    expect(() => assemble6502("nop\n lda #$123")).toThrow("line 2: 291 does not fit: lda #$123");
    expect(() => assemble6502("lda missing")).toThrow("line 1: missing is not defined");
    expect(() => assemble6502("sta #1")).toThrow("sta has no such operand");
    expect(() => assemble6502("a1: nop\na1: nop")).toThrow("a1 is defined twice");
    expect(() => assemble6502("start: nop\n .org $300\n bne start", 0x200)).toThrow("-258 bytes are too far");
    expect(() => assemble6502(".space 3")).toThrow(".space is no directive");
  });

  it("knows expressions, data and the zero page", () => {
    const source = `
      here = *
      zero = $20
      lda zero + 1
      lda later
      later: .byte <here, >here, 'A', %101, -1
      .word later - 2, [1 + 2] | 4
      .fill 2, 7`;
    expect([...assemble6502(source, 0x1234).bytes]).toEqual([
      0xa5, 0x21, 0xad, 0x39, 0x12, 0x34, 0x12, 0x41, 5, 0xff, 0x37, 0x12, 7, 0, 7, 7,
    ]);
  });
});
