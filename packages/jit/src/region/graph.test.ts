import { describe, expect, it } from "vitest";
import { fileTests, fileTestsIn } from "../../test/filetest.js";
import { limitsIn, Program, regionText } from "../../test/region-text.js";
import { DEFAULT_LIMITS } from "./graph.js";

for (const file of fileTestsIn("regions")) {
  fileTests("regions", file, (input, title) => regionText(input, limitsIn(title)));
}

describe("regions of large programs", () => {
  it("stay within their limits", () => {
    // Each block branches into the next two: far more than a region takes.
    const source = Array.from(
      { length: 400 },
      (_, index) => `b${index}:\n  addi a0, a0, ${index}\n  bnez a0, b${(index * 7 + 3) % 400}\n`,
    );
    const region = new Program(`${source.join("")}j b0\n`).region()!;
    expect(region.nodes.length).toBe(DEFAULT_LIMITS.blocks);
    expect(region.instructions).toBeLessThan(DEFAULT_LIMITS.instructions + DEFAULT_LIMITS.blockInstructions);
  });

  it("take a long unrolled loop as a whole, and nothing after it", () => {
    const body = Array.from({ length: 1500 }, (_, index) => `  addi a${index % 6}, a1, ${index % 100}\n`);
    const after = Array.from({ length: 200 }, () => "  addi a2, a2, 1\n").join("");
    const loop = new Program(`head:\n${body.join("")}  bnez a0, head\n${after}`).region()!;
    // The loop is too long for a branch: one around a jump back.
    expect(loop.instructions).toBe(1502);
    const back = loop.nodes.find(({ place }) => place === 5816 - 4)!;
    expect(back.edges).toMatchObject([{ kind: "node", node: { place: 0 } }]);
    const endless = Array.from({ length: 3 }, () => body.join("")).join("");
    expect(new Program(`${endless}  ret\n`).region()!.instructions).toBeLessThan(
      DEFAULT_LIMITS.straightInstructions + DEFAULT_LIMITS.blockInstructions,
    );
  });

  it("do not grow without bound where functions call one another", () => {
    const names = ["f", "g", "h", "i", "j"];
    const functions = names.map(
      (name) =>
        `${name}_entry:\n  addi sp, sp, -16\n${names.map((other) => `  jal ra, ${other}_entry\n`).join("")}  ret\n`,
    );
    const region = new Program(functions.join("")).region()!;
    expect(region.nodes.length).toBeLessThanOrEqual(DEFAULT_LIMITS.blocks);
    for (const { context } of region.nodes) {
      expect(context.depth).toBeLessThanOrEqual(DEFAULT_LIMITS.callDepth);
      const callees = [];
      for (let at = context; at.caller !== undefined; at = at.caller) callees.push(at.callee);
      expect(new Set(callees).size).toBe(callees.length);
    }
  });
});
