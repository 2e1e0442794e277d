import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { binutils, gnuAssemble } from "../../test/objdump.js";
import { randomWords, sampleEncodings } from "../../test/riscv-encodings.js";
import { AssemblyError } from "../table/assembly-lexer.js";
import { assemble } from "./assembler.js";
import { disassemble } from "./disassembler.js";
import { riscvTable } from "./isa.js";

const ORIGIN = 0x80000000;
const file = (name: string) => new URL(`../../test/assembly/${name}`, import.meta.url);
const source = (name: string) => readFileSync(file(`${name}.s`), "utf8");
const bytesOf = (text: string, xlen: 32 | 64 = 64) => [...assemble(text, { xlen, origin: ORIGIN }).bytes];
const words = (text: string, xlen: 32 | 64 = 64) => {
  const { bytes } = assemble(text, { xlen, origin: ORIGIN });
  return [...new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)];
};

/** Lines of 16 bytes in hexadecimal. */
const dump = (bytes: Uint8Array): string =>
  Array.from({ length: Math.ceil(bytes.length / 16) }, (_, row) =>
    [...bytes.subarray(row * 16, row * 16 + 16)].map((byte) => byte.toString(16).padStart(2, "0")).join(" "),
  ).join("\n");

const oracle =
  binutils === undefined ? "skipped: GNU binutils for RISC-V are not installed" : `${binutils}as`;

const programs = [
  ["both", 64],
  ["both", 32],
  ["rv64", 64],
  ["rv32", 32],
  ["compressed", 64],
  ["compressed", 32],
] as const;

describe.each(programs)("the program %s for RV%d", (name, xlen) => {
  const text = source(name);
  const golden = file(`${name}.rv${xlen}.hex`);

  it("assembles to the committed bytes", () => {
    const made = `${dump(assemble(text, { xlen, origin: ORIGIN }).bytes)}\n`;
    if (process.env.UPDATE_FILETESTS === "1") writeFileSync(golden, made);
    expect(made).toBe(readFileSync(golden, "utf8"));
  });

  it.skipIf(binutils === undefined)(`assembles to GNU's bytes (${oracle})`, () => {
    expect(dump(assemble(text, { xlen, origin: ORIGIN }).bytes)).toBe(dump(gnuAssemble(text, xlen, ORIGIN)));
  });
});

describe("symbols", () => {
  it("are the labels and equates, as absolute addresses and values", () => {
    const { symbols, bytes } = assemble(
      ".option norvc\na: nop\n.equ five, later - 0x80000000 + 1\nlater: b = . - a",
      {
        xlen: 64,
        origin: ORIGIN,
      },
    );
    expect([...symbols].sort()).toEqual([
      ["a", 0x80000000n],
      ["b", 4n],
      ["five", 5n],
      ["later", 0x80000004n],
    ]);
    expect(bytes.length).toBe(4);
  });

  it("tell numeric labels before from those after", () => {
    expect(words(".option norvc\n1: j 1f\n1: j 1b\nj 1f\n1: j 1b")).toEqual([
      0x0040006f, 0x0000006f, 0x0040006f, 0x0000006f,
    ]);
  });

  it("reach around the end of the address space", () => {
    const { bytes } = assemble(".option norvc\nj start - 8\nstart = 0", { xlen: 32, origin: 0 });
    expect(bytes).toEqual(new Uint8Array([0x6f, 0xf0, 0x9f, 0xff]));
  });
});

describe("layout", () => {
  it("moves to absolute addresses and fills", () => {
    expect(bytesOf(".byte 1\n.org 4, 0xaa\n.byte 2")).toEqual([1, 0xaa, 0xaa, 0xaa, 2]);
    expect(bytesOf("a: .byte 1\n.org a + 2\n.byte 2\n. = . + 1\n.byte 3")).toEqual([1, 0, 2, 0, 3]);
    expect(bytesOf(".byte 1\n.p2align 2, 0x55\n.byte 2")).toEqual([1, 0x55, 0x55, 0x55, 2]);
  });

  it("pads code with instructions that do nothing", () => {
    expect(bytesOf("c.nop\n.balign 8")).toEqual([0x01, 0, 0x01, 0, 0x13, 0, 0, 0]);
    expect(bytesOf(".option norvc\nnop\n.align 3")).toEqual([0x13, 0, 0, 0, 0x13, 0, 0, 0]);
    expect(bytesOf(".byte 1\n.balign 4")).toEqual([1, 0, 0x01, 0]);
    expect(bytesOf(".byte 1\n.p2align 3, , 6\n.byte 2\n.p2align 2, , 2")).toEqual([1, 2, 0x01, 0]);
  });

  it("ignores what only a linker or debugger needs", () => {
    expect(
      bytesOf('.section .text.init, "ax"\n.type f, @function\n.globl f\n.size f, . - f\n.data\n.byte 7'),
    ).toEqual([7]);
  });
});

