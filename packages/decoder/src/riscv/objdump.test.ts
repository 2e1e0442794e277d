/**
 * The disassembler against GNU objdump, over samples of every row. Three differences are meant:
 * - objdump 2.40 prints immediate forms by the register form's name where it prints aliases (`add a0,a0,1`), older
 *   and newer releases by their own, as we do;
 * - it knows compressed shifts by 0 under names of the 128-bit set;
 * - it calls instructions with reserved fields illegal that the manual tells hardware to execute.
 */
import { describe, expect, it } from "vitest";
import { binutils, objdump } from "../../test/objdump.js";
import { randomWords, sampleEncodings } from "../../test/riscv-encodings.js";
import { disassemble } from "./disassembler.js";
import { riscvTable } from "./isa.js";

const ORIGIN = 0x80000000;
const reservedFields = new Set(["fence", "fence.i", "fcvt.d.s", "fcvt.d.w", "fcvt.d.wu"]);
const registerForm = (text: string) => text.replace(/^(\w+?)i(w?)\t/, "$1$2\t");
const zeroShift = (text: string) => text.replace(/^(c\.s\w+)64\t(\w+)$/, "$1\t$2,0x0");

const title =
  binutils === undefined ? "skipped: GNU binutils for RISC-V are not installed" : `${binutils}objdump`;
describe.skipIf(binutils === undefined)(`assembly text agrees with ${title}`, () => {
  it.each([
    [64, true],
    [64, false],
    [32, true],
    [32, false],
  ] as const)("for RV%d, aliases %s", (xlen, aliases) => {
    const table = riscvTable(xlen);
    const samples = sampleEncodings(table, 40, xlen);
    const printed = objdump(samples, xlen, ORIGIN, aliases ? [] : ["-M", "no-aliases"]);
    expect(printed.length).toBe(samples.length);
    let pc = BigInt(ORIGIN);
    const differences: string[] = [];
    samples.forEach(({ entry, bits, length }, index) => {
      const ours = disassemble(table, bits, length, pc, { aliases });
      const theirs = zeroShift(printed[index]!);
      pc += BigInt(length);
      const same = ours === theirs || (aliases && registerForm(ours) === theirs);
      const reserved = theirs.startsWith(".4byte") && reservedFields.has(entry.name);
      if (!same && !reserved)
        differences.push(`${(bits >>> 0).toString(16)}: ours ${ours}, theirs ${theirs}`);
    });
    expect(differences).toEqual([]);
  });

  it.each([32, 64] as const)("about which 16-bit patterns are instructions of RV%d", (xlen) => {
    const table = riscvTable(xlen);
    const patterns = Array.from({ length: 0x10000 }, (_, bits) => ({ bits, length: 2 })).filter(
      ({ bits }) => bits !== 0 && (bits & 3) !== 3,
    );
    const printed = objdump(patterns, xlen, ORIGIN);
    // objdump lets c.addi16sp be without a distance, and compressed shifts of RV32 by 32 and more.
    const isLenient = (bits: number) =>
      bits === 0x6101 || (xlen === 32 && ((bits & 0xf003) === 0x1002 || (bits & 0xf803) === 0x9001));
    const differences = patterns.filter(
      ({ bits }, index) =>
        !isLenient(bits) && (table.match(bits, 2) === undefined) !== printed[index]!.startsWith(".2byte"),
    );
    expect(differences.map(({ bits }) => bits.toString(16))).toEqual([]);
  });

  it.each([32, 64] as const)("about which patterns beside the instructions of RV%d are none", (xlen) => {
    const table = riscvTable(xlen);
    const random = randomWords(xlen);
    const near = sampleEncodings(table, 40, 5)
      .filter(({ length }) => length === 4)
      .map(({ bits }) => ({ bits: bits ^ (4 << (random() % 30)), length: 4 }))
      .filter(({ bits }) => (bits & 0x1c) !== 0x1c);
    const printed = objdump(near, xlen, ORIGIN);
    const differences = near.flatMap(({ bits }, index) => {
      const entry = table.match(bits, 4);
      const theirs = printed[index]!;
      const illegal = theirs.startsWith(".4byte");
      // objdump lets shifts of RV32 by 32 and more be.
      if (xlen === 32 && (bits & 0x0200307f) === 0x02001013) return [];
      if ((entry === undefined) === illegal || (entry !== undefined && reservedFields.has(entry.name)))
        return [];
      return [`${(bits >>> 0).toString(16)}: ours ${entry?.name}, theirs ${theirs}`];
    });
    expect(differences).toEqual([]);
  });

  it("for the names of all CSRs", () => {
    const table = riscvTable(64);
    const reads = Array.from({ length: 4096 }, (_, csr) => ({ bits: (csr << 20) | 0x52573, length: 4 }));
    const printed = objdump(reads, 64, ORIGIN, ["-M", "no-aliases"]);
    expect(reads.map(({ bits }) => disassemble(table, bits, 4, 0n, { aliases: false }))).toEqual(printed);
  });
});
