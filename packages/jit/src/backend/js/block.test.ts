import { type Block, type BlockExit, evaluateBlock, type InsnMark, printBlock } from "@hyperfile/decoder";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blocks, sampleHelpers, sampleShape } from "../../../../decoder/test/block-generator.js";
import { JsMachine, RecordingEnvironment } from "../../../test/js-machine.js";
import { callSite } from "../../mmu/ports.js";
import { optimise } from "../../passes/optimise.js";
import { knownTarget } from "../../region/graph.js";
import { type BlockContext, emitBlock } from "./block.js";

/** Compares one run of the emitted block with the evaluator's. */
function compare(
  block: Block,
  addressType: "i32" | "i64",
  seed: number,
  chain: boolean,
  faults: boolean,
): void {
  const shape = sampleShape(addressType);
  const reference = new RecordingEnvironment(shape, seed, faults);
  const exit = evaluateBlock(block, reference);
  const pageOffset = Number(reference.pc & 0xfffn);
  const wideAddresses = addressType === "i64";
  const { hartOffset } = JsMachine;
  const context: BlockContext = {
    shape,
    hartOffset,
    wideAddresses,
    pageOffset,
    granularity: 1,
    alignment: 2,
    chain,
  };
  const text = emitBlock(block, context);
  const machine = new JsMachine(shape, reference, sampleHelpers);
  const outcome = machine.run(text, block.instructions);
  const explain = () => `\n${printBlock(block, shape)}\n${text}\n`;

  const left = expectedLeave(exit, block, pageOffset);
  expect(outcome.left?.site, `call site${explain()}`).toBe(left?.site);
  if (left?.values !== undefined) expect(outcome.left!.values, `trap${explain()}`).toEqual(left.values);
  const { "pc[0]": pc, ...slots } = machine.allSlots();
  const { "pc[0]": _, ...expected } = reference.allSlots();
  expect(slots, `slots${explain()}`).toEqual(expected);
  expect(machine.touchedBytes(), `memory${explain()}`).toEqual(machine.referenceBytes());
  expect(machine.needlessSlowPaths, `TLB hits${explain()}`).toEqual([]);
  const next = nextAddress(exit, reference);
  if (next !== undefined) expect(pc, `pc${explain()}`).toBe(reference.wrap(next));
  const isKnown = !wideAddresses && knownTarget(block, block.operations[block.operations.length - 1]!, 2);
  const inPage = typeof isKnown === "number" && (Number(reference.pc) ^ isKnown) >>> 12 === 0;
  const place = inPage && exit.kind === "indirect" && chain ? isKnown & 0xfff & -2 : undefined;
  expect(outcome.returned, `returned${explain()}`).toBe(place ?? returned(exit, pageOffset, chain));
  expect(machine.budget).toBe(0);
}

/** Call site, and for traps cause and value, of an exit from inside the block. */
function expectedLeave(exit: BlockExit, block: Block, pageOffset: number) {
  const site = (at: InsnMark) => callSite(pageOffset + at.offset, at.length, block.instructions - at.ordinal);
  if (exit.kind === "trap") return { site: site(exit.at), values: [BigInt(exit.cause), exit.value] };
  return exit.kind === "fault" || exit.kind === "helper"
    ? { site: site(exit.at), values: undefined }
    : undefined;
}

function nextAddress(exit: BlockExit, reference: RecordingEnvironment): bigint | undefined {
  if (exit.kind === "jump") return reference.pc + BigInt(exit.distance);
  return exit.kind === "indirect" ? exit.address : undefined;
}

function returned(exit: BlockExit, pageOffset: number, chain: boolean): number | "jump" | null {
  if (!chain || (exit.kind !== "jump" && exit.kind !== "indirect")) return null;
  if (exit.kind === "indirect") return "jump";
  // A block that jumps to itself is a loop, which has used up its budget here.
  if (exit.distance === 0) return null;
  const place = pageOffset + exit.distance;
  return place >= 0 && place < 4096 ? place : "jump";
}

describe.each(["i32", "i64"] as const)(
  "translations with addresses of %s do what the evaluator does",
  (addressType) => {
    const run = (options: Readonly<Record<string, boolean | number>>, numRuns: number, faults = false) =>
      fc.assert(
        fc.property(blocks({ ...options, addressType }), fc.nat(), fc.boolean(), (block, seed, chain) => {
          compare(block, addressType, seed, chain, faults);
          compare(optimise(block), addressType, seed, chain, faults);
        }),
        { numRuns },
      );

    it("for integer arithmetic", () => run({ size: 40 }, 300));
    it("for memory, through the TLB and the slow paths", () =>
      run({ memory: true, atomics: true, size: 20 }, 200));
    it("for floating point", () => run({ floats: true, size: 20 }, 150));
    it("for traps, faults and helpers", () =>
      run({ memory: true, atomics: true, traps: true, calls: true, size: 20 }, 200, true));
  },
);
