/** Micro-benchmarks of the library's parts through the packages' public interfaces, timed by `benchmark`. */

import {
  encode,
  type FieldValues,
  type GuestInsn,
  parseBlock,
  printBlock,
  riscvFrontEnd,
  riscvTable,
  verifyBlock,
} from "@hyperfile/decoder";
import { RAM_BASE } from "@hyperfile/devices";
import type { Tier } from "@hyperfile/jit";
import {
  AccessKind,
  type Bindings,
  EmissionVerifier,
  emitJsRegion,
  evaluate,
  optimise,
  runtimeBindings,
} from "@hyperfile/jit/engine";
import { RiscvCpu, type RiscvCpuOptions, RiscvMode, riscvMemory } from "@hyperfile/jit/riscv";
import type { TracedRegion } from "@hyperfile/jit/trace";
import Benchmark from "benchmark";

/** One micro-benchmark. */
export interface MicroBenchmark {
  readonly name: string;
  /** What one operation of it is. */
  readonly unit: string;
  /** How many of the units one call of `run` does. */
  readonly units: number;
  /** The measured work. */
  run(): void;
}

/** The result of a micro-benchmark. */
export interface MicroResult {
  readonly name: string;
  readonly unit: string;
  /** Nanoseconds a unit. */
  readonly nanoseconds: number;
  /** Relative margin of error in percent, as `benchmark` gives it. */
  readonly margin: number;
}

const RAM_BYTES = 1 << 20;
const ROOT_TABLE = RAM_BASE + 0x10000;
const MAPPED = 0x4000_0000;
const SLICE = 100_000;
/** Slices that a tier runs before it is measured, so that it has translated the loop. */
const WARM_UP_SLICES = 20;
/** `mstatus`: MPRV, with S as the mode before, so that M-mode's data accesses are translated. */
const TRANSLATE_DATA = 0x20800;
const CSR = { satp: 0x180, mstatus: 0x300, pmpcfg0: 0x3a0, pmpaddr0: 0x3b0 };
const [ZERO, A0, A1, A2, A3, A4] = [0, 10, 11, 12, 13, 14];

const table = riscvTable(64);
const word = (name: string, fields: FieldValues): number => encode(table.entry(name).row.encoding, fields);
const writeCsr = (csr: number, rs1: number): number => word("csrrw", { csr, rs1, rd: ZERO });

/** A loop of integer code with a load and a store, as compilers write them. */
const loop = [
  word("addi", { rd: A0, rs1: A0, imm: 1 }),
  word("slli", { rd: A1, rs1: A0, shamt: 3 }),
  word("xor", { rd: A2, rs1: A2, rs2: A1 }),
  word("andi", { rd: A1, rs1: A2, imm: 0x3f8 }),
  word("add", { rd: A1, rs1: A1, rs2: A3 }),
  word("ld", { rd: A4, rs1: A1, imm: 0 }),
  word("add", { rd: A4, rs1: A4, rs2: A0 }),
  word("sd", { rs2: A4, rs1: A1, imm: 0 }),
  word("mul", { rd: A2, rs1: A2, rs2: A4 }),
  word("bne", { rs1: A0, rs2: ZERO, imm: -36 }),
];

const bytesOf = (words: readonly number[]): Uint8Array => new Uint8Array(Uint32Array.from(words).buffer);

/** A hart with `words` at the start of RAM. */
function machine(
  tier: Tier,
  words: readonly number[],
  options: Pick<RiscvCpuOptions, "hotThreshold" | "trace"> = {},
): RiscvCpu {
  const memory = riscvMemory({ ramBytes: RAM_BYTES });
  const bus = { read: () => 0, write: () => true };
  const cpu = new RiscvCpu({
    xlen: 64,
    memory,
    bus,
    clock: { now: () => 0 },
    tier,
    verify: "off",
    ...options,
  });
  memory.guest.write(RAM_BASE, bytesOf(words));
  cpu.start({ pcLo: RAM_BASE | 0, pcHi: 0, mode: RiscvMode.machine, args: [0, 0] });
  cpu.hart.writeX(A3, (RAM_BASE + 0x8000) | 0, 0);
  return cpu;
}

/** A hart whose data accesses go through an Sv39 table of three levels that maps one page at `MAPPED`. */
function translatingMachine(): RiscvCpu {
  const setUp = [
    writeCsr(CSR.pmpaddr0, A0),
    writeCsr(CSR.pmpcfg0, A1),
    writeCsr(CSR.satp, A2),
    writeCsr(CSR.mstatus, A4),
    word("jal", { rd: ZERO, imm: 0 }),
  ];
  const cpu = machine("interpreter", setUp);
  const entry = (address: number, flags: number) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, ((BigInt(address) >> 12n) << 10n) | BigInt(flags), true);
    return bytes;
  };
  const { guest } = cpu.options.memory;
  guest.write(ROOT_TABLE + 8, entry(ROOT_TABLE + 0x1000, 1));
  guest.write(ROOT_TABLE + 0x1000, entry(ROOT_TABLE + 0x2000, 1));
  guest.write(ROOT_TABLE + 0x2000, entry(RAM_BASE + 0x8000, 0xc7));
  cpu.hart.writeX(A0, -1, -1);
  cpu.hart.writeX(A1, 0x1f, 0);
  cpu.hart.writeX(A2, ROOT_TABLE / 4096, 0x80000000 | 0);
  cpu.hart.writeX(A4, TRANSLATE_DATA, 0);
  cpu.run(setUp.length);
  return cpu;
}

