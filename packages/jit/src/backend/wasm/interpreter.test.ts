import { type Block, evaluateBlock, type FrontEnd, printBlock, type TemplateField } from "@hyperfile/decoder";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blocks, sampleHelpers, sampleShape } from "../../../../decoder/test/block-generator.js";
import { JsMachine, RecordingEnvironment } from "../../../test/js-machine.js";
import { callSite } from "../../mmu/call-sites.js";
import { entryFormats, InterpreterExit } from "../entry-format.js";
import { ModuleWriter } from "./encoder.js";
import { emitWasmInterpreter } from "./interpreter.js";

const LENGTH = 4;
const field = (name: string, width: number, signed: boolean): TemplateField => ({
  name,
  width,
  signed,
  zeroBecomes: undefined,
});
const fields = [field("rd", 5, false), field("rs", 5, false), field("imm", 12, true)];

/** A front end whose only instruction is `block`. */
const frontEndOf = (block: Block, addressType: "i32" | "i64"): FrontEnd => ({
  name: "sample",
  shape: sampleShape(addressType),
  addressType,
  granularity: 1,
  maximumLength: LENGTH,
  templates: [{ name: "sample", fields, lengths: [LENGTH], block }],
  decode: () => null,
  endsBlock: () => true,
  translate: () => block,
  format: () => "sample",
});

/** Runs one instruction in the interpreter, and in the evaluator. */
function compare(block: Block, addressType: "i32" | "i64", seed: number, scale: number): void {
  const frontEnd = frontEndOf(block, addressType);
  const { shape } = frontEnd;
  const reference = new RecordingEnvironment(shape, seed, true);
  const exit = evaluateBlock(block, reference);
  const formats = entryFormats(frontEnd);
  const values = Object.fromEntries(fields.map(({ name }) => [name, reference.field(name)]));
  const insn = { opcode: 0, length: LENGTH, fields: values };
  const machine = new JsMachine(shape, reference, sampleHelpers);
  const module = new ModuleWriter();
  emitWasmInterpreter(
    module,
    {
      frontEnd,
      hartOffset: JsMachine.hartOffset,
      arenaWord: 0,
      pageWords: 4112,
      wordsPerByteShift: scale,
      countersOffset: 0,
      flagsOffset: machine.flagsOffset,
    },
    formats,
  );
  const format = formats.of(0, LENGTH);
  const entry = [format.first(insn), format.second(insn)] as const;
  const outcome = machine.interpretModule(module, entry, addressType === "i64");
  const explain = () => `\n${printBlock(block, shape)}\n`;

  const left = exit.kind === "trap" || exit.kind === "fault" || exit.kind === "helper";
  const site = callSite(Number(reference.pc & 0xfffn), LENGTH, 1);
  expect(outcome.left?.site, `call site${explain()}`).toBe(left ? site : undefined);
  if (exit.kind === "trap") expect(outcome.left!.values, explain()).toEqual([BigInt(exit.cause), exit.value]);
  const { "pc[0]": pc, ...slots } = machine.allSlots();
  const { "pc[0]": _, ...expected } = reference.allSlots();
  expect(slots, `slots${explain()}`).toEqual(expected);
  expect(machine.touchedBytes(), `memory${explain()}`).toEqual(machine.referenceBytes());
  expect(machine.needlessSlowPaths, `TLB hits${explain()}`).toEqual([]);
  const next =
    exit.kind === "jump"
      ? reference.pc + BigInt(exit.distance)
      : exit.kind === "indirect"
        ? exit.address
        : reference.pc;
  if (exit.kind !== "leave") expect(pc, `pc${explain()}`).toBe(reference.wrap(next));
  // What lies at a target has to be looked up; the instruction after this one is only a matter of budget.
  const jumped =
    exit.kind === "indirect" || (exit.kind === "jump" && outcome.returned !== InterpreterExit.done);
  expect(outcome.returned).toBe(jumped ? InterpreterExit.fetch : InterpreterExit.done);
  // A block that leaves was in a helper, which saved the budget; generated ones may leave without.
  if (exit.kind !== "leave") expect(machine.budget).toBe(0);
}

describe.each(["i32", "i64"] as const)(
  "handlers in WebAssembly with addresses of %s do what the evaluator does",
  (addressType) => {
    const run = (options: Readonly<Record<string, boolean | number>>, numRuns: number) =>
      fc.assert(
        fc.property(
          blocks({ ...options, addressType, template: true }),
          fc.nat(),
          fc.nat(1),
          (block, seed, scale) => compare(block, addressType, seed, scale),
        ),
        { numRuns },
      );

    it("for integer arithmetic", () => run({ size: 20 }, 150));
    it("for memory, traps and helpers", () =>
      run({ memory: true, atomics: true, traps: true, calls: true, size: 12 }, 150));
    it("for floating point", () => run({ floats: true, size: 12 }, 100));
  },
);
