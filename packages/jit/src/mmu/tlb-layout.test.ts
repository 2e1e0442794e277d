/** Emitted code finds what `Tlb` enters: the look-ups of both backends run against it, with pages of several sizes. */
import { describe, expect, it } from "vitest";
import { type TlbField, tlbEntry, tlbStart, tlbWord } from "../backend/js/tlb.js";
import { type FunctionWriter, ModuleWriter, Op, ValueType } from "../backend/wasm/encoder.js";
import { WasmRuntime } from "../backend/wasm/runtime.js";
import { loadTlbTag, loadTlbWord, writeTlbEntry } from "../backend/wasm/tlb.js";
import { HART_STRIDE, header, PAGE_SIZE, TLB_OFFSET } from "../memory/layout.js";
import { LinearMemory } from "../memory/linear-memory.js";
import { AccessKind } from "./ports.js";
import { Tlb } from "./tlb.js";
import { TLB_SET_SIZE, TLB_SETS, tagMask } from "./tlb-layout.js";

const { i32, i64 } = ValueType;
const HART = HART_STRIDE;
const HIGH = -7;
const FRAME = 2 * HART_STRIDE;
/** The ends of the address space, pages whose entries are a TLB's last and first, and some others. */
const ADDRESSES = [0x80003abc, 0, 0xffffffff, 0x1ffffff, 0x2001000, 0x1fff700, 0x12345678].map(
  (address) => address | 0,
);

/** The words of the entry that an address leads to. */
interface Look {
  readonly page: number;
  readonly pageHigh: number;
  readonly addend: number;
  readonly codePage: number;
}

function lookInJavaScript(memory: LinearMemory, field: TlbField, pageBytes: number): (low: number) => Look {
  const words = (["page", "pageHigh", "addend", "codePage"] as const).map(
    (word) => `${word}: ${tlbWord("e", word)}`,
  );
  const entry = tlbEntry("low", `(${tlbStart(HART, field)})`, pageBytes);
  const look = new Function("I", "low", `const e = ${entry}; return { ${words.join(", ")} };`);
  return (low) => look(memory.i32, low) as Look;
}

function lookInWebAssembly(memory: LinearMemory, field: TlbField, pageBytes: number): (low: number) => Look {
  const module = new ModuleWriter();
  const add = (name: string, result: ValueType, load: (writer: FunctionWriter) => void) => {
    const writer = module.function(name, { parameters: [i32], results: [result] });
    writer.get(0);
    writeTlbEntry(writer, pageBytes, () => writer.loadAt(Op.i32_load, HART + header[field]));
    load(writer);
  };
  add("tag", i64, (writer) => loadTlbTag(writer, true));
  add("page", i32, (writer) => loadTlbTag(writer, false));
  add("addend", i32, (writer) => loadTlbWord(writer, "addend"));
  add("codePage", i32, (writer) => loadTlbWord(writer, "codePage"));
  const exports = new WasmRuntime(memory, {}).instantiate(module) as Record<
    string,
    (low: number) => number | bigint
  >;
  return (low) => {
    const tag = exports.tag!(low) as bigint;
    expect(Number(BigInt.asIntN(32, tag))).toBe(exports.page!(low));
    return {
      page: exports.page!(low) as number,
      pageHigh: Number(tag >> 32n),
      addend: exports.addend!(low) as number,
      codePage: exports.codePage!(low) as number,
    };
  };
}

describe.each([PAGE_SIZE, 1024, 256])("look-ups in TLBs with data pages of %i bytes", (pageBytes) => {
  it.each([
    ["JavaScript", lookInJavaScript],
    ["WebAssembly", lookInWebAssembly],
  ])("find in %s what was entered", (_, lookIn) => {
    const memory = LinearMemory.create({ bytes: FRAME + PAGE_SIZE });
    const tlb = new Tlb(memory, HART, pageBytes);
    for (const [kind, field] of [
      [AccessKind.read, "tlbRead"],
      [AccessKind.write, "tlbWrite"],
      [AccessKind.fetch, "tlbFetch"],
    ] as const) {
      const bytes = kind === AccessKind.fetch ? PAGE_SIZE : pageBytes;
      const look = lookIn(memory, field, bytes);
      ADDRESSES.forEach((low, at) => {
        tlb.select(at % TLB_SETS, (at + 1) % TLB_SETS, (at + 2) % TLB_SETS);
        tlb.insert(kind, low, HIGH, (FRAME - low) | 0, 40 + at);
        const page = low - ((low >>> 0) % bytes);
        expect(look(low)).toEqual({ page, pageHigh: HIGH, addend: (FRAME - low) | 0, codePage: 40 + at });
        // The last byte of the page has the same entry, the next page another one.
        expect(look((page + bytes - 1) | 0).codePage).toBe(40 + at);
        expect(look((page + bytes) | 0).codePage).not.toBe(40 + at);
      });
    }
  });

  it("compare page and alignment at once", () => {
    const page = 0x80003000 | 0;
    for (const alignment of [1, 2, 4, 8]) {
      for (const offset of [0, 1, 2, 4, 6, 8, pageBytes - 8, pageBytes - 1, pageBytes, 2 * pageBytes]) {
        const isHit = offset < pageBytes && offset % alignment === 0;
        expect(((page + offset) & tagMask(pageBytes, alignment)) === page).toBe(isHit);
      }
    }
  });
});

it("fits into a hart block", () => {
  expect(TLB_OFFSET + TLB_SETS * TLB_SET_SIZE).toBeLessThanOrEqual(HART_STRIDE);
});
