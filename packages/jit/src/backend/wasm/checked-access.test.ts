/** Each checked access reaches RAM through the TLB, and otherwise its slow path, with what it was called for. */
import { describe, expect, it } from "vitest";
import { Exit, header, PAGE_SIZE, SCRATCH_OFFSET } from "../../memory/layout.js";
import { LinearMemory } from "../../memory/linear-memory.js";
import { AccessKind, lateName } from "../../mmu/ports.js";
import { Tlb } from "../../mmu/tlb.js";
import { checkedName, checkedSignature } from "./checked-access.js";
import { ModuleWriter } from "./encoder.js";
import { WasmRuntime } from "./runtime.js";

const HART = 0;
/** A page of RAM behind all that a hart has; what lies there is at the addresses PAGE and on. */
const FRAME = 8 * 1024 * 1024;
const PAGE = 0x7654_3000;
const HIGH = 0x12;
/** Where the program counter lies: in the scratch page. */
const PC = HART + SCRATCH_OFFSET + 64;
const [PC_LOW, PC_HIGH] = [0x8000_1abc | 0, 7];
const FAR = -2 * PAGE_SIZE;
const BUDGET = 1234;
const SITE = 0x00c1_2006;
const RESULT = 0x89ab_cdef;
const RESULT_HIGH = 0x0123_4567;

type Call = (budget: number, address: number | bigint, ...rest: (number | bigint)[]) => number | bigint;

describe.each([true, false])("where addresses of 64 bits are %s", (wide) => {
  const memory = LinearMemory.create({ bytes: FRAME + PAGE_SIZE });
  const tlb = new Tlb(memory, HART, PAGE_SIZE);
  const high = wide ? HIGH : 0;
  tlb.select(0, 0, 0);
  for (const kind of [AccessKind.read, AccessKind.write]) tlb.insert(kind, PAGE, high, (FRAME - PAGE) | 0, 0);
  const at = (address: number): number | bigint =>
    wide ? (BigInt(high) << 32n) | BigInt(address >>> 0) : address | 0;

  const exitWord = (HART + header.exit) >> 2;
  const pc = () => [memory.i32[PC >> 2], memory.i32[(PC >> 2) + 1]];

  /**
   * An access, the arguments of its slow path's calls, and the program counters at these.
   * @param exit what the slow path asks for
   */
  function access(slowPath: string, isFar = false, exit: number = Exit.none) {
    const calls: number[][] = [];
    const counters: unknown[] = [];
    memory.i32.set([PC_LOW, PC_HIGH], PC >> 2);
    memory.i32[exitWord] = Exit.none;
    const slow = (...args: number[]) => {
      calls.push([...args, memory.i32[(HART + header.budget) >> 2]!]);
      counters.push(pc());
      memory.i32[(HART + header.resultHigh) >> 2] = RESULT_HIGH;
      memory.i32[exitWord] = exit;
      return RESULT | 0;
    };
    const context = { hartOffset: HART, wideAddresses: wide, pageBytes: PAGE_SIZE, pcOffset: PC };
    const runtime = new WasmRuntime(memory, { [slowPath]: slow }, context);
    const module = new ModuleWriter();
    const name = checkedName(slowPath, isFar);
    const signature = checkedSignature(name, wide)!;
    const writer = module.function("call", signature);
    signature.parameters.forEach((_, parameter) => {
      writer.get(parameter);
    });
    writer.call(name, signature.parameters, signature.results);
    return { call: runtime.instantiate(module).call as Call, calls, counters };
  }

  it.each([
    ["ld8s", 1, -128],
    ["ld8u", 1, 128],
    ["ld16s", 2, -32640],
    ["ld16u", 2, 32896],
    ["ld32", 4, 0x8080_8080 | 0],
    ["ld64", 8, BigInt.asIntN(64, 0x8080_8080_8080_8080n)],
  ])("%s loads", (slowPath, bytes, value) => {
    memory.u8.fill(0x80, FRAME, FRAME + PAGE_SIZE);
    const { call, calls } = access(slowPath);
    expect(call(BUDGET, at(PAGE + 64), SITE)).toBe(value);
    expect(calls).toEqual([]);
    // Another page; and one access that is not aligned, which no entry matches.
    const elsewhere = [PAGE + PAGE_SIZE + 8, ...(bytes > 1 ? [PAGE + 1] : [])];
    for (const address of elsewhere) {
      const result = call(BUDGET, at(address), SITE);
      expect(result).toBe(bytes === 8 ? (BigInt(RESULT_HIGH) << 32n) | BigInt(RESULT) : RESULT | 0);
      expect(calls.pop()).toEqual([address, high, SITE, BUDGET]);
    }
  });

  it.each(
    (
      [
        ["st8", 1],
        ["st16", 2],
        ["st32", 4],
        ["st64", 8],
      ] as const
    ).flatMap(([name, bytes]) => [[name, bytes] as const, [lateName(name), bytes] as const]),
  )("%s stores", (slowPath, bytes) => {
    memory.u8.fill(0, FRAME, FRAME + PAGE_SIZE);
    const value = bytes === 8 ? 0x1122_3344_5566_7788n : 0x5566_7788;
    const { call, calls } = access(slowPath);
    expect(call(BUDGET, at(PAGE + 64), value, SITE)).toBe(0);
    expect(calls).toEqual([]);
    const stored = [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11].map((byte, at) =>
      at < bytes ? byte : 0,
    );
    expect([...memory.u8.subarray(FRAME + 64, FRAME + 72)]).toEqual(stored);
    const elsewhere = [PAGE + PAGE_SIZE + 8, ...(bytes > 1 ? [PAGE + 1] : [])];
    const words = bytes === 8 ? [0x5566_7788, 0x1122_3344] : [0x5566_7788];
    for (const address of elsewhere) {
      expect(call(BUDGET, at(address), value, SITE)).toBe(0);
      expect(calls.pop()).toEqual([address, high, ...words, SITE, BUDGET]);
    }
    const leaving = access(slowPath, false, Exit.stop);
    expect(leaving.call(BUDGET, at(PAGE + PAGE_SIZE), value, SITE)).toBe(Exit.stop);
  });

  it.each([
    ["ld32", []],
    ["ld64", []],
    ["st8", [1]],
    ["st64", [1n]],
  ] as const)(
    "a far %s moves the program counter for its slow path, and back if the code goes on",
    (slowPath, value) => {
      const moved = [(PC_LOW + FAR) | 0, PC_HIGH];
      const elsewhere = at(PAGE + PAGE_SIZE);
      const staying = access(slowPath, true);
      staying.call(BUDGET, at(PAGE), ...value, FAR, SITE);
      expect(staying.calls).toEqual([]);
      staying.call(BUDGET, elsewhere, ...value, FAR, SITE);
      expect(staying.counters).toEqual([moved]);
      expect(staying.calls[0]!.slice(-2)).toEqual([SITE, BUDGET]);
      expect(pc()).toEqual([PC_LOW, PC_HIGH]);
      const leaving = access(slowPath, true, Exit.stop);
      leaving.call(BUDGET, elsewhere, ...value, FAR, SITE);
      expect(leaving.counters).toEqual([moved]);
      expect(pc()).toEqual(moved);
    },
  );
});
