/**
 * Floating-point instructions in regions against QEMU's user mode: one program an instruction runs in both, on the same
 * operands, rounding modes and accrued flags, and leaves the same results and flags. Operands of binary32 are not
 * always NaN-boxed. HYPERFILE_QEMU_FLOAT_CASES sets the number of cases altogether, HYPERFILE_FLOAT_SEED their seed.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assemble } from "@hyperfile/decoder";
import { beforeAll, describe, expect, it } from "vitest";
import { RiscvCpu, riscvMemory } from "../src/arch/riscv/index.js";
import { generator } from "./lockstep.js";
import { type FloatOperation, floatOperations, operandsFor } from "./wasm-float.js";

const EMULATOR = "qemu-riscv64-static";
const CASES = Number(process.env.HYPERFILE_QEMU_FLOAT_CASES ?? 4000);
const SEED = Number(process.env.HYPERFILE_FLOAT_SEED ?? 1);
const BASE = 0x80000000;
const CODE_BYTES = 0x8000;
const INPUT = BASE + CODE_BYTES;
/** Bytes of a case's operands and `fcsr`, and of its result and `fcsr`. */
const IN_BYTES = 32;
const OUT_BYTES = 16;
const INEXACT = 1;
/** Instructions in a round of the loop, at most. */
const ROUND = 20;

/** An instruction: how its operands are generated, and its text. */
interface Case {
  readonly text: string;
  readonly operation: FloatOperation;
}

const named = (name: string): FloatOperation => floatOperations.find((each) => each.name === name)!;
const register = (type: string, index: number): string => (type.startsWith("f") ? `fa${index}` : `a${index}`);

/** The instructions of an operation of the IR: with a rounding mode of their own, and with that of `fcsr`. */
function instructionsOf(operation: FloatOperation): Case[] {
  const { name, operands, result, rounds } = operation;
  const names = name.startsWith("fma.")
    ? ["fmadd", "fmsub", "fnmadd", "fnmsub"].map((each) => name.replace("fma", each))
    : [name];
  const registers = [register(result, 3), ...operands.map((type, index) => register(type, index))].join(", ");
  // A conversion from 32-bit integers to binary64 is exact: its rounding mode is not written.
  const modes = !rounds || /^fcvt\.d\.wu?$/.test(name) ? [""] : [", rne", ", rtz", ", dyn"];
  return names.flatMap((each) => modes.map((mode) => ({ text: `${each} ${registers}${mode}`, operation })));
}

const cases: readonly Case[] = [
  ...floatOperations.flatMap(instructionsOf),
  ...["fsgnj", "fsgnjn", "fsgnjx"].flatMap((name) =>
    ["d", "s"].map((width) => ({
      text: `${name}.${width} fa3, fa0, fa1`,
      operation: named(`fadd.${width}`),
    })),
  ),
  { text: "fmv.x.w a3, fa0", operation: named("fsqrt.s") },
  { text: "fmv.w.x fa3, a0", operation: named("fcvt.s.w") },
];

/**
 * The program: a loop an instruction, one round of it a case. In user mode it writes its results; on a bare hart it
 * stays at the end.
 */
function program(user: boolean): Uint8Array {
  const loops = cases.map(({ text }, index) => {
    const result = /^\S+ (\w+)/.exec(text)![1]!;
    return `
      li s2, ${COUNT}
    loop${index}:
      fld fa0, 0(s0)
      fld fa1, 8(s0)
      fld fa2, 16(s0)
      ld a0, 0(s0)
      ld t0, 24(s0)
      csrw fcsr, t0
      ${text}
      csrr t1, fcsr
      ${result === "fa3" ? "fsd fa3, 0(s1)" : "sd a3, 0(s1)"}
      sd t1, 8(s1)
      addi s0, s0, ${IN_BYTES}
      addi s1, s1, ${OUT_BYTES}
      addi s2, s2, -1
      bnez s2, loop${index}`;
  });
  const end = user
    ? `li a0, 1\n li a1, ${OUTPUT}\n li a2, ${OUTPUT_BYTES}\n li a7, 64\n ecall\n li a0, 0\n li a7, 93\n ecall`
    : "end: j end";
  const source = `li s0, ${INPUT}\n li s1, ${OUTPUT}\n${loops.join("")}\n${end}`;
  return assemble(source, { xlen: 64, origin: BASE }).bytes;
}

const COUNT = Math.ceil(CASES / cases.length);
const OUTPUT = INPUT + cases.length * COUNT * IN_BYTES;
const OUTPUT_BYTES = cases.length * COUNT * OUT_BYTES;

