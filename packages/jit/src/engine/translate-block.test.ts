import {
  assemble,
  assembleRows,
  type FrontEnd,
  IrError,
  insnRow,
  isBuiltIn,
  riscvFrontEnd,
  rowFrontEnd,
} from "@hyperfile/decoder";
import { describe, expect, it } from "vitest";
import { programCpu } from "../../test/agree.js";
import { optimise } from "../passes/optimise.js";
import { FlatCpu, type FlatCpuOptions } from "./flat-cpu.js";
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

/** Two instructions, in a front end that is not the library's own. */
const two = rowFrontEnd({
  name: "two",
  slots: [
    { name: "r", type: "i32", length: 8 },
    { name: "pc", type: "i32", length: 1 },
  ],
  rows: {
    addi: insnRow("00000001 rd[2:0] 00000 imm[15:0]", "rd, imm", (m, { rd, imm }) =>
      m.set("r", rd, m.binary("add", m.get("r", rd), m.field(imm))),
    ),
    j: insnRow("00000010 00000000 imm[15:0]", "@imm", (m, { imm }) => m.jump(m.target(imm))),
  },
  illegal: 42,
});
const loopOf = (immediate: number) => assembleRows(two, `loop: addi r1, ${immediate}\n j loop`).bytes;

/** A CPU in a loop, and a switch that makes its front end misbehave from then on. */
function looping(options: Partial<FlatCpuOptions>) {
  let isTurned = false;
  const frontEnd: FrontEnd = {
    ...two,
    translate: (list) => {
      const block = two.translate(list);
      return isTurned ? { ...block, operations: block.operations.slice(0, -1) } : block;
    },
  };
  const cpu = new FlatCpu({ frontEnd, ramBytes: 0x1000, hotThreshold: 3, ...options });
  const turn = () => {
    isTurned = true;
  };
  cpu.write(0, loopOf(1));
  return { cpu, turn };
}

describe.each(["js", "wasm"] as const)("in tier %s blocks", (tier) => {
  it.each(["all", "sampled"] as const)("of others' front ends are always checked where %s are", (verify) => {
    const { cpu, turn } = looping({ tier, verify });
    cpu.run(1000);
    expect(cpu.engine.counters.translations).toBe(1);
    turn();
    cpu.write(0, loopOf(2));
    expect(() => cpu.run(100_000)).toThrow("two: translate(j): %0 insn: the block ends without an exit");
  });

  it("of front ends that are trusted altogether are not", () => {
    const { cpu } = looping({ tier, verify: "off" });
    expect(cpu.run(1000)).toBe("budget");
    expect(cpu.engine.counters).toMatchObject({ translations: 1, verified: 0 });
  });
});

it("JavaScript from others' front ends is always checked, of the library's own one emission in 64", () => {
  const { cpu } = looping({ tier: "js", verify: "sampled" });
  for (let change = 1; change <= 3; change++) {
    cpu.run(1000);
    cpu.write(0, loopOf(change + 1));
  }
  expect(cpu.engine.counters).toMatchObject({ translations: 3, verified: 3 });
  const own = programCpu(
    Array.from({ length: 6 }, (_, at) => `li t0, 9\nl${at}: addi t0, t0, -1\nbnez t0, l${at}`).join("\n"),
    { tier: "js", verify: "sampled" },
  );
  own.run(120);
  expect(own.engine.counters.translations).toBeGreaterThan(3);
  expect(own.engine.counters.verified).toBe(1);
});

describe.each(["js", "wasm", "interpreter", "wasm-interpreter"] as const)("in tier %s a helper", (tier) => {
  const cpuCalling = (name: string, run: () => void) => {
    const effects = { reads: true, writes: true, exits: true };
    const frontEnd = rowFrontEnd({
      name: "calling",
      slots: [
        { name: "r", type: "i32", length: 8 },
        { name: "pc", type: "i32", length: 1 },
      ],
      rows: {
        call: insnRow("00000001 000000000000000000000000", "", (m) => {
          m.call({ name, parameters: [], result: null, effects }, []);
        }),
        addi: insnRow("00000010 rd[2:0] 00000 imm[15:0]", "rd, imm", (m, { rd, imm }) =>
          m.set("r", rd, m.binary("add", m.get("r", rd), m.field(imm))),
        ),
      },
      illegal: 42,
    });
    const cpu = new FlatCpu({ frontEnd, ramBytes: 0x1000, tier, helpers: { [name]: run } });
    cpu.write(0, assembleRows(frontEnd, "call\n addi r1, 2").bytes);
    return cpu;
  };

  it.each(["I", "P", "jump", "ld32", "decode", "constructor", "toString", "eval"])(
    "may be called %s, and is what runs",
    (name) => {
      let calls = 0;
      const cpu = cpuCalling(name, () => calls++);
      cpu.run(2);
      expect([calls, cpu.get("r", 1)]).toEqual([1, 2]);
    },
  );

  it.each(["a.b", "x(0), f", "process.exit", "a b", "a`"])("may not be called %s", (name) => {
    expect(() => cpuCalling(name, () => {})).toThrow(name);
  });
});

it("the library's own front ends can't be changed", () => {
  expect(isBuiltIn(riscv)).toBe(true);
  expect(isBuiltIn({ ...riscv })).toBe(false);
  expect(() => Object.assign(riscv, { translate: broken.translate })).toThrow(TypeError);
});