describe("a number that li loads", () => {
  const mask = (xlen: 32 | 64) => (1n << BigInt(xlen)) - 1n;
  /** Runs a `li` sequence by its bits alone. */
  const load = (value: bigint, xlen: 32 | 64) => {
    let register = 0n;
    const { bytes } = assemble(`.option norvc\nli a0, ${value}`, { xlen });
    for (const bits of new Int32Array(bytes.buffer)) {
      const source = (bits & 0xf8000) === 0 ? 0n : register;
      const immediate = BigInt(bits >> 20);
      const opcode = bits & 0x7f;
      if (opcode === 0x37) register = BigInt(bits & -4096);
      else if (opcode === 0x1b) register = BigInt.asIntN(32, source + immediate);
      else if ((bits & 0x7000) === 0x1000) register = BigInt.asIntN(xlen, source << (immediate & 63n));
      else register = BigInt.asIntN(xlen, source + immediate);
    }
    return { value: register & mask(xlen), instructions: bytes.length / 4 };
  };

  it.each([32, 64] as const)("arrives whole in RV%d", (xlen) => {
    const numbers: bigint[] = [];
    for (let bit = 0; bit < xlen; bit++) {
      for (const offset of [-2049n, -2048n, -1n, 0n, 1n, 2047n, 2048n])
        numbers.push((1n << BigInt(bit)) + offset);
    }
    for (const number of numbers.flatMap((value) => [value, -value])) {
      if (BigInt.asIntN(xlen, number) !== number && BigInt.asUintN(xlen, number) !== number) continue;
      const loaded = load(number, xlen);
      expect(loaded.value).toBe(number & mask(xlen));
      expect(loaded.instructions).toBeLessThanOrEqual(xlen === 64 ? 8 : 2);
    }
  });
});

describe.each([32, 64] as const)("text of RV%d", (xlen) => {
  const table = riscvTable(xlen);
  // Both have fields that no text shows and no hardware heeds.
  const hidden = /^(fence|fence\.i)(\t|$)/;

  it.each([true, false])("assembles to what it was disassembled from, aliases %s", (aliases) => {
    const samples = sampleEncodings(table, 25, 9).map(({ entry, bits, length }) => {
      // GNU's assembler makes `c.mv` of `addi a0,a0,0`.
      const text = disassemble(table, bits, length, undefined, { aliases });
      return { entry, bits, length, text: aliases ? text.replace(/^addi\t(\w+),\1,0$/, "mv\t$1,$1") : text };
    });
    const covered = new Set<string>();
    const differences: string[] = [];
    for (const { entry, bits, length, text } of samples) {
      if (text.includes("unknown")) continue;
      covered.add(entry.name);
      const { bytes } = assemble(length === 4 ? `.option norvc\n${text}` : text, { xlen });
      const made = new DataView(bytes.buffer);
      const again = bytes.length === 2 ? made.getUint16(0, true) : made.getUint32(0, true);
      const printed = disassemble(table, again, bytes.length, undefined, { aliases });
      if (printed !== text && !hidden.test(text)) differences.push(`${text}: printed ${printed}`);
      // Base names of compressed instructions may stand for others that do the same.
      if (hidden.test(text) || (length === 2 && aliases)) continue;
      if (bytes.length !== length || again !== bits >>> 0)
        differences.push(`${(bits >>> 0).toString(16)} ${text}`);
    }
    expect(differences).toEqual([]);
    expect([...covered].sort()).toEqual(table.entries.map(({ name }) => name).sort());
  });

  it.skipIf(binutils === undefined)(`compressed where it can be, assembles as GNU's (${oracle})`, () => {
    const texts = sampleEncodings(table, 20, 5).map(({ bits, length }) => disassemble(table, bits, length));
    // GNU's assembler takes no rounding mode for conversions that never round, and no compressed shift by 0.
    const refused = /unknown|^fcvt\.d\.(s|wu?)\t.*,(r\w\w|dyn)$|^c\.s\w+\t\w+,0x0$/;
    const lines = [...new Set(texts)].filter((text) => !refused.test(text) && !/\. [-+] /.test(text));
    const source = `${lines.join("\n")}\n.balign 8`;
    expect(dump(assemble(source, { xlen, origin: ORIGIN }).bytes)).toBe(
      dump(gnuAssemble(source, xlen, ORIGIN)),
    );
    expect(lines.length).toBeGreaterThan(2000);
  });

  it.skipIf(binutils === undefined)(`with branches and labels assembles as GNU's (${oracle})`, () => {
    for (let seed = 1; seed <= 6; seed++) {
      const source = randomProgram(xlen, seed);
      const made = dump(assemble(source, { xlen, origin: ORIGIN }).bytes);
      expect(made, `seed ${seed}`).toBe(dump(gnuAssemble(source, xlen, ORIGIN)));
    }
  });
});

