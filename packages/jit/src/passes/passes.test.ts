import { type Block, evaluateBlock, parseBlock, printBlock, verifyBlock } from "@hyperfile/decoder";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blocks, sampleHelpers, sampleShape } from "../../../decoder/test/block-generator.js";
import { TestEnvironment } from "../../../decoder/test/test-environment.js";
import { fileTests, fileTestsIn } from "../../test/filetest.js";
import { conditionRules } from "./conditions.js";
import { eliminateDead } from "./eliminate-dead.js";
import { extensionRules } from "./extensions.js";
import { constantRules } from "./fold-constants.js";
import { optimise } from "./optimise.js";
import { type Rules, ruleSet, simplify } from "./simplify.js";
import { strengthRules } from "./strength.js";

type Pass = (block: Block) => Block;

/** The walk with some of the rules only; it always forwards slots and finds common subexpressions. */
function only(...tables: Rules[]): Pass {
  const rules = ruleSet(...tables);
  return (block) => simplify(block, rules);
}

const passes: Readonly<Record<string, Pass>> = {
  "forward-slots": only(),
  "common-subexpressions": only(),
  "fold-constants": only(constantRules),
  strength: only(strengthRules),
  extensions: only(extensionRules),
  conditions: only(conditionRules),
  "eliminate-dead": eliminateDead,
  "all-passes": optimise,
};

for (const file of fileTestsIn("passes")) {
  const pass = passes[file.replace(/\.ir$/, "")]!;
  fileTests("passes", file, (input, title) => {
    const shape = sampleShape(title.endsWith("(i32)") ? "i32" : "i64");
    const block = parseBlock(input, shape, sampleHelpers);
    expect(verifyBlock(block, shape)).toEqual([]);
    return printBlock(pass(block), shape);
  });
}

describe.each(Object.entries(passes))("%s", (name, pass) => {
  const everything = { memory: true, atomics: true, floats: true, calls: true, traps: true };
  // Slots indexed by fields may alias: only this pass promises to deal with them.
  const fields = name === "eliminate-dead";

  it.each(["i32", "i64"] as const)("preserves the meaning of blocks of %s", (addressType) => {
    const shape = sampleShape(addressType);
    fc.assert(
      fc.property(blocks({ ...everything, fields, addressType, size: 40 }), fc.nat(), (block, seed) => {
        const result = pass(block);
        expect(verifyBlock(result, shape)).toEqual([]);
        const [before, after] = [
          new TestEnvironment(shape, seed, true),
          new TestEnvironment(shape, seed, true),
        ];
        expect(evaluateBlock(result, after)).toEqual(evaluateBlock(block, before));
        expect(after.snapshot()).toEqual(before.snapshot());
      }),
      { numRuns: 300 },
    );
  });
});

it.each(["forward-slots", "eliminate-dead", "all-passes"])("%s changes nothing the second time", (name) => {
  const pass = passes[name]!;
  const options = {
    memory: true,
    atomics: true,
    floats: true,
    calls: true,
    traps: true,
    addressType: "i64",
  } as const;
  fc.assert(
    fc.property(blocks(options), (block) => {
      const once = pass(block);
      expect(printBlock(pass(once))).toBe(printBlock(once));
    }),
    { numRuns: 50 },
  );
});
