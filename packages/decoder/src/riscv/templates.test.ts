/** Every row's blocks are well formed, and their text reads back: with fields as names, and with known values. */
import { describe, expect, it } from "vitest";
import { sampleEncodings } from "../../test/riscv-encodings.js";
import { parseBlock } from "../ir/parse.js";
import { printBlock } from "../ir/print.js";
import type { Block, Helper } from "../ir/types.js";
import { verifyBlock } from "../ir/verify.js";
import { riscvFrontEnd } from "./front-end.js";
import { riscvHelpers } from "./helpers.js";
import { riscvTable } from "./isa.js";

describe.each([32, 64] as const)("the blocks of RV%d", (xlen) => {
  const frontEnd = riscvFrontEnd(xlen);
  const helpers: readonly Helper[] = Object.values(riscvHelpers(xlen));

  function check(block: Block, name: string): void {
    expect(verifyBlock(block, frontEnd.shape), name).toEqual([]);
    const text = printBlock(block, frontEnd.shape);
    const again = parseBlock(text, frontEnd.shape, helpers);
    expect(again, name).toEqual(block);
    expect(printBlock(again, frontEnd.shape), name).toBe(text);
  }

  it.each(frontEnd.templates.map((template) => [template.name, template.block] as const))(
    "%s as a template verify, print and read back",
    (name, block) => check(block, name),
  );

  it("with the fields of encoded instructions verify, print and read back", () => {
    const covered = new Set<string>();
    for (const { entry, bits } of sampleEncodings(riscvTable(xlen), 8, 21)) {
      const bytes = Uint8Array.of(bits, bits >>> 8, bits >>> 16, bits >>> 24);
      check(
        frontEnd.translate([frontEnd.decode(bytes, 0, 4)!]),
        `${entry.name} ${(bits >>> 0).toString(16)}`,
      );
      covered.add(entry.name);
    }
    expect([...covered].sort()).toEqual(
      riscvTable(xlen)
        .entries.map(({ name }) => name)
        .sort(),
    );
  });
});
