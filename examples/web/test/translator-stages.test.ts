/** The translator view's columns as its worker makes them: what a line belongs to, and what mistakes say. */
import { describe, expect, it } from "vitest";
import type { StageLine } from "../src/translator/protocol.js";
import { translate } from "../src/translator/translation.js";

const loop = `# a loop
        li      a0, 0
        li      a1, 1000000
loop:   add     a0, a0, a1
        addi    a1, a1, -1
        bnez    a1, loop
        ebreak
text:   .asciz  "hello"`;

const textsAt = (lines: readonly StageLine[], address: string | undefined) =>
  lines.filter((line) => line.address === address).map(({ text }) => text.trim());

describe("a line of source", () => {
  it("has the instructions that it made: none, one or several", () => {
    expect(translate("rv64", loop, undefined).lines).toEqual([
      [],
      ["0x80000000"],
      ["0x80000002", "0x80000006"],
      ["0x8000000a"],
      ["0x8000000c"],
      ["0x8000000e"],
      ["0x80000010"],
      ["0x80000012"],
    ]);
  });

  it("has them on the 6502, too, and across sections; none where a comment goes on", () => {
    expect(translate("6502", "value = 3\nstart: lda #value\n\nsta $10\nbrk", undefined).lines).toEqual([
      [],
      ["0x400"],
      [],
      ["0x402"],
      ["0x404"],
    ]);
    const sections = ".data\n.word 7\n.text\nnop; /* two\nlines */ nop\n.data\n.word 8\n.text\n ebreak";
    expect(translate("rv64", sections, undefined).lines).toEqual([
      [],
      ["0x80000008"],
      [],
      [],
      [],
      [],
      ["0x8000000c"],
      [],
      ["0x80000004"],
    ]);
  });
});

describe("the listing", () => {
  it("knows data from code, labels, and where blocks begin", () => {
    const { rows, image } = translate("rv64", loop, undefined);
    expect(image.blocks).toEqual(["0x80000000", "0x8000000a", "0x80000010"]);
    expect(rows.at(-1)).toMatchObject({
      bytes: "68 65 6c 6c 6f 00",
      text: "data, 6 bytes",
      labels: ["text"],
      isData: true,
      startsBlock: false,
    });
    expect(rows.find(({ labels }) => labels.includes("loop"))).toMatchObject({
      address: "0x8000000a",
      bytes: "2e 95",
      text: "add a0,a0,a1",
    });
  });

  it("takes no number for a label", () => {
    const { rows } = translate("6502", "place = $401\nsta place\nend: brk", undefined);
    expect(rows.map(({ labels }) => labels)).toEqual([[], ["end"]]);
  });

  it("is cut off where it is long, and says so", () => {
    const { rows, hiddenRows } = translate("rv64", "nop\n".repeat(2500), undefined);
    expect([rows.length, hiddenRows]).toEqual([2000, 500]);
  });
});

describe("a line of a stage", () => {
  const { stages } = translate("rv64", loop, "0x8000000a");

  it("belongs to its instruction in IR", () => {
    expect(textsAt(stages.ir, "0x8000000c")).toEqual([
      "insn +2 len 2  ; addi a1,a1,-1",
      "%6 = get.i64 x[11]",
      "%7 = const.i64 -1",
      "%8 = add.i64 %6, %7",
      "set x[11], %8",
    ]);
    expect(textsAt(stages.optimised, "0x8000000c")).toEqual([
      "insn +2 len 2  ; addi a1,a1,-1",
      "%6 = const.i64 -1",
      "%7 = add.i64 %2, %6",
      "set x[11], %7",
    ]);
  });

  it("belongs to its instruction in emitted code, a loop's head to the loop's first", () => {
    expect(textsAt(stages.wasm, "0x8000000a").map((text) => text.replace(/^[\da-f]{4} +/, ""))).toEqual([
      "#0 0x8000000a: 3 instructions (loop) -> back to #0, #1",
      "loop L4 {",
      expect.stringMatching(/^if \(budget/),
      expect.stringMatching(/^i64.store\[pc\]/),
      "break L3",
      "}",
      ";; block 0x8000000a",
      "budget = budget - 3",
      ";; 0x8000000a: add a0,a0,a1",
      "a0 = a0 + a1",
    ]);
    const script = textsAt(stages.javascript, "0x8000000a");
    expect(script.slice(1, 5)).toEqual([
      "L0: for (;;) {",
      expect.stringMatching(/^if \(n < 4\)/),
      "n = n - 3 | 0;",
      "// 0x8000000a: add a0,a0,a1",
    ]);
    expect(textsAt(stages.javascript, "0x80000010")).toContain("n = n - 1 | 0;");
  });

  it("belongs to none where it is the region's own", () => {
    expect(textsAt(stages.javascript, undefined)).toEqual(
      expect.arrayContaining(["let n = I[0];", "bail: {", "return jump();", "}"]),
    );
    const ends = stages.wasm.slice(-2);
    expect(ends.map(({ address }) => address)).toEqual([undefined, undefined]);
  });

  it("is of the program's first block, where none begins at the address asked for", () => {
    expect(translate("rv64", loop, "0x8000000c").stages.block).toBe("0x80000000");
  });
});

describe("a mistake", () => {
  for (const [isa, source, line, problem] of [
    ["rv64", "li a0, 0\nfoo a1\n", 2, "no instruction foo in RV64"],
    ["rv32", "nop\n\nld a0, 0(sp)", 3, "no instruction ld in RV32"],
    ["6502", "lda #1\nxyz $10", 2, "xyz has no such operand: xyz $10"],
    ["rv64", "# nothing", undefined, "the program is empty: write an instruction"],
    ["rv64", ".word 1", undefined, "the program is all data: write an instruction"],
    ["rv64", ".zero 70000\nnop", undefined, "the program has 70002 bytes: at most 65536"],
    ["rv64", "#".repeat(65537), undefined, "the program has 65537 characters: at most 65536"],
  ] as const) {
    it(`says ${problem}`, () => {
      let caught: unknown;
      try {
        translate(isa, source, undefined);
      } catch (error) {
        caught = error;
      }
      expect(caught).toMatchObject({ code: "E_SOURCE", line, message: problem });
    });
  }
});