/** Operands, rounding modes and flags of an instruction's cases. */
function inputOf({ operation }: Case, seed: number): Uint8Array {
  const random = generator(seed);
  const words = new Int32Array((COUNT * IN_BYTES) / 4);
  for (let at = 0; at < COUNT; at++) {
    const generated = operandsFor(operation, random);
    let from = 0;
    operation.operands.forEach((type, index) => {
      const word = at * 8 + index * 2;
      words[word] = generated[from++]!;
      if (type === "f64" || type === "i64") words[word + 1] = generated[from++]!;
      else if (type === "f32") words[word + 1] = random(16) === 0 ? ~random(3) : -1;
      else words[word + 1] = random(0x10000) - 0x8000;
    });
    words[at * 8 + 6] =
      ((random(2) === 0 ? 0 : random(5)) << 5) | random(32) | (random(8) === 0 ? 0 : INEXACT);
  }
  return new Uint8Array(words.buffer);
}

/** A static executable whose bytes are loaded to {@link BASE}, where it begins (System V ABI, "Object Files"). */
function executable(image: Uint8Array): Uint8Array {
  const file = new Uint8Array(0x1000 + image.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  const halves = [2, 243];
  halves.forEach((value, index) => {
    view.setUint16(16 + index * 2, value, true);
  });
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(BASE), true);
  view.setBigUint64(32, 64n, true);
  // e_flags: double-precision floats, compressed instructions.
  view.setUint32(48, 5, true);
  [64, 56, 1, 64, 0, 0].forEach((value, index) => {
    view.setUint16(52 + index * 2, value, true);
  });
  view.setUint32(64, 1, true);
  view.setUint32(68, 7, true);
  [0x1000, BASE, BASE, image.length, image.length, 0x1000].forEach((value, index) => {
    view.setBigUint64(72 + index * 8, BigInt(value), true);
  });
  file.set(image, 0x1000);
  return file;
}

/** Program and input as they lie in memory, with room for the output. */
function imageOf(user: boolean, input: Uint8Array): Uint8Array {
  const image = new Uint8Array(CODE_BYTES + input.length + OUTPUT_BYTES);
  image.set(program(user));
  image.set(input, CODE_BYTES);
  return image;
}

function runInQemu(image: Uint8Array): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "hyperfile-float-"));
  try {
    const path = join(folder, "program");
    writeFileSync(path, executable(image), { mode: 0o755 });
    const { stdout, status, stderr } = spawnSync(EMULATOR, [path], { maxBuffer: 1 << 28 });
    expect(status, stderr.toString()).toBe(0);
    return stdout;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function runInRegions(image: Uint8Array, tier: "wasm" | "js"): { output: Uint8Array; translated: number } {
  const ramBytes = (image.length + 0x1fff) & -0x1000;
  const memory = riscvMemory({ ramBytes, codePages: 32 });
  memory.guest.write(BASE, image);
  const cpu = new RiscvCpu({
    xlen: 64,
    memory,
    bus: { read: () => undefined, write: () => false },
    clock: { now: () => 0 },
    tier,
    hotThreshold: 4,
  });
  cpu.start({ pcLo: BASE | 0, pcHi: 0, mode: 3, args: [] });
  memory.memory.i32[(0x100 + cpu.frontEnd.shape.slots.get("fs")!.offset) >> 2] = 3;
  cpu.run(cases.length * (COUNT * ROUND + 100));
  const output = new Uint8Array(OUTPUT_BYTES);
  memory.guest.read(OUTPUT, output);
  return { output, translated: cpu.engine.counters.translated / cpu.retired() };
}

describe.each(["wasm", "js"] as const)("floating-point instructions in tier %s", (tier) => {
  const missing =
    spawnSync(EMULATOR, ["--version"]).status === 0 ? undefined : `${EMULATOR} is not installed`;
  const input = Buffer.concat(cases.map((each, index) => inputOf(each, SEED * 1000 + index)));
  let expected: Uint8Array = new Uint8Array();
  let actual: ReturnType<typeof runInRegions>;

  beforeAll(() => {
    if (missing !== undefined) return;
    expected = runInQemu(imageOf(true, input));
    actual = runInRegions(imageOf(false, input), tier);
  }, 600_000);

  it("run in regions", (context) => {
    context.skip(missing !== undefined, missing);
    expect(expected.length).toBe(OUTPUT_BYTES);
    expect(actual.translated).toBeGreaterThan(0.8);
  });

  it.for(cases.map(({ text }, index) => ({ text, index })))("$text", ({ index }, context) => {
    context.skip(missing !== undefined, missing);
    const hex = (bytes: Uint8Array, at: number, size: number) =>
      Buffer.from(bytes.subarray(at * size, (at + 1) * size)).toString("hex");
    for (let at = index * COUNT; at < (index + 1) * COUNT; at++) {
      const [result, wanted] = [hex(actual.output, at, OUT_BYTES), hex(expected, at, OUT_BYTES)];
      if (result !== wanted) expect.fail(`${hex(input, at, IN_BYTES)} gives ${result}, in QEMU ${wanted}`);
    }
  });
});