/** Branches, jumps and data among labels, near and far. */
function randomProgram(xlen: 32 | 64, seed: number): string {
  const random = randomWords(seed * 7919);
  const pick = <T>(items: readonly T[]): T => items[random() % items.length]!;
  const length = 60 + (random() % 300);
  const lines = ["1:"];
  for (let index = 0; index < length; index++) {
    const near = Math.max(0, Math.min(length - 1, index + (random() % 80) - 40));
    const target = () => pick([`L${near}`, `L${random() % length}`, "1f", "1b"]);
    const register = () => pick(["zero", "ra", "sp", "t0", "s0", "s1", "a0", "a1", "a5", "s2", "t6"]);
    const writable = () => pick(["t0", "s0", "a0", "a5", "t6"]);
    lines.push(random() % 10 === 0 ? `1: L${index}:` : `L${index}:`);
    lines.push(
      pick([
        () => `${pick(["beq", "bne", "blt", "bgeu"])} ${register()}, ${register()}, ${target()}`,
        () => `${pick(["beqz", "bnez", "bltz"])} ${register()}, ${target()}`,
        () => `j ${target()}`,
        () => `jal ${target()}`,
        () => `call ${target()}`,
        () => `la ${writable()}, ${target()}`,
        () => `.align ${3 + (random() % 2)}`,
        () => `.space ${random() % 16 === 0 ? 4000 : 2 + 2 * (random() % 40)}`,
        () => `.option ${pick(["rvc", "rvc", "norvc"])}`,
        () =>
          `li ${writable()}, ${xlen === 64 ? BigInt.asIntN(64, 0x9e3779b97f4a7c15n * BigInt(random())) >> BigInt(random() % 64) : (random() | 0) >> (random() % 32)}`,
        () => `.word ${target()} - ${target()}, ., . - L0`,
        () => `lw ${writable()}, ${4 * (random() % 40)}(${register()})`,
        () => `add ${register()}, ${register()}, ${register()}`,
        () => `addi ${register()}, ${register()}, ${(random() % 80) - 40}`,
        () => `mv ${register()}, ${register()}`,
      ])(),
    );
  }
  return `${lines.join("\n")}\n1: nop\n.option rvc\n.balign 16`;
}

describe("a size", () => {
  it("may depend on what stands below, and on branches in between", () => {
    expect(bytesOf(".zero n\n.equ n, end - start\nstart: j end\nend:")).toEqual([0, 0, 0x09, 0xa0]);
    expect(bytesOf("start: .byte 1, 2, 3\nend: .space 2 * (end - start), 9")).toEqual([
      1, 2, 3, 9, 9, 9, 9, 9, 9,
    ]);
  });

  it("of a far branch is that of a branch around a jump", () => {
    const { bytes } = assemble("blt a0, a1, far\n.space 5000\nfar: beqz a0, near\n.space 300\nnear:", {
      xlen: 64,
    });
    const table = riscvTable(64);
    const view = new DataView(bytes.buffer);
    expect(disassemble(table, view.getUint32(0, true), 4, 0n)).toBe("bge\ta0,a1,0x8");
    expect(disassemble(table, view.getUint32(4, true), 4, 4n)).toBe("j\t0x1390");
    expect(disassemble(table, view.getUint32(5008, true), 4, 5008n)).toBe("beqz\ta0,0x14c0");
  });

  it("that depends on itself is told", () => {
    expect(() => assemble(".zero end - . == 0\n.zero 1\nend = x\nx:", { xlen: 64 })).not.toThrow("stack");
    expect(() => assemble("a: .space 1 - (b - a)\nb:", { xlen: 64 })).toThrow(
      "line 1, column 1: a size here depends on itself",
    );
  });
});

