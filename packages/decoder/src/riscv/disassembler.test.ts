import { describe, expect, it } from "vitest";
import { disassemble } from "./disassembler.js";
import { riscvTable } from "./isa.js";

/** Encodings with the text that GNU objdump prints for them at address 0x80000000. */
const rv64: readonly [bits: number, text: string][] = [
  [0x00000013, "nop"],
  [0x00500513, "li\ta0,5"],
  [0x00058513, "mv\ta0,a1"],
  [0x0005051b, "sext.w\ta0,a0"],
  [0x00008067, "ret"],
  [0x00b50533, "add\ta0,a0,a1"],
  [0x02b50533, "mul\ta0,a0,a1"],
  [0x00853583, "ld\ta1,8(a0)"],
  [0xfea5c4e3, "blt\ta1,a0,0x7fffffe8"],
  [0x12345537, "lui\ta0,0x12345"],
  [0x00051463, "bnez\ta0,0x80000008"],
  [0x02b57553, "fadd.d\tfa0,fa0,fa1"],
  [0x02b51553, "fadd.d\tfa0,fa0,fa1,rtz"],
  [0x22b58553, "fmv.d\tfa0,fa1"],
  [0x00c5a52f, "amoadd.w\ta0,a2,(a1)"],
  [0x04c5a52f, "amoadd.w.aq\ta0,a2,(a1)"],
  [0xc0102573, "rdtime\ta0"],
  [0x10051573, "csrrw\ta0,sstatus,a0"],
  [0x0ff0000f, "fence"],
  [0x30200073, "mret"],
  [0x12000073, "sfence.vma"],
  [0x12050073, "sfence.vma\ta0"],
  [0x8330000f, "fence.tso"],
  [0xc0001073, "unimp"],
  [0x000780e7, "jalr\ta5"],
  [0x000782e7, "jalr\tt0,a5"],
  [0x00b005b3, "add\ta1,zero,a1"],
  [0x20208053, "fsgnj.s\tft0,ft1,ft2"],
  [0x42058553, "fcvt.d.s\tfa0,fa1"],
  [0x00202573, "frrm\ta0"],
  [0x00259073, "fsrm\ta1"],
  [0x34002573, "csrr\ta0,mscratch"],
  [0x3402d073, "csrwi\tmscratch,5"],
  [0x03f51513, "slli\ta0,a0,0x3f"],
  [0x00000000 | 0, ".4byte\t0x0"],
];
const compressed: readonly [bits: number, text: string, plain: string][] = [
  [0x8082, "ret", "c.jr\tra"],
  [0x4515, "li\ta0,5", "c.li\ta0,5"],
  [0x852e, "mv\ta0,a1", "c.mv\ta0,a1"],
  [0x6588, "ld\ta0,8(a1)", "c.ld\ta0,8(a1)"],
  [0x7139, "addi\tsp,sp,-64", "c.addi16sp\tsp,-64"],
  [0x0000, "unimp", "c.unimp"],
  [0x0025, "c.nop\t9", "c.addi\tzero,9"],
  [0x8100, ".2byte\t0x8100", ".2byte\t0x8100"],
];

describe("assembly text", () => {
  const table = riscvTable(64);
  it.each(rv64)("of 0x%s is %s", (bits, text) => {
    expect(disassemble(table, bits, 4, 0x80000000n)).toBe(text);
  });

  it.each(compressed)("of compressed 0x%s is %s", (bits, text, plain) => {
    expect(disassemble(table, bits, 2, 0x80000000n)).toBe(text);
    expect(disassemble(table, bits, 2, 0x80000000n, { aliases: false })).toBe(plain);
  });

  it("wraps branch targets at the width of an address", () => {
    expect(disassemble(riscvTable(32), 0xfe0008e3, 4, 0n)).toBe("beqz\tzero,0xfffffff0");
  });
});
