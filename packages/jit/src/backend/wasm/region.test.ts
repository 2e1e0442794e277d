/** Blocks as regions in WebAssembly do what the IR's evaluator does: slots, memory, helpers, traps and faults. */
import {
  type Block,
  BlockBuilder,
  type BlockExit,
  evaluateBlock,
  type InsnMark,
  printBlock,
} from "@hyperfile/decoder";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blocks, sampleHelpers, sampleShape } from "../../../../decoder/test/block-generator.js";
import { JsMachine, RecordingEnvironment } from "../../../test/js-machine.js";
import { callSite } from "../../mmu/call-sites.js";
import { optimise } from "../../passes/optimise.js";
import { type Edge, fixedTarget, type RegionNode } from "../../region/graph.js";
import { structure } from "../../region/structure.js";
import { ModuleWriter } from "./encoder.js";
import { emitWasmRegion } from "./region.js";

const root = { caller: undefined, returnTo: -1, callee: -1, depth: 0 };

/** A node whose edges all leave the region. */
function nodeOf(block: Block, place: number): RegionNode {
  const exit = block.operations[block.operations.length - 1]!;
  const fixed = fixedTarget(block, exit, 1);
  const distances = fixed === undefined ? ((exit.targets ?? []) as readonly number[]) : [fixed];
  const edges = distances.map((distance): Edge => ({ kind: "exit", place: place + distance }));
  return { place, block, length: block.bytes, context: root, edges };
}

function compare(block: Block, addressType: "i32" | "i64", seed: number, faults: boolean, times = 1): void {
  const shape = sampleShape(addressType);
  const reference = new RecordingEnvironment(shape, seed, faults);
  const pageOffset = Number(reference.pc & 0xfffn);
  const node = nodeOf(block, pageOffset);
  let exit = evaluateBlock(block, reference);
  if (times > 1) {
    node.edges = node.edges.map((edge) =>
      edge.kind === "exit" && edge.place === pageOffset ? { kind: "node", node } : edge,
    );
  }
  let runs = 1;
  const comesBack = () => times > 1 && exit.kind === "jump" && exit.distance === 0;
  for (; runs < times && comesBack(); runs++) exit = evaluateBlock(block, reference);
  const machine = new JsMachine(shape, reference, sampleHelpers);
  const module = new ModuleWriter();
  emitWasmRegion(module, "region", structure({ nodes: [node], instructions: block.instructions }), {
    shape,
    hartOffset: JsMachine.hartOffset,
    wideAddresses: addressType === "i64",
    alignment: 2,
    flagsOffset: machine.flagsOffset,
    pages: new Map([[0, 0]]),
  });
  const outcome = machine.runRegion(module, times * block.instructions, addressType === "i64");
  const explain = () => `\n${printBlock(block, shape)}\n`;

  const left = expectedLeave(exit, block, pageOffset);
  expect(outcome.left?.site, `call site${explain()}`).toBe(left?.site);
  if (left?.values !== undefined) expect(outcome.left!.values, `trap${explain()}`).toEqual(left.values);
  const { "pc[0]": pc, ...slots } = machine.allSlots();
  const { "pc[0]": _, ...expected } = reference.allSlots();
  expect(slots, `slots${explain()}`).toEqual(expected);
  expect(machine.touchedBytes(), `memory${explain()}`).toEqual(machine.referenceBytes());
  expect(machine.needlessSlowPaths, `TLB hits${explain()}`).toEqual([]);
  expect(machine.calls.map(({ name, args }) => ({ name, args }))).toEqual(
    reference.calls.map(({ name, args }) => ({ name, args })),
  );
  const seen = ({ slots }: { slots: Readonly<Record<string, bigint>> | undefined }) => {
    const { "pc[0]": _, ...rest } = slots ?? {};
    return rest;
  };
  expect(machine.calls.map(seen), `slots at calls${explain()}`).toEqual(reference.calls.map(seen));
  if (exit.kind === "jump") expect(pc, explain()).toBe(reference.wrap(reference.pc + BigInt(exit.distance)));
  if (exit.kind === "indirect") expect(pc, explain()).toBe(exit.address);
  // A block that leaves was in a helper, which saved the budget; generated ones may leave without.
  if (exit.kind !== "leave") expect(machine.budget).toBe((times - runs) * block.instructions);
}

/** Call site, and for traps cause and value, of an exit from inside the block. */
function expectedLeave(exit: BlockExit, block: Block, pageOffset: number) {
  const site = (at: InsnMark) => callSite(pageOffset + at.offset, at.length, block.instructions - at.ordinal);
  if (exit.kind === "trap") return { site: site(exit.at), values: [BigInt(exit.cause), exit.value] };
  return exit.kind === "fault" || exit.kind === "helper"
    ? { site: site(exit.at), values: undefined }
    : undefined;
}

describe.each(["i32", "i64"] as const)("regions with addresses of %s do what the evaluator does", (type) => {
  const run = (options: Readonly<Record<string, boolean | number>>, numRuns: number, faults = false) =>
    fc.assert(
      fc.property(blocks({ ...options, addressType: type }), fc.nat(), (block, seed) => {
        compare(block, type, seed, faults);
        compare(optimise(block), type, seed, faults);
      }),
      { numRuns },
    );

  it("for integer arithmetic", () => run({ size: 40 }, 200));
  it("for memory, through the TLB and the slow paths", () =>
    run({ memory: true, atomics: true, size: 20 }, 120));
  it("for floating point", () => run({ floats: true, size: 20 }, 100));
  it("for traps, faults and helpers", () =>
    run({ memory: true, atomics: true, traps: true, calls: true, size: 20 }, 150, true));

  it("for loops of one block, which end with the budget, at the latest", () =>
    fc.assert(
      fc.property(
        blocks({ memory: true, traps: true, calls: true, addressType: type, size: 16 }),
        fc.nat(),
        fc.nat(7),
        (body, seed, condition) => {
          const block = optimise(loopOf(body, type, condition));
          compare(block, type, seed, true, 4);
        },
      ),
      { numRuns: 100 },
    ));
});

/** The same operations with a branch back to the start as the exit. */
function loopOf(body: Block, type: "i32" | "i64", condition: number): Block {
  const builder = new BlockBuilder(sampleShape(type), type);
  for (const operation of body.operations.slice(0, -1)) {
    if (operation.op === "insn") builder.insn(operation.at!.offset, operation.at!.length);
    else builder.append(operation);
  }
  const flag = builder.get("n", condition % 4);
  builder.branch(condition < 4 ? flag : builder.compare("ge", flag, builder.const32(0)), 0, body.bytes);
  return builder.finish();
}

it("leaves at once, with nothing done, if the budget does not cover the way to the next check", () => {
  const shape = sampleShape("i64");
  const builder = new BlockBuilder(shape, "i64");
  builder.insn(0, 4);
  builder.set("x", 1, builder.const64(5));
  builder.insn(4, 4);
  builder.jump(8);
  const reference = new RecordingEnvironment(shape, 3);
  const machine = new JsMachine(shape, reference, []);
  const before = machine.allSlots();
  const module = new ModuleWriter();
  emitWasmRegion(module, "region", structure({ nodes: [nodeOf(builder.finish(), 0)], instructions: 2 }), {
    shape,
    hartOffset: JsMachine.hartOffset,
    wideAddresses: true,
    alignment: 2,
    flagsOffset: machine.flagsOffset,
    pages: new Map([[0, 0]]),
  });
  machine.runRegion(module, 1, true);
  expect(machine.allSlots()).toEqual(before);
  expect(machine.budget).toBe(1);
});