describe("an instruction", () => {
  it.each([
    [".insn 4, 0x13", [0x00000013]],
    [".insn 0x00000013", [0x00000013]],
    [".insn 2, 0x8082\n.insn 0x8082", [0x80828082]],
    ["call x@plt\nx:", [0x00000097, 0x008080e7]],
    ["jump x, t0\nx:", [0x00000297, 0x00828067]],
    ["pause", [0x0100000f]],
    ["scall", [0x00000073]],
    ["lw a0, x + 4\nx:", [0x00000517, 0x00c52503]],
  ])("%s is understood", (text, expected) => expect(words(text)).toEqual(expected));
});

describe("sections", () => {
  it("come one after the other, in the order of their first mention", () => {
    const { bytes, symbols } = assemble(
      '.data\na: .byte 1\n.text\nc.nop\n.section .rodata.x, "a"\n.byte 5\n.data\nb: .byte 2\n.previous\n.byte 6',
      { xlen: 64 },
    );
    expect([...bytes]).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 5, 6]);
    expect(symbols.get("b")).toBe(9n);
  });

  it("nest, and pad with zeros where there is no code", () => {
    expect(bytesOf("c.nop\n.pushsection .data\n.byte 1\n.align 2\n.popsection\nc.nop")).toEqual([
      1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0,
    ]);
  });
});

describe("an expression", () => {
  const value = (text: string) => assemble(`.equ x, ${text}`, { xlen: 64 }).symbols.get("x");
  it.each([
    ["1 + 2 * 3", 7n],
    ["(1 + 2) * 3", 9n],
    ["1 + 6 & 3", 3n],
    ["2 * 3 | 8", 14n],
    ["-7 / 2", -3n],
    ["-7 % 4", -3n],
    ["-1 >> 60", 15n],
    ["~0 - -1", 0n],
    ["!5 + !0", 1n],
    ["1 << 4 - 1", 15n],
    ["3 > 2", -1n],
    ["1 + 1 == 2", -1n],
    ["2 != 2 || 3 && 4", 1n],
    ["'A + '\\n'", 75n],
    ["0x10 + 0b11 + 010", 27n],
    ["x2 * 2\n.set x2, 21", 42n],
  ])("%s is %d", (text, expected) => expect(value(text)).toBe(expected));

  it.skipIf(binutils === undefined)(`agrees with GNU's about precedence (${oracle})`, () => {
    const random = randomWords(3);
    const operators = "* / % << >> | & ^ + - == != < > <= >= && ||".split(" ");
    const lines = Array.from({ length: 300 }, () => {
      const operand = () => `${["", "", "-", "~"][random() % 4]}${1 + (random() % 9)}`;
      let text = operand();
      for (let more = 1 + (random() % 4); more > 0; more--)
        text += ` ${operators[random() % operators.length]} ${operand()}`;
      return text;
    }).filter((text) => !/(<<|>>) [-~]/.test(text));
    const kept = lines.filter((text) => {
      try {
        return BigInt.asIntN(63, value(text)!) === value(text);
      } catch {
        return false;
      }
    });
    const source = kept.map((text) => `.dword ${text}`).join("\n");
    expect(dump(assemble(source, { xlen: 64 }).bytes)).toBe(dump(gnuAssemble(`${source}`, 64, ORIGIN)));
    expect(kept.length).toBeGreaterThan(100);
  });

  it("takes a symbol's value where it stands", () => {
    expect(bytesOf(".set i, 1\n.byte i\n.set i, i + 1\n.byte i, later\nlater = 9")).toEqual([1, 2, 9]);
  });
});