/** Throws where a benchmark would measure the wrong thing. */
function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(`micro-benchmark: ${what} does not hold`);
}

/** The region that tier `js` makes of the loop. */
function regionOfLoop(): TracedRegion {
  const found: TracedRegion[] = [];
  machine("js", loop, { hotThreshold: 10, trace: { onRegion: (region) => found.push(region) } }).run(1000);
  expect(found.length > 0, "tier js translates the loop");
  return found[0]!;
}

/** All micro-benchmarks, set up. */
export function microBenchmarks(tiers: readonly Tier[]): readonly MicroBenchmark[] {
  const frontEnd = riscvFrontEnd(64);
  const bytes = bytesOf(loop);
  const insns: GuestInsn[] = [];
  for (let at = 0; at < bytes.length; at += 4) insns.push(frontEnd.decode(bytes, at, bytes.length - at)!);
  const block = frontEnd.translate(insns);
  const context = {
    shape: frontEnd.shape,
    hartOffset: 0,
    wideAddresses: true,
    alignment: 2,
    flagsOffset: undefined,
    pages: new Map([[0, 1]]),
  };
  const printed = printBlock(block, frontEnd.shape);
  const { head } = regionOfLoop();
  const emitted = emitJsRegion(head, context);
  const cpu = machine("interpreter", loop);
  const bindings: Bindings = {
    ...runtimeBindings(cpu.options.memory.memory, 0, 0),
    ...cpu.access.bindings(),
    ...Object.assign({}, ...cpu.isa.extensions.map(({ helpers }) => helpers?.(cpu.hart))),
    jump: () => null,
  };
  const verifier = new EmissionVerifier(new Set(Object.keys(bindings)));
  verifier.verify(emitted, "micro-benchmark");

  cpu.run(SLICE);
  const dataLo = (RAM_BASE + 0x8000) | 0;
  expect(cpu.tlb.lookup(AccessKind.read, dataLo, 0) >= 0, "the TLB knows the loop's data");
  const translating = translatingMachine();
  expect(translating.hart.resolve(AccessKind.read, MAPPED, 0) === 0, "the mapped page resolves");

  const each = (name: string, unit: string, run: () => void): MicroBenchmark => ({
    name,
    unit,
    units: 1,
    run,
  });
  return [
    each("decode", "a 32-bit word by the table", () => void table.decode(loop[6]!, 4)),
    each("decode", "an instruction by the front end", () => void frontEnd.decode(bytes, 24, 16)),
    each("lower", `a block of ${loop.length} instructions to IR`, () => void frontEnd.translate(insns)),
    each("verify IR", "that block", () => void verifyBlock(block, frontEnd.shape)),
    each("optimise", "that block", () => void optimise(block)),
    each("print IR", "that block", () => void printBlock(block, frontEnd.shape)),
    each("parse IR", "that block", () => void parseBlock(printed, frontEnd.shape)),
    each("emit JavaScript", "the region of that block", () => void emitJsRegion(head, context)),
    each("verify JavaScript", "that region, with acorn", () => verifier.verify(emitted, "micro-benchmark")),
    each(
      "evaluate JavaScript",
      "that region, without its first call",
      () => void evaluate(emitted, bindings),
    ),
    each("TLB look-up", "a hit", () => void cpu.tlb.lookup(AccessKind.read, dataLo, 0)),
    each(
      "page walk",
      "three levels of Sv39",
      () => void translating.hart.resolve(AccessKind.read, MAPPED, 0),
    ),
    ...tiers.map((tier): MicroBenchmark => {
      const running = machine(tier, loop);
      for (let slice = 0; slice < WARM_UP_SLICES; slice++) running.run(SLICE);
      return {
        name: `run, ${tier}`,
        unit: "an instruction of a loop",
        units: SLICE,
        run: () => void running.run(SLICE),
      };
    }),
  ];
}

/**
 * Measures the micro-benchmarks one after another.
 * @param seconds the most that one of them is measured
 * @param report is told of each result
 */
export async function runMicro(
  benchmarks: readonly MicroBenchmark[],
  seconds: number,
  report: (result: MicroResult) => void,
): Promise<readonly MicroResult[]> {
  const results: MicroResult[] = [];
  for (const { name, unit, units, run } of benchmarks) {
    const measured = await new Promise<Benchmark>((resolve, reject) => {
      const benchmark = new Benchmark(name, run, { maxTime: seconds, async: true });
      benchmark.on("complete", () => resolve(benchmark));
      benchmark.on("error", () => reject(benchmark.error as unknown as Error));
      benchmark.run({ async: true });
    });
    const nanoseconds = (measured.stats.mean * 1e9) / units;
    const result = { name, unit, nanoseconds, margin: measured.stats.rme };
    results.push(result);
    report(result);
  }
  return results;
}
