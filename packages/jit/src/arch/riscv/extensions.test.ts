/** Extensions bring what their instructions use: every helper and slot stands with the extension or one that it needs. */
import {
  type RiscvExtension,
  RiscvIsa,
  riscvFrontEnd,
  standardExtensions,
  standardIsa,
} from "@hyperfile/decoder";
import { describe, expect, it } from "vitest";
import { RiscvCpu, riscvMemory } from "./cpu.js";
import { hartExtensions, hartFrontEnd, hartIsa } from "./extensions.js";

/** An extension's name with those that it needs, directly or not; all need the base. */
function withNeeds(name: string, found = new Set(["i"])): ReadonlySet<string> {
  found.add(name);
  const { requires = [] } = standardExtensions.find((each) => each.name === name)! as RiscvExtension;
  for (const needed of requires) if (!found.has(needed)) withNeeds(needed, found);
  return found;
}

describe.each([32, 64] as const)("RV%d", (xlen) => {
  const frontEnd = riscvFrontEnd(xlen);
  const { hart } = new RiscvCpu({
    xlen,
    memory: riscvMemory({ ramBytes: 1 << 20 }),
    bus: { read: () => undefined, write: () => false },
    clock: { now: () => 0 },
  });

  it.each(standardExtensions.map((extension) => [extension.name, extension as RiscvExtension] as const))(
    "%s uses only the helpers and slots that it, or what it needs, brings",
    (name, { instructions = {} }) => {
      const needs = withNeeds(name);
      const around = hartExtensions.filter((each) => needs.has(each.name));
      const helpers = new Set(around.flatMap(({ helpers }) => Object.keys(helpers?.(hart) ?? {})));
      const slots = new Set(around.flatMap(({ slots }) => slots?.(xlen).map((slot) => slot.name) ?? []));
      const own = frontEnd.templates.filter((template) => Object.hasOwn(instructions, template.name));
      for (const { name: row, block } of own)
        for (const operation of block.operations) {
          if (operation.helper !== undefined) expect([...helpers], row).toContain(operation.helper.name);
          if (operation.slot !== undefined) expect([...slots], row).toContain(operation.slot);
        }
    },
  );

  it("keeps the places of its slots, which emitted code and saved states of the first format count on", () => {
    const places = [...standardIsa.shape(xlen).slots.values()].map(({ name, offset }) => [name, offset]);
    const names = ["x", "f", "pc", "fs", "frm", "fflags"];
    const offsets = xlen === 64 ? [0, 264, 520, 528, 536, 544] : [0, 136, 392, 400, 408, 416];
    expect(places).toEqual(names.map((name, at) => [name, offsets[at]]));
  });

  it("calls no helper that no extension brings, and each is brought once", () => {
    const brought = hartExtensions.flatMap(({ helpers }) => Object.keys(helpers?.(hart) ?? {}));
    expect(new Set(brought).size).toBe(brought.length);
    expect(brought.sort()).toEqual(
      [
        ...["csrrc", "csrrs", "csrrw", "ebreak", "ecall", "fence_i", "mret", "raise"],
        ...["sfence_inval", "sfence_vma", "sinval_vma", "sret", "wfi"],
      ].sort(),
    );
  });

  it("is not made into a hart without the state that all harts have", () => {
    const without = hartIsa().extensions.filter(({ name }) => !["f", "d"].includes(name));
    expect(() => hartFrontEnd(new RiscvIsa(without), xlen)).toThrow(
      /^a hart needs the extension f: make its instruction set with hartIsa$/,
    );
  });
});