describe("hostile source", () => {
  const lines = (count: number, line: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => line(index)).join("\n");

  it("of chained definitions takes no exponential time and no deep stack", () => {
    const doubled = `${lines(60, (index) => `.equ a${index}, a${index + 1} | a${index + 1}`)}\na60 = 1`;
    expect(assemble(doubled, { xlen: 64 }).symbols.get("a0")).toBe(1n);
    const deep = `${lines(40_000, (index) => `.equ a${index}, a${index + 1} + 1`)}\na40000:`;
    expect(assemble(deep, { xlen: 64 }).symbols.get("a0")).toBe(40_000n);
    const counted = `.set i, 0\n${lines(40_000, () => ".set i, i + 1")}`;
    expect(assemble(counted, { xlen: 64 }).symbols.get("i")).toBe(40_000n);
    const circle = `${lines(40_000, (index) => `.equ a${index}, a${(index + 1) % 40_000} + 1`)}`;
    expect(() => assemble(circle, { xlen: 64 })).toThrow("is defined by itself");
    const squares = `a0 = 3\n${lines(40, (index) => `a${index + 1} = a${index} * a${index}`)}`;
    expect(() => assemble(squares, { xlen: 64 })).toThrow("the result of * has more than 64 bits");
  });

  it("of deep expressions takes no deep stack", () => {
    const depth = 200_000;
    expect(bytesOf(`.byte ${"(".repeat(depth)}7${")".repeat(depth)}`)).toEqual([7]);
    expect(bytesOf(`.byte ${"- ".repeat(depth)}7`)).toEqual([7]);
    expect(bytesOf(`.byte 7${" + 0".repeat(depth)}`)).toEqual([7]);
    expect(() => bytesOf(`.byte ${"(".repeat(depth)}7`)).toThrow('expected ")", the statement ends');
    expect(() => bytesOf(`.ascii "${"a".repeat(1_000_000)}`)).toThrow("the string has no end");
    expect(bytesOf(`.ascii "${"a".repeat(1_000_000)}"`).length).toBe(1_000_000);
    expect(() => bytesOf(`.byte ${"9".repeat(1_000_000)}`)).toThrow("the number has more than 64 bits");
  });

  it("of many labels and branches is assembled", () => {
    const { bytes } = assemble(lines(40_000, () => "1: j 1f\nbnez a0, 1b").concat("\n1:"), { xlen: 64 });
    expect(bytes.length).toBe(160_000);
    // Each branch reaches only until the next one grows.
    const chain = assemble(
      lines(3000, (index) => `L${index}: beqz a0, L${index + 64}\n.half 0`).concat(
        "\n.zero 3000\n",
        lines(64, (index) => `L${3000 + index}:`),
      ),
      { xlen: 64 },
    );
    expect(chain.bytes.length).toBeGreaterThan(15_000);
  });
});

