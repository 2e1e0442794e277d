import { assemble, type FrontEnd, IrError, riscvFrontEnd } from "@hyperfile/decoder";
import { expect, it } from "vitest";
import { programCpu } from "../../test/agree.js";
import { optimise } from "../passes/optimise.js";
import { translateBlock } from "./translate-block.js";

const riscv = riscvFrontEnd(64);
const { bytes } = assemble("add a0, a1, a2", { xlen: 64 });
const insns = [riscv.decode(bytes, 0, bytes.length)!];
/** A front end whose blocks have no exit. */
const broken: FrontEnd = {
  ...riscv,
  name: "broken",
  translate: (list) => {
    const block = riscv.translate(list);
    return { ...block, operations: block.operations.slice(0, -1) };
  },
};

it("gives the optimised block, verified or not", () => {
  const expected = optimise(riscv.translate(insns));
  expect(translateBlock({ frontEnd: riscv, verify: true }, insns, "the block")).toEqual(expected);
  expect(translateBlock({ frontEnd: riscv, verify: false }, insns, "the block")).toEqual(expected);
});

it("names a block that breaks the invariants, and who made it", () => {
  const translate = () => translateBlock({ frontEnd: broken, verify: true }, insns, "the block at 0x40");
  expect(translate).toThrow(IrError);
  expect(translate).toThrow("the block at 0x40, as broken writes it: ");
});

it.each(["js", "wasm"] as const)("checks all blocks of tier %s where all are verified", (tier) => {
  const cpu = programCpu("loop: addi a0, a0, 1\n j loop", { tier, verify: "all" });
  // The front end is the CPU's own: from here on its blocks have no exit.
  Object.assign(cpu.frontEnd, { translate: broken.translate });
  expect(() => cpu.run(1000)).toThrow(IrError);
});