describe("a fault", () => {
  it.each([
    ["frob a0", "line 1, column 1: no instruction frob in RV64"],
    ["nop\n  add a0, a1", 'line 2, column 13: expected ",", the statement ends'],
    ["add a0, a1, 5 5", 'line 1, column 15: expected the end of the statement, found "5"'],
    ["add a0, a1, )", 'line 1, column 13: expected an integer register or an expression, found ")"'],
    ["fadd.s a0, fa1, fa2", 'line 1, column 8: expected a floating-point register, found "a0"'],
    ["fadd.s fa0, fa1, fa2, rxx", 'line 1, column 23: expected a rounding mode, found "rxx"'],
    ["addi a0, a1, 2048", "line 1, column 14: 2048 does not fit addi: expected -2048 to 2047"],
    ["slli a0, a1, 64", "line 1, column 14: 64 does not fit slli: expected 0 to 63"],
    ["c.lw t0, 4(a0)", "line 1, column 6: x5 does not fit c.lw: expected x8 to x15"],
    ["c.lw a0, 3(a0)", "line 1, column 10: 3 does not fit c.lw: expected 0 to 124 in steps of 4"],
    [
      "c.addi16sp sp, 0",
      "line 1, column 16: 0 does not fit c.addi16sp: expected -512 to 496 in steps of 16 but not 0",
    ],
    ["c.addi16sp a0, 16", 'line 1, column 12: expected sp, found "a0"'],
    ["c.li a0, 32", "line 1, column 10: 32 does not fit c.li: expected -32 to 31"],
    ["lui a0, 0x100000", "line 1, column 9: 1048576 is no 20-bit number"],
    ["j nowhere", "line 1, column 3: nowhere is not defined"],
    [
      "jal a0, far\n.zero 0x100000\nfar:",
      "line 1, column 9: 1048580 does not fit jal: expected -1048576 to 1048574 in steps of 2",
    ],
    ["c.beqz a0, . + 256", "line 1, column 12: 256 does not fit c.beqz: expected -256 to 254 in steps of 2"],
    [
      "beq a0, a1, . + 3",
      "line 1, column 13: -1 does not fit jal: expected -1048576 to 1048574 in steps of 2",
    ],
    ["j 1b\n1:", "line 1, column 3: no label for 1b"],
    ["a: nop\na: nop", "line 2, column 1: a is defined twice"],
    [".equ a, b\n.equ b, a", "line 1, column 9: b is defined by itself"],
    [".zero n", "line 1, column 7: n is not defined"],
    ["li a0, later", "line 1, column 8: later is not defined"],
    ["li a0, 0x10000000000000000", "line 1, column 8: the number has more than 64 bits"],
    ["lui a0, %hi(0x80000000)", "line 1, column 9: 0x80000000 is out of the reach of lui: use la"],
    ["call 0x100000000", "line 1, column 6: 0x100000000 is more than 2 GiB away"],
    ["addi a0, a0, %pcrel_lo(1f)\n1:", "line 1, column 14: no %pcrel_hi at the address that %pcrel_lo names"],
    ["addi a0, a0, %tprel(1)", "line 1, column 14: no function %tprel"],
    ["lr.w a0, 4(a1)", "line 1, column 10: this address takes no distance"],
    ["add.aq a0, a1, a2", "line 1, column 1: no instruction add.aq in RV64"],
    [".byte 256", "line 1, column 7: 256 does not fit 1 byte"],
    [".half -32769", "line 1, column 7: -32769 does not fit 2 bytes"],
    [".ascii 5", 'line 1, column 8: expected a string, found "5"'],
    ['.ascii "open', "line 1, column 8: the string has no end on its line"],
    ["/* open", "line 1, column 1: the comment has no end"],
    [".byte 08", "line 1, column 7: 08 is no octal number"],
    [".byte 12ab", "line 1, column 7: 12ab is no number"],
    ["nop ?", 'line 1, column 5: unexpected character "?"'],
    [".align 40", "line 1, column 8: 40 is no alignment"],
    [".balign 3", "line 1, column 9: 3 is no alignment"],
    ["nop\n.org 0", "line 2, column 6: .org goes back by 2 bytes"],
    [".zero 0x7fffffff", "line 1, column 7: 2147483647 bytes are out of range"],
    [".zero 0x10000000\n.byte 1", "line 2, column 1: the image grows beyond 268435456 bytes"],
    [".byte 1 / 0", "line 1, column 9: division by zero"],
    [".byte 1 << 99999", "line 1, column 9: shift by 99999 is out of range"],
    [".frob 1", "line 1, column 1: no directive .frob"],
    [".option frob", "line 1, column 9: no option frob"],
    [".option pop", "line 1, column 9: .option pop without a push"],
    [".option norvc\nc.nop", "line 2, column 1: c.nop needs .option rvc"],
    [".insn 3, 0", "line 1, column 7: an instruction has 2 or 4 bytes"],
    [".equiv a, 1\n.equiv a, 2", "line 2, column 8: a is defined twice"],
    ["a: .set a, 1", "line 1, column 9: a is defined twice"],
    [".popsection", "line 1, column 1: .popsection without a .pushsection"],
    ["0x1f: nop", 'line 1, column 1: "0x1f" can\'t be a label'],
    ["5 nop", 'line 1, column 1: expected an instruction or a directive or a label, found "5"'],
    ["csrw 4096, a0", "line 1, column 6: 4096 does not fit csrrw: expected 0 to 4095"],
    ["fence rw, wr", 'line 1, column 11: expected a set of iorw, found "wr"'],
  ])("in %j is told with its place", (text, message) => {
    let thrown: unknown;
    try {
      assemble(text, { xlen: 64, origin: ORIGIN });
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(AssemblyError);
    expect((thrown as AssemblyError).message).toBe(message);
    expect((thrown as AssemblyError).code).toBe("E_ASSEMBLY");
  });

  it("names what the other width lacks", () => {
    expect(() => assemble("ld a0, 0(a1)", { xlen: 32 })).toThrow("no instruction ld in RV32");
    expect(() => assemble("slli a0, a1, 32", { xlen: 32 })).toThrow("expected 0 to 31");
  });
});
